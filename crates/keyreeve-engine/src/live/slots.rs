//! Things that many keys share. A key points at a slot; changing the slot's content changes all
//! its keys at once.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use keyreeve_core::{
    model::{FailPolicy, Keyspace, Metadata, Owner, Policy},
    name::{KeyspaceName, OwnerId, ProjectName, RoleName},
    permission::PermissionSet,
    role::BuiltinRole,
};
use papaya::HashMap;
use serde_json::value::{RawValue, to_raw_value};

use super::{counters::Counters, imported::ImportedIndex, tier::Tier};

/// A project and the shared parts of its keys.
#[derive(Debug)]
pub(super) struct ProjectSlot {
    pub(super) name: ProjectName,
    pub(super) keyspaces: HashMap<KeyspaceName, Arc<KeyspaceSlot>>,
    pub(super) owners: HashMap<OwnerId, Arc<OwnerSlot>>,
    pub(super) roles: HashMap<RoleName, Arc<RoleSlot>>,
    pub(super) imported: ImportedIndex,
}

/// A keyspace and what it says of all its keys.
#[derive(Debug)]
pub(super) struct KeyspaceSlot {
    pub(super) name: KeyspaceName,
    pub(super) content: ArcSwap<KeyspaceContent>,
    pub(super) counters: Arc<Counters>,
}

/// What of a keyspace can change.
#[derive(Debug)]
pub(crate) struct KeyspaceContent {
    pub(crate) policy: Arc<Policy>,
    pub(crate) fail_policy: FailPolicy,
}

/// An owner and what comes back with verdicts on its keys.
#[derive(Debug)]
pub(super) struct OwnerSlot {
    pub(super) id: OwnerId,
    /// `None` when empty.
    pub(super) metadata: ArcSwapOption<Box<RawValue>>,
    pub(super) policy: ArcSwap<Policy>,
    pub(super) counters: Arc<Counters>,
}

/// A role and what it grants now.
#[derive(Debug)]
pub(super) struct RoleSlot {
    pub(super) name: RoleName,
    pub(super) grants: ArcSwap<RoleGrants>,
}

/// What a role grants, and what that makes of its bearer.
#[derive(Debug)]
pub(super) struct RoleGrants {
    pub(super) permissions: Arc<PermissionSet>,
    pub(super) tier: Option<Tier>,
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
        Self {
            name,
            keyspaces: HashMap::new(),
            owners: HashMap::new(),
            roles,
            imported: ImportedIndex::default(),
        }
    }

    pub(super) fn keyspace(&self, name: &KeyspaceName) -> Arc<KeyspaceSlot> {
        let make = || Arc::new(KeyspaceSlot::new(name.clone()));
        self.keyspaces.pin().get_or_insert_with(name.clone(), make).clone()
    }

    pub(super) fn owner(&self, id: &OwnerId) -> Arc<OwnerSlot> {
        let make = || Arc::new(OwnerSlot::new(id.clone()));
        self.owners.pin().get_or_insert_with(id.clone(), make).clone()
    }

    /// The role's slot. A role that is not there grants nothing.
    pub(super) fn role(&self, name: &RoleName) -> Arc<RoleSlot> {
        let make = || Arc::new(RoleSlot::new(name.clone(), PermissionSet::default()));
        self.roles.pin().get_or_insert_with(name.clone(), make).clone()
    }
}

impl KeyspaceSlot {
    fn new(name: KeyspaceName) -> Self {
        let content = KeyspaceContent { policy: Policy::none(), fail_policy: FailPolicy::Closed };
        Self { name, content: ArcSwap::from_pointee(content), counters: Arc::default() }
    }

    pub(super) fn set(&self, keyspace: &Keyspace) {
        let (policy, fail_policy) = (keyspace.policy.clone(), keyspace.fail_policy);
        self.content.store(Arc::new(KeyspaceContent { policy, fail_policy }));
    }
}

impl OwnerSlot {
    fn new(id: OwnerId) -> Self {
        Self {
            id,
            metadata: ArcSwapOption::empty(),
            policy: ArcSwap::new(Policy::none()),
            counters: Arc::default(),
        }
    }

    pub(super) fn set(&self, owner: &Owner) {
        self.metadata.store(raw_json(&owner.metadata).map(Arc::new));
        self.policy.store(owner.policy.clone());
    }
}

impl RoleSlot {
    fn new(name: RoleName, permissions: PermissionSet) -> Self {
        let grants = RoleGrants::new(name.as_str(), permissions);
        Self { name, grants: ArcSwap::from_pointee(grants) }
    }

    pub(super) fn set(&self, permissions: PermissionSet) {
        self.grants.store(Arc::new(RoleGrants::new(self.name.as_str(), permissions)));
    }
}

impl RoleGrants {
    fn new(role: &str, permissions: PermissionSet) -> Self {
        let tier = Tier::of_role(role, &permissions);
        Self { permissions: Arc::new(permissions), tier }
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
