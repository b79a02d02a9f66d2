//! Every backend against every case.

use std::{path::Path, sync::Arc};

use keyreeve_engine::store::Store;
use keyreeve_store::{
    conformance::{CASES, Harness, samples},
    memory::MemoryStore,
};

use crate::{postgres, sqlite};

fn every_case_passes(backend: &str, fresh: impl Fn(&Path) -> Arc<dyn Store>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let verifier = samples::signer(1).unwrap().verifier();
    let mut failures = Vec::new();
    for (name, case) in CASES {
        let folder = tempfile::tempdir().unwrap();
        let store = fresh(folder.path());
        let harness = Harness::new(Arc::clone(&store), verifier.clone());
        // On a task of its own, so that a failed assertion is one failure among others.
        let outcome = runtime.block_on(runtime.spawn(case(harness)));
        runtime.block_on(store.close());
        match outcome {
            Ok(Ok(())) => println!("{backend}: {name} ok"),
            Ok(Err(failure)) => failures.push(format!("{backend}: {name}: {failure:?}")),
            Err(panic) => failures.push(format!("{backend}: {name}: {panic}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn memory() {
    every_case_passes("memory", |_| Arc::new(MemoryStore::new(samples::signer(1).unwrap())));
}

#[test]
fn sqlite() {
    every_case_passes("sqlite", |folder| Arc::new(sqlite::open(folder)));
}

#[test]
fn postgresql() {
    if let Some(server) = postgres::server() {
        every_case_passes("postgresql", |_| Arc::new(postgres::open(&server.database().unwrap())));
    }
}

#[test]
fn names_are_unique() {
    let mut names: Vec<&str> = CASES.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), CASES.len());
}
