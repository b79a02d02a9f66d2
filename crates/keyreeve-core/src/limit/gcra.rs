//! The generic cell rate algorithm: a rate limit in one word.
//!
//! Source: ITU-T Recommendation I.371, the "virtual scheduling" form. The cell holds the
//! theoretical arrival time (TAT): the moment at which everything taken so far has drained and
//! the limit is full again. A request of cost `c` moves it to `max(TAT, now) + c × interval` and
//! is admitted if that is no further than `requests × interval` ahead of now.
//!
//! What the limit means: at most `requests` at once, and over any span of length `w` at most
//! `requests + w / interval`, whatever the order, the costs and the number of threads. Nothing
//! runs in the background and a cell that is full again need not be kept.
//!
//! Time is nanoseconds of a clock of this process that never goes back.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Rate;

/// The state of one limit for one subject.
///
/// Lock-free and exact under concurrency. The rate is an argument of each call, so it can change
/// while the cell lives; what was taken before keeps the time it took then.
#[derive(Debug, Default)]
pub struct GcraCell(AtomicU64);

/// What is left of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// How many requests of cost 1 would be admitted now.
    pub remaining: u32,
    /// Nanoseconds until the limit is full again, if nothing more is taken.
    pub reset_ns: u64,
}

/// An admitted request, for giving back what it took. Give it back at most once.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// What is left after it.
    pub level: Level,
    increment: u64,
    /// The soonest moment at which what was taken can have drained.
    drained_at: u64,
}

/// A refused request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// What is left; less than the cost asked for.
    pub level: Level,
    /// Nanoseconds after which the same request would be admitted if nothing more is taken.
    /// None: never, its cost is larger than the limit itself.
    pub retry_after_ns: Option<u64>,
}

impl GcraCell {
    /// A full limit.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// What is left, if a request of that cost would be admitted at `now`. Takes nothing.
    pub fn peek(&self, rate: &Rate, cost: u32, now: u64) -> Result<Level, Exceeded> {
        standing(rate, self.0.load(Ordering::Acquire), cost, now)
    }

    /// Admits a request of that cost at `now`, or refuses it and takes nothing.
    ///
    /// A cost of 0 is always admitted and leaves the cell as it is. A `now` older than one seen
    /// before is harmless: it makes the test stricter, never looser.
    pub fn take(&self, rate: &Rate, cost: u32, now: u64) -> Result<Taken, Exceeded> {
        let increment = u64::from(cost).saturating_mul(rate.interval_ns());
        let mut tat = self.0.load(Ordering::Acquire);
        loop {
            let end = decide(rate, tat, cost, now)?;
            let taken = || Taken {
                level: level(rate, end, now),
                increment,
                drained_at: now.saturating_add(increment),
            };
            if cost == 0 {
                return Ok(taken());
            }
            match self.0.compare_exchange_weak(tat, end, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(taken()),
                Err(seen) => tat = seen,
            }
        }
    }

    /// Gives back what a request took, less what has drained since.
    ///
    /// Afterwards the limit never admits more than if the request had not been made. It may admit
    /// less, by no more than the time between the taking and the giving back. `clock` tells the
    /// time now; it is asked once for every attempt.
    ///
    /// Why not the whole increment: a limit that stood full would have gained nothing in the time
    /// since, but with the request in it, it drained. Whoever took in between was let in on that
    /// drained time, and giving it back too would count it twice. How far the request itself has
    /// drained is not known, as others may have been given back before it. So it is taken to have
    /// drained first and from the start, the least favourable case: `r = taken at + increment -
    /// now` is left of it.
    ///
    /// Why that is safe: the level `max(TAT, now) - now` is never below the sum of all `r` of
    /// requests that may yet be given back, plus what the other requests alone would have left.
    /// A request adds its increment on both sides. As time passes the level loses one
    /// nanosecond each nanosecond; the sum of all `r` loses at least that while it is not zero,
    /// and once it is zero both sides drain alike. Giving back takes the same `r` from both.
    pub fn give_back(&self, taken: &Taken, clock: impl Fn() -> u64) {
        let mut tat = self.0.load(Ordering::Acquire);
        loop {
            // After the load: everyone whose request is in the value just read asked the clock
            // before, so nobody was let in on time that is about to be given back. Only a value
            // that left and came back to the same nanosecond in the meantime would deceive this.
            let left = taken.drained_at.saturating_sub(clock()).min(taken.increment);
            if left == 0 {
                return;
            }
            let less = tat.saturating_sub(left);
            match self.0.compare_exchange_weak(tat, less, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(seen) => tat = seen,
            }
        }
    }

    /// Whether nothing is taken at `now`; then the cell equals a new one and can be dropped.
    pub fn is_full(&self, now: u64) -> bool {
        self.0.load(Ordering::Acquire) <= now
    }
}

/// What is left of a limit whose TAT is kept elsewhere, if a request of that cost would be admitted
/// at `now`. The clock is that of whoever keeps it, in nanoseconds.
pub fn standing(rate: &Rate, tat: u64, cost: u32, now: u64) -> Result<Level, Exceeded> {
    decide(rate, tat, cost, now)?;
    Ok(level(rate, tat, now))
}

/// The TAT after a request of that cost, or why it is refused.
fn decide(rate: &Rate, tat: u64, cost: u32, now: u64) -> Result<u64, Exceeded> {
    let start = tat.max(now);
    if cost == 0 {
        return Ok(start);
    }
    let refused = |retry_after_ns| Err(Exceeded { level: level(rate, tat, now), retry_after_ns });
    if cost > rate.requests() {
        return refused(None);
    }
    let capacity = rate.capacity_ns();
    let increment = u64::from(cost).saturating_mul(rate.interval_ns());
    let ahead = (start - now).saturating_add(increment);
    match start.checked_add(increment) {
        Some(end) if ahead <= capacity => Ok(end),
        // Within a period of the end of the clock nothing is admitted; a wrap would admit all.
        _ => refused(Some(ahead.saturating_sub(capacity).max(1))),
    }
}

fn level(rate: &Rate, tat: u64, now: u64) -> Level {
    let reset_ns = tat.saturating_sub(now);
    let free = rate.capacity_ns().saturating_sub(reset_ns) / rate.interval_ns();
    Level { remaining: u32::try_from(free).unwrap_or(u32::MAX), reset_ns }
}

#[cfg(test)]
mod tests;
