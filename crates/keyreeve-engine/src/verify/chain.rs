//! A key and the keys it was derived from. All of them must be good, and none can do more than
//! the one before it.

use std::sync::Arc;

use keyreeve_core::key::KeyId;

use crate::live::{LiveKey, LiveTable, Lookup};

/// How many keys can be derived from one another, the first not counted.
pub(crate) const MOST_ANCESTORS: usize = 4;

/// Rights that make keys which depend on no other.
const MAKES_INDEPENDENT_KEYS: [&str; 2] = ["keyreeve.keys.manage", "keyreeve.projects.manage"];

/// A key with its ancestors, nearest first.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) key: Arc<LiveKey>,
    pub(crate) ancestors: Vec<Arc<LiveKey>>,
}

/// Why a chain is not whole.
#[derive(Debug)]
pub(crate) enum Incomplete {
    /// An ancestor of this key is gone.
    Orphan(Arc<LiveKey>),
    /// This ancestor is not in memory.
    Unread(KeyId),
}

impl Chain {
    /// The key with all it was derived from.
    pub(crate) fn of(key: Arc<LiveKey>, table: &LiveTable) -> Result<Self, Incomplete> {
        let mut ancestors: Vec<Arc<LiveKey>> = Vec::new();
        let mut next = key.parent();
        while let Some(id) = next {
            let parent = match table.lookup(&id) {
                Lookup::Unknown => return Err(Incomplete::Unread(id)),
                Lookup::Absent => None,
                Lookup::Here(parent) => Some(parent),
            };
            let parent = parent.filter(|parent| parent.project() == key.project());
            let Some(parent) = parent.filter(|_| ancestors.len() < MOST_ANCESTORS) else {
                return Err(Incomplete::Orphan(key));
            };
            next = parent.parent();
            ancestors.push(parent);
        }
        Ok(Self { key, ancestors })
    }

    /// The key itself, then its ancestors.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Arc<LiveKey>> {
        std::iter::once(&self.key).chain(&self.ancestors)
    }

    /// Whether every key of the chain includes all of `wanted`.
    pub(crate) fn covers(&self, wanted: &str) -> bool {
        self.keys().all(|key| key.covers(wanted))
    }

    /// Whether the chain may act on `wanted` as a caller of Keyreeve itself. A derived key may not
    /// make keys of their own: they would go on living when the key it was derived from is
    /// revoked.
    pub(crate) fn may(&self, wanted: &str) -> bool {
        let derived = !self.ancestors.is_empty();
        !(derived && MAKES_INDEPENDENT_KEYS.contains(&wanted)) && self.covers(wanted)
    }
}
