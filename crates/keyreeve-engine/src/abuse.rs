//! Addresses that show bad keys, one after the other.
//!
//! Each failure takes from a small allowance. An address that used its allowance up is locked out
//! for a while: its requests are refused before any key is looked at. Asking costs nothing while
//! nobody is locked out.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use keyreeve_core::limit::Rate;

use crate::cells::{AddressGroup, CellTable};

/// Addresses that are kept apart; the rest shares one allowance.
const MOST_ADDRESSES: usize = 100_000;

#[derive(Debug)]
pub(crate) struct AbuseTracker {
    /// `None` switches the whole thing off.
    rate: Option<Rate>,
    lockout_ns: u64,
    failures: CellTable<(u64, AddressGroup)>,
    /// The latest end of any lockout: nothing is looked up once it has passed.
    last_lockout_ends_ns: AtomicU64,
}

/// What a failure led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// It was counted.
    Counted,
    /// It was one too many: from now on the address is locked out.
    LockedOut,
}

impl AbuseTracker {
    pub(crate) fn new(rate: Option<Rate>, lockout_ns: u64) -> Self {
        Self {
            rate,
            lockout_ns,
            failures: CellTable::new(MOST_ADDRESSES),
            last_lockout_ends_ns: AtomicU64::new(0),
        }
    }

    /// How long the address is still locked out in that scope, in nanoseconds. What one tenant's
    /// verifiers tell of an address says nothing to another.
    pub(crate) fn locked_for(
        &self,
        scope: impl FnOnce() -> u64,
        ip: Option<IpAddr>,
        now_ns: impl FnOnce() -> u64,
    ) -> Option<u64> {
        let last_ends_ns = self.last_lockout_ends_ns.load(Ordering::Acquire);
        if last_ends_ns == 0 {
            return None;
        }
        let now_ns = now_ns();
        if last_ends_ns <= now_ns {
            return None;
        }
        let cell = self.failures.get(&(scope(), AddressGroup::of(ip?)))?;
        cell.locked_until(now_ns).map(|until| until - now_ns)
    }

    /// Counts a bad key from this address.
    pub(crate) fn count(&self, scope: u64, ip: Option<IpAddr>, now_ns: u64) -> Failed {
        let (Some(rate), Some(ip)) = (&self.rate, ip) else {
            return Failed::Counted;
        };
        let cell = self.failures.cell((scope, AddressGroup::of(ip)), now_ns);
        if cell.gcra.take(rate, 1, now_ns).is_ok() {
            return Failed::Counted;
        }
        let until = now_ns.saturating_add(self.lockout_ns);
        self.last_lockout_ends_ns.fetch_max(until, Ordering::AcqRel);
        if cell.lock(now_ns, until) { Failed::LockedOut } else { Failed::Counted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn too_many_failures_lock_out_for_a_while() {
        let abuse = AbuseTracker::new(Some("10/1m".parse().unwrap()), 300 * SECOND);
        let ip = Some(IpAddr::from([203, 0, 113, 9]));
        for _ in 0..10 {
            assert_eq!(abuse.count(7, ip, SECOND), Failed::Counted);
        }
        assert_eq!(abuse.locked_for(|| 7, ip, || SECOND), None);
        assert_eq!(abuse.count(7, ip, SECOND), Failed::LockedOut);
        assert_eq!(abuse.locked_for(|| 7, ip, || 2 * SECOND), Some(299 * SECOND));
        assert_eq!(abuse.locked_for(|| 8, ip, || 2 * SECOND), None, "another scope");
        assert_eq!(
            abuse.locked_for(|| 7, Some(IpAddr::from([203, 0, 113, 10])), || 2 * SECOND),
            None
        );
        assert_eq!(abuse.locked_for(|| 7, ip, || 301 * SECOND), None, "a lockout ends");
    }

    #[test]
    fn without_a_rate_nobody_is_locked_out() {
        let abuse = AbuseTracker::new(None, SECOND);
        let ip = Some(IpAddr::from([203, 0, 113, 9]));
        for _ in 0..1_000 {
            assert_eq!(abuse.count(7, ip, 1), Failed::Counted);
        }
        assert_eq!(abuse.locked_for(|| 7, ip, || 2), None);
    }
}
