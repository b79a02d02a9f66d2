//! Servers that speak TLS: the right ones are spoken to, the others are not.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use keyreeve_core::Secret;
use keyreeve_engine::store::Store as _;
use keyreeve_store::{
    conformance::{PostgresServer, ValkeyServer, samples},
    postgres::{self, OpenError, PostgresOptions},
    valkey::{self, ValkeyOptions},
};

use crate::postgres::options;

/// A certificate of 127.0.0.1 and its key, in PEM.
fn certificate() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn postgresql_over_tls() {
    let Some(mut server) = PostgresServer::start().unwrap() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (own, key) = certificate();
    let (right, wrong) = (
        file(folder.path(), "right.pem", &own),
        file(folder.path(), "wrong.pem", &certificate().0),
    );
    let url = format!("{}?sslmode=require", server.database().unwrap());
    let open = |authority: &PathBuf| {
        let options = PostgresOptions { authorities: Some(authority.clone()), ..options(&url) };
        postgres::open(options, samples::signer(1).unwrap())
    };
    // Whoever must speak TLS does not speak to a server that does not.
    assert!(matches!(open(&right).err(), Some(OpenError::Unreachable { .. })));
    server.secure(&own, &key).unwrap();
    assert!(matches!(open(&wrong).err(), Some(OpenError::Unreachable { .. })));
    let store = open(&right).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.close());
}

#[test]
fn valkey_over_tls() {
    let Some(mut server) = ValkeyServer::start().unwrap() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (own, key) = certificate();
    let right = file(folder.path(), "right.pem", &own);
    let wrong = file(folder.path(), "wrong.pem", &certificate().0);
    server.secure(right.clone(), file(folder.path(), "key.pem", &key)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let examine = |authority: &PathBuf| {
        let options = ValkeyOptions {
            url: Secret::new(server.url()),
            authorities: Some(authority.clone()),
            timeout: Duration::from_secs(10),
            prefix: "kr".to_owned(),
        };
        runtime.block_on(valkey::examine(&options))
    };
    assert!(examine(&wrong).is_err());
    let facts = examine(&right).unwrap();
    assert!(facts.speaks_tls && facts.is_near, "{facts:?}");
}
