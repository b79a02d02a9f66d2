//! Limits that tighten under attack and relax again.
//!
//! Once every [`INTERVAL`] what was seen of one subject turns into a factor on the limit's rate.
//! Multiplicative decrease, additive increase, as in TCP congestion control (RFC 5681).

use std::{fmt, str::FromStr};

use jiff::SignedDuration;

use crate::{
    Invalid,
    percentage::{PerMille, parse_per_mille},
};

/// How often [`adapt`] is to be called: every 10 seconds.
pub const INTERVAL: SignedDuration = SignedDuration::from_secs(10);

/// The factor of a limit that is neither tightened nor widened.
const WHOLE: u16 = 1_000;
const LOWEST_FLOOR: u16 = 10;
const HIGHEST_CEILING: u16 = 4_000;

/// A burst of failures is at least this many…
const BURST_FAILURES: u32 = 10;
/// …and a rise at least this many requests…
const RISE_REQUESTS: u32 = 50;
/// …and more than so many times the usual…
const RISE_TIMES: u64 = 8;
/// …which counts once it was learned from so many intervals.
const ESTABLISHED: u8 = 6;
/// The weight of a new interval in the usual rate is one in this many: about 160 seconds.
const LEARNING: u8 = 16;
/// The usual rate is kept in 1/256 of a request.
const FRACTION: u64 = 256;

/// Between which factors a limit may move, such as `10%-100%`.
///
/// Parsing and [`AdaptiveRange::new`] keep the bounds: a floor of 1 % to 100 %, a ceiling from the
/// floor to 400 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdaptiveRange {
    /// The lowest factor, in thousandths.
    pub floor_per_mille: u16,
    /// The highest factor, in thousandths.
    pub ceiling_per_mille: u16,
}

impl AdaptiveRange {
    /// A range from `floor_per_mille` (10 to 1000) to `ceiling_per_mille` (the floor to 4000).
    pub fn new(floor_per_mille: u16, ceiling_per_mille: u16) -> Result<Self, Invalid> {
        if !(LOWEST_FLOOR..=WHOLE).contains(&floor_per_mille) {
            return Err(Invalid::new("must have a lower end of 1% to 100%"));
        }
        if !(floor_per_mille..=HIGHEST_CEILING).contains(&ceiling_per_mille) {
            return Err(Invalid::new("must have an upper end from the lower end to 400%"));
        }
        Ok(Self { floor_per_mille, ceiling_per_mille })
    }

    /// `factor` brought into the range.
    fn hold(self, factor: u16) -> u16 {
        // Not `clamp`: it panics on a range that was built by hand the wrong way round.
        factor.min(self.ceiling_per_mille).max(self.floor_per_mille)
    }

    /// Where a limit starts, and where it returns to without use.
    fn start(self) -> u16 {
        self.hold(WHOLE)
    }

    /// How much a healthy interval gives back below [`WHOLE`]: a tenth of the range.
    fn step(self) -> u16 {
        (self.ceiling_per_mille.saturating_sub(self.floor_per_mille) / 10).max(1)
    }

    /// How much a healthy interval adds above [`WHOLE`]: trust beyond the limit grows slowly.
    fn slow_step(self) -> u16 {
        (self.step() / 10).max(1)
    }
}

impl FromStr for AdaptiveRange {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let rule = || Invalid::new("must be a range of percentages such as 10%-100%");
        let (floor, ceiling) = text.split_once('-').ok_or_else(rule)?;
        let floor = parse_per_mille(floor).ok_or_else(rule)?;
        Self::new(floor, parse_per_mille(ceiling).ok_or_else(rule)?)
    }
}

impl fmt::Display for AdaptiveRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%-{}%", PerMille(self.floor_per_mille), PerMille(self.ceiling_per_mille))
    }
}

super::serde_as_text!(AdaptiveRange);

/// What was seen of one subject in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// All requests, the refused ones too.
    pub requests: u32,
    /// Those of them that were refused.
    pub failures: u32,
}

/// Why the factor is what it is. Its text is for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Why {
    /// Nothing out of the ordinary.
    #[default]
    Steady,
    /// At least ten requests and half of all were refused in one interval.
    FailureBurst {
        /// The factor that followed, in thousandths.
        factor_per_mille: u16,
        /// Requests refused in the interval.
        failures: u32,
        /// All requests of the interval.
        requests: u32,
    },
    /// More than eight times the usual number of requests in one interval.
    SuddenRise {
        /// The factor that followed, in thousandths.
        factor_per_mille: u16,
        /// Requests of the interval.
        requests: u32,
        /// The usual number, rounded down.
        usual: u32,
    },
    /// Quiet again after a tightening, on the way back.
    Recovering {
        /// The factor by now, in thousandths.
        factor_per_mille: u16,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Steady => f.write_str("steady"),
            Self::FailureBurst { factor_per_mille, failures, requests } => write!(
                f,
                "tightened to {} %: {failures} of {requests} requests refused in the last 10 s",
                PerMille(factor_per_mille)
            ),
            Self::SuddenRise { factor_per_mille, requests, usual } => write!(
                f,
                "tightened to {} %: {requests} requests in the last 10 s, usually {usual}",
                PerMille(factor_per_mille)
            ),
            Self::Recovering { factor_per_mille } => {
                write!(f, "recovering: at {} %", PerMille(factor_per_mille))
            }
        }
    }
}

