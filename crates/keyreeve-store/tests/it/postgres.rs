//! What is PostgreSQL's own about the store on it.

use std::{sync::Arc, time::Duration};

use keyreeve_core::Secret;
use keyreeve_engine::Clock;
use keyreeve_store::{
    DatabaseStore,
    conformance::{PostgresServer, samples},
    postgres::{self, PostgresOptions},
};

use crate::clock::TestClock;

/// A server of its own for a test; `None`, and a word about it, where there is none to be had.
pub(crate) fn server() -> Option<PostgresServer> {
    let server = PostgresServer::start().unwrap();
    if server.is_none() {
        println!("SKIPPED: PostgreSQL is not installed");
    }
    server
}

pub(crate) fn options(url: &str) -> PostgresOptions {
    let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
    PostgresOptions {
        url: Secret::new(url.to_owned()),
        authorities: None,
        readers: 2,
        queue_limit: 1_000,
        beat: Duration::from_millis(100),
        clock,
    }
}

pub(crate) fn open(url: &str) -> DatabaseStore {
    postgres::open(options(url), samples::signer(1).unwrap()).unwrap()
}
