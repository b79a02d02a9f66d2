//! What a use-case can say instead of yes.
//!
//! The variants answer first whose fault it is: the caller's request, the state of things, or
//! ours. Only the server turns them into statuses and words for callers.

use keyreeve_core::{Invalid, lifecycle::InvalidTransition};

use crate::{
    Denied, EntropyFailed, TooMany,
    shared_counts::Unreachable,
    store::{CommitError, Kind, StoreError},
};

/// A field that broke a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field as the caller named it.
    pub field: String,
    /// The rule.
    pub rule: Invalid,
}

impl FieldError {
    /// `field` broke `rule`.
    pub fn new(field: impl Into<String>, rule: Invalid) -> Self {
        Self { field: field.into(), rule }
    }
}

/// Why a use-case did nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field broke a rule that only the use-case can know.
    #[error("{}: {}", .0.field, .0.rule)]
    Invalid(FieldError),
    /// The caller may not do that.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The result would hold more rights than the caller has.
    #[error("nobody can grant more than they have: {}", .missing.join(", "))]
    Escalation {
        /// The rights the caller lacks.
        missing: Vec<String>,
    },
    /// No such thing in the caller's project.
    #[error("no such {0} in this project")]
    NotFound(Kind),
    /// The name is taken.
    #[error("a {0} of that name exists")]
    AlreadyExists(Kind),
    /// Something depends on it.
    #[error("the {0} is still in use")]
    InUse(Kind),
    /// The key's state rules it out.
    #[error(transparent)]
    WrongState(#[from] InvalidTransition),
    /// The old key is still used.
    #[error("the key was used in the last {0}")]
    NotSilent(String),
    /// Somebody else changed the thing in between.
    #[error("the {0} was changed in between")]
    ChangedMeanwhile(Kind),
    /// The idempotency key was used with another request.
    #[error("the idempotency key was used with another request")]
    IdempotencyMismatch,
    /// The first answer cannot be shown again.
    #[error("the request was served before; its key {0} cannot be shown again")]
    IdempotencyResultGone(keyreeve_core::key::KeyId),
    /// A limit of the service is reached.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// Too much is waiting to be written.
    #[error("too many changes are waiting to be written")]
    Overloaded,
    /// The counts that all nodes share cannot be reached.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] StoreError),
    /// The machine failed.
    #[error(transparent)]
    Entropy(#[from] EntropyFailed),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::BadCursor => Self::Invalid(FieldError::new(
                "cursor",
                Invalid::new("must be the next_cursor of an earlier page"),
            )),
            other => Self::Store(other),
        }
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::AlreadyExists(kind) => Self::AlreadyExists(kind),
            CommitError::NotFound(kind) => Self::NotFound(kind),
            CommitError::ChangedMeanwhile(kind) => Self::ChangedMeanwhile(kind),
            CommitError::InUse(kind) => Self::InUse(kind),
            CommitError::Overloaded => Self::Overloaded,
            CommitError::Store(error) => Self::Store(error),
        }
    }
}
