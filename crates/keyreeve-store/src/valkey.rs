//! Counts that all nodes share, in one Valkey or Redis server.
//!
//! A request is one call of one script ([`script`]), so that everything it needs is taken or
//! nothing. A server that does not answer in time is left alone until it answers again ([`link`]):
//! meanwhile nobody waits for it.

mod link;
mod open_error;
mod script;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use keyreeve_core::{Secret, name::ProjectName};
use keyreeve_engine::shared_counts::{
    CountName, SharedAnswer, SharedAsk, SharedCounts, Unreachable,
};

use self::{
    link::Link,
    script::{Call, CountScript, Operation},
};

pub use self::{link::ServerFacts, open_error::OpenError};

/// Where the counts are.
#[derive(Debug)]
pub struct ValkeyOptions {
    /// `redis://…` or `valkey://…`, with TLS `rediss://…` or `valkeys://…`. May hold a password.
    pub url: Secret<String>,
    /// A PEM file with the authorities that the server may have its certificate from; the
    /// system's if `None`.
    pub authorities: Option<PathBuf>,
    /// How long an answer may take before the server counts as out of reach.
    pub timeout: Duration,
    /// What all keys begin with, before the first colon: another for each installation that counts in
    /// the same database.
    pub prefix: String,
}

/// The counts of all nodes, as this one reaches them.
#[derive(Debug)]
pub struct ValkeyCounts {
    link: Link,
    script: Arc<CountScript>,
}

/// Begins to reach for the server. That it cannot be reached yet is no error: limits then count on
/// each node until it can.
///
/// # Errors
///
/// The URL is none, or the authorities cannot be read.
pub fn open(options: &ValkeyOptions) -> Result<ValkeyCounts, OpenError> {
    let script = Arc::new(CountScript::new(&options.prefix));
    Ok(ValkeyCounts { link: Link::open(options, script.clone())?, script })
}

/// Asks the server what it is, for whoever looks after the installation.
///
/// # Errors
///
/// The URL is none, or the server does not answer.
pub async fn examine(options: &ValkeyOptions) -> Result<ServerFacts, OpenError> {
    link::examine(options).await
}

impl ValkeyCounts {
    async fn ask(
        &self,
        operation: Operation,
        ask: &SharedAsk,
    ) -> Result<SharedAnswer, Unreachable> {
        let call = Call { operation, ask, now_ns: None };
        self.link.run(|connection| self.script.call(connection, &call)).await
    }
}

#[async_trait]
impl SharedCounts for ValkeyCounts {
    async fn take(&self, ask: &SharedAsk) -> Result<SharedAnswer, Unreachable> {
        self.ask(Operation::Take, ask).await
    }

    async fn peek(&self, ask: &SharedAsk) -> Result<SharedAnswer, Unreachable> {
        self.ask(Operation::Peek, ask).await
    }

    async fn give_back(&self, ask: &SharedAsk, answer: &SharedAnswer) -> Result<(), Unreachable> {
        self.ask(Operation::GiveBack { taken_ns: answer.now_ns }, ask).await.map(|_| ())
    }

    async fn release(
        &self,
        project: &ProjectName,
        places: &[CountName],
        lease: u64,
    ) -> Result<bool, Unreachable> {
        let call = script::Release { project, places, lease };
        self.link.run(|connection| self.script.release(connection, &call)).await
    }

    fn is_reachable(&self) -> bool {
        self.link.is_up()
    }

    fn outages(&self) -> u64 {
        self.link.outages()
    }
}
