//! How a store fails.

use std::fmt;

/// The kinds of things a store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    ApiKey,
    ClientToken,
    Connection,
    Duty,
    Environment,
    IdempotentResult,
    Keyspace,
    Lease,
    Owner,
    Project,
    Quota,
    Reservation,
    Role,
    SealedVersion,
    VaultRecord,
    WebhookEvent,
    WebhookSource,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiKey => "API key",
            Self::ClientToken => "client token",
            Self::Connection => "connection",
            Self::Duty => "duty",
            Self::Environment => "environment",
            Self::IdempotentResult => "idempotent result",
            Self::Keyspace => "keyspace",
            Self::Lease => "place in flight",
            Self::Owner => "owner",
            Self::Project => "project",
            Self::Quota => "quota",
            Self::Reservation => "reservation",
            Self::Role => "role",
            Self::SealedVersion => "sealed version",
            Self::VaultRecord => "record of the vault",
            Self::WebhookEvent => "webhook event",
            Self::WebhookSource => "webhook source",
        })
    }
}

/// The store did not do its work. Says nothing a caller may see.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A cursor that this store did not give out.
    #[error("the cursor is not one of ours")]
    BadCursor,
    /// What is stored cannot be read as what it must be.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// The engine beneath failed.
    #[error("the database failed")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a unit of work was not applied. Nothing of it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// It creates what exists.
    #[error("a {0} of that name exists")]
    AlreadyExists(Kind),
    /// It changes or refers to what does not exist.
    #[error("no such {0}")]
    NotFound(Kind),
    /// It changes what was changed since it was read.
    #[error("the {0} was changed in between")]
    ChangedMeanwhile(Kind),
    /// It removes what something else refers to.
    #[error("the {0} is still in use")]
    InUse(Kind),
    /// Too many units are waiting.
    #[error("too many units of work are waiting")]
    Overloaded,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
