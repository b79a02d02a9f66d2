//! What keys have in common. A million keys of one kind share one of these.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Weak},
};

use keyreeve_core::{
    model::{ApiKey, Policy},
    name::EnvironmentName,
    permission::PermissionSet,
};

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
    /// Those that keys had which were put last, while everything is read at the start.
    recent: VecDeque<Arc<KeyShape>>,
}

/// How many shapes are kept at hand at the start: each of those who read brings policies of its own.
const MOST_RECENT: usize = 16;

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

impl KeyShape {
    /// Whether a key has this shape, as long as nothing was replaced that goes by the same name.
    fn is_of(&self, key: &ApiKey) -> bool {
        Arc::ptr_eq(&self.policy, &key.policy)
            && self.permissions == key.permissions
            && self.project.name == key.project
            && self.keyspace.name == key.keyspace
            && self.environment == key.environment
            && self.roles.iter().map(|role| &role.name).eq(&key.roles)
    }
}

impl Shapes {
    /// The shape of a key, if it is at hand.
    pub(super) fn at_hand(&self, key: &ApiKey) -> Option<Arc<KeyShape>> {
        self.recent.iter().find(|shape| shape.is_of(key)).cloned()
    }

    /// Keeps a shape at hand, until anything is replaced that it goes by the name of.
    pub(super) fn keep_at_hand(&mut self, shape: &Arc<KeyShape>) {
        self.recent.truncate(MOST_RECENT - 1);
        self.recent.push_front(shape.clone());
    }

    /// What went by a name may be replaced now.
    pub(super) fn let_go(&mut self) {
        self.recent = VecDeque::new();
    }

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
