//! What is PostgreSQL's own about the store on it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use keyreeve_core::{Secret, key::KeyId, lifecycle::Lifecycle, model::ApiKey, name::ProjectName};
use keyreeve_engine::{
    Clock,
    store::{Change, ChangeSink, CommitError, KeyFilter, Kind, Store},
};
use keyreeve_store::{
    DatabaseStore,
    conformance::{Harness, PostgresServer, samples},
    postgres::{self, OpenError, PostgresOptions},
};
use parking_lot::Mutex;
use tokio::runtime::Runtime;

use crate::clock::TestClock;

/// A server of its own for a test; `None` where there is none to be had, which the test command
/// says.
pub(crate) fn server() -> Option<PostgresServer> {
    PostgresServer::start().unwrap()
}

pub(crate) fn options(url: &str) -> PostgresOptions {
    static NODES: AtomicU64 = AtomicU64::new(0);
    let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
    PostgresOptions {
        url: Secret::new(url.to_owned()),
        authorities: None,
        readers: 2,
        queue_limit: 1_000,
        beat: Duration::from_millis(100),
        node: format!("node {}", NODES.fetch_add(1, Ordering::Relaxed)),
        clock,
    }
}

pub(crate) fn open(url: &str) -> DatabaseStore {
    postgres::open(options(url), samples::signer(1).unwrap()).unwrap()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

fn harness(store: &Arc<DatabaseStore>) -> Harness {
    let store: Arc<dyn Store> = store.clone();
    Harness::new(store, samples::signer(1).unwrap().verifier())
}

/// What a node's table would know: its epoch, and of when.
#[derive(Default)]
struct Knowledge {
    epoch: AtomicU64,
    as_of_ns: AtomicU64,
    keys: Mutex<BTreeMap<KeyId, ApiKey>>,
    lost: AtomicBool,
}

impl Knowledge {
    fn is_revoked(&self, id: KeyId) -> bool {
        let keys = self.keys.lock();
        keys.get(&id).is_some_and(|key| matches!(key.lifecycle, Lifecycle::Revoked { .. }))
    }
}

impl ChangeSink for Knowledge {
    fn apply(&self, _project: &ProjectName, change: &Change) {
        if let Change::CreateKey(key) | Change::UpdateKey(key) = change {
            let old = self.keys.lock().insert(key.id, (**key).clone());
            assert!(old.is_none_or(|old| old.revision <= key.revision), "taken back");
        }
    }

    fn advance(&self, epoch: u64) {
        let before = self.epoch.swap(epoch, Ordering::SeqCst);
        assert!(before <= epoch, "{before} then {epoch}");
    }

    fn vouch(&self, as_of_ns: u64) {
        let before = self.as_of_ns.swap(as_of_ns, Ordering::SeqCst);
        assert!(before <= as_of_ns);
    }

    fn lost(&self) {
        self.lost.store(true, Ordering::SeqCst);
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} did not happen");
}

fn revoked(key: &ApiKey) -> ApiKey {
    let lifecycle = Lifecycle::Active.revoke(None, samples::time(9)).unwrap();
    ApiKey { lifecycle, revision: key.revision + 1, ..key.clone() }
}

#[test]
fn nodes_that_start_at_once_make_one_schema() {
    let Some(server) = server() else { return };
    let url = server.database().unwrap();
    let stores = std::thread::scope(|scope| {
        let nodes: Vec<_> = (0..4).map(|_| scope.spawn(|| open(&url))).collect();
        nodes.into_iter().map(|node| node.join().unwrap()).collect::<Vec<_>>()
    });
    runtime().block_on(async {
        for (number, store) in (0..).zip(stores) {
            let h = harness(&Arc::new(store));
            h.project(&format!("p{number}")).await.unwrap();
            assert_eq!(h.verify_log().await.unwrap().size, number + 1);
            h.store().close().await;
        }
    });
}

#[test]
fn what_one_node_does_the_other_learns() {
    let Some(server) = server() else { return };
    let url = server.database().unwrap();
    let (one, other) = (Arc::new(open(&url)), Arc::new(open(&url)));
    runtime().block_on(async {
        let h = harness(&one);
        let acme = h.project("acme").await.unwrap();
        let key = samples::key(&acme, 1).unwrap();
        h.create_keys(std::slice::from_ref(&key)).await.unwrap();
        let known = Arc::new(Knowledge::default());
        assert_eq!(other.load(known.clone()).await.unwrap(), 2);
        assert!(!known.is_revoked(key.id));
        let vouched = known.as_of_ns.load(Ordering::SeqCst);
        let changes = vec![Change::UpdateKey(Box::new(revoked(&key)))];
        let receipt = h.commit(&acme, changes).await.unwrap();
        until("the revocation", || known.is_revoked(key.id));
        until("the epoch", || known.epoch.load(Ordering::SeqCst) == receipt.epoch);
        until("a newer word", || known.as_of_ns.load(Ordering::SeqCst) > vouched);
        // What was decided on an old reading is refused, wherever it was read.
        let late = h.commit(&acme, vec![Change::UpdateKey(Box::new(revoked(&key)))]).await;
        assert!(matches!(late, Err(CommitError::ChangedMeanwhile(Kind::ApiKey))), "{late:?}");
        one.close().await;
        other.close().await;
        assert!(!known.lost.load(Ordering::SeqCst));
    });
}

#[test]
fn the_log_of_many_nodes_is_one() {
    let Some(server) = server() else { return };
    let url = server.database().unwrap();
    let nodes: Vec<_> = (0..3).map(|_| Arc::new(open(&url))).collect();
    runtime().block_on(async {
        let acme = harness(&nodes[0]).project("acme").await.unwrap();
        let knowledge: Vec<_> = nodes.iter().map(|_| Arc::new(Knowledge::default())).collect();
        for (node, known) in nodes.iter().zip(&knowledge) {
            node.load(known.clone()).await.unwrap();
        }
        let mut tasks = Vec::new();
        for (number, node) in (0..150).zip((0..3).cycle()) {
            let (h, acme) = (harness(&nodes[node]), acme.clone());
            let own = knowledge[node].clone();
            tasks.push(tokio::spawn(async move {
                let key = samples::key(&acme, number).unwrap();
                h.create_keys(std::slice::from_ref(&key)).await.unwrap();
                assert!(own.keys.lock().contains_key(&key.id), "its own node knows first");
                let revoke = Change::UpdateKey(Box::new(revoked(&key)));
                h.commit(&acme, vec![revoke]).await.unwrap();
                assert!(own.is_revoked(key.id));
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let report = harness(&nodes[1]).verify_log().await.unwrap();
        assert!(report.is_intact(), "{report:?}");
        assert_eq!(report.size, 301);
        for known in &knowledge {
            until("every node's knowledge", || known.epoch.load(Ordering::SeqCst) == 301);
            assert!((0..150).all(|number| known.is_revoked(samples::key_id(number))));
        }
        for node in nodes {
            node.close().await;
        }
    });
}

#[test]
fn what_was_acknowledged_survives_a_crash_of_the_server() {
    let Some(mut server) = server() else { return };
    let url = server.database().unwrap();
    let store = Arc::new(open(&url));
    let runtime = runtime();
    let known = Arc::new(Knowledge::default());
    let acme = runtime.block_on(async {
        let acme = harness(&store).project("acme").await.unwrap();
        store.load(known.clone()).await.unwrap();
        acme
    });
    let mut acknowledged = Vec::new();
    for (first, wait_ms) in [(0, 0), (100, 15), (200, 30)] {
        let tasks: Vec<_> = (first..first + 40)
            .map(|number| {
                let (h, acme) = (harness(&store), acme.clone());
                runtime.spawn(async move {
                    let key = samples::key(&acme, number).unwrap();
                    let done = h.create_keys(&[key]).await;
                    done.ok().map(|()| samples::key_id(number))
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(wait_ms));
        server.crash().unwrap();
        std::thread::sleep(Duration::from_millis(200));
        server.launch().unwrap();
        for task in tasks {
            acknowledged.extend(runtime.block_on(task).unwrap());
        }
    }
    // By itself it writes again, follows again, and has lost nothing that it said was done.
    runtime.block_on(async {
        store.check().await.unwrap();
        let h = harness(&store);
        let key = samples::key(&acme, 999).unwrap();
        h.create_keys(&[key]).await.unwrap();
        let there = h.ids(&acme, &KeyFilter::default()).await.unwrap();
        assert!(acknowledged.iter().all(|id| there.contains(id)));
        let report = h.verify_log().await.unwrap();
        assert!(report.is_intact(), "{report:?}");
        assert_eq!(known.keys.lock().len(), there.len());
        store.close().await;
    });
    assert!(!known.lost.load(Ordering::SeqCst));
    assert!(acknowledged.len() > 40, "most of it came through: {}", acknowledged.len());
}

#[test]
fn another_signer_is_refused() {
    let Some(server) = server() else { return };
    let url = server.database().unwrap();
    let store = open(&url);
    runtime().block_on(store.close());
    let refused = postgres::open(options(&url), samples::signer(2).unwrap()).err().unwrap();
    assert!(matches!(refused, OpenError::OtherSigner { .. }), "{refused}");
}

#[test]
fn a_server_that_is_not_there_is_named_without_the_password() {
    let refused = postgres::open(
        options("postgres://keyreeve:hunter2@127.0.0.1:1/keys"),
        samples::signer(1).unwrap(),
    );
    let refused = refused.err().unwrap();
    assert_eq!(refused.to_string(), "cannot use the database at postgres://127.0.0.1:1/keys");
    assert!(!format!("{refused:?}").contains("hunter2"));
}

#[test]
fn a_duty_is_one_nodes_until_its_time_is_over() {
    let Some(server) = server() else { return };
    let url = server.database().unwrap();
    let (one, other) = (open(&url), open(&url));
    runtime().block_on(async {
        let long = Duration::from_mins(10);
        let first = one.take_duty("sweeping", "one", Duration::from_millis(600)).await.unwrap();
        let first = first.unwrap();
        assert_eq!(other.take_duty("sweeping", "other", long).await.unwrap(), None);
        let again = one.take_duty("sweeping", "one", Duration::from_millis(600)).await.unwrap();
        assert_eq!(again, Some(first));
        tokio::time::sleep(Duration::from_millis(700)).await;
        let second = other.take_duty("sweeping", "other", long).await.unwrap().unwrap();
        assert_eq!(second.number, first.number + 1);
        assert_eq!(one.take_duty("sweeping", "one", long).await.unwrap(), None);
        one.close().await;
        other.close().await;
    });
}
