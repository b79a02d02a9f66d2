//! The store an installation runs on: one SQLite file, one thread that writes, several that read.
//!
//! Why it is built like this: `docs/adr/0001-store-and-group-commit.md`.

mod audit_file;
mod connection;
mod gate;
mod load;
mod migrations;
mod open_error;
mod readers;
mod session;
mod writer;

use std::{
    fs::File,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
};

use async_trait::async_trait;
use jiff::Timestamp;
use keyreeve_core::{
    audit::CheckpointSigner,
    key::KeyId,
    model::{ApiKey, Environment, Keyspace, Owner, Project, Role},
    name::{KeyspaceName, OwnerId, ProjectName, RoleName},
};
use keyreeve_engine::store::{
    AuditFilter, AuditRecord, ChangeSink, CommitError, IdempotentResult, KeyFilter, ListPage,
    PageRequest, Receipt, SequencedEntry, Store, StoreError, StoredKey, UnitOfWork,
};
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};

use self::{
    connection::Claim,
    gate::Gate,
    readers::Readers,
    writer::{Command, Counters, Sinks, Waiting, Writer},
};
use crate::sql::{audit, head, keys, tenancy};

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

/// What was written since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Units of work made durable.
    pub units: u64,
    /// Flushes to disk that took.
    pub batches: u64,
}

/// A store in one SQLite file.
pub struct SqliteStore {
    writer: Gate<Command>,
    readers: Arc<Readers>,
    counters: Arc<Counters>,
    threads: Mutex<Option<Threads>>,
}

/// What there is to wait for when the store closes.
struct Threads {
    writer: JoinHandle<(Connection, File)>,
    readers: Vec<JoinHandle<()>>,
}

impl SqliteStore {
    /// Opens the database, makes it if there is none, and brings it to the newest schema.
    ///
    /// # Errors
    ///
    /// The file cannot be used, is not Keyreeve's, is in use elsewhere, or the end of its audit
    /// log is not what `signer` signed.
    pub fn open(options: SqliteOptions, signer: CheckpointSigner) -> Result<Self, OpenError> {
        let SqliteOptions { path, readers: count, queue_limit } = options;
        let Claim { path, lock } = Claim::stake(&path)?;
        let connection = connection::open_writer(&path)?;
        let head = head::open(&mut &connection, &signer);
        let head = head.map_err(|unfit| OpenError::of_log(&path, unfit))?;
        let (readers, reader_threads) = Readers::start(&path, count, queue_limit)?;
        let (sender, commands) = mpsc::channel(queue_limit.max(1));
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
        let threads = Threads { writer, readers: reader_threads };
        Ok(Self {
            writer: Gate::new(sender),
            readers: Arc::new(readers),
            counters,
            threads: Mutex::new(Some(threads)),
        })
    }

