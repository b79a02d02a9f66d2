//! An issued key, without its secret.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::{Policy, Revision};
use crate::{
    Invalid,
    key::{EnvTag, Imported, KeyDigest, KeyId},
    lifecycle::{KeyState, Lifecycle},
    name::{EnvironmentName, KeyspaceName, Label, OwnerId, ProjectName, RoleName},
    permission::PermissionSet,
};

/// An issued key.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiKey {
    /// The public id, unique on the installation.
    pub id: KeyId,
    /// The tenant.
    pub project: ProjectName,
    /// Where prefix and defaults come from.
    pub keyspace: KeyspaceName,
    /// The stage it is for.
    pub environment: EnvironmentName,
    /// Live or test, as written into the key.
    pub tag: EnvTag,
    /// What people call it.
    pub name: Label,
    /// Whom it belongs to.
    pub owner: Option<OwnerId>,
    /// Roles it carries, in order, each once.
    pub roles: Vec<RoleName>,
    /// Permissions it carries besides its roles.
    pub permissions: PermissionSet,
    /// Anything the team wants back with a verdict.
    pub metadata: Metadata,
    /// Words to filter by.
    pub tags: Tags,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it, as the audit names actors.
    pub created_by: String,
    /// The first moment at which it is accepted; `None` at once.
    pub not_before: Option<Timestamp>,
    /// The first moment at which it is refused; `None` never.
    pub expires_at: Option<Timestamp>,
    /// What bounds its use.
    pub policy: Arc<Policy>,
    /// Where it stands.
    pub lifecycle: Lifecycle,
    /// What is kept of the key's text.
    pub digest: KeyDigest,
    /// What is known of a key that came from another system.
    pub imported: Option<Box<Imported>>,
    /// The key's last four characters, for telling keys apart; empty where they are not known.
    pub last_four: String,
    /// The first key of the chain of rotations this one belongs to; its own id if it is first.
    pub lineage: KeyId,
    /// The key this one replaced.
    pub predecessor: Option<KeyId>,
    /// The key this one was derived from: it is good only while that one is.
    pub parent: Option<KeyId>,
    /// Stored changes so far.
    pub revision: Revision,
}

impl ApiKey {
    /// The most roles one key can carry.
    pub const MOST_ROLES: usize = 20;

    /// The state people see at `now`.
    pub fn state(&self, now: Timestamp) -> KeyState {
        self.lifecycle.state(self.expires_at, now)
    }
}

/// A JSON object of the team's own, at most 16 KiB when written compactly.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata(serde_json::Map<String, Value>);

impl Metadata {
    const LONGEST: usize = 16 * 1024;

    /// Checks the size.
    pub fn new(map: serde_json::Map<String, Value>) -> Result<Self, Invalid> {
        let metadata = Self(map);
        if metadata.to_json().len() > Self::LONGEST {
            return Err(Invalid::new("must be at most 16 KiB of JSON"));
        }
        Ok(metadata)
    }

    /// The object.
    pub fn as_map(&self) -> &serde_json::Map<String, Value> {
        &self.0
    }

    /// Whether the object is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The object as compact JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }
}

/// Words to filter by: at most 20, each 1 to 64 characters of `a-z A-Z 0-9 _ - : . / =`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Vec<String>);

impl Tags {
    /// Checks the words; sorts and drops duplicates.
    pub fn new(mut tags: Vec<String>) -> Result<Self, Invalid> {
        let good = |tag: &String| {
            (1..=64).contains(&tag.len())
                && tag.bytes().all(|b| {
                    b.is_ascii_alphanumeric()
                        || matches!(b, b'_' | b'-' | b':' | b'.' | b'/' | b'=')
                })
        };
        if tags.len() > 20 || !tags.iter().all(good) {
            return Err(Invalid::new(
                "must be at most 20 tags, each 1 to 64 characters of a-z, A-Z, 0-9, '_', '-', \
                 ':', '.', '/', '='",
            ));
        }
        tags.sort();
        tags.dedup();
        Ok(Self(tags))
    }

    /// The words in order.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_bounded() {
        let mut map = serde_json::Map::new();
        map.insert("note".into(), "x".repeat(16 * 1024).into());
        assert!(Metadata::new(map).is_err());
    }

    #[test]
    fn tags_are_checked_and_ordered() {
        let tags = Tags::new(vec!["b".into(), "a".into(), "b".into()]).unwrap();
        assert_eq!(tags.as_slice(), ["a", "b"]);
        for bad in ["", "a b", &"x".repeat(65)] {
            assert!(Tags::new(vec![bad.to_owned()]).is_err(), "{bad}");
        }
        assert!(Tags::new((0..21).map(|n| n.to_string()).collect()).is_err());
    }
}
