//! Threads that read, each with a connection of its own, fed by one bounded queue.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{self, JoinHandle},
};

use keyreeve_engine::store::StoreError;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::{failure::Broken, session::Session};
use crate::gate::Gate;

/// Something to do with a connection that reads.
pub(crate) type Job = Box<dyn FnOnce(&mut dyn Session) + Send>;

/// The way to the threads that read.
pub(crate) struct Readers {
    queue: Gate<Job>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Readers {
    /// Starts a thread for each session, behind a queue of at most `queue_limit` jobs.
    pub(crate) fn start<S: Session + Send + 'static>(
        sessions: Vec<S>,
        queue_limit: usize,
    ) -> io::Result<Self> {
        let (sender, jobs) = mpsc::channel(queue_limit.max(1));
        let jobs = Arc::new(Mutex::new(jobs));
        let mut threads = Vec::new();
        for (number, session) in sessions.into_iter().enumerate() {
            let jobs = Arc::clone(&jobs);
            let thread = thread::Builder::new()
                .name(format!("keyreeve-reader-{number}"))
                .spawn(move || serve(session, &jobs))?;
            threads.push(thread);
        }
        Ok(Self { queue: Gate::new(sender), threads: Mutex::new(threads) })
    }

    /// Runs `read` on one of the threads.
    pub(crate) async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
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
    pub(crate) fn queue(&self) -> Result<mpsc::Sender<Job>, StoreError> {
        self.queue.sender()
    }

    /// Lets the threads end once they have done what was asked of them, and waits for that.
    pub(crate) fn finish(&self) {
        self.queue.shut();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that reads from the database panicked");
            }
        }
    }
}

/// A job and where its answer arrives. It is left out if nobody waits for the answer any more.
pub(crate) fn job<T, F>(read: F) -> (Job, oneshot::Receiver<Result<T, Broken>>)
where
    T: Send + 'static,
    F: FnOnce(&mut dyn Session) -> Result<T, Broken> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let job: Job = Box::new(move |session: &mut dyn Session| {
        if !sender.is_closed() {
            // If the asker went away meanwhile, the answer goes nowhere.
            let _ = sender.send(read(session));
        }
    });
    (job, receiver)
}

fn serve<S: Session>(mut session: S, jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // A statement of its own, so that the next thread can wait while this one works.
        let job = jobs.lock().blocking_recv();
        let Some(job) = job else {
            return;
        };
        // Whoever asked finds out by the dropped answer; the others must not lose a reader.
        if catch_unwind(AssertUnwindSafe(|| job(&mut session))).is_err() {
            tracing::error!("a read from the database panicked");
        }
    }
}
