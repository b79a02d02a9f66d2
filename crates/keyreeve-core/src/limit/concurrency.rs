//! How many requests may be in flight at the same time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use jiff::SignedDuration;

use super::rate::parse_count;
use crate::{Invalid, duration};

const MOST: u32 = 100_000;
const RULE: &str = "must be a limit on requests in flight such as 5/30s: 1 to 100000, a slash and \
                    the longest time one may hold its place";

/// So many requests in flight at most, such as `5/30s`: five, each for 30 seconds at most.
///
/// A request that does not end in that time loses its place, so a crashed caller cannot hold it
/// for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Concurrency {
    most: u32,
    lease: SignedDuration,
}

impl Concurrency {
    /// At most `most` (1 to 100,000) in flight, each for `lease` (1 s to 1 h, in whole
    /// milliseconds).
    pub fn new(most: u32, lease: SignedDuration) -> Result<Self, Invalid> {
        if most == 0 || most > MOST {
            return Err(Invalid::new(RULE));
        }
        if lease < SignedDuration::from_secs(1) || lease > SignedDuration::from_hours(1) {
            return Err(Invalid::new("must have a length of time of 1s to 1h"));
        }
        if lease.subsec_nanos() % 1_000_000 != 0 {
            return Err(Invalid::new("must have a length of time in whole milliseconds"));
        }
        Ok(Self { most, lease })
    }

    /// How many at most.
    pub fn most(&self) -> u32 {
        self.most
    }

    /// How long one may hold its place.
    pub fn lease(&self) -> SignedDuration {
        self.lease
    }

    /// This rule with `per_mille / 1000` of its places, rounded down but never below one.
    #[must_use]
    pub fn scaled(&self, per_mille: u16) -> Self {
        let most = u64::from(self.most) * u64::from(per_mille) / 1_000;
        let most = u32::try_from(most.clamp(1, u64::from(MOST))).unwrap_or(MOST);
        Self { most, lease: self.lease }
    }

    fn lease_ns(&self) -> u64 {
        u64::try_from(self.lease.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl FromStr for Concurrency {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (most, lease) = text.split_once('/').ok_or(Invalid::new(RULE))?;
        Self::new(parse_count(most).ok_or(Invalid::new(RULE))?, duration::parse(lease)?)
    }
}

impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.most, duration::format(self.lease))
    }
}

super::serde_as_text!(Concurrency);

/// The requests in flight of one subject.
///
/// Never holds more than the largest `most` it was asked with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// When each ends, by id.
    ends: BTreeMap<u64, u64>,
    /// The same, soonest first.
    soonest: BTreeSet<(u64, u64)>,
}

/// A place was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseLevel {
    /// How many are in flight, this one included.
    pub in_flight: u32,
    /// How many may be.
    pub most: u32,
    /// When this one loses its place, in nanoseconds of the same clock as `now`.
    pub expires_ns: u64,
}

/// All places are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRefused {
    /// How many are in flight.
    pub in_flight: u32,
    /// How many may be.
    pub most: u32,
    /// Nanoseconds after which a place is free at the latest, if nobody else takes it.
    pub retry_after_ns: u64,
}

impl Leases {
    /// Nothing in flight.
    pub const fn new() -> Self {
        Self { ends: BTreeMap::new(), soonest: BTreeSet::new() }
    }

    /// Takes a place for `id` at `now_ns`. An id that holds one keeps it, for a full lease more.
    pub fn take(
        &mut self,
        rule: &Concurrency,
        id: u64,
        now_ns: u64,
    ) -> Result<LeaseLevel, LeaseRefused> {
        self.drop_expired(now_ns);
        let renewed = self.remove(id);
        let most = usize::try_from(rule.most).unwrap_or(usize::MAX);
        // With a place of its own there is nothing to wait for, even if `most` was lowered.
        if !renewed && let Some(over) = self.ends.len().checked_sub(most) {
            let freed_at = self.soonest.iter().nth(over).map_or(now_ns, |(end, _)| *end);
            return Err(LeaseRefused {
                in_flight: self.count(),
                most: rule.most,
                retry_after_ns: freed_at.saturating_sub(now_ns),
            });
        }
        let expires_ns = now_ns.saturating_add(rule.lease_ns());
        self.ends.insert(id, expires_ns);
        self.soonest.insert((expires_ns, id));
        Ok(LeaseLevel { in_flight: self.count(), most: rule.most, expires_ns })
    }

    /// Frees the place of `id`. False if it held none, or has lost it.
    pub fn release(&mut self, id: u64, now_ns: u64) -> bool {
        self.drop_expired(now_ns);
        self.remove(id)
    }

    /// How many are in flight at `now_ns`.
    pub fn in_flight(&self, now_ns: u64) -> u32 {
        let expired = self.soonest.range(..=(now_ns, u64::MAX)).count();
        u32::try_from(self.ends.len() - expired).unwrap_or(u32::MAX)
    }

    fn remove(&mut self, id: u64) -> bool {
        let Some(end) = self.ends.remove(&id) else {
            return false;
        };
        self.soonest.remove(&(end, id))
    }

