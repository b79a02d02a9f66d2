//! Every limit that looks at a key's requests, put together from the key, its owner and its
//! keyspace, and resolved as far as it can be without a request.

use std::sync::Arc;

use keyreeve_core::{
    limit::{Limit, Per, Rate},
    model::{Policy, PolicyHolder},
};

use super::counters::{Counters, LimitCell};

/// The limits of one key.
#[derive(Debug)]
pub(crate) struct KeyBounds {
    /// The policies these were made from, to tell whether they still stand.
    owner: Option<Arc<Policy>>,
    keyspace: Arc<Policy>,
    /// What is counted for the key's chain of rotations.
    pub(crate) counters: Arc<Counters>,
    pub(crate) limits: Box<[BoundLimit]>,
    /// Whether any of them moves with how requests go.
    pub(crate) adaptive: bool,
}

/// One limit and where it counts.
#[derive(Debug)]
pub(crate) struct BoundLimit {
    policy: Arc<Policy>,
    index: usize,
    pub(crate) per: Per,
    pub(crate) place: Place,
}

/// Where a limit counts.
#[derive(Debug)]
pub(crate) enum Place {
    /// In this cell, at this rate.
    Here(Arc<LimitCell>, Rate),
    /// In a cell of its own for each address or route, found at each request; counted apart from
    /// those of other holders.
    ByRequest { holder: u64, of: PolicyHolder },
}

/// Who and what stands behind a key.
pub(super) struct Subjects<'a> {
    pub(super) key_id: &'a str,
    pub(super) counters: &'a Arc<Counters>,
    pub(super) owner: Option<(&'a str, &'a Arc<Counters>, Arc<Policy>)>,
    pub(super) keyspace: (&'a str, &'a Arc<Counters>, Arc<Policy>),
}

impl BoundLimit {
    /// The limit as it was set.
    pub(crate) fn limit(&self) -> &Limit {
        &self.policy.limits.as_slice()[self.index]
    }
}

impl KeyBounds {
    /// Whether owner and keyspace still say what they said.
    pub(super) fn still_stand(&self, owner: Option<&Arc<Policy>>, keyspace: &Arc<Policy>) -> bool {
        let same_owner = match (&self.owner, owner) {
            (Some(was), Some(is)) => Arc::ptr_eq(was, is),
            (None, None) => true,
            _ => false,
        };
        same_owner && Arc::ptr_eq(&self.keyspace, keyspace)
    }

    /// Puts the limits together. A key's limit goes before its owner's of the same name, an
    /// owner's before the keyspace's.
    pub(super) fn of(own: &Arc<Policy>, subjects: &Subjects<'_>) -> Self {
        let owner = subjects.owner.as_ref().map(|(_, _, policy)| policy.clone());
        let keyspace = subjects.keyspace.2.clone();
        let mut limits: Vec<BoundLimit> = Vec::new();
        let holders = [
            (PolicyHolder::Key, Some(own)),
            (PolicyHolder::Owner, owner.as_ref()),
            (PolicyHolder::Keyspace, Some(&keyspace)),
        ];
        for (holder, policy) in holders {
            let Some(policy) = policy else { continue };
            for (index, limit) in policy.limits.as_slice().iter().enumerate() {
                if limits.iter().all(|bound| bound.limit().name != limit.name) {
                    limits.extend(bound(holder, policy, index, subjects));
                }
            }
        }
        Self {
            owner,
            keyspace,
            counters: subjects.counters.clone(),
            adaptive: limits.iter().any(|bound| bound.limit().adaptive.is_some()),
            limits: limits.into(),
        }
    }
}

/// One limit with its place; `None` for a limit per owner where there is none.
fn bound(
    holder: PolicyHolder,
    policy: &Arc<Policy>,
    index: usize,
    subjects: &Subjects<'_>,
) -> Option<BoundLimit> {
    let limit = &policy.limits.as_slice()[index];
    let per = limit.per.unwrap_or(holder.counts());
    let here = |counters: &Counters, subject: &str| {
        Place::Here(counters.cell(&limit.name), *limit.rate_for(subject))
    };
    let owner = subjects.owner.as_ref();
    let place = match per {
        Per::Key => here(subjects.counters, subjects.key_id),
        Per::Owner => owner.map(|(id, counters, _)| here(counters, id))?,
        Per::Keyspace => here(subjects.keyspace.1, subjects.keyspace.0),
        Per::Ip | Per::Route => {
            let of = holder;
            let holder = match of {
                PolicyHolder::Key => subjects.counters,
                PolicyHolder::Owner => owner.map(|(_, counters, _)| *counters)?,
                PolicyHolder::Keyspace => subjects.keyspace.1,
            };
            Place::ByRequest { holder: holder.serial, of }
        }
    };
    Some(BoundLimit { policy: policy.clone(), index, per, place })
}
