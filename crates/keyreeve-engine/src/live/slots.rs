//! Things that many keys share. A key points at a slot; changing the slot's content changes all
//! its keys at once.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use keyreeve_core::{
    model::Metadata,
    name::{KeyspaceName, OwnerId, ProjectName, RoleName},
    permission::PermissionSet,
    role::BuiltinRole,
};
use papaya::HashMap;
use serde_json::value::{RawValue, to_raw_value};

/// A project and the shared parts of its keys.
#[derive(Debug)]
pub(super) struct ProjectSlot {
    pub(super) name: ProjectName,
    pub(super) keyspaces: HashMap<KeyspaceName, Arc<KeyspaceSlot>>,
    pub(super) owners: HashMap<OwnerId, Arc<OwnerSlot>>,
    pub(super) roles: HashMap<RoleName, Arc<RoleSlot>>,
}

/// A keyspace's name, shared.
#[derive(Debug)]
pub(super) struct KeyspaceSlot {
    pub(super) name: KeyspaceName,
}

/// An owner and what comes back with verdicts on its keys.
#[derive(Debug)]
pub(super) struct OwnerSlot {
    pub(super) id: OwnerId,
    /// `None` when empty.
    pub(super) metadata: ArcSwapOption<Box<RawValue>>,
}

/// A role and what it grants now.
#[derive(Debug)]
pub(super) struct RoleSlot {
    pub(super) name: RoleName,
    pub(super) permissions: ArcSwap<PermissionSet>,
}

impl ProjectSlot {
    pub(super) fn new(name: ProjectName) -> Self {
        let roles = HashMap::new();
        for role in BuiltinRole::ALL {
            if let Ok(name) = role.name().parse::<RoleName>() {
                let slot = RoleSlot::new(name.clone(), role.permissions().clone());
                roles.pin().insert(name, Arc::new(slot));
            }
        }
        Self { name, keyspaces: HashMap::new(), owners: HashMap::new(), roles }
    }

    pub(super) fn keyspace(&self, name: &KeyspaceName) -> Arc<KeyspaceSlot> {
        let make = || Arc::new(KeyspaceSlot { name: name.clone() });
        self.keyspaces.pin().get_or_insert_with(name.clone(), make).clone()
    }

    pub(super) fn owner(&self, id: &OwnerId) -> Arc<OwnerSlot> {
        let make = || Arc::new(OwnerSlot { id: id.clone(), metadata: ArcSwapOption::empty() });
        self.owners.pin().get_or_insert_with(id.clone(), make).clone()
    }

    /// The role's slot. A role that is not there grants nothing.
    pub(super) fn role(&self, name: &RoleName) -> Arc<RoleSlot> {
        let make = || Arc::new(RoleSlot::new(name.clone(), PermissionSet::default()));
        self.roles.pin().get_or_insert_with(name.clone(), make).clone()
    }
}

impl OwnerSlot {
    pub(super) fn set_metadata(&self, metadata: &Metadata) {
        self.metadata.store(raw_json(metadata).map(Arc::new));
    }
}

impl RoleSlot {
    fn new(name: RoleName, permissions: PermissionSet) -> Self {
        Self { name, permissions: ArcSwap::from_pointee(permissions) }
    }
}

/// Metadata written once, so that answers only copy it; `None` when empty.
pub(super) fn raw_json(metadata: &Metadata) -> Option<Box<RawValue>> {
    if metadata.is_empty() {
        return None;
    }
    // A JSON object is always writable as JSON.
    to_raw_value(metadata.as_map()).ok()
}
