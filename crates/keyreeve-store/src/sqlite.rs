//! The store an installation runs on: one SQLite file, one thread that writes, several that read.
//!
//! Why it is built like this: `docs/adr/0001-store-and-group-commit.md`.

mod audit_file;
mod connection;
mod load;
mod migrations;
mod open_error;
mod session;
pub(crate) mod transfer;
mod writer;

use std::{
    fs::File,
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
};

use async_trait::async_trait;
use keyreeve_core::audit::CheckpointSigner;
use keyreeve_engine::store::{ChangeSink, CommitError, DutyTerm, Receipt, StoreError, UnitOfWork};
use parking_lot::Mutex;
use rusqlite::Connection;

use self::{
    connection::Claim,
    writer::{Sinks, Writer},
};
use crate::sql::{
    commands::{Command, Commands, Counters, DutyRequest},
    head,
    readers::Readers,
    store::{DatabaseStore, Statistics, Writing},
};

pub use audit_file::{AuditFile, RawAuditRow};
pub use open_error::OpenError;

/// Where and how to keep things.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The database file. Others with the same name and an ending appear beside it.
    pub path: PathBuf,
    /// Threads that read, at least one.
    pub readers: usize,
    /// Units of work that may wait for the writer, and reads that may wait for a reader.
    pub queue_limit: usize,
}

/// The way to the thread that writes.
struct Sqlite {
    commands: Commands,
    counters: Arc<Counters>,
    thread: Mutex<Option<JoinHandle<(Connection, File)>>>,
}

/// Opens the database, makes it if there is none, and brings it to the newest schema.
///
/// # Errors
///
/// The file cannot be used, is not Keyreeve's, is in use elsewhere, or the end of its audit
/// log is not what `signer` signed.
pub fn open(options: SqliteOptions, signer: CheckpointSigner) -> Result<DatabaseStore, OpenError> {
    let SqliteOptions { path, readers: count, queue_limit } = options;
    let Claim { path, lock } = Claim::stake(&path)?;
    let connection = connection::open_writer(&path)?;
    let head = head::open(&mut &connection, &signer);
    let head = head.map_err(|unfit| OpenError::of_log(&path, unfit))?;
    let sessions: Result<Vec<_>, OpenError> =
        (0..count.max(1)).map(|_| connection::open_reader(&path)).collect();
    let readers = Readers::start(sessions?, queue_limit)
        .map_err(|error| OpenError::unopenable(&path, error))?;
    let (way, commands) = Commands::new(queue_limit);
    let counters = Arc::new(Counters::default());
    let entries = head.size();
    let writer = Writer {
        sinks: Sinks::default(),
        batch: Vec::new(),
        failed: false,
        connection,
        head,
        signer,
        commands,
        readers: readers.queue().map_err(|error| OpenError::unopenable(&path, error))?,
        parts: u32::try_from(count).unwrap_or(u32::MAX),
        counters: Arc::clone(&counters),
        lock,
    };
    let writer = thread::Builder::new()
        .name("keyreeve-writer".to_owned())
        .spawn(move || writer.run())
        .map_err(|error| OpenError::unopenable(&path, error))?;
    tracing::debug!(store.path = %path.display(), audit.entries = entries, "opened the store");
    let writing = Sqlite { commands: way, counters, thread: Mutex::new(Some(writer)) };
    Ok(DatabaseStore::new(Arc::new(readers), Box::new(writing)))
}

/// Waits until everything is done, folds the log into the file, and lets go of it.
fn finish(writer: JoinHandle<(Connection, File)>, readers: &Readers) {
    let writer = writer.join();
    readers.finish();
    let Ok((connection, lock)) = writer else {
        tracing::error!("the thread that writes to the database panicked");
        return;
    };
    if let Err(error) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        // Nothing is lost: the next start reads the log again.
        tracing::warn!(%error, "could not fold the write-ahead log into the database");
    }
    drop(connection);
    // Only now may another process have the file.
    drop(lock);
}

#[async_trait]
impl Writing for Sqlite {
    async fn commit(&self, unit: UnitOfWork) -> Result<Receipt, CommitError> {
        self.commands.commit(unit).await
    }

    async fn load(&self, sink: Arc<dyn ChangeSink>) -> Result<u64, StoreError> {
        self.commands.ask(|answer| Command::Load(sink, answer)).await
    }

    async fn take_duty(&self, request: DutyRequest) -> Result<Option<DutyTerm>, StoreError> {
        self.commands.ask(|answer| Command::TakeDuty(request, answer)).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.commands.ask(Command::Check).await
    }

    async fn close(&self, readers: Arc<Readers>) {
        self.commands.shut();
        let Some(thread) = self.thread.lock().take() else {
            return;
        };
        // Waiting for threads would stop every other task of this one.
        let finished = tokio::task::spawn_blocking(move || finish(thread, &readers)).await;
        if finished.is_err() {
            tracing::error!("closing the store panicked");
        }
    }

    fn statistics(&self) -> Statistics {
        self.counters.statistics()
    }
}
