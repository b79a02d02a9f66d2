//! What keys have in common. A million keys of one kind share one of these.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use keyreeve_core::{model::Policy, name::EnvironmentName, permission::PermissionSet};

use super::{
    slots::{KeyspaceSlot, ProjectSlot, RoleSlot},
    tier::Tier,
};

/// Everything about a key that many others have just so.
#[derive(Debug)]
pub(super) struct KeyShape {
    pub(super) project: Arc<ProjectSlot>,
    pub(super) keyspace: Arc<KeyspaceSlot>,
    pub(super) environment: EnvironmentName,
    pub(super) roles: Box<[Arc<RoleSlot>]>,
    pub(super) permissions: PermissionSet,
    pub(super) policy: Arc<Policy>,
    /// What the key's own permissions, without its roles, make of it as a caller.
    pub(super) own_tier: Option<Tier>,
}

/// Shapes that exist, to be found again.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    known: HashMap<Likeness, Weak<KeyShape>>,
    sweep_at: usize,
}

/// By what two shapes are told apart. Addresses stand for things that live as long as the shape.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Likeness {
    project: usize,
    keyspace: usize,
    environment: EnvironmentName,
    roles: Box<[usize]>,
    permissions: PermissionSet,
    policy: usize,
}

impl Shapes {
    /// The shape that is just so, or this one.
    pub(super) fn share(&mut self, shape: KeyShape) -> Arc<KeyShape> {
        let likeness = Likeness {
            project: address(&shape.project),
            keyspace: address(&shape.keyspace),
            environment: shape.environment.clone(),
            roles: shape.roles.iter().map(address).collect(),
            permissions: shape.permissions.clone(),
            policy: address(&shape.policy),
        };
        if let Some(known) = self.known.get(&likeness).and_then(Weak::upgrade) {
            return known;
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, shape| shape.strong_count() > 0);
            self.sweep_at = (self.known.len() * 2).max(1024);
        }
        let shape = Arc::new(shape);
        self.known.insert(likeness, Arc::downgrade(&shape));
        shape
    }
}

fn address<T>(shared: &Arc<T>) -> usize {
    Arc::as_ptr(shared).addr()
}
