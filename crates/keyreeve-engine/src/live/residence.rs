//! Which keys are in memory where not all of them are.
//!
//! A key that is asked for and not there is read from the store and put in. Between the reading and
//! the putting it may change: whoever reads says so first, every change of what is being read is
//! noted, and what was read before a change is not put in. The same lock is held for both, so that no
//! change falls in between.
//!
//! Room is made by second chance: keys go in the order in which they came, but one that was used since
//! stays for another round.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    hash::Hash,
    sync::Arc,
};

use jiff::Timestamp;
use keyreeve_core::{key::KeyId, name::ProjectName};
use parking_lot::{Mutex, MutexGuard};

use crate::Clock;

/// Ids of which it is known that there is no such key: whoever guesses asks the store once.
const MOST_ABSENT: usize = 100_000;

/// The keys that are here, and those on their way.
pub(super) struct Residence {
    most: usize,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

impl fmt::Debug for Residence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Residence").field("most", &self.most).finish_non_exhaustive()
    }
}

/// What is held while a key comes, goes or changes.
#[derive(Debug, Default)]
pub(super) struct State {
    keys: Watched<KeyId>,
    /// First keys of chains, whose quota is being read.
    lineages: Watched<KeyId>,
    /// In the order in which they came; some may be gone, some may be here twice.
    pub(super) arrivals: VecDeque<KeyId>,
    /// Chains of keys that were put out, whose counters may still matter; each stands in the queue
    /// once, however often its keys come and go.
    lingering: HashMap<KeyId, ProjectName>,
    lingering_queue: VecDeque<KeyId>,
    /// How many keys are here that follow another in their chain of rotations, by the first of it.
    successors: HashMap<KeyId, usize>,
    absent: HashSet<KeyId>,
    absent_arrivals: VecDeque<KeyId>,
}

/// What is being read, by how many, and how often it changed meanwhile.
#[derive(Debug)]
struct Watched<T>(HashMap<T, (usize, u64)>);

impl<T> Default for Watched<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Hash + Eq> Watched<T> {
    fn begin(&mut self, what: T) -> u64 {
        let (readers, changes) = self.0.entry(what).or_default();
        *readers += 1;
        *changes
    }

    fn end(&mut self, what: &T) {
        if let Some((readers, _)) = self.0.get_mut(what) {
            *readers -= 1;
            if *readers == 0 {
                self.0.remove(what);
            }
        }
    }

    fn note(&mut self, what: &T) {
        if let Some((_, changes)) = self.0.get_mut(what) {
            *changes += 1;
        }
    }

    fn is_as_it_was(&self, what: &T, seen: u64) -> bool {
        self.0.get(what).is_some_and(|(_, changes)| *changes == seen)
    }
}

/// A key that is being read, or the quota of its chain. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Watch<'r> {
    residence: &'r Residence,
    of_lineage: bool,
    pub(super) id: KeyId,
    seen: u64,
}

impl Residence {
    /// Room for so many keys.
    pub(super) fn new(most: usize, clock: Arc<dyn Clock>) -> Self {
        Self { most, clock, state: Mutex::default() }
    }

    /// The time of day, and that of limits.
    pub(super) fn now(&self) -> (Timestamp, u64) {
        (self.clock.now_ms(), self.clock.monotonic_ns())
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// From now on changes of the key are noted.
    pub(super) fn watch_key(&self, id: KeyId) -> Watch<'_> {
        let seen = self.lock().keys.begin(id);
        Watch { residence: self, of_lineage: false, id, seen }
    }

    /// From now on changes of the quota of the chain that begins with this key are noted.
    pub(super) fn watch_lineage(&self, id: KeyId) -> Watch<'_> {
        let seen = self.lock().lineages.begin(id);
        Watch { residence: self, of_lineage: true, id, seen }
    }

    /// Whether it is known that there is no such key.
    pub(super) fn is_absent(&self, id: &KeyId) -> bool {
        self.lock().absent.contains(id)
    }
}

impl State {
    /// A key comes in.
    pub(super) fn arrived(&mut self, id: KeyId, lineage: KeyId) {
        self.arrivals.push_back(id);
        if lineage != id {
            *self.successors.entry(lineage).or_default() += 1;
        }
    }

    /// A key goes. What is counted for its chain is looked at later.
    pub(super) fn left(&mut self, id: KeyId, lineage: KeyId, project: ProjectName) {
        if lineage != id
            && let Some(count) = self.successors.get_mut(&lineage)
        {
            *count -= 1;
            if *count == 0 {
                self.successors.remove(&lineage);
            }
        }
        self.linger(lineage, project);
    }

