//! Counting use without writing on every use.
//!
//! A key's counter is made at its first use. The first use after a flush puts the counter on a
//! list, so a flush walks only keys that were used. A crash loses at most one flush interval of
//! counts; a graceful stop loses none.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use keyreeve_core::{key::KeyId, name::ProjectName};
use parking_lot::Mutex;

use crate::{
    live::LiveKey,
    store::{Peaks, UsageDelta},
};

/// Address and user agent are noted at most this often per key; the counter misses nothing.
const NOTE_EVERY_MS: i64 = 1000;
const LONGEST_USER_AGENT: usize = 200;
/// The shortest span.
const SPAN_MS: i64 = 10_000;

/// Use of a key since the last flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Times it was found valid.
    pub verifications: u64,
    /// The last of them.
    pub last_used_at: Timestamp,
    /// Where it came from, if known.
    pub last_ip: Option<IpAddr>,
    /// With which user agent, if known.
    pub last_user_agent: Option<String>,
    /// The busiest spans since the process started.
    pub peaks: Peaks,
}

/// Use of one key since the process started.
///
/// Two threads that serve the same key write to the same memory at each use, and waiting for that
/// memory is the dearest part of counting. So a use adds to one number; everything else is worked
/// out from that number when a span or a flush interval ends.
#[derive(Debug, Default)]
pub(crate) struct KeyUsage {
    total: AtomicU64,
    /// Whether the key is on the list of the next flush.
    listed: AtomicBool,
    /// The running ten seconds, counted from the epoch.
    span: AtomicU32,
    last_used_ms: AtomicI64,
    noted_ms: AtomicI64,
    book: Mutex<Book>,
}

/// What is written seldom.
#[derive(Debug, Default)]
struct Book {
    /// How much of the total is stored.
    flushed: u64,
    /// Of ten seconds, an hour and a day.
    spans: [Span; 3],
    ip: Option<IpAddr>,
    user_agent: Option<Box<str>>,
}

/// The running span of one length, and the most in any before it. A use that comes just as a span
/// ends may be counted in the other one.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    number: u32,
    /// The total when it began.
    begun_at: u64,
    peak: u32,
}

/// How many runs of ten seconds a span has.
const SPANS: [u32; 3] = [1, 360, 8_640];

impl Span {
    fn count(&self, total: u64) -> u32 {
        let running = total.saturating_sub(self.begun_at);
        self.peak.max(u32::try_from(running).unwrap_or(u32::MAX))
    }

    fn turn(&mut self, number: u32, total: u64) {
        if self.number != number {
            *self = Self { number, begun_at: total, peak: self.count(total) };
        }
    }
}

impl KeyUsage {
    /// Counts one use. Returns whether it is the first since the last flush.
    fn count(&self, now_ms: i64, ip: Option<IpAddr>, user_agent: Option<&str>) -> bool {
        // In one order with `take`: a use that finds the key listed is seen by the flush that
        // takes it off the list.
        let before = self.total.fetch_add(1, Ordering::SeqCst);
        let first =
            !self.listed.load(Ordering::SeqCst) && !self.listed.swap(true, Ordering::SeqCst);
        if self.last_used_ms.load(Ordering::Relaxed) < now_ms {
            self.last_used_ms.fetch_max(now_ms, Ordering::Relaxed);
        }
        // Times before 1970 or after 3327 would share a span, which harms nobody.
        let span = u32::try_from(now_ms / SPAN_MS).unwrap_or_default();
        if self.span.load(Ordering::Relaxed) != span {
            let mut book = self.book.lock();
            self.span.store(span, Ordering::Relaxed);
            for (running, length) in book.spans.iter_mut().zip(SPANS) {
                running.turn(span / length, before);
            }
        }
        let known = ip.is_some() || user_agent.is_some();
        let due = first || now_ms - self.noted_ms.load(Ordering::Relaxed) >= NOTE_EVERY_MS;
        // Whoever holds the lock is noting something just as fresh.
        if known
            && due
            && let Some(mut book) = self.book.try_lock()
        {
            self.noted_ms.store(now_ms, Ordering::Relaxed);
            book.ip = ip.or(book.ip);
            if let Some(agent) = user_agent.map(shortened)
                && book.user_agent.as_deref() != Some(agent)
            {
                book.user_agent = Some(agent.into());
            }
        }
        first
    }