    fn drop_expired(&mut self, now_ns: u64) {
        while let Some(&(end, id)) = self.soonest.first() {
            if end > now_ns {
                break;
            }
            self.soonest.pop_first();
            self.ends.remove(&id);
        }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: u64 = 1_000_000_000;

    fn rule(text: &str) -> Concurrency {
        text.parse().unwrap()
    }

    #[test]
    fn text() {
        for (text, canonical) in [
            ("5/30s", "5/30s"),
            ("1/60s", "1/1m"),
            ("100000/1h", "100000/1h"),
            ("2/1500ms", "2/1s500ms"),
        ] {
            assert_eq!(rule(text).to_string(), canonical);
            assert_eq!(rule(canonical), rule(text));
        }
        assert_eq!((rule("5/30s").most(), rule("5/30s").lease().as_secs()), (5, 30));
        for text in ["", "5", "0/30s", "100001/30s", "5/999ms", "5/61m", "-5/30s", "+5/30s", "5/s"]
        {
            assert!(text.parse::<Concurrency>().is_err(), "{text}");
        }
        assert_eq!(serde_json::to_string(&rule("5/30s")).unwrap(), "\"5/30s\"");
        assert!(serde_json::from_str::<Concurrency>("\"5/30\"").is_err());
    }

    #[test]
    fn places_are_taken_freed_and_lost() {
        let rule = rule("2/30s");
        let mut leases = Leases::new();
        let level = |in_flight, expires_ns| LeaseLevel { in_flight, most: 2, expires_ns };
        assert_eq!(leases.take(&rule, 1, 0), Ok(level(1, 30 * S)));
        assert_eq!(leases.take(&rule, 2, 10 * S), Ok(level(2, 40 * S)));
        let refused = LeaseRefused { in_flight: 2, most: 2, retry_after_ns: 18 * S };
        assert_eq!(leases.take(&rule, 3, 12 * S), Err(refused));
        assert!(!leases.release(3, 12 * S));
        assert!(leases.release(2, 12 * S));
        assert!(!leases.release(2, 12 * S));
        assert_eq!(leases.take(&rule, 3, 12 * S), Ok(level(2, 42 * S)));
        assert_eq!((leases.in_flight(30 * S - 1), leases.in_flight(30 * S)), (2, 1));
        assert_eq!(leases.take(&rule, 4, 30 * S), Ok(level(2, 60 * S)));
        assert!(!leases.release(1, 30 * S), "it lost its place");
        assert_eq!(leases.in_flight(u64::MAX), 0);
    }

    #[test]
    fn an_id_in_flight_is_renewed() {
        let rule = rule("1/30s");
        let mut leases = Leases::new();
        leases.take(&rule, 1, 0).unwrap();
        assert_eq!(leases.take(&rule, 1, 20 * S).unwrap().in_flight, 1);
        assert_eq!((leases.in_flight(49 * S), leases.in_flight(50 * S)), (1, 0));
    }

    #[test]
    fn a_lowered_limit_waits_until_enough_have_ended() {
        let mut leases = Leases::new();
        for id in 0..5 {
            leases.take(&rule("5/30s"), id, id * S).unwrap();
        }
        let refused = leases.take(&rule("2/30s"), 9, 5 * S).unwrap_err();
        assert_eq!(refused, LeaseRefused { in_flight: 5, most: 2, retry_after_ns: 28 * S });
        assert!(leases.clone().take(&rule("2/30s"), 9, 33 * S).is_ok());
        assert!(leases.take(&rule("2/30s"), 9, 33 * S - 1).is_err());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take(u64, u32, i64),
        Release(u64),
    }

    fn arb_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => (0u64..8, 1u32..5, 1i64..4)
                .prop_map(|(id, most, lease)| Step::Take(id, most, lease)),
            1 => (0u64..8).prop_map(Step::Release),
        ]
    }

    proptest! {
        /// Against the plainest reading: a list of (id, end).
        #[test]
        fn agrees_with_a_list(steps in prop::collection::vec((0u64..2 * S, arb_step()), 0..60)) {
            let mut leases = Leases::new();
            let mut list: Vec<(u64, u64)> = Vec::new();
            let mut now = 0;
            for (passing, step) in steps {
                now += passing;
                list.retain(|(_, end)| *end > now);
                match step {
                    Step::Take(id, most, lease) => {
                        let lease = SignedDuration::from_secs(lease);
                        let rule = Concurrency::new(most, lease).unwrap();
                        let holds = list.iter().any(|(held, _)| *held == id);
                        let expected = holds || list.len() < most as usize;
                        let got = leases.take(&rule, id, now);
                        prop_assert_eq!(got.is_ok(), expected);
                        if let Ok(level) = got {
                            list.retain(|(held, _)| *held != id);
                            list.push((id, level.expires_ns));
                        }
                        if let Err(refused) = got {
                            let mut then = leases.clone();
                            let later = now + refused.retry_after_ns;
                            prop_assert!(then.clone().take(&rule, id, later).is_ok());
                            prop_assert!(then.take(&rule, id, later - 1).is_err());
                        }
                    }
                    Step::Release(id) => {
                        let expected = list.iter().any(|(held, _)| *held == id);
                        list.retain(|(held, _)| *held != id);
                        prop_assert_eq!(leases.release(id, now), expected);
                    }
                }
                prop_assert_eq!(leases.in_flight(now) as usize, list.len());
                prop_assert_eq!(leases.ends.len(), leases.soonest.len());
            }
        }

        #[test]
        fn never_panics(text in "[0-9]{0,7}/?.{0,12}") {
            let _ = text.parse::<Concurrency>();
        }
    }
}
