//! What can go wrong here, in forms that `?` works on. None of it leaves the backend: callers get
//! the engine's own errors.

use keyreeve_engine::store::{CommitError, StoreError};

/// The database failed, or holds what it cannot hold.
#[derive(Debug)]
pub(crate) struct Broken(StoreError);

impl Broken {
    /// What is stored cannot be read as what it must be.
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self(StoreError::Damaged(what.into()))
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

/// Which constraint of the schema a statement violated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violated {
    /// A row of that key exists.
    Uniqueness,
    /// A row that is referred to does not exist, or one that goes is referred to.
    Reference,
}

/// A statement was not run.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It does not fit the schema's constraints.
    Violated(Violated),
    /// The database failed.
    Broken(Broken),
}

/// A unit of work was not applied.
#[derive(Debug)]
pub(crate) enum Refusal {
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

impl From<Failed> for Broken {
    fn from(failed: Failed) -> Self {
        match failed {
            // Where it cannot be foreseen.
            Failed::Violated(what) => Self::damaged(format!("{what:?} is violated")),
            Failed::Broken(broken) => broken,
        }
    }
}

impl From<Failed> for Refusal {
    fn from(failed: Failed) -> Self {
        Self::Broken(failed.into())
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
