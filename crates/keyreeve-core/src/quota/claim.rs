//! What of an account is on disk.

use jiff::Timestamp;

use super::period::ends_later;

/// A claim to make durable before more is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The period it is for.
    pub period_start: Timestamp,
    /// The end of that period; absent if it never ends.
    pub period_end: Option<Timestamp>,
    /// How much is claimed in that period, all told.
    pub claim: u64,
}

/// The durable part of an account: no more than `claimed` was spent in its period.
///
/// The end of the period belongs to it: after a change of the rule it alone tells whether the
/// period of the new rule began after the stored one or runs across it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// When the period began.
    pub period_start: Timestamp,
    /// When the period ends; absent if it never does.
    pub period_end: Option<Timestamp>,
    /// How much was claimed in that period, all told.
    pub claimed: u64,
}

impl Stored {
    /// What is on disk once `newer` was written over `self` the way claims must be: the later
    /// period wins, and within one period a claim only grows and the end only moves out.
    ///
    /// Claims may reach the disk in any order, so a store keeps this rule for each of them.
    #[must_use]
    pub fn merged(self, newer: Self) -> Self {
        if newer.period_start != self.period_start {
            return if newer.period_start > self.period_start { newer } else { self };
        }
        let later = ends_later(newer.period_end, self.period_end);
        Self {
            period_start: self.period_start,
            period_end: if later { newer.period_end } else { self.period_end },
            claimed: self.claimed.max(newer.claimed),
        }
    }
}

impl From<Claim> for Stored {
    fn from(claim: Claim) -> Self {
        Self {
            period_start: claim.period_start,
            period_end: claim.period_end,
            claimed: claim.claim,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(start: i64, end: Option<i64>, claimed: u64) -> Stored {
        let at = |second| Timestamp::from_second(second).unwrap();
        Stored { period_start: at(start), period_end: end.map(at), claimed }
    }

    #[test]
    fn merging_takes_the_later_period_and_never_shrinks_a_claim() {
        for (one, other, expected) in [
            (stored(1, Some(9), 50), stored(9, Some(19), 5), stored(9, Some(19), 5)),
            (stored(1, Some(9), 50), stored(1, Some(9), 60), stored(1, Some(9), 60)),
            (stored(1, Some(9), 50), stored(1, Some(5), 60), stored(1, Some(9), 60)),
            (stored(1, Some(9), 50), stored(1, None, 10), stored(1, None, 50)),
        ] {
            assert_eq!(one.merged(other), expected);
            assert_eq!(other.merged(one), expected);
        }
    }
}
