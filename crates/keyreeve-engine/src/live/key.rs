//! One key as verification sees it.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use keyreeve_core::{
    key::{KeyDigest, KeyId},
    lifecycle::{KeyState, Lifecycle},
    name::{EnvironmentName, Label, ProjectName},
    permission::PermissionSet,
    verdict::VerdictCode,
};

use serde_json::value::RawValue;

use super::slots::{KeyspaceSlot, OwnerSlot, ProjectSlot, RoleSlot};
use crate::usage::KeyUsage;
pub use crate::usage::Seen;

/// A key in the live table.
#[derive(Debug)]
pub struct LiveKey {
    pub(super) id: KeyId,
    pub(super) digest: KeyDigest,
    pub(super) lifecycle: Lifecycle,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) project: Arc<ProjectSlot>,
    pub(super) keyspace: Arc<KeyspaceSlot>,
    pub(super) owner: Option<Arc<OwnerSlot>>,
    pub(super) roles: Box<[Arc<RoleSlot>]>,
    pub(super) permissions: Arc<PermissionSet>,
    pub(super) environment: EnvironmentName,
    pub(super) name: Label,
    /// `None` when empty.
    pub(super) metadata: Option<Box<RawValue>>,
    /// Made at first use, and carried over when the key changes.
    pub(super) usage: OnceLock<Arc<KeyUsage>>,
}

impl LiveKey {
    /// The public id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The tenant.
    pub fn project(&self) -> &ProjectName {
        &self.project.name
    }

    /// What is kept of the key's text.
    pub fn digest(&self) -> &KeyDigest {
        &self.digest
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Its keyspace's name.
    pub fn keyspace(&self) -> &str {
        self.keyspace.name.as_str()
    }

    /// Its environment's name.
    pub fn environment(&self) -> &str {
        self.environment.as_str()
    }

    /// When it expires.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Its metadata as compact JSON; `None` when empty.
    pub fn metadata_json(&self) -> Option<&RawValue> {
        self.metadata.as_deref()
    }

    /// Its owner's id.
    pub fn owner_id(&self) -> Option<&str> {
        self.owner.as_ref().map(|owner| owner.id.as_str())
    }

    /// Its owner's metadata as compact JSON; `None` when empty.
    pub fn owner_metadata_json(&self) -> Option<Arc<Box<RawValue>>> {
        self.owner.as_ref().and_then(|owner| owner.metadata.load_full())
    }

    /// The names of its roles.
    pub fn role_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.roles.iter().map(|role| role.name.as_str())
    }

    /// While it is being replaced: the first moment of refusal, and by which key.
    pub fn rotation(&self) -> Option<(Timestamp, KeyId)> {
        match &self.lifecycle {
            Lifecycle::Rotating { successor, grace_ends_at } => Some((*grace_ends_at, *successor)),
            _ => None,
        }
    }

    /// The state people see at `now`.
    pub fn state(&self, now: Timestamp) -> KeyState {
        self.lifecycle.state(self.expires_at, now)
    }

    /// Whether the key's state lets it through at `now`, and if not, why.
    pub fn standing(&self, now: Timestamp) -> VerdictCode {
        match self.state(now) {
            KeyState::Active | KeyState::Rotating => VerdictCode::Valid,
            KeyState::Disabled => VerdictCode::Disabled,
            KeyState::Revoked => VerdictCode::Revoked,
            KeyState::Deleted => VerdictCode::NotFound,
            KeyState::Expired if self.expires_at.is_some_and(|at| at <= now) => {
                VerdictCode::Expired
            }
            KeyState::Expired => VerdictCode::GraceEnded,
        }
    }

    /// Whether the key's own permissions or those of its roles include all of `wanted`.
    pub fn covers(&self, wanted: &str) -> bool {
        self.permissions.covers(wanted)
            || self.roles.iter().any(|role| role.permissions.load().covers(wanted))
    }

    /// Calls `each` with every permission the key has, its own and those of its roles. One that
    /// comes from two places comes twice.
    pub fn for_each_permission(&self, mut each: impl FnMut(&str)) {
        for permission in self.permissions.iter() {
            each(permission.as_str());
        }
        for role in &self.roles {
            for permission in role.permissions.load().iter() {
                each(permission.as_str());
            }
        }
    }

    pub(crate) fn usage(&self) -> &Arc<KeyUsage> {
        self.usage.get_or_init(Arc::default)
    }

    /// Use that is counted but not yet stored, if there is any.
    pub fn pending_usage(&self) -> Option<Seen> {
        self.usage.get().and_then(|usage| usage.peek())
    }
}
