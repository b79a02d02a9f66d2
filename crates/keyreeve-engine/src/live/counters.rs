//! What is counted in memory: limits, requests in flight, quota. Lives as long as what it counts
//! for, whatever becomes of the policies that read it.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use jiff::Timestamp;
use keyreeve_core::{
    limit::{
        AdaptiveRange, AdaptiveState, GcraCell, INTERVAL, Leases, LimitName, Observation, adapt,
        advance_idle,
    },
    quota::QuotaAccount,
};
use parking_lot::Mutex;

/// Tells counters apart where addresses could be used again.
static SERIALS: AtomicU64 = AtomicU64::new(1);

/// The counters of one lineage of keys, one owner, or one keyspace.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) serial: u64,
    cells: Mutex<Vec<(LimitName, Arc<LimitCell>)>>,
    pub(crate) leases: Mutex<Leases>,
    pub(crate) quota: Mutex<QuotaAccount>,
    /// Whether what is claimed of the quota is known here and kept so; where not all keys are here, it
    /// has to be read first.
    followed: AtomicBool,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            serial: SERIALS.fetch_add(1, Ordering::Relaxed),
            cells: Mutex::default(),
            leases: Mutex::default(),
            quota: Mutex::new(QuotaAccount::new()),
            followed: AtomicBool::new(false),
        }
    }
}

impl Counters {
    /// Whether what is claimed of the quota is known here.
    pub(super) fn is_followed(&self) -> bool {
        self.followed.load(Ordering::Acquire)
    }

    /// From now on what is claimed of the quota is known here.
    pub(super) fn follow(&self) {
        self.followed.store(true, Ordering::Release);
    }

    /// Whether nothing would be lost with it: every limit is full, nothing is in flight, and the
    /// period of the quota is over.
    pub(super) fn is_idle(&self, now: Timestamp, now_ns: u64) -> bool {
        self.cells.lock().iter().all(|(_, cell)| cell.gcra.is_full(now_ns))
            && self.leases.lock().in_flight(now_ns) == 0
            && self.quota.lock().is_over(now)
    }

    /// The cell of that name, made if there is none. Cells stay while limits come and go, so a
    /// limit that is set again goes on where it was.
    pub(super) fn cell(&self, name: &LimitName) -> Arc<LimitCell> {
        let mut cells = self.cells.lock();
        if let Some((_, cell)) = cells.iter().find(|(known, _)| known == name) {
            return cell.clone();
        }
        let cell = Arc::new(LimitCell::default());
        cells.push((*name, cell.clone()));
        cell
    }
}

/// One limit's count.
#[derive(Debug, Default)]
pub(crate) struct LimitCell {
    pub(crate) gcra: GcraCell,
    adaptive: OnceLock<Box<Mutex<Adapting>>>,
}

/// An adaptive limit between two of its intervals.
#[derive(Debug)]
struct Adapting {
    state: AdaptiveState,
    begun_ns: u64,
    seen: Observation,
}

impl LimitCell {
    /// How the limit stands now: it moves on by every interval that has passed.
    pub(crate) fn adapted(&self, range: AdaptiveRange, now_ns: u64) -> AdaptiveState {
        let mut adapting = self.adapting(now_ns).lock();
        adapting.advance(range, now_ns);
        adapting.state
    }

    /// Takes note of how a request went that this limit looks at.
    pub(crate) fn note(&self, range: AdaptiveRange, failed: bool, now_ns: u64) {
        let mut adapting = self.adapting(now_ns).lock();
        adapting.advance(range, now_ns);
        adapting.seen.requests = adapting.seen.requests.saturating_add(1);
        adapting.seen.failures = adapting.seen.failures.saturating_add(u32::from(failed));
    }

    fn adapting(&self, now_ns: u64) -> &Mutex<Adapting> {
        self.adaptive.get_or_init(|| {
            Box::new(Mutex::new(Adapting {
                state: AdaptiveState::new(),
                begun_ns: now_ns,
                seen: Observation::default(),
            }))
        })
    }
}

impl Adapting {
    fn advance(&mut self, range: AdaptiveRange, now_ns: u64) {
        let interval_ns = u64::try_from(INTERVAL.as_nanos()).unwrap_or(u64::MAX);
        let passed = now_ns.saturating_sub(self.begun_ns) / interval_ns;
        if passed == 0 {
            return;
        }
        self.state = adapt(&range, self.state, std::mem::take(&mut self.seen));
        self.state =
            advance_idle(&range, self.state, u32::try_from(passed - 1).unwrap_or(u32::MAX));
        self.begun_ns = self.begun_ns.saturating_add(passed.saturating_mul(interval_ns));
    }
}
