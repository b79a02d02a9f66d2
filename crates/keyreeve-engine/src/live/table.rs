//! The table and how changes reach it.

use std::{
    collections::HashMap as StdHashMap,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use keyreeve_core::{
    key::KeyId,
    lifecycle::Lifecycle,
    model::{ApiKey, Role},
    name::ProjectName,
    permission::PermissionSet,
};
use papaya::HashMap;
use parking_lot::Mutex;

use super::{
    LiveKey,
    slots::{ProjectSlot, raw_json},
};
use crate::store::{Change, ChangeSink};

/// Every key that verification can meet.
#[derive(Debug, Default)]
pub struct LiveTable {
    projects: HashMap<ProjectName, Arc<ProjectSlot>>,
    keys: HashMap<KeyId, Arc<LiveKey>>,
    /// Many keys carry the same permissions; they share one set.
    permission_sets: Mutex<Interned>,
    epoch: AtomicU64,
    lost: AtomicBool,
}

#[derive(Debug, Default)]
struct Interned {
    sets: StdHashMap<PermissionSet, Weak<PermissionSet>>,
    sweep_at: usize,
}

impl LiveTable {
    /// The key of that id, whatever its state.
    pub fn key(&self, id: &KeyId) -> Option<Arc<LiveKey>> {
        self.keys.pin().get(id).cloned()
    }

    /// Whether the project exists.
    pub fn has_project(&self, name: &ProjectName) -> bool {
        self.projects.pin().contains_key(name)
    }

    /// What a role of the project grants now.
    pub(crate) fn role_permissions(
        &self,
        project: &ProjectName,
        role: &keyreeve_core::name::RoleName,
    ) -> Option<Arc<PermissionSet>> {
        let projects = self.projects.pin();
        let roles = projects.get(project)?.roles.pin();
        roles.get(role).map(|slot| slot.permissions.load_full())
    }

    /// Keys in the table.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether the table holds no keys.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The last change the table knows of.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether changes may have been missed, for good: only a restart helps.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    fn project(&self, name: &ProjectName) -> Arc<ProjectSlot> {
        let make = || Arc::new(ProjectSlot::new(name.clone()));
        self.projects.pin().get_or_insert_with(name.clone(), make).clone()
    }

    fn put_key(&self, key: &ApiKey) {
        let keys = self.keys.pin();
        if matches!(key.lifecycle, Lifecycle::Deleted { .. }) {
            keys.remove(&key.id);
            return;
        }
        let project = self.project(&key.project);
        // Whoever counts on the old entry while it is replaced counts on the same counter.
        let usage = keys.get(&key.id).map(|old| old.usage().clone());
        let live = LiveKey {
            id: key.id,
            digest: key.digest,
            lifecycle: key.lifecycle.clone(),
            expires_at: key.expires_at,
            keyspace: project.keyspace(&key.keyspace),
            owner: key.owner.as_ref().map(|id| project.owner(id)),
            roles: key.roles.iter().map(|name| project.role(name)).collect(),
            permissions: self.permission_sets.lock().share(&key.permissions),
            environment: key.environment.clone(),
            name: key.name.clone(),
            metadata: raw_json(&key.metadata),
            usage: usage.map_or_else(OnceLock::new, OnceLock::from),
            project,
        };
        keys.insert(key.id, Arc::new(live));
    }

    fn put_role(&self, project: &ProjectName, role: &Role) {
        let slot = self.project(project).role(&role.name);
        slot.permissions.store(Arc::new(role.permissions.clone()));
    }
}

impl ChangeSink for LiveTable {
    fn apply(&self, project: &ProjectName, change: &Change) {
        match change {
            Change::CreateProject(created) => {
                self.project(&created.name);
            }
            Change::CreateKeyspace(keyspace) => {
                self.project(project).keyspace(&keyspace.name);
            }
            Change::DeleteKeyspace(name) => {
                self.project(project).keyspaces.pin().remove(name);
            }
            Change::EnsureOwner(owner) => {
                // Only a new owner takes this value; a known one keeps what it has.
                let project = self.project(project);
                if !project.owners.pin().contains_key(&owner.id) {
                    project.owner(&owner.id).set_metadata(&owner.metadata);
                }
            }
            Change::CreateOwner(owner) | Change::UpdateOwner(owner) => {
                self.project(project).owner(&owner.id).set_metadata(&owner.metadata);
            }
            Change::DeleteOwner(id) => {
                self.project(project).owners.pin().remove(id);
            }
            Change::CreateRole(role) | Change::UpdateRole(role) => self.put_role(project, role),
            Change::DeleteRole(name) => {
                self.project(project).roles.pin().remove(name);
            }
            Change::CreateKey(key) | Change::UpdateKey(key) => self.put_key(key),
            Change::PurgeKey { id, .. } => {
                self.keys.pin().remove(id);
            }
            Change::CreateEnvironment(_)
            | Change::DeleteEnvironment(_)
            | Change::UpdateKeyspace(_)
            | Change::AddUsage(_)
            | Change::RememberResult(_)
            | Change::ForgetResultsBefore(_) => {}
        }
    }

    fn advance(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Release);
    }

    fn lost(&self) {
        self.lost.store(true, Ordering::Release);
    }
}

impl Interned {
    fn share(&mut self, set: &PermissionSet) -> Arc<PermissionSet> {
        if let Some(shared) = self.sets.get(set).and_then(Weak::upgrade) {
            return shared;
        }
        if self.sets.len() >= self.sweep_at {
            self.sets.retain(|_, shared| shared.strong_count() > 0);
            self.sweep_at = (self.sets.len() * 2).max(1024);
        }
        let shared = Arc::new(set.clone());
        self.sets.insert(set.clone(), Arc::downgrade(&shared));
        shared
    }
}
