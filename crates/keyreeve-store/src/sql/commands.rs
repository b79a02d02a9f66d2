//! What a writer's thread is asked to do, and the way to it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use keyreeve_engine::store::{ChangeSink, CommitError, DutyTerm, Receipt, StoreError, UnitOfWork};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use super::store::Statistics;
use crate::gate::Gate;

/// What the writer is asked to do.
pub(crate) enum Command {
    /// Apply a unit of work.
    Commit(Box<Waiting>),
    /// Tell a sink what is stored, and from then on what changes.
    Load(Arc<dyn ChangeSink>, oneshot::Sender<Result<u64, StoreError>>),
    /// Take a duty or go on with it.
    TakeDuty(DutyRequest, oneshot::Sender<Result<Option<DutyTerm>, StoreError>>),
    /// Say whether writing is possible.
    Check(oneshot::Sender<Result<(), StoreError>>),
}

/// Who wants which duty, and for how long.
pub(crate) struct DutyRequest {
    pub(crate) duty: &'static str,
    pub(crate) holder: String,
    pub(crate) length: Duration,
}

/// A unit of work whose author waits.
pub(crate) struct Waiting {
    pub(crate) unit: UnitOfWork,
    pub(crate) answer: oneshot::Sender<Result<Receipt, CommitError>>,
}

/// What was written so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    units: AtomicU64,
    batches: AtomicU64,
}

impl Counters {
    /// One more batch, of this many units, is durable.
    pub(crate) fn count(&self, units: u64) {
        self.units.fetch_add(units, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn statistics(&self) -> Statistics {
        Statistics {
            units: self.units.load(Ordering::Relaxed),
            batches: self.batches.load(Ordering::Relaxed),
        }
    }
}

/// The way to the writer.
pub(crate) struct Commands(Gate<Command>);

impl Commands {
    /// An open way, and where the writer takes from: a queue of at most `limit`.
    pub(crate) fn new(limit: usize) -> (Self, mpsc::Receiver<Command>) {
        let (sender, commands) = mpsc::channel(limit.max(1));
        (Self(Gate::new(sender)), commands)
    }

    /// Hands a unit over and waits for its answer. A full queue takes none.
    pub(crate) async fn commit(&self, unit: UnitOfWork) -> Result<Receipt, CommitError> {
        let (sender, answer) = oneshot::channel();
        let waiting = Box::new(Waiting { unit, answer: sender });
        match self.0.sender()?.try_send(Command::Commit(waiting)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(CommitError::Overloaded),
            Err(TrySendError::Closed(_)) => return Err(StoreError::Closed.into()),
        }
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Asks for something other than a commit, and waits for a place in the queue.
    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Command,
    ) -> Result<T, StoreError> {
        let (sender, answer) = oneshot::channel();
        let command = command(sender);
        let queue = self.0.sender()?;
        queue.send(command).await.map_err(|_| StoreError::Closed)?;
        // The writer must be able to end while the answer is on its way.
        drop(queue);
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Lets nobody in any more.
    pub(crate) fn shut(&self) {
        self.0.shut();
    }
}