/// What is remembered of one subject from interval to interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveState {
    factor: u16,
    /// From how many intervals the usual rate was learned, up to [`LEARNING`].
    learned: u8,
    /// Requests in an ordinary interval with any, times [`FRACTION`].
    usual: u64,
    why: Why,
}

impl Default for AdaptiveState {
    fn default() -> Self {
        Self::new()
    }
}

impl AdaptiveState {
    /// A subject of which nothing is known: the limit applies as it is written.
    pub const fn new() -> Self {
        Self { factor: WHOLE, learned: 0, usual: 0, why: Why::Steady }
    }

    /// The factor on the limit's rate now, in thousandths; for [`Rate::scaled`](super::Rate).
    pub fn factor_per_mille(&self, range: &AdaptiveRange) -> u16 {
        range.hold(self.factor)
    }

    /// Why the factor is what it is.
    pub fn why(&self) -> Why {
        self.why
    }

    /// The usual number of requests in an interval with any, rounded down. None until it is
    /// established.
    pub fn usual(&self) -> Option<u32> {
        let usual = u32::try_from(self.usual / FRACTION).unwrap_or(u32::MAX);
        (self.learned >= ESTABLISHED).then_some(usual)
    }

    fn rises_suddenly(&self, seen: Observation) -> bool {
        self.learned >= ESTABLISHED
            && seen.requests >= RISE_REQUESTS
            && u64::from(seen.requests) * FRACTION > RISE_TIMES.saturating_mul(self.usual)
    }

    /// A plain mean at first, then an exponentially weighted one.
    fn learn(&mut self, requests: u32) {
        self.learned = self.learned.saturating_add(1).min(LEARNING);
        let weight = u64::from(self.learned);
        self.usual = (self.usual * (weight - 1) + u64::from(requests) * FRACTION) / weight;
    }

    /// One step towards `goal` from below; never down.
    fn relax(&mut self, range: AdaptiveRange, goal: u16) {
        let step = if self.factor < range.start() { range.step() } else { range.slow_step() };
        // The fast steps end where the limit stands as written.
        let stop = if self.factor < range.start() { range.start() } else { goal };
        self.factor = self.factor.saturating_add(step).min(stop).max(self.factor);
        self.tell_recovery(range);
    }

    fn tell_recovery(&mut self, range: AdaptiveRange) {
        self.why = if self.factor < range.start() {
            Why::Recovering { factor_per_mille: self.factor }
        } else {
            Why::Steady
        };
    }
}

/// The state after one more [`INTERVAL`] in which `seen` was seen.
///
/// - Ten failures or more that are half of all requests or more: the factor halves.
/// - Fifty requests or more that are over eight times the usual, once that is established: the
///   factor loses a quarter.
/// - A healthy interval, with less than a quarter of failures: the factor grows by a tenth of the
///   range up to 100 %. Beyond, only use earns more: a hundredth of the range, up to the ceiling.
/// - Anything else leaves it.
///
/// The usual rate is learned from the last two kinds only, so an attack never becomes usual, and
/// only from intervals with requests, so a key that rests at night is not strange in the morning.
#[must_use]
pub fn adapt(range: &AdaptiveRange, state: AdaptiveState, seen: Observation) -> AdaptiveState {
    if seen.requests == 0 {
        return advance_idle(range, state, 1);
    }
    let mut next = AdaptiveState { factor: range.hold(state.factor), ..state };
    let failures = u64::from(seen.failures);
    let requests = u64::from(seen.requests);
    if seen.failures >= BURST_FAILURES && failures * 2 >= requests {
        next.factor = range.hold(next.factor / 2);
        next.why = Why::FailureBurst {
            factor_per_mille: next.factor,
            failures: seen.failures,
            requests: seen.requests,
        };
        return next;
    }
    if state.rises_suddenly(seen) {
        next.factor = range.hold(next.factor - next.factor.div_ceil(4));
        next.why = Why::SuddenRise {
            factor_per_mille: next.factor,
            requests: seen.requests,
            usual: state.usual().unwrap_or_default(),
        };
        return next;
    }
    next.learn(seen.requests);
    if failures * 4 < requests {
        next.relax(*range, range.ceiling_per_mille);
    }
    next
}

/// The state after `intervals` without any request: the same as that many calls of [`adapt`].
#[must_use]
pub fn advance_idle(range: &AdaptiveRange, state: AdaptiveState, intervals: u32) -> AdaptiveState {
    if intervals == 0 {
        return state;
    }
    let mut next = AdaptiveState { factor: range.hold(state.factor), ..state };
    if next.factor < range.start() {
        let gain = u32::from(range.step()).saturating_mul(intervals);
        let factor = u32::from(next.factor).saturating_add(gain).min(range.start().into());
        next.factor = u16::try_from(factor).unwrap_or(range.start());
    }
    next.tell_recovery(*range);
    next
}

#[cfg(test)]
mod tests;
