//! One key as verification sees it. Small: there may be millions.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::{ArcSwapOption, Guard};
use jiff::Timestamp;
use keyreeve_core::{
    key::{Imported, KeyDigest, KeyId},
    lifecycle::{KeyState, Lifecycle},
    model::{ApiKey, Policy},
    name::{OwnerId, ProjectName},
    verdict::VerdictCode,
};
use serde_json::value::RawValue;

use crate::usage::KeyUsage;
pub use crate::usage::Seen;

use super::{
    LiveTable, Tier,
    bounds::{KeyBounds, Subjects},
    counters::Counters,
    shape::KeyShape,
    slots::{KeyspaceContent, OwnerSlot, raw_json},
};

/// Stands for a key that never expires.
const NEVER_MS: i64 = i64::MAX;

/// A key in the live table.
#[derive(Debug)]
pub struct LiveKey {
    id: KeyId,
    digest: KeyDigest,
    standing: Standing,
    expires_ms: i64,
    shape: Arc<KeyShape>,
    owner: Option<Arc<OwnerSlot>>,
    name: Box<str>,
    /// What few keys have.
    extras: Option<Box<Extras>>,
    /// Made at first use, and carried over when the key changes.
    usage: OnceLock<Arc<KeyUsage>>,
    /// Made at first use, and again when what bounds the key changes.
    bounds: ArcSwapOption<KeyBounds>,
    /// Whether it was taken out of the table.
    gone: AtomicBool,
    /// Whether it was used since somebody looked for one that can go.
    touched: AtomicBool,
    /// Goes up with each change; the highest stands for all that are higher.
    revision: u32,
}

/// Where a key stands, apart from what the clock says.
#[derive(Debug)]
enum Standing {
    Active,
    Disabled,
    Revoked,
    Rotating(Box<(Timestamp, KeyId)>),
}

#[derive(Debug)]
struct Extras {
    /// As compact JSON; `None` when empty.
    metadata: Option<Box<RawValue>>,
    not_before: Option<Timestamp>,
    parent: Option<KeyId>,
    lineage: KeyId,
    imported: Option<Box<Imported>>,
}

impl Extras {
    fn of(key: &ApiKey) -> Option<Box<Self>> {
        let plain = key.metadata.is_empty()
            && key.not_before.is_none()
            && key.parent.is_none()
            && key.lineage == key.id
            && key.imported.is_none();
        (!plain).then(|| {
            Box::new(Self {
                metadata: raw_json(&key.metadata),
                not_before: key.not_before,
                parent: key.parent,
                lineage: key.lineage,
                imported: key.imported.clone(),
            })
        })
    }
}

impl LiveKey {
    pub(super) fn new(key: &ApiKey, shape: Arc<KeyShape>, owner: Option<Arc<OwnerSlot>>) -> Self {
        Self {
            id: key.id,
            digest: key.digest,
            standing: match &key.lifecycle {
                Lifecycle::Active => Standing::Active,
                // A deleted key is not in the table at all.
                Lifecycle::Disabled { .. } | Lifecycle::Deleted { .. } => Standing::Disabled,
                Lifecycle::Revoked { .. } => Standing::Revoked,
                Lifecycle::Rotating { successor, grace_ends_at } => {
                    Standing::Rotating(Box::new((*grace_ends_at, *successor)))
                }
            },
            expires_ms: key.expires_at.map_or(NEVER_MS, Timestamp::as_millisecond),
            shape,
            owner,
            name: key.name.as_str().into(),
            extras: Extras::of(key),
            usage: OnceLock::new(),
            bounds: ArcSwapOption::empty(),
            gone: AtomicBool::new(false),
            touched: AtomicBool::new(false),
            revision: u32::try_from(key.revision).unwrap_or(u32::MAX),
        }
    }

    /// Whoever counts on the old entry while this one takes its place counts on the same counter.
    pub(super) fn go_on_counting_for(&self, old: &Self) {
        // It is new: nobody has counted on it.
        let _ = self.usage.set(old.usage().clone());
    }

    /// Whoever counted on this key before it left memory counts on the same counter.
    pub(super) fn go_on_counting_with(&self, usage: Arc<KeyUsage>) {
        // It is new: nobody has counted on it.
        let _ = self.usage.set(usage);
    }

