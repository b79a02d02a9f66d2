//! The store of an installation of many nodes: one PostgreSQL database that all of them use.
//!
//! The same statements as on SQLite, run by the same kinds of threads: one that writes, several
//! that read, and one more that learns what other nodes did. Why it is built like this:
//! `docs/adr/0010-postgresql.md`.

mod changes;
mod connection;
mod examine;
mod feed;
mod migrations;
mod open_error;
mod session;
pub(crate) mod transfer;
mod writer;

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc as orders,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use async_trait::async_trait;
use keyreeve_core::{Secret, audit::CheckpointSigner};
use keyreeve_engine::{
    Clock,
    store::{ChangeSink, CommitError, DutyTerm, Receipt, StoreError, UnitOfWork},
};
use parking_lot::Mutex;

use self::{connection::Server, feed::Feed, session::PostgresSession, writer::Writer};
use crate::sql::{
    commands::{Command, Commands, Counters, DutyRequest},
    head,
    readers::Readers,
    store::{DatabaseStore, Statistics, Writing},
};

pub use examine::{Examination, OLDEST_SERVER, examine};
pub use open_error::OpenError;

/// Where the database is and how to use it.
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database`; may say `sslmode`.
    pub url: Secret<String>,
    /// A file with the certificate authorities the server's certificate may come from, in PEM; the
    /// system's if `None`.
    pub authorities: Option<PathBuf>,
    /// Connections that read, at least one. Two more are used for writing and for following.
    pub readers: usize,
    /// Units of work that may wait for the writer, and reads that may wait for a reader.
    pub queue_limit: usize,
    /// How often the node looks by itself for what others did.
    pub beat: Duration,
    /// What this process is called among the nodes: a name that no other has or had.
    pub node: String,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions").field("readers", &self.readers).finish_non_exhaustive()
    }
}

/// The ways to the threads.
struct Postgres {
    commands: Commands,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    threads: Mutex<Option<[JoinHandle<()>; 2]>>,
}

/// Opens the database and brings it to the newest schema. Blocks while it does.
///
/// # Errors
///
/// The server cannot be reached, the schema is newer than this program, or the end of the audit
/// log is not what `signer` signed.
pub fn open(
    options: PostgresOptions,
    signer: CheckpointSigner,
) -> Result<DatabaseStore, OpenError> {
    // EXPOSE: parsed for its parts; the password goes to the server and nowhere else.
    let server = Server::at(options.url.expose(), options.authorities.as_ref())?;
    let place = server.place();
    let unreachable = |error: tokio_postgres::Error| OpenError::unreachable(&place, error);
    let mut session = PostgresSession::connected(server.clone()).map_err(unreachable)?;
    migrations::run(&mut session, &place)?;
    let head =
        begin_log(&mut session, &signer).map_err(|unfit| OpenError::of_log(&place, unfit))?;
    let readers: Result<Vec<_>, tokio_postgres::Error> =
        (0..options.readers.max(1)).map(|_| PostgresSession::connected(server.clone())).collect();
    let io_failed = |error: std::io::Error| OpenError::unreachable(&place, error);
    let readers =
        Readers::start(readers.map_err(unreachable)?, options.queue_limit).map_err(io_failed)?;
    let (way, commands) = Commands::new(options.queue_limit);
    let (feed_sender, orders) = orders::channel();
    let counters = Arc::new(Counters::default());
    let (stop, has_sinks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let node: Arc<str> = options.node.into();
    let feed = Feed {
        node: Arc::clone(&node),
        session: PostgresSession::new(server),
        orders,
        clock: options.clock,
        beat: options.beat,
        stop: Arc::clone(&stop),
        has_sinks: Arc::clone(&has_sinks),
        sinks: Vec::new(),
        told: 0,
        waiting: Vec::new(),
        listening_on: 0,
    };
    let writer = Writer {
        node,
        session,
        head,
        signer,
        commands,
        feed: feed_sender,
        has_sinks,
        counters: Arc::clone(&counters),
    };
    let thread = |name: &str| thread::Builder::new().name(name.to_owned());
    let feed = thread("keyreeve-feed").spawn(move || feed.run()).map_err(io_failed)?;
    let writer = thread("keyreeve-writer").spawn(move || writer.run()).map_err(io_failed)?;
    let writing =
        Postgres { commands: way, counters, stop, threads: Mutex::new(Some([writer, feed])) };
    Ok(DatabaseStore::new(Arc::new(readers), Box::new(writing)))
}

/// Runs a statement on a connection of its own.
#[cfg(any(test, feature = "conformance"))]
pub(crate) fn run_once(url: &str, sql: &str) -> Result<(), StoreError> {
    let failed = |error: &dyn fmt::Display| StoreError::Backend(error.to_string().into());
    let server = Server::at(url, None).map_err(|error| failed(&error))?;
    let mut session = PostgresSession::connected(server).map_err(|error| failed(&error))?;
    Ok(session.run(sql)?)
}

/// The head of the log. Of several nodes that start on an empty database at once, one begins it.
fn begin_log(
    session: &mut PostgresSession,
    signer: &CheckpointSigner,
) -> Result<crate::log_head::LogHead, head::Unfit> {
    session.begin("BEGIN")?;
    session.run("LOCK TABLE audit_state IN EXCLUSIVE MODE")?;
    let head = head::open(session, signer)?;
    session.commit()?;
    Ok(head)
}

#[async_trait]
impl Writing for Postgres {
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
        let Some([writer, feed]) = self.threads.lock().take() else {
            return;
        };
        let stop = Arc::clone(&self.stop);
        // Waiting for threads would stop every other task of this one.
        let finished = tokio::task::spawn_blocking(move || {
            let writer = writer.join();
            // Only now: the feed answers those whose units the writer has just committed.
            stop.store(true, Ordering::Release);
            let feed = feed.join();
            readers.finish();
            writer.is_ok() && feed.is_ok()
        });
        if !finished.await.unwrap_or(false) {
            tracing::error!("a thread of the store panicked");
        }
    }

    fn statistics(&self) -> Statistics {
        self.counters.statistics()
    }
}