    /// The chain's counters are to be looked at later.
    pub(super) fn linger(&mut self, lineage: KeyId, project: ProjectName) {
        if self.lingering.insert(lineage, project).is_none() {
            self.lingering_queue.push_back(lineage);
        }
    }

    /// The chain that was looked at longest ago, taken off the queue.
    pub(super) fn next_lingering(&mut self) -> Option<(KeyId, ProjectName)> {
        let lineage = self.lingering_queue.pop_front()?;
        Some((lineage, self.lingering.remove(&lineage)?))
    }

    /// All such chains, with their projects.
    pub(super) fn all_lingering(&self) -> &HashMap<KeyId, ProjectName> {
        &self.lingering
    }

    /// Whether a key is here that follows this one in its chain.
    pub(super) fn has_successor(&self, lineage: &KeyId) -> bool {
        self.successors.contains_key(lineage)
    }

    /// The key changes just now.
    pub(super) fn note_key(&mut self, id: &KeyId) {
        self.keys.note(id);
        self.absent.remove(id);
    }

    /// The quota of a chain changes just now.
    pub(super) fn note_lineage(&mut self, id: &KeyId) {
        self.lineages.note(id);
    }

    /// Whether what was read under this watch is still so.
    pub(super) fn is_current(&self, watch: &Watch<'_>) -> bool {
        let watched = if watch.of_lineage { &self.lineages } else { &self.keys };
        watched.is_as_it_was(&watch.id, watch.seen)
    }

    /// There is no such key.
    pub(super) fn put_absent(&mut self, id: KeyId) {
        while self.absent_arrivals.len() >= MOST_ABSENT {
            if let Some(oldest) = self.absent_arrivals.pop_front() {
                self.absent.remove(&oldest);
            }
        }
        if self.absent.insert(id) {
            self.absent_arrivals.push_back(id);
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut state = self.residence.lock();
        let watched = if self.of_lineage { &mut state.lineages } else { &mut state.keys };
        watched.end(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::sample::still_clock;

    fn id(number: u8) -> KeyId {
        KeyId::from_entropy([number; 16])
    }

    #[test]
    fn a_change_while_reading_is_seen_by_all_who_read() {
        let residence = Residence::new(10, still_clock());
        let (one, other) = (residence.watch_key(id(1)), residence.watch_key(id(2)));
        let late = {
            let mut state = residence.lock();
            assert!(state.is_current(&one) && state.is_current(&other));
            state.note_key(&id(1));
            assert!(!state.is_current(&one) && state.is_current(&other));
            drop(state);
            residence.watch_key(id(1))
        };
        let quota = residence.watch_lineage(id(1));
        residence.lock().note_key(&id(1));
        assert!(!residence.lock().is_current(&late));
        assert!(residence.lock().is_current(&quota), "the key changed, not its quota");
        drop((one, other, late, quota));
        assert!(residence.lock().keys.0.is_empty() && residence.lock().lineages.0.is_empty());
    }

    #[test]
    fn a_chain_lingers_once() {
        let residence = Residence::new(10, still_clock());
        let mut state = residence.lock();
        let project = ProjectName::default_project();
        for number in [1, 2, 1, 1] {
            state.left(id(number), id(number), project.clone());
        }
        assert_eq!(state.next_lingering(), Some((id(1), project.clone())));
        state.linger(id(1), project.clone());
        assert_eq!(state.next_lingering(), Some((id(2), project.clone())));
        assert_eq!(state.next_lingering(), Some((id(1), project)));
        assert_eq!(state.next_lingering(), None);
    }

    #[test]
    fn what_is_not_there_is_known_until_it_comes() {
        let residence = Residence::new(10, still_clock());
        residence.lock().put_absent(id(1));
        assert!(residence.is_absent(&id(1)) && !residence.is_absent(&id(2)));
        residence.lock().note_key(&id(1));
        assert!(!residence.is_absent(&id(1)));
        for number in 0..=MOST_ABSENT {
            let mut entropy = [0; 16];
            entropy[..8].copy_from_slice(&number.to_le_bytes());
            residence.lock().put_absent(KeyId::from_entropy(entropy));
        }
        assert!(residence.lock().absent.len() <= MOST_ABSENT);
    }
}