    /// Marks the key as taken out of the table.
    pub(super) fn go(&self) {
        self.gone.store(true, Ordering::Release);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Notes that the key was used.
    pub(super) fn touch(&self) {
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the key was used since this was last asked.
    pub(super) fn was_touched(&self) -> bool {
        self.touched.swap(false, Ordering::Relaxed)
    }

    pub(super) fn revision(&self) -> u32 {
        self.revision
    }

    /// The public id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The tenant.
    pub fn project(&self) -> &ProjectName {
        &self.shape.project.name
    }

    /// What is kept of the key's text.
    pub fn digest(&self) -> &KeyDigest {
        &self.digest
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its keyspace's name.
    pub fn keyspace(&self) -> &str {
        self.shape.keyspace.name.as_str()
    }

    /// What its keyspace says now of all its keys.
    pub(crate) fn keyspace_content(&self) -> Guard<Arc<KeyspaceContent>> {
        self.shape.keyspace.content.load()
    }

    /// Its environment's name.
    pub fn environment(&self) -> &str {
        self.shape.environment.as_str()
    }

    /// When it expires.
    pub fn expires_at(&self) -> Option<Timestamp> {
        if self.expires_ms == NEVER_MS {
            return None;
        }
        Timestamp::from_millisecond(self.expires_ms).ok()
    }

    /// From when on it is accepted.
    pub fn not_before(&self) -> Option<Timestamp> {
        self.extras.as_ref()?.not_before
    }

    /// The key it was derived from.
    pub fn parent(&self) -> Option<KeyId> {
        self.extras.as_ref()?.parent
    }

    /// The first key of its chain of rotations.
    pub fn lineage(&self) -> KeyId {
        self.extras.as_ref().map_or(self.id, |extras| extras.lineage)
    }

    pub(crate) fn imported(&self) -> Option<&Imported> {
        self.extras.as_ref()?.imported.as_deref()
    }

    /// Its metadata as compact JSON; `None` when empty.
    pub fn metadata_json(&self) -> Option<&RawValue> {
        self.extras.as_ref()?.metadata.as_deref()
    }

    /// Its owner's id.
    pub fn owner_id(&self) -> Option<&str> {
        self.owner.as_ref().map(|owner| owner.id.as_str())
    }

    pub(crate) fn owner_name(&self) -> Option<&OwnerId> {
        self.owner.as_ref().map(|owner| &owner.id)
    }

    /// Its owner's metadata as compact JSON; `None` when empty.
    pub fn owner_metadata_json(&self) -> Option<Arc<Box<RawValue>>> {
        self.owner.as_ref().and_then(|owner| owner.metadata.load_full())
    }

    /// What bounds its owner's keys, with what is counted for the owner.
    pub(crate) fn owner_bounds(&self) -> Option<(Guard<Arc<Policy>>, &Arc<Counters>)> {
        self.owner.as_ref().map(|owner| (owner.policy.load(), &owner.counters))
    }

    /// What bounds this key itself.
    pub fn policy(&self) -> &Policy {
        &self.shape.policy
    }

    /// The names of its roles.
    pub fn role_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.shape.roles.iter().map(|role| role.name.as_str())
    }

    /// How it is limited as a caller of Keyreeve itself.
    pub fn tier(&self) -> Tier {
        let of_roles = self.shape.roles.iter().filter_map(|role| role.grants.load().tier).max();
        of_roles.max(self.shape.own_tier).unwrap_or(Tier::Viewer)
    }

    /// While it is being replaced: the first moment of refusal, and by which key.
    pub fn rotation(&self) -> Option<(Timestamp, KeyId)> {
        match &self.standing {
            Standing::Rotating(rotation) => Some(**rotation),
            _ => None,
        }
    }

    /// The state people see at `now`.
    pub fn state(&self, now: Timestamp) -> KeyState {
        let expired = self.expires_ms <= now.as_millisecond();
        match &self.standing {
            Standing::Revoked => KeyState::Revoked,
            Standing::Rotating(rotation) if rotation.0 <= now => KeyState::Expired,
            Standing::Disabled => KeyState::Disabled,
            Standing::Active | Standing::Rotating(_) if expired => KeyState::Expired,
            Standing::Active => KeyState::Active,
            Standing::Rotating(_) => KeyState::Rotating,
        }
    }

    /// Whether the key's state lets it through at `now`, and if not, why.
    pub fn standing(&self, now: Timestamp) -> VerdictCode {
        match self.state(now) {
            KeyState::Active | KeyState::Rotating => {
                let early = self.not_before().is_some_and(|at| now < at);
                if early { VerdictCode::NotYetValid } else { VerdictCode::Valid }
            }
            KeyState::Disabled => VerdictCode::Disabled,
            KeyState::Revoked => VerdictCode::Revoked,
            KeyState::Deleted => VerdictCode::NotFound,
            KeyState::Expired if self.expires_ms <= now.as_millisecond() => VerdictCode::Expired,
            KeyState::Expired => VerdictCode::GraceEnded,
        }
    }

    /// Whether the key's own permissions or those of its roles include all of `wanted`.
    pub fn covers(&self, wanted: &str) -> bool {
        self.shape.permissions.covers(wanted)
            || self.shape.roles.iter().any(|role| role.grants.load().permissions.covers(wanted))
    }

    /// Calls `each` with every permission the key has, its own and those of its roles. One that
    /// comes from two places comes twice.
    pub fn for_each_permission(&self, mut each: impl FnMut(&str)) {
        for permission in self.shape.permissions.iter() {
            each(permission.as_str());
        }
        for role in &self.shape.roles {
            for permission in role.grants.load().permissions.iter() {
                each(permission.as_str());
            }
        }
    }

    /// The limits that look at this key's requests as things stand; `None` if there are none.
    pub(crate) fn bounds(&self, table: &LiveTable) -> Option<Arc<KeyBounds>> {
        let keyspace = self.shape.keyspace.content.load();
        let owner = self.owner.as_ref().map(|owner| owner.policy.load());
        let limited = |policy: &Policy| !policy.limits.is_empty();
        if !limited(&self.shape.policy)
            && !limited(&keyspace.policy)
            && !owner.as_ref().is_some_and(|policy| limited(policy))
        {
            return None;
        }
        if let Some(bounds) = &*self.bounds.load()
            && bounds.still_stand(owner.as_deref(), &keyspace.policy)
        {
            return Some(bounds.clone());
        }
        let counters = table.counters(self.lineage());
        let subjects = Subjects {
            key_id: self.id.as_str(),
            counters: &counters,
            owner: self
                .owner
                .as_ref()
                .map(|slot| (slot.id.as_str(), &slot.counters, slot.policy.load_full())),
            keyspace: (self.keyspace(), &self.shape.keyspace.counters, keyspace.policy.clone()),
        };
        let bounds = Arc::new(KeyBounds::of(&self.shape.policy, &subjects));
        self.bounds.store(Some(bounds.clone()));
        Some(bounds)
    }

    /// What is counted for its chain of rotations.
    pub(crate) fn counters(&self, table: &LiveTable) -> Arc<Counters> {
        // Where there are limits, the counters are at hand.
        match self.bounds(table) {
            Some(bounds) => bounds.counters.clone(),
            None => table.counters(self.lineage()),
        }
    }

    pub(crate) fn usage(&self) -> &Arc<KeyUsage> {
        self.usage.get_or_init(Arc::default)
    }

    /// This key, with a digest of our own in the place of a foreign hash.
    pub(super) fn recognised(&self, digest: KeyDigest, imported: Imported) -> Self {
        let standing = match &self.standing {
            Standing::Active => Standing::Active,
            Standing::Disabled => Standing::Disabled,
            Standing::Revoked => Standing::Revoked,
            Standing::Rotating(rotation) => Standing::Rotating(rotation.clone()),
        };
        let extras = self.extras.as_deref();
        Self {
            id: self.id,
            digest,
            standing,
            expires_ms: self.expires_ms,
            shape: self.shape.clone(),
            owner: self.owner.clone(),
            name: self.name.clone(),
            extras: Some(Box::new(Extras {
                metadata: extras.and_then(|extras| extras.metadata.clone()),
                not_before: self.not_before(),
                parent: self.parent(),
                lineage: self.lineage(),
                imported: Some(Box::new(imported)),
            })),
            usage: OnceLock::new(),
            bounds: ArcSwapOption::empty(),
            gone: AtomicBool::new(false),
            touched: AtomicBool::new(false),
            revision: self.revision,
        }
    }

    /// Use that is counted but not yet stored, if there is any.
    pub fn pending_usage(&self) -> Option<Seen> {
        self.usage.get().and_then(|usage| usage.peek())
    }
}