    pub(crate) fn peek(&self) -> Option<Seen> {
        let book = self.book.lock();
        self.seen(&book, self.total.load(Ordering::SeqCst))
    }

    fn take(&self) -> Option<Seen> {
        let mut book = self.book.lock();
        self.listed.swap(false, Ordering::SeqCst);
        let total = self.total.load(Ordering::SeqCst);
        let seen = self.seen(&book, total);
        book.flushed = total;
        seen
    }

    /// Uses could not be stored. Returns whether the key has to go on the list again.
    fn put_back(&self, verifications: u64) -> bool {
        let mut book = self.book.lock();
        book.flushed = book.flushed.saturating_sub(verifications);
        !self.listed.swap(true, Ordering::SeqCst)
    }

    fn seen(&self, book: &Book, total: u64) -> Option<Seen> {
        let verifications = total.saturating_sub(book.flushed);
        if verifications == 0 {
            return None;
        }
        let [ten_seconds, hour, day] = book.spans.map(|span| span.count(total));
        let last_used_ms = self.last_used_ms.load(Ordering::Relaxed);
        Some(Seen {
            verifications,
            last_used_at: Timestamp::from_millisecond(last_used_ms)
                .unwrap_or(Timestamp::UNIX_EPOCH),
            last_ip: book.ip,
            last_user_agent: book.user_agent.clone().map(Into::into),
            peaks: Peaks { ten_seconds, hour, day },
        })
    }
}

/// The beginning, up to what no user agent has and not every database takes.
fn shortened(user_agent: &str) -> &str {
    let user_agent = user_agent.split(char::is_control).next().unwrap_or_default();
    match user_agent.char_indices().nth(LONGEST_USER_AGENT) {
        Some((end, _)) => &user_agent[..end],
        None => user_agent,
    }
}

/// Keys and how they were used.
pub(crate) type UsedKeys = Vec<(Arc<LiveKey>, UsageDelta)>;

/// The keys used since the last flush.
#[derive(Debug)]
pub(crate) struct UsageLedger {
    used: Mutex<Vec<Arc<LiveKey>>>,
    /// Their counters by id, where keys leave memory and come back before the flush.
    by_id: Option<Mutex<HashMap<KeyId, Arc<KeyUsage>>>>,
}

impl UsageLedger {
    /// A ledger; `keys_come_back` says whether keys leave memory and are read again.
    pub(crate) fn new(keys_come_back: bool) -> Self {
        Self { used: Mutex::default(), by_id: keys_come_back.then(Mutex::default) }
    }

    /// Counts one use of a key.
    pub(crate) fn record(
        &self,
        key: &Arc<LiveKey>,
        now: Timestamp,
        ip: Option<IpAddr>,
        user_agent: Option<&str>,
    ) {
        if key.usage().count(now.as_millisecond(), ip, user_agent) {
            self.list(key);
        }
    }

    /// Puts a key on the list. Each counter stands there for itself, also where two are of one key.
    fn list(&self, key: &Arc<LiveKey>) {
        self.used.lock().push(key.clone());
        if let Some(by_id) = &self.by_id {
            by_id.lock().entry(key.id()).or_insert_with(|| key.usage().clone());
        }
    }

    /// What is counted for a key and not yet stored, for one that comes back into memory.
    pub(crate) fn counter_of(&self, id: &KeyId) -> Option<Arc<KeyUsage>> {
        self.by_id.as_ref()?.lock().get(id).cloned()
    }

