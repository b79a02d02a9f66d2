//! Counting use without writing on every use.
//!
//! A key's counter is made at its first use. The first use after a flush puts the counter on a
//! list, so a flush walks only keys that were used. A crash loses at most one flush interval of
//! counts; a graceful stop loses none.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering},
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

#[derive(Debug, Default)]
pub(crate) struct KeyUsage {
    pending: AtomicU64,
    last_used_ms: AtomicI64,
    noted_ms: AtomicI64,
    spans: [Span; 3],
    note: Mutex<Note>,
}

/// The requests of the running span of one length, and the most in any.
#[derive(Debug, Default)]
struct Span {
    /// The span's number in the high half, its count in the low one.
    running: AtomicU64,
    peak: AtomicU32,
}

/// Ten seconds, an hour, a day.
const SPANS_MS: [i64; 3] = [10_000, 3_600_000, 86_400_000];

impl Span {
    fn count(&self, number: u32) {
        let step = |running: u64| {
            let same = running >> 32 == u64::from(number);
            Some(if same { running.saturating_add(1) } else { u64::from(number) << 32 | 1 })
        };
        let order = Ordering::Relaxed;
        let before = self.running.fetch_update(order, order, step).unwrap_or_default();
        let now = step(before).unwrap_or_default();
        let count = u32::try_from(now & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        if count > self.peak.load(order) {
            self.peak.fetch_max(count, order);
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Note {
    ip: Option<IpAddr>,
    user_agent: Option<Box<str>>,
}

impl KeyUsage {
    /// Counts one use. Returns whether it is the first since the last flush.
    fn count(&self, now_ms: i64, ip: Option<IpAddr>, user_agent: Option<&str>) -> bool {
        self.last_used_ms.fetch_max(now_ms, Ordering::Relaxed);
        for (span, length_ms) in self.spans.iter().zip(SPANS_MS) {
            // Times before 1970 or after 3327 would share a span, which harms nobody.
            span.count(u32::try_from(now_ms / length_ms).unwrap_or_default());
        }
        let first = self.pending.fetch_add(1, Ordering::AcqRel) == 0;
        let known = ip.is_some() || user_agent.is_some();
        let due = first || now_ms - self.noted_ms.load(Ordering::Relaxed) >= NOTE_EVERY_MS;
        // Whoever holds the lock is noting something just as fresh.
        if known
            && due
            && let Some(mut note) = self.note.try_lock()
        {
            self.noted_ms.store(now_ms, Ordering::Relaxed);
            note.ip = ip.or(note.ip);
            if let Some(agent) = user_agent.map(shortened)
                && note.user_agent.as_deref() != Some(agent)
            {
                note.user_agent = Some(agent.into());
            }
        }
        first
    }

    pub(crate) fn peek(&self) -> Option<Seen> {
        let verifications = self.pending.load(Ordering::Acquire);
        (verifications > 0).then(|| self.seen(verifications))
    }

    fn take(&self) -> Option<Seen> {
        let verifications = self.pending.swap(0, Ordering::AcqRel);
        (verifications > 0).then(|| self.seen(verifications))
    }

    fn peaks(&self) -> Peaks {
        let [ten_seconds, hour, day] =
            [0, 1, 2].map(|n: usize| self.spans[n].peak.load(Ordering::Relaxed));
        Peaks { ten_seconds, hour, day }
    }

    fn seen(&self, verifications: u64) -> Seen {
        let note = self.note.lock().clone();
        let last_used_ms = self.last_used_ms.load(Ordering::Relaxed);
        Seen {
            verifications,
            last_used_at: Timestamp::from_millisecond(last_used_ms)
                .unwrap_or(Timestamp::UNIX_EPOCH),
            last_ip: note.ip,
            last_user_agent: note.user_agent.map(Into::into),
            peaks: self.peaks(),
        }
    }
}

fn shortened(user_agent: &str) -> &str {
    match user_agent.char_indices().nth(LONGEST_USER_AGENT) {
        Some((end, _)) => &user_agent[..end],
        None => user_agent,
    }
}

/// Keys and how they were used.
pub(crate) type UsedKeys = Vec<(Arc<LiveKey>, UsageDelta)>;

/// The keys used since the last flush.
#[derive(Debug, Default)]
pub(crate) struct UsageLedger {
    used: Mutex<Vec<Arc<LiveKey>>>,
}

impl UsageLedger {
    /// Counts one use of a key.
    pub(crate) fn record(
        &self,
        key: &Arc<LiveKey>,
        now: Timestamp,
        ip: Option<IpAddr>,
        user_agent: Option<&str>,
    ) {
        if key.usage().count(now.as_millisecond(), ip, user_agent) {
            self.used.lock().push(key.clone());
        }
    }

    /// Takes what was counted, by project.
    pub(crate) fn drain(&self) -> Vec<(ProjectName, UsedKeys)> {
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
        if key.usage().pending.fetch_add(verifications, Ordering::AcqRel) == 0 {
            self.used.lock().push(key.clone());
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
    fn long_user_agents_are_cut_at_a_character() {
        let usage = KeyUsage::default();
        usage.count(1, None, Some(&"ä".repeat(300)));
        assert_eq!(usage.take().unwrap().last_user_agent.unwrap().chars().count(), 200);
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
