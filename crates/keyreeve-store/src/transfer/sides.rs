//! What is copied from, and what to.

use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
};

use keyreeve_core::Secret;
use keyreeve_engine::store::StoreError;

use crate::{
    postgres::{self, OpenError as PostgresError},
    sql::{query, session::Transacting},
    sqlite::{self, OpenError as SqliteError},
};

/// What is copied from. Never changed.
pub struct Source {
    session: Box<dyn Transacting + Send>,
    /// Whether it is held as it is.
    held: bool,
    /// For a file that may be a server's.
    live: Option<Live>,
}

struct Live {
    path: PathBuf,
    /// Held if no server is running, so that none can start.
    lock: Option<File>,
}

/// What is copied to.
pub struct Target {
    session: Box<dyn Transacting + Send>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("held", &self.held).finish_non_exhaustive()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").finish_non_exhaustive()
    }
}

impl Source {
    /// A SQLite file that nobody writes to: a backup.
    pub fn sqlite_backup(path: &Path) -> Result<Self, SqliteError> {
        let session = Box::new(sqlite::transfer::open_still(path)?);
        Ok(Self { session, held: true, live: None })
    }

    /// A SQLite file that a server may be working on. If none is, none can start while this lasts.
    pub fn sqlite_live(path: &Path) -> Result<Self, SqliteError> {
        let session = Box::new(sqlite::transfer::open_live(path)?);
        let lock = sqlite::transfer::lock(path)?;
        Ok(Self { session, held: false, live: Some(Live { path: path.to_owned(), lock }) })
    }

    /// A PostgreSQL database. Nodes may go on working on it.
    pub fn postgres(
        url: &Secret<String>,
        authorities: Option<&PathBuf>,
    ) -> Result<Self, PostgresError> {
        let session = postgres::transfer::open_source(url, authorities)?;
        Ok(Self { session, held: false, live: None })
    }

    /// Whether a server is working on the file. Once it is not, none can start while this lasts.
    pub fn is_served(&mut self) -> Result<bool, SqliteError> {
        let Some(live) = &mut self.live else { return Ok(false) };
        if live.lock.is_none() {
            live.lock = sqlite::transfer::lock(&live.path)?;
        }
        Ok(live.lock.is_none())
    }

    /// Keeps all changes out of a SQLite file from now on, for as long as this lasts or until it is let go. Reading goes
    /// on.
    pub fn keep_changes_out(&mut self) -> Result<(), StoreError> {
        self.let_go()?;
        self.session.begin_writing()?;
        self.held = true;
        Ok(())
    }

    /// Lets changes in again, and the next copy see them.
    pub fn let_go(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.held) {
            self.session.commit()?;
        }
        Ok(())
    }

    /// How many entries its log has.
    pub fn entries(&mut self) -> Result<u64, StoreError> {
        let sql = "SELECT size FROM audit_state";
        Ok(query::number(&mut *self.session, sql, &[])?.unwrap_or_default())
    }

    /// Holds it as it is at this moment, unless it is held already.
    pub(super) fn hold_on(&mut self) -> Result<(), StoreError> {
        if !self.held {
            self.session.begin_snapshot()?;
            self.held = true;
        }
        Ok(())
    }

    pub(super) fn session(&mut self) -> &mut dyn Transacting {
        &mut *self.session
    }
}

impl Target {
    /// A SQLite file that must not exist yet.
    pub fn new_sqlite(path: &Path) -> Result<Self, SqliteError> {
        Ok(Self { session: Box::new(sqlite::transfer::make(path)?) })
    }

    /// A PostgreSQL database that no node works on. While this lasts, none can start on it.
    pub fn postgres(
        url: &Secret<String>,
        authorities: Option<&PathBuf>,
    ) -> Result<Self, PostgresError> {
        Ok(Self { session: postgres::transfer::open_target(url, authorities)? })
    }

    pub(super) fn session(&mut self) -> &mut dyn Transacting {
        &mut *self.session
    }
}