    /// Takes what was counted, by project.
    pub(crate) fn drain(&self) -> Vec<(ProjectName, UsedKeys)> {
        if let Some(by_id) = &self.by_id {
            by_id.lock().clear();
        }
        let used = std::mem::take(&mut *self.used.lock());
        let mut by_project: Vec<(ProjectName, UsedKeys)> = Vec::new();
        for key in used {
            let Some(seen) = key.usage().take() else {
                continue;
            };
            let delta = delta_of(key.id(), seen);
            match by_project.iter_mut().find(|(project, _)| project == key.project()) {
                Some((_, deltas)) => deltas.push((key, delta)),
                None => by_project.push((key.project().clone(), vec![(key, delta)])),
            }
        }
        by_project
    }

    /// Puts back what could not be stored, so that the next flush tries again.
    pub(crate) fn restore(&self, key: &Arc<LiveKey>, verifications: u64) {
        if key.usage().put_back(verifications) {
            self.list(key);
        }
    }
}

fn delta_of(key: KeyId, seen: Seen) -> UsageDelta {
    UsageDelta {
        key,
        verifications: seen.verifications,
        last_used_at: seen.last_used_at,
        last_ip: seen.last_ip,
        last_user_agent: seen.last_user_agent,
        peaks: seen.peaks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_everything_and_notes_the_latest() {
        let usage = KeyUsage::default();
        let ip: IpAddr = [203, 0, 113, 9].into();
        assert!(usage.count(1_000, Some(ip), Some("curl/8")));
        assert!(!usage.count(1_001, None, None));
        assert!(!usage.count(5_000, None, Some("agent/2")));
        let seen = usage.take().unwrap();
        assert_eq!(seen.verifications, 3);
        assert_eq!(seen.last_used_at.as_millisecond(), 5_000);
        assert_eq!(seen.last_ip, Some(ip));
        assert_eq!(seen.last_user_agent.as_deref(), Some("agent/2"));
        assert_eq!(seen.peaks, Peaks { ten_seconds: 3, hour: 3, day: 3 });
        assert_eq!(usage.take(), None);
        assert!(usage.count(6_000, None, None), "first after a flush");
    }

    #[test]
    fn the_busiest_spans_are_kept() {
        let usage = KeyUsage::default();
        let hour = 3_600_000;
        for now_ms in [1, 2, 3, 10_001, hour + 1, hour + 2] {
            usage.count(now_ms, None, None);
        }
        assert_eq!(usage.take().unwrap().peaks, Peaks { ten_seconds: 3, hour: 4, day: 6 });
        usage.count(25 * hour, None, None);
        assert_eq!(usage.peek().unwrap().peaks, Peaks { ten_seconds: 3, hour: 4, day: 6 });
    }

    #[test]
    fn what_was_not_stored_is_counted_again() {
        let usage = KeyUsage::default();
        usage.count(1, None, None);
        usage.count(2, None, None);
        let seen = usage.take().unwrap();
        assert!(usage.count(3, None, None));
        assert!(!usage.put_back(seen.verifications), "it is on the list");
        assert_eq!(usage.take().unwrap().verifications, 3);
        assert!(usage.put_back(3), "it is not");
        assert_eq!(usage.take().unwrap().verifications, 3);
    }

    #[test]
    fn long_user_agents_are_cut_at_a_character() {
        let usage = KeyUsage::default();
        usage.count(1, None, Some(&"ä".repeat(300)));
        assert_eq!(usage.take().unwrap().last_user_agent.unwrap().chars().count(), 200);
        usage.count(2_000, None, Some("curl/8\0 and more"));
        assert_eq!(usage.take().unwrap().last_user_agent.as_deref(), Some("curl/8"));
    }

    #[test]
    fn concurrent_uses_are_all_counted() {
        let usage = KeyUsage::default();
        let firsts = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| (0..10_000).filter(|n| usage.count(*n, None, Some("x"))).count())
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum::<usize>()
        });
        assert_eq!(firsts, 1);
        assert_eq!(usage.take().unwrap().verifications, 40_000);
    }
}
