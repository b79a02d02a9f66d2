//! Keyspaces.

use std::{str::FromStr, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{Policy, Revision};
use crate::{
    Invalid,
    name::{KeyPrefix, KeyspaceName},
};

/// A set of keys with one prefix and shared defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Keyspace {
    /// Its name within the project.
    pub name: KeyspaceName,
    /// What its keys begin with. Never changes.
    pub prefix: KeyPrefix,
    /// The life of a key that names none; `None` means keys that do not expire.
    pub default_expires_in: Option<SignedDuration>,
    /// The grace of a rotation that names none.
    pub default_grace: SignedDuration,
    /// What to answer when this node cannot vouch for its data.
    pub fail_policy: FailPolicy,
    /// What bounds the use of its keys.
    pub policy: Arc<Policy>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Stored changes so far.
    pub revision: Revision,
}

impl Keyspace {
    /// The name of the keyspace every project starts with.
    pub const DEFAULT_NAME: &'static str = "default";
    /// The prefix of that keyspace.
    pub const DEFAULT_PREFIX: &'static str = "kr";
    /// 90 days.
    pub const DEFAULT_EXPIRES_IN: SignedDuration = SignedDuration::from_hours(90 * 24);
    /// One day.
    pub const DEFAULT_GRACE: SignedDuration = SignedDuration::from_hours(24);
}

/// What a node answers for keys whose data it cannot vouch for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailPolicy {
    /// Refuse. The default.
    Closed,
    /// Accept what was last known.
    Open,
}

impl FailPolicy {
    /// The policy's name on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
        }
    }
}

impl FromStr for FailPolicy {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "closed" => Ok(Self::Closed),
            "open" => Ok(Self::Open),
            _ => Err(Invalid::new("must be closed or open")),
        }
    }
}
