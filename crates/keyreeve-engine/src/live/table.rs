//! The table and how changes reach it.

mod sink;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use keyreeve_core::{
    key::{
        Imported, KeyDigest, KeyId,
        foreign::{ForeignHash, HmacSecret},
    },
    lifecycle::Lifecycle,
    model::{ApiKey, Role},
    name::{OwnerId, ProjectName},
    permission::PermissionSet,
    quota::Stored as StoredQuota,
};
use papaya::HashMap as SharedMap;
use parking_lot::Mutex;

use super::{
    LiveKey, Tier,
    counters::Counters,
    imported::Found,
    key_index::KeyIndex,
    residence::{Residence, State, Watch},
    shape::{KeyShape, Shapes},
    slots::{OwnerSlot, ProjectSlot},
};
use crate::{
    Clock,
    store::{QuotaClaim, QuotaSubject},
    usage::KeyUsage,
};

/// Every key that verification can meet.
#[derive(Debug)]
pub struct LiveTable {
    projects: SharedMap<ProjectName, Arc<ProjectSlot>>,
    keys: KeyIndex,
    /// What is counted for keys that were used, by the first key of their chain of rotations:
    /// old and new share limits and quota.
    lineages: SharedMap<KeyId, Arc<Counters>>,
    shapes: Mutex<Shapes>,
    /// Which keys are here; `None` if all are.
    residence: Option<Residence>,
    epoch: AtomicU64,
    lost: AtomicBool,
    /// Of when everything is known, on the monotonic clock; `ALWAYS` where nothing happens elsewhere.
    as_of_ns: AtomicU64,
    /// Whether the first load is over.
    loaded: AtomicBool,
}

/// How many keys are looked at for one that can go, and counters with it.
const MOST_LOOKS: usize = 32;
/// How many counters are looked at in a sweep.
const MOST_SWEPT: usize = 10_000;

/// Stands for a table that one process has to itself: it always knows everything.
const ALWAYS: u64 = u64::MAX;

impl Default for LiveTable {
    fn default() -> Self {
        Self {
            projects: SharedMap::default(),
            keys: KeyIndex::default(),
            lineages: SharedMap::default(),
            shapes: Mutex::default(),
            residence: None,
            epoch: AtomicU64::default(),
            lost: AtomicBool::default(),
            as_of_ns: AtomicU64::new(ALWAYS),
            loaded: AtomicBool::default(),
        }
    }
}

/// What an id leads to.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// This key, whatever its state.
    Here(Arc<LiveKey>),
    /// There is no such key.
    Absent,
    /// Only the store knows.
    Unknown,
}

/// What was read of a key.
pub(crate) struct KeyRead<'r> {
    /// The key.
    pub(crate) key: &'r ApiKey,
    /// What is claimed of its chain's quota, if it has one.
    pub(crate) claim: Option<StoredQuota>,
    /// What was counted for it when it was here before, and is not stored yet.
    pub(crate) usage: Option<Arc<KeyUsage>>,
}

impl LiveTable {
    /// A table that has room for so many keys; those of other systems come on top.
    pub(crate) fn with_room_for(most: usize, clock: Arc<dyn Clock>) -> Self {
        Self { residence: Some(Residence::new(most, clock)), ..Self::default() }
    }

    /// The key of that id, whatever its state, if it is here.
    pub fn key(&self, id: &KeyId) -> Option<Arc<LiveKey>> {
        self.keys.get(id)
    }

    /// The key of that id, or whether there is one.
    pub(crate) fn lookup(&self, id: &KeyId) -> Lookup {
        match (self.keys.get(id), &self.residence) {
            (Some(key), None) => Lookup::Here(key),
            (Some(key), Some(_)) => {
                key.touch();
                Lookup::Here(key)
            }
            (None, Some(residence)) if !residence.is_absent(id) => Lookup::Unknown,
            (None, _) => Lookup::Absent,
        }
    }

