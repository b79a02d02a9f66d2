//! Keys by their ids, for millions of keys and many readers.
//!
//! A lookup among a million keys waits for memory, not for instructions. A slot here leads straight
//! to its key: two places in memory, where a general map has four. Readers take no lock; those who
//! write take turns.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption};
use keyreeve_core::key::KeyId;
use parking_lot::Mutex;

use super::LiveKey;

/// Slots for each key, at least. Few keys then stand in another's place, and each of those costs
/// whoever looks for the other one a walk to memory.
const SLOTS_PER_KEY: usize = 3;
const FEWEST_SLOTS: usize = 64;
/// Spreads ids over slots: 2^64 over the golden ratio, made odd (Knuth, TAOCP 3, 6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Keys by id.
#[derive(Debug)]
pub(super) struct KeyIndex {
    slots: ArcSwap<Slots>,
    /// Whether the slots hold all there is.
    laid_out: AtomicBool,
    /// Held by whoever writes.
    writer: Mutex<Writer>,
}

/// Open addressing with linear probing. A key that goes is marked and stays where it is until the
/// slots are laid out anew: others may have been put behind it.
#[derive(Debug)]
struct Slots(Box<[ArcSwapOption<LiveKey>]>);

#[derive(Debug, Default)]
struct Writer {
    /// Keys that wait for their number to be known; a later one takes the place of an earlier one.
    /// Laid out one by one, a million of them would be moved again and again.
    waiting: Vec<Arc<LiveKey>>,
    /// Slots that are taken.
    taken: usize,
    /// Those of them that keys have that are gone.
    gone: usize,
}

impl Default for KeyIndex {
    fn default() -> Self {
        Self {
            slots: ArcSwap::from_pointee(Slots::new(FEWEST_SLOTS)),
            laid_out: AtomicBool::new(false),
            writer: Mutex::default(),
        }
    }
}

impl KeyIndex {
    /// The key of that id.
    pub(super) fn get(&self, id: &KeyId) -> Option<Arc<LiveKey>> {
        let slots = self.slots.load();
        for slot in slots.from(id) {
            let key = slot.load();
            let Some(key) = key.as_ref() else { break };
            if key.id() == *id {
                return (!key.is_gone()).then(|| key.clone());
            }
        }
        if self.laid_out.load(Ordering::Acquire) {
            return None;
        }
        self.writer.lock().waiting(id)
    }

    /// Whether there is a key of that id.
    pub(super) fn contains(&self, id: &KeyId) -> bool {
        self.get(id).is_some()
    }

    /// Puts a key in the place of the one with its id, if there is one. What is counted for that
    /// one goes on being counted for this one.
    pub(super) fn put(&self, key: LiveKey) {
        let id = key.id();
        let key = Arc::new(key);
        let mut writer = self.writer.lock();
        if !self.laid_out.load(Ordering::Acquire) {
            writer.waiting.push(key);
            return;
        }
        let mut slots = self.slots.load();
        if (writer.taken + 1) * SLOTS_PER_KEY > slots.0.len() {
            let keys = writer.taken - writer.gone;
            self.lay_out_anew(&mut writer, slots.keys(), keys + 1);
            slots = self.slots.load();
        }
        let mut free = None;
        for slot in slots.from(&id) {
            match &*slot.load() {
                // Where one is gone another may stand, but this one may stand further on.
                Some(old) if old.is_gone() => {
                    free.get_or_insert(slot);
                }
                Some(old) if old.id() != id => {}
                // Read from the store, it may be ahead of the news of it.
                Some(old) if old.revision() > key.revision() => return,
                Some(old) => {
                    key.go_on_counting_for(old);
                    slot.store(Some(key));
                    return;
                }
                None => {
                    if free.is_some() {
                        writer.gone -= 1;
                    } else {
                        writer.taken += 1;
                    }
                    free.unwrap_or(slot).store(Some(key));
                    return;
                }
            }
        }
    }

