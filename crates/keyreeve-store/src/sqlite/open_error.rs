//! Why a database could not be opened.

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use keyreeve_engine::store::StoreError;
use rusqlite::ErrorCode;

use crate::sql::head::Unfit;

/// A database was not opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be read, made or written.
    #[error("cannot open {}", .path.display())]
    Unopenable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The file is something else, or its structure is destroyed.
    #[error("{} is not a SQLite database, or it is damaged", .path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The file belongs to another program.
    #[error("{} is a SQLite database of another program", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer version of this program.
    #[error(
        "{} has schema {found}, and this version of keyreeve knows schemas up to {known}: use a \
         newer one",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema of the file.
        found: u32,
        /// The newest schema known here.
        known: u32,
    },
    /// The file has the schema of an older version, which a reader does not change.
    #[error(
        "{} has schema {found}, and this version of keyreeve reads schema {known}: let `keyreeve \
         serve` bring the data folder, or the backup restored into a folder, to that first",
        .path.display()
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// The schema of the file.
        found: u32,
        /// The schema read here.
        known: u32,
    },
    /// The audit log is not the one whose head was signed.
    #[error(
        "the audit log in {} does not match its signed checkpoint ({problem}): run `keyreeve audit \
         verify`",
        .path.display()
    )]
    AuditDamaged {
        /// The file.
        path: PathBuf,
        /// What does not match.
        problem: String,
    },
    /// The audit log was signed with another key than the one at hand.
    #[error(
        "the audit log in {} was signed with another key than the one given: restore the audit \
         key that belongs to it",
        .path.display()
    )]
    OtherSigner {
        /// The file.
        path: PathBuf,
    },
    /// Another server has it open.
    #[error("{} is in use by another process", .path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
}

impl OpenError {
    /// The file at `path` cannot be used, for this reason.
    pub(super) fn unopenable(path: &Path, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unopenable { path: path.to_owned(), source: source.into() }
    }

    /// What keeps the audit log in the file at `path` from being gone on with.
    pub(super) fn of_log(path: &Path, unfit: Unfit) -> Self {
        match unfit {
            Unfit::OtherSigner => Self::OtherSigner { path: path.to_owned() },
            Unfit::Damaged(problem) => Self::AuditDamaged { path: path.to_owned(), problem },
            Unfit::Broken(broken) => Self::unopenable(path, StoreError::from(broken)),
        }
    }

    /// What an error of SQLite means while the file at `path` is being opened.
    pub(super) fn of_sqlite(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::NotADatabase { path, source: Box::new(error) }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked { path },
            _ => Self::Unopenable { path, source: Box::new(error) },
        }
    }
}