    /// What was written since the store was opened.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            units: self.counters.units.load(Ordering::Relaxed),
            batches: self.counters.batches.load(Ordering::Relaxed),
        }
    }

    /// Asks the writer for something other than a commit, and waits for a place in its queue.
    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Command,
    ) -> Result<T, StoreError> {
        let (sender, answer) = oneshot::channel();
        let command = command(sender);
        let queue = self.writer.sender()?;
        queue.send(command).await.map_err(|_| StoreError::Closed)?;
        // The writer must be able to end while the answer is on its way.
        drop(queue);
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

impl Threads {
    /// Waits until everything is done, folds the log into the file, and lets go of it.
    fn finish(self, readers: &Readers) {
        let writer = self.writer.join();
        readers.shut();
        for reader in self.readers {
            if reader.join().is_err() {
                tracing::error!("a thread that reads from the database panicked");
            }
        }
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
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, unit: UnitOfWork) -> Result<Receipt, CommitError> {
        let (sender, answer) = oneshot::channel();
        let waiting = Box::new(Waiting { unit, answer: sender });
        match self.writer.sender()?.try_send(Command::Commit(waiting)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(CommitError::Overloaded),
            Err(TrySendError::Closed(_)) => return Err(StoreError::Closed.into()),
        }
        answer.await.map_err(|_| StoreError::Closed)?
    }

    async fn load(&self, sink: Arc<dyn ChangeSink>) -> Result<u64, StoreError> {
        self.ask(|answer| Command::Load(sink, answer)).await
    }

    async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        self.readers.read(tenancy::projects).await
    }

    async fn environments(&self, project: &ProjectName) -> Result<Vec<Environment>, StoreError> {
        let project = project.clone();
        self.readers.read(move |db| tenancy::environments(db, &project)).await
    }

    async fn keyspaces(&self, project: &ProjectName) -> Result<Vec<Keyspace>, StoreError> {
        let project = project.clone();
        self.readers.read(move |db| tenancy::keyspaces(db, &project)).await
    }

    async fn keyspace(
        &self,
        project: &ProjectName,
        name: &KeyspaceName,
    ) -> Result<Option<Keyspace>, StoreError> {
        let (project, name) = (project.clone(), name.clone());
        self.readers.read(move |db| tenancy::keyspace(db, &project, &name)).await
    }

    async fn owners(
        &self,
        project: &ProjectName,
        page: &PageRequest,
    ) -> Result<ListPage<Owner>, StoreError> {
        let (project, page) = (project.clone(), page.clone());
        self.readers.read(move |db| tenancy::owners(db, &project, &page)).await
    }

    async fn owner(
        &self,
        project: &ProjectName,
        id: &OwnerId,
    ) -> Result<Option<Owner>, StoreError> {
        let (project, id) = (project.clone(), id.clone());
        self.readers.read(move |db| tenancy::owner(db, &project, &id)).await
    }

    async fn roles(&self, project: &ProjectName) -> Result<Vec<Role>, StoreError> {
        let project = project.clone();
        self.readers.read(move |db| tenancy::roles(db, &project)).await
    }

    async fn role(
        &self,
        project: &ProjectName,
        name: &RoleName,
    ) -> Result<Option<Role>, StoreError> {
        let (project, name) = (project.clone(), name.clone());
        self.readers.read(move |db| tenancy::role(db, &project, &name)).await
    }

    async fn key(&self, project: &ProjectName, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        let project = project.clone();
        self.readers.read(move |db| keys::key(db, &project, id)).await
    }

    async fn keys(
        &self,
        project: &ProjectName,
        filter: &KeyFilter,
        page: &PageRequest,
    ) -> Result<ListPage<StoredKey>, StoreError> {
        let (project, filter, page) = (project.clone(), filter.clone(), page.clone());
        self.readers.read(move |db| keys::list(db, &project, &filter, &page)).await
    }

    async fn expiring_keys(
        &self,
        project: &ProjectName,
        from: Timestamp,
        until: Timestamp,
        page: &PageRequest,
    ) -> Result<ListPage<StoredKey>, StoreError> {
        let (project, page) = (project.clone(), page.clone());
        self.readers.read(move |db| keys::expiring(db, &project, from, until, &page)).await
    }

    async fn expired_keys(
        &self,
        project: &ProjectName,
        at: Timestamp,
        limit: u32,
    ) -> Result<Vec<ApiKey>, StoreError> {
        let project = project.clone();
        self.readers.read(move |db| keys::expired(db, &project, at, limit)).await
    }

    async fn idempotent_result(
        &self,
        project: &ProjectName,
        lookup: &[u8; 32],
    ) -> Result<Option<IdempotentResult>, StoreError> {
        let (project, lookup) = (project.clone(), *lookup);
        self.readers.read(move |db| tenancy::idempotent_result(db, &project, &lookup)).await
    }

    async fn audit_entries(
        &self,
        project: &ProjectName,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<ListPage<SequencedEntry>, StoreError> {
        let (project, filter, page) = (project.clone(), filter.clone(), page.clone());
        self.readers.read(move |db| audit::entries(db, &project, &filter, &page)).await
    }

    async fn audit_log(&self, first: u64, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.readers.read(move |db| audit::log(db, first, limit)).await
    }

    async fn checkpoints(&self) -> Result<Vec<String>, StoreError> {
        self.readers.read(audit::checkpoints).await
    }

    async fn checkpoint(&self) -> Result<Option<String>, StoreError> {
        self.readers.read(audit::checkpoint).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.checkpoint().await?;
        self.ask(Command::Check).await
    }

    async fn close(&self) {
        self.writer.shut();
        let Some(threads) = self.threads.lock().take() else {
            return;
        };
        let readers = Arc::clone(&self.readers);
        // Waiting for threads would stop every other task of this one.
        let finished = tokio::task::spawn_blocking(move || threads.finish(&readers)).await;
        if finished.is_err() {
            tracing::error!("closing the store panicked");
        }
    }
}