    /// Takes a key away.
    pub(super) fn remove(&self, id: &KeyId) -> Option<Arc<LiveKey>> {
        let mut writer = self.writer.lock();
        if !self.laid_out.load(Ordering::Acquire) {
            let key = writer.waiting(id)?;
            // Those before it, too: none of them may come back.
            writer.waiting.iter().filter(|key| key.id() == *id).for_each(|key| key.go());
            return Some(key);
        }
        let slots = self.slots.load();
        let keys = slots.from(id).map_while(ArcSwapOption::load_full);
        let key = keys.filter(|key| key.id() == *id).find(|key| !key.is_gone())?;
        key.go();
        writer.gone += 1;
        Some(key)
    }

    /// From now on a lookup takes no lock.
    pub(super) fn lay_out(&self) {
        let mut writer = self.writer.lock();
        let waiting = mem::take(&mut writer.waiting);
        let keys = waiting.len();
        let waiting = waiting.into_iter().filter(|key| !key.is_gone());
        self.lay_out_anew(&mut writer, waiting, keys + 1);
        self.laid_out.store(true, Ordering::Release);
    }

    fn lay_out_anew(
        &self,
        writer: &mut Writer,
        keys: impl Iterator<Item = Arc<LiveKey>>,
        room_for: usize,
    ) {
        let (slots, taken) = Slots::of(keys, room_for);
        self.slots.store(Arc::new(slots));
        (writer.taken, writer.gone) = (taken, 0);
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        let writer = self.writer.lock();
        writer.waiting.len() + writer.taken - writer.gone
    }

    /// All keys, whatever comes and goes meanwhile.
    pub(super) fn all(&self) -> impl Iterator<Item = Arc<LiveKey>> + use<> {
        let slots = self.slots.load_full();
        (0..slots.0.len())
            .filter_map(move |at| slots.0[at].load_full())
            .filter(|key| !key.is_gone())
    }
}

impl Writer {
    /// The key of that id among those that wait.
    fn waiting(&self, id: &KeyId) -> Option<Arc<LiveKey>> {
        let latest = self.waiting.iter().rev().find(|key| key.id() == *id)?;
        (!latest.is_gone()).then(|| latest.clone())
    }
}

impl Slots {
    /// `number` is a power of two.
    fn new(number: usize) -> Self {
        Self((0..number).map(|_| ArcSwapOption::empty()).collect())
    }

    /// The slots where a key of that id may stand, the first one first.
    fn from(&self, id: &KeyId) -> impl Iterator<Item = &ArcSwapOption<LiveKey>> + use<'_> {
        let (before, after) = self.0.split_at(place(id, self.0.len()));
        after.iter().chain(before)
    }

    fn keys(&self) -> impl Iterator<Item = Arc<LiveKey>> {
        self.0.iter().filter_map(ArcSwapOption::load_full).filter(|key| !key.is_gone())
    }

    /// These keys and how many they are, with room for half as many again as they will be, so that
    /// the next time is far off.
    fn of(keys: impl Iterator<Item = Arc<LiveKey>>, room_for: usize) -> (Self, usize) {
        let number = (room_for * SLOTS_PER_KEY * 3 / 2).next_power_of_two().max(FEWEST_SLOTS);
        let mut slots: Vec<Option<Arc<LiveKey>>> = vec![None; number];
        let mut taken = 0;
        for key in keys {
            let mut at = place(&key.id(), number);
            while slots[at].as_ref().is_some_and(|other| other.id() != key.id()) {
                at = (at + 1) % number;
            }
            if slots[at].replace(key).is_none() {
                taken += 1;
            }
        }
        (Self(slots.into_iter().map(ArcSwapOption::new).collect()), taken)
    }
}