    /// From now on changes of the key are noted for whoever reads it; `None` if all keys are here.
    pub(crate) fn watch_key(&self, id: KeyId) -> Option<Watch<'_>> {
        Some(self.residence.as_ref()?.watch_key(id))
    }

    /// From now on changes of the quota of a chain are noted; `None` if all keys are here.
    pub(crate) fn watch_lineage(&self, id: KeyId) -> Option<Watch<'_>> {
        Some(self.residence.as_ref()?.watch_lineage(id))
    }

    /// Puts in what was read under these watches. False if it has changed since, or if news of what the
    /// key belongs to have yet to come: without them it would be bound by nothing.
    pub(crate) fn admit(&self, watch: &Watch<'_>, lineage: &Watch<'_>, read: KeyRead<'_>) -> bool {
        let KeyRead { key, claim, usage } = read;
        let Some(residence) = &self.residence else { return true };
        let mut state = residence.lock();
        if !state.is_current(watch) || !state.is_current(lineage) {
            return false;
        }
        if matches!(key.lifecycle, Lifecycle::Deleted { .. }) {
            state.put_absent(key.id);
            return true;
        }
        if !self.knows_surroundings(key) {
            return false;
        }
        if key.policy.quota.is_some() {
            let counters = self.counters(key.lineage);
            if let (Some(claim), false) = (claim, counters.is_followed()) {
                counters.quota.lock().restored(claim);
            }
            counters.follow();
        }
        self.settle_in(residence, &mut state, key, usage);
        true
    }

    /// Notes that what was read under this watch is not there. False if it has changed since.
    pub(crate) fn admit_absent(&self, watch: &Watch<'_>) -> bool {
        let Some(residence) = &self.residence else { return true };
        let mut state = residence.lock();
        let is_current = state.is_current(watch);
        if is_current {
            state.put_absent(watch.id);
        }
        is_current
    }

    /// Whether the keyspace and the owner of a key are here.
    fn knows_surroundings(&self, key: &ApiKey) -> bool {
        let projects = self.projects.pin();
        let Some(project) = projects.get(&key.project) else { return false };
        let knows_owner = |owner| project.owners.pin().contains_key(owner);
        project.keyspaces.pin().contains_key(&key.keyspace)
            && key.owner.as_ref().is_none_or(knows_owner)
    }

    /// Puts a key in and makes room for it.
    fn settle_in(
        &self,
        residence: &Residence,
        state: &mut State,
        key: &ApiKey,
        usage: Option<Arc<KeyUsage>>,
    ) {
        if !self.keys.contains(&key.id) && key.imported.is_none() {
            state.arrived(key.id, key.lineage);
        }
        self.put(key, usage);
        let mut looks = 0;
        while state.arrivals.len() > residence.most() {
            let Some(id) = state.arrivals.pop_front() else { break };
            let Some(oldest) = self.keys.get(&id) else { continue };
            looks += 1;
            // A few get their second chance; where all are in use, one has to go all the same.
            if oldest.was_touched() && looks < MOST_LOOKS {
                state.arrivals.push_back(id);
            } else {
                drop(oldest);
                self.evict(state, &id);
            }
        }
        self.let_counters_go(residence, state, MOST_LOOKS);
    }

    /// Takes a key out of memory. What is counted for its chain stays while it matters.
    fn evict(&self, state: &mut State, id: &KeyId) {
        if let Some(key) = self.keys.remove(id) {
            state.left(*id, key.lineage(), key.project().clone());
        }
    }

    /// Looks at so many counters of chains that were put out, and lets go of those that stand as if
    /// they had never been used. Those of chains that are back stay, without being looked at again
    /// until they are put out again.
    fn let_counters_go(&self, residence: &Residence, state: &mut State, looks: usize) {
        let (now, now_ns) = residence.now();
        for _ in 0..looks.min(state.all_lingering().len()) {
            let Some((lineage, project)) = state.next_lingering() else { return };
            let lineages = self.lineages.pin();
            let Some(counters) = lineages.get(&lineage) else { continue };
            // Another key of the chain may be here, and count on them without holding on to them.
            if self.keys.contains(&lineage) || state.has_successor(&lineage) {
                continue;
            }
            if Arc::strong_count(counters) == 1 && counters.is_idle(now, now_ns) {
                lineages.remove(&lineage);
            } else {
                state.linger(lineage, project);
            }
        }
    }

    /// Whether the project exists.
    pub fn has_project(&self, name: &ProjectName) -> bool {
        self.projects.pin().contains_key(name)
    }

    /// The key of another system with this text.
    pub(crate) fn foreign_key(
        &self,
        project: &ProjectName,
        text: &str,
        peppered: impl FnOnce() -> Option<[u8; 32]>,
        hmac: Option<&HmacSecret>,
    ) -> Found {
        match self.projects.pin().get(project) {
            Some(slot) if slot.imported.is_known() => slot.imported.find(text, peppered(), hmac),
            _ => Found::Nothing,
        }
    }

    /// Whether a key with this very hash is here.
    pub(crate) fn has_foreign_hash(
        &self,
        project: &ProjectName,
        start: Option<&str>,
        hash: &ForeignHash,
    ) -> bool {
        let projects = self.projects.pin();
        let Some(slot) = projects.get(project) else { return false };
        if !hash.is_salted() {
            return slot.imported.has(hash);
        }
        let has_it = |id: &KeyId| {
            let key = self.keys.get(id);
            let imported = key.as_ref().and_then(|key| key.imported());
            imported.is_some_and(|imported| imported.hash.as_ref() == Some(hash))
        };
        start.is_some_and(|start| slot.imported.candidates(start).iter().any(has_it))
    }

    /// How many keys with a salted hash begin so.
    pub(crate) fn foreign_keys_with_start(&self, project: &ProjectName, start: &str) -> usize {
        self.projects.pin().get(project).map_or(0, |slot| slot.imported.with_start(start))
    }

    /// What a role of the project grants now.
    pub(crate) fn role_permissions(
        &self,
        project: &ProjectName,
        role: &keyreeve_core::name::RoleName,
    ) -> Option<Arc<PermissionSet>> {
        let projects = self.projects.pin();
        let roles = projects.get(project)?.roles.pin();
        roles.get(role).map(|slot| slot.grants.load().permissions.clone())
    }

    /// What is counted for a chain of rotations.
    pub(crate) fn counters(&self, lineage: KeyId) -> Arc<Counters> {
        let lineages = self.lineages.pin();
        if let Some(counters) = lineages.get(&lineage) {
            return counters.clone();
        }
        lineages.get_or_insert_with(lineage, Arc::default).clone()
    }

    /// What is counted for an owner.
    pub(crate) fn owner_counters(&self, project: &ProjectName, id: &OwnerId) -> Arc<Counters> {
        self.owner(project, id).counters.clone()
    }

    /// The counters of every lineage and every owner, each with whom it counts for.
    pub(crate) fn all_counters(&self) -> Vec<(ProjectName, QuotaSubject, Arc<Counters>)> {
        let mut all = Vec::new();
        // Of chains whose first key is gone: found in one walk, not in one for each.
        let mut orphans: HashMap<KeyId, ProjectName> = HashMap::new();
        if let Some(residence) = &self.residence {
            orphans.extend(residence.lock().all_lingering().clone());
        }
        let lineages = self.lineages.pin();
        if lineages.iter().any(|(id, _)| !self.keys.contains(id)) {
            let others = self.keys.all().filter(|key| key.lineage() != key.id());
            orphans.extend(others.map(|key| (key.lineage(), key.project().clone())));
        }
        for (id, counters) in &lineages {
            let project = self.keys.get(id).map(|key| key.project().clone());
            if let Some(project) = project.or_else(|| orphans.get(id).cloned()) {
                all.push((project, QuotaSubject::Lineage(*id), counters.clone()));
            }
        }
        for (name, project) in &self.projects.pin() {
            for (id, owner) in &project.owners.pin() {
                all.push((name.clone(), QuotaSubject::Owner(id.clone()), owner.counters.clone()));
            }
        }
        all
    }

    /// Lets go of counters that nobody counts on: those of keys that are gone.
    pub(crate) fn sweep_counters(&self) {
        if let Some(residence) = &self.residence {
            let mut state = residence.lock();
            self.let_counters_go(residence, &mut state, MOST_SWEPT);
            return;
        }
        self.lineages.pin().retain(|id, counters| {
            Arc::strong_count(counters) > 1
                || self.keys.contains(id)
                || !counters.quota.lock().is_untouched()
        });
    }

    /// Keys in the table.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether the table holds no keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last change the table knows of.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// For how long other nodes may have done what this one does not know yet: nanoseconds from the
    /// moment that everything is known of until now. `now_ns` is asked for only if need be.
    pub(crate) fn age_ns(&self, now_ns: impl FnOnce() -> u64) -> u64 {
        match self.as_of_ns.load(Ordering::Acquire) {
            ALWAYS => 0,
            as_of_ns => now_ns().saturating_sub(as_of_ns),
        }
    }

    /// Whether changes may have been missed, for good: only a restart helps.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// From now on changes are news, not memories.
    pub(crate) fn set_loaded(&self) {
        self.keys.lay_out();
        self.loaded.store(true, Ordering::Release);
        self.forget_shapes_at_hand();
    }

    /// What went by a name is gone: another one of that name is not the same.
    fn forget_shapes_at_hand(&self) {
        self.shapes.lock().let_go();
    }

    fn project(&self, name: &ProjectName) -> Arc<ProjectSlot> {
        let make = || Arc::new(ProjectSlot::new(name.clone()));
        self.projects.pin().get_or_insert_with(name.clone(), make).clone()
    }

    fn owner(&self, project: &ProjectName, id: &OwnerId) -> Arc<OwnerSlot> {
        self.project(project).owner(id)
    }

    /// A key was made or changed.
    fn put_key(&self, key: &ApiKey, is_new: bool) {
        if matches!(key.lifecycle, Lifecycle::Deleted { .. }) {
            self.remove_key(&key.id);
            return;
        }
        let Some(residence) = &self.residence else {
            self.put(key, None);
            return;
        };
        if !self.loaded.load(Ordering::Acquire) {
            // Told of at the start, with what is claimed of their quotas.
            if key.policy.quota.is_some() {
                self.counters(key.lineage).follow();
            }
            self.put(key, None);
            return;
        }
        let mut state = residence.lock();
        state.note_key(&key.id);
        let is_here = self.keys.contains(&key.id);
        // A new chain has claimed nothing. Of others that nobody followed it has to be read.
        let is_first = is_new && key.lineage == key.id;
        let is_followed = key.policy.quota.is_none()
            || is_first
            || self.lineages.pin().get(&key.lineage).is_some_and(|counters| counters.is_followed());
        if is_followed && (is_here || is_new) {
            if is_first && key.policy.quota.is_some() {
                self.counters(key.lineage).follow();
            }
            self.settle_in(residence, &mut state, key, None);
        } else if is_here {
            self.evict(&mut state, &key.id);
        }
    }

    fn put(&self, key: &ApiKey, usage: Option<Arc<KeyUsage>>) {
        if let Some(imported) = &key.imported {
            self.project(&key.project).imported.put(key.id, &key.digest, imported);
        }
        let owner = key.owner.as_ref().map(|id| self.owner(&key.project, id));
        let shape = self.shape(key);
        let live = LiveKey::new(key, shape, owner);
        if let Some(usage) = usage {
            live.go_on_counting_with(usage);
        }
        self.keys.put(live);
    }

    /// What the key has in common with others.
    pub(super) fn shape(&self, key: &ApiKey) -> Arc<KeyShape> {
        let is_loaded = self.loaded.load(Ordering::Acquire);
        if !is_loaded && let Some(shape) = self.shapes.lock().at_hand(key) {
            return shape;
        }
        let project = self.project(&key.project);
        let mut shapes = self.shapes.lock();
        let shape = shapes.share(KeyShape {
            keyspace: project.keyspace(&key.keyspace),
            environment: key.environment.clone(),
            roles: key.roles.iter().map(|name| project.role(name)).collect(),
            own_tier: Tier::of_permissions(&key.permissions),
            permissions: key.permissions.clone(),
            policy: key.policy.clone(),
            project,
        });
        if !is_loaded {
            shapes.keep_at_hand(&shape);
        }
        shape
    }

    fn remove_key(&self, id: &KeyId) {
        let mut state = self.residence.as_ref().map(Residence::lock);
        if let Some(state) = &mut state {
            state.note_key(id);
            if let Some(key) = self.keys.get(id) {
                state.left(*id, key.lineage(), key.project().clone());
            }
        }
        if let Some(key) = self.keys.remove(id)
            && let Some(imported) = key.imported()
        {
            self.project(key.project()).imported.forget(*id, key.digest(), imported);
        }
    }

    fn recognise(&self, id: &KeyId, digest: KeyDigest) {
        // Keys of other systems are always here.
        let Some(old) = self.keys.get(id) else { return };
        let Some(imported) = old.imported() else { return };
        let index = &self.project(old.project()).imported;
        let known = Imported { hash: None, ..imported.clone() };
        // Found by the new way before it is lost by the old one.
        index.put(*id, &digest, &known);
        self.keys.put(old.recognised(digest, known));
        index.forget(*id, old.digest(), imported);
    }

    fn put_role(&self, project: &ProjectName, role: &Role) {
        self.project(project).role(&role.name).set(role.permissions.clone());
    }

    fn counters_of(&self, project: &ProjectName, subject: &QuotaSubject) -> Arc<Counters> {
        match subject {
            QuotaSubject::Lineage(id) => self.counters(*id),
            QuotaSubject::Owner(id) => self.owner_counters(project, id),
        }
    }

    /// Whether what is claimed of this quota is followed here. What is not is read when it is needed.
    fn follows(&self, subject: &QuotaSubject) -> bool {
        let (Some(residence), QuotaSubject::Lineage(id)) = (&self.residence, subject) else {
            return true;
        };
        if !self.loaded.load(Ordering::Acquire) {
            return true;
        }
        residence.lock().note_lineage(id);
        self.lineages.pin().get(id).is_some_and(|counters| counters.is_followed())
    }

    fn claim_quota(&self, project: &ProjectName, claim: &QuotaClaim) {
        if !self.follows(&claim.subject) {
            return;
        }
        let counters = self.counters_of(project, &claim.subject);
        let mut quota = counters.quota.lock();
        if self.loaded.load(Ordering::Acquire) {
            quota.claimed(claim.stored);
        } else {
            quota.restored(claim.stored);
        }
    }
}

#[cfg(test)]
mod tests;
