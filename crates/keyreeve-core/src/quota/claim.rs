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
    /// What is on disk once `newer` was claimed by one who knew of `known` in that period; `None`
    /// if that is not what is there: somebody else claimed meanwhile, and what one may spend of the
    /// sum is not known to the other.
    ///
    /// A later period takes the place of an earlier one. Within one, a claim only grows and the end
    /// only moves out.
    #[must_use]
    pub fn claimed_after(self, known: u64, newer: Self) -> Option<Self> {
        if newer.period_start > self.period_start {
            return Some(newer);
        }
        if newer.period_start < self.period_start || known != self.claimed {
            return None;
        }
        let later = ends_later(newer.period_end, self.period_end);
        Some(Self {
            period_start: self.period_start,
            period_end: if later { newer.period_end } else { self.period_end },
            claimed: self.claimed.max(newer.claimed),
        })
    }

    /// What is on disk once one who knew of `known` gives back what of it was not `used`. What
    /// others claimed on top stays claimed.
    #[must_use]
    pub fn settled(self, known: u64, used: Self) -> Self {
        if used.period_start != self.period_start {
            return if used.period_start > self.period_start { used } else { self };
        }
        let unused = known.saturating_sub(used.claimed);
        Self { claimed: self.claimed.saturating_sub(unused), ..self }
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
    fn a_claim_stands_on_what_was_known() {
        let there = stored(1, Some(9), 50);
        for (known, newer, expected) in [
            (50, stored(1, Some(9), 60), Some(stored(1, Some(9), 60))),
            (50, stored(1, Some(5), 60), Some(stored(1, Some(9), 60))),
            (50, stored(1, None, 10), Some(stored(1, None, 50))),
            (0, stored(9, Some(19), 5), Some(stored(9, Some(19), 5))),
            (40, stored(1, Some(9), 60), None),
            (60, stored(1, Some(9), 70), None),
            (50, stored(0, Some(1), 70), None),
        ] {
            assert_eq!(there.claimed_after(known, newer), expected, "{known} {newer:?}");
        }
    }

    #[test]
    fn only_what_was_not_used_is_given_back() {
        let there = stored(1, Some(9), 50);
        for (known, used, expected) in [
            (50, 42, 42),
            // Somebody else claimed 10 more.
            (40, 33, 43),
            (50, 50, 50),
            (90, 10, 0),
        ] {
            let settled = there.settled(known, stored(1, Some(9), used));
            assert_eq!(settled, stored(1, Some(9), expected), "{known} {used}");
        }
        assert_eq!(there.settled(5, stored(0, Some(1), 5)), there);
        assert_eq!(there.settled(5, stored(9, None, 5)), stored(9, None, 5));
    }
}