/// Which of `slots` slots, a power of two, is the first for a key of that id.
fn place(id: &KeyId, slots: usize) -> usize {
    // Ids are random; the last four letters of twelve tell those apart that begin the same.
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(id.as_bytes()) {
        *to = *from;
    }
    let number = u128::from_le_bytes(bytes);
    #[expect(clippy::cast_possible_truncation, reason = "both halves are wanted")]
    let folded = (number as u64) ^ ((number >> 64) as u64).rotate_left(29);
    let spread = folded.wrapping_mul(SPREAD) >> (64 - slots.trailing_zeros());
    usize::try_from(spread).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::live::{LiveTable, sample};

    fn id(number: u64) -> KeyId {
        let mut entropy = [0; 16];
        entropy[..8].copy_from_slice(&number.wrapping_mul(SPREAD).to_le_bytes());
        KeyId::from_entropy(entropy)
    }

    fn live_key(id: KeyId) -> LiveKey {
        let key = sample::api_key(id);
        LiveKey::new(&key, LiveTable::default().shape(&key), None)
    }

    fn put(index: &KeyIndex, number: u64) {
        index.put(live_key(id(number)));
    }

    #[test]
    fn keys_come_and_go() {
        for laid_out_at in [0, 2_500, 10_000] {
            keys_come_and_go_laid_out_at(laid_out_at);
        }
    }

    fn keys_come_and_go_laid_out_at(laid_out_at: u64) {
        let index = KeyIndex::default();
        let mut known = HashSet::new();
        for number in 0..5_000 {
            if number == laid_out_at {
                index.lay_out();
            }
            put(&index, number);
            known.insert(number);
            if number % 3 == 0 {
                assert!(index.remove(&id(number / 2)).is_some() == known.remove(&(number / 2)));
            }
            if number % 7 == 0 {
                put(&index, number / 2);
                known.insert(number / 2);
            }
        }
        if !index.laid_out.load(Ordering::Relaxed) {
            index.lay_out();
        }
        assert_eq!(index.len(), known.len());
        for number in 0..6_000 {
            let found = index.get(&id(number)).map(|key| key.id());
            assert_eq!(found, known.contains(&number).then(|| id(number)), "{number}");
        }
        assert!(index.all().any(|key| key.id() == id(4_999)));
        assert!(!index.all().any(|key| key.id() == id(9_999)));
    }

    #[test]
    fn what_comes_and_goes_takes_no_room() {
        let index = KeyIndex::default();
        index.lay_out();
        for number in 0..20_000 {
            put(&index, number);
            assert!(index.remove(&id(number)).is_some());
        }
        assert_eq!(index.len(), 0);
        assert_eq!(index.slots.load().0.len(), FEWEST_SLOTS);
    }

    #[test]
    fn a_key_is_put_in_the_place_of_the_old_one() {
        let index = KeyIndex::default();
        for number in [1, 1, 2, 2] {
            put(&index, number);
        }
        assert!(index.remove(&id(2)).is_some() && index.remove(&id(2)).is_none());
        index.lay_out();
        assert_eq!((index.len(), index.get(&id(2)).is_some()), (1, false));
        let first = index.get(&id(1)).unwrap();
        put(&index, 1);
        let second = index.get(&id(1)).unwrap();
        assert!(!Arc::ptr_eq(&first, &second) && Arc::ptr_eq(first.usage(), second.usage()));
        assert!(index.remove(&id(1)).is_some());
        assert!(index.remove(&id(1)).is_none());
        put(&index, 1);
        let third = index.get(&id(1)).unwrap();
        assert!(!Arc::ptr_eq(second.usage(), third.usage()), "it was gone");
        assert_eq!(index.len(), 1);
    }

    #[test]
    fn readers_never_miss_a_key_that_stays() {
        let index = KeyIndex::default();
        index.lay_out();
        (0..100).for_each(|number| put(&index, number));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        while !done.load(Ordering::Relaxed) {
                            assert!((0..100).all(|number| index.contains(&id(number))));
                        }
                    })
                })
                .collect();
            for number in 100..3_000 {
                put(&index, number);
                put(&index, number % 100);
                if number % 2 == 0 {
                    index.remove(&id(number));
                }
            }
            done.store(true, Ordering::Relaxed);
            for reader in readers {
                reader.join().unwrap();
            }
        });
        assert_eq!(index.len(), 100 + 2_900 / 2);
    }
}
