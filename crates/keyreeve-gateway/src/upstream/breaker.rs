//! Services that do not answer are left alone for a while, so that callers are told at once and the
//! service can recover.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use papaya::HashMap;

/// So many calls in a row that did not reach the service open the circuit.
const FAILURES: u32 = 5;
/// For how long it stays open before one call tries again.
const PAUSE: Duration = Duration::from_secs(5);
/// Connections that are kept apart.
const MOST: usize = 10_000;

/// How one service fares, by what happened to its last calls.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: AtomicU32,
    /// Until when nobody calls; 0 if the circuit is closed.
    open_until_ns: AtomicU64,
}

impl Breaker {
    /// Lets a call through, or tells for how long none is. When the pause is over one call goes ahead
    /// of the others.
    pub(crate) fn admit(&self, now_ns: impl FnOnce() -> u64) -> Result<(), Duration> {
        let until = self.open_until_ns.load(Ordering::Acquire);
        if until == 0 {
            return Ok(());
        }
        let now_ns = now_ns();
        if now_ns < until {
            return Err(Duration::from_nanos(until - now_ns));
        }
        // Whoever sets it first is the one that tries.
        let next = now_ns.saturating_add(pause_ns());
        let order = (Ordering::AcqRel, Ordering::Acquire);
        match self.open_until_ns.compare_exchange(until, next, order.0, order.1) {
            Ok(_) => Ok(()),
            Err(until) => Err(Duration::from_nanos(until.saturating_sub(now_ns))),
        }
    }

    /// How many calls may be begun now: all, none, or one that tries again.
    pub(crate) fn places(&self, now_ns: u64, all: u32) -> u32 {
        match self.open_until_ns.load(Ordering::Acquire) {
            0 => all,
            until if now_ns < until => 0,
            _ => all.min(1),
        }
    }

    /// The service answered.
    pub(crate) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Release);
        }
        if self.open_until_ns.load(Ordering::Relaxed) != 0 {
            self.open_until_ns.store(0, Ordering::Release);
        }
    }

    /// The service could not be reached, or did not answer in time.
    pub(crate) fn failed(&self, now_ns: u64) {
        if self.failures.fetch_add(1, Ordering::AcqRel).saturating_add(1) >= FAILURES {
            self.open_until_ns.store(now_ns.saturating_add(pause_ns()).max(1), Ordering::Release);
        }
    }

    fn is_open(&self, now_ns: u64) -> bool {
        self.open_until_ns.load(Ordering::Relaxed) > now_ns
    }
}

fn pause_ns() -> u64 {
    u64::try_from(PAUSE.as_nanos()).unwrap_or(u64::MAX)
}

/// How each service fares.
pub(crate) struct Breakers<K>(HashMap<K, Arc<Breaker>>);

impl<K: Hash + Eq> Default for Breakers<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Breakers<K> {
    /// The breaker of one service.
    pub(crate) fn of(&self, lane: &K) -> Arc<Breaker> {
        let breakers = self.0.pin();
        if let Some(breaker) = breakers.get(lane) {
            return breaker.clone();
        }
        if breakers.len() >= MOST {
            breakers.clear();
        }
        breakers.get_or_insert_with(lane.clone(), Arc::default).clone()
    }

    /// How many are open now.
    pub(crate) fn open(&self, now_ns: u64) -> usize {
        self.0.pin().values().filter(|breaker| breaker.is_open(now_ns)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_open_it_and_one_call_tries_again() {
        let breaker = Breaker::default();
        for _ in 1..FAILURES {
            breaker.failed(1);
            assert!(breaker.admit(|| 1).is_ok());
        }
        breaker.failed(1);
        assert!(breaker.is_open(2));
        assert_eq!(breaker.places(2, 9), 0);
        assert_eq!(breaker.places(2 + pause_ns(), 9), 1);
        assert!(breaker.admit(|| 2).is_err());
        let later = 2 + pause_ns();
        assert!(breaker.admit(|| later).is_ok(), "one tries");
        assert!(breaker.admit(|| later).is_err(), "the others wait");
        breaker.succeeded();
        assert!(breaker.admit(|| later).is_ok() && !breaker.is_open(later));
        assert_eq!(breaker.places(later, 9), 9);
    }

    #[test]
    fn an_answer_in_between_starts_the_count_anew() {
        let breaker = Breaker::default();
        for _ in 0..20 {
            breaker.failed(1);
            breaker.succeeded();
        }
        assert!(breaker.admit(|| 1).is_ok());
    }
}
