//! Threads that read, each with a connection of its own, fed by one bounded queue.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use keyreeve_engine::store::StoreError;
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{connection, gate::Gate, open_error::OpenError};
use crate::sql::{failure::Broken, session::Session};

/// Something to do with a connection that reads.
pub(super) type Job = Box<dyn FnOnce(&Connection) + Send>;

/// The way to the threads that read.
pub(super) struct Readers {
    queue: Gate<Job>,
}

impl Readers {
    /// Starts `count` threads, at least one, behind a queue of at most `queue_limit` jobs.
    pub(super) fn start(
        path: &Path,
        count: usize,
        queue_limit: usize,
    ) -> Result<(Self, Vec<JoinHandle<()>>), OpenError> {
        let (sender, jobs) = mpsc::channel(queue_limit.max(1));
        let jobs = Arc::new(Mutex::new(jobs));
        let mut threads = Vec::new();
        for number in 0..count.max(1) {
            let connection = connection::open_reader(path)?;
            let jobs = Arc::clone(&jobs);
            let thread = thread::Builder::new()
                .name(format!("keyreeve-reader-{number}"))
                .spawn(move || serve(&connection, &jobs))
                .map_err(|error| OpenError::unopenable(path, error))?;
            threads.push(thread);
        }
        Ok((Self { queue: Gate::new(sender) }, threads))
    }

    /// Runs `read` on one of the threads.
    pub(super) async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut dyn Session) -> Result<T, Broken> + Send + 'static,
    {
        let (job, answer) = job(read);
        let queue = self.queue.sender()?;
        queue.send(job).await.map_err(|_| StoreError::Closed)?;
        // The thread must be able to end while the answer is on its way.
        drop(queue);
        Ok(answer.await.map_err(|_| StoreError::Closed)??)
    }

    /// A way to the threads for one who is not async.
    pub(super) fn queue(&self) -> Result<mpsc::Sender<Job>, StoreError> {
        self.queue.sender()
    }

    /// Lets the threads end once they have done what was asked of them.
    pub(super) fn shut(&self) {
        self.queue.shut();
    }
}

/// A job and where its answer arrives. It is left out if nobody waits for the answer any more.
pub(super) fn job<T, F>(read: F) -> (Job, oneshot::Receiver<Result<T, Broken>>)
where
    T: Send + 'static,
    F: FnOnce(&mut dyn Session) -> Result<T, Broken> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let job: Job = Box::new(move |mut connection: &Connection| {
        if !sender.is_closed() {
            // If the asker went away meanwhile, the answer goes nowhere.
            let _ = sender.send(read(&mut connection));
        }
    });
    (job, receiver)
}

fn serve(connection: &Connection, jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // A statement of its own, so that the next thread can wait while this one works.
        let job = jobs.lock().blocking_recv();
        let Some(job) = job else {
            return;
        };
        // Whoever asked finds out by the dropped answer; the others must not lose a reader.
        if catch_unwind(AssertUnwindSafe(|| job(connection))).is_err() {
            tracing::error!("a read from the database panicked");
        }
    }
}
