//! What can go wrong here, in forms that `?` works on. None of it leaves the backend: callers get
//! the engine's own errors.

use keyreeve_engine::store::{CommitError, StoreError};
use rusqlite::{ErrorCode, ffi};

/// The database failed, or holds what it cannot hold.
#[derive(Debug)]
pub(super) struct Broken(StoreError);

impl Broken {
    /// What is stored cannot be read as what it must be.
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self(StoreError::Damaged(what.into()))
    }
}

impl From<rusqlite::Error> for Broken {
    fn from(error: rusqlite::Error) -> Self {
        Self(match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                StoreError::Damaged(error.to_string())
            }
            _ => StoreError::Backend(Box::new(error)),
        })
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self(error)
    }
}

impl From<Broken> for StoreError {
    fn from(broken: Broken) -> Self {
        broken.0
    }
}

/// A unit of work was not applied.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It does not fit what is stored.
    Refused(CommitError),
    /// The database failed over it.
    Broken(Broken),
}

impl From<CommitError> for Refusal {
    fn from(error: CommitError) -> Self {
        Self::Refused(error)
    }
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Broken(error.into())
    }
}

impl From<Refusal> for CommitError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Refused(error) => error,
            Refusal::Broken(Broken(error)) => Self::Store(error),
        }
    }
}

/// Which constraint of the schema a statement violated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Violated {
    /// A row of that key exists.
    Uniqueness,
    /// A row that is referred to does not exist, or one that goes is referred to.
    Reference,
}

/// The violated constraint, if that is what the error is about.
pub(super) fn violated(error: &rusqlite::Error) -> Option<Violated> {
    match error.sqlite_extended_error_code()? {
        ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        | ffi::SQLITE_CONSTRAINT_ROWID
        | ffi::SQLITE_CONSTRAINT_UNIQUE => Some(Violated::Uniqueness),
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => Some(Violated::Reference),
        _ => None,
    }
}
