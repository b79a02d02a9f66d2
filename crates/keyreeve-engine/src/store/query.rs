//! What can be asked for.

use jiff::Timestamp;
use keyreeve_core::{
    audit::{AuditEntry, Hash, Outcome},
    lifecycle::KeyState,
    name::{EnvironmentName, KeyspaceName, OwnerId, RoleName},
};

/// Which keys. Absent parts do not restrict.
#[derive(Clone, Debug, Default)]
pub struct KeyFilter {
    /// Of this keyspace.
    pub keyspace: Option<KeyspaceName>,
    /// Of this environment.
    pub environment: Option<EnvironmentName>,
    /// Of this owner.
    pub owner: Option<OwnerId>,
    /// With this role.
    pub role: Option<RoleName>,
    /// With this tag.
    pub tag: Option<String>,
    /// Whose name contains this text, letter case aside (ASCII).
    pub name_contains: Option<String>,
    /// In this state at this time; without it, all but the deleted.
    pub state: Option<(KeyState, Timestamp)>,
}

/// Which audit entries. Absent parts do not restrict.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// By this actor, in the audit's own words.
    pub actor: Option<String>,
    /// Of this action; a trailing `.*` takes all that begin so.
    pub action: Option<String>,
    /// On the thing of this public name.
    pub target: Option<String>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// From this time on.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

/// An entry and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct SequencedEntry {
    /// Its position.
    pub seq: u64,
    /// The entry.
    pub entry: AuditEntry,
}

/// An entry as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its position.
    pub seq: u64,
    /// The bytes that were hashed.
    pub bytes: Vec<u8>,
    /// The leaf hash kept beside them.
    pub leaf: Hash,
}
