//! Limits proposed from use: for a key that ran without any in a pilot and is to go to production.

use crate::limit::{Limit, LimitName, LimitScope};

/// The most requests that were seen in any span of each length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Busiest {
    /// In ten seconds.
    pub ten_seconds: u32,
    /// In an hour.
    pub hour: u32,
    /// In a day.
    pub day: u32,
}

/// How much room a proposal leaves above what was seen, in percent: short bursts vary most.
const ROOM_OF_BURST: u64 = 200;
const ROOM_OF_HOUR: u64 = 150;
const ROOM_OF_DAY: u64 = 150;

/// Limits that everything seen so far keeps, with room to spare: `burst` over ten seconds, `hour`
/// and `day`. A longer span that allows no less than the shorter ones do anyway is left out.
pub fn limits(seen: Busiest) -> Vec<Limit> {
    if seen.ten_seconds == 0 {
        return Vec::new();
    }
    let rows = [
        ("burst", seen.ten_seconds, ROOM_OF_BURST, 10),
        ("hour", seen.hour, ROOM_OF_HOUR, 3_600),
        ("day", seen.day, ROOM_OF_DAY, 86_400),
    ];
    let mut limits: Vec<Limit> = Vec::new();
    // Requests that the limits so far let through in a second, as a fraction.
    let mut tightest: Option<(u64, u64)> = None;
    for (name, most, room, seconds) in rows {
        let requests = rounded((u64::from(most) * room).div_ceil(100).max(1));
        let redundant =
            tightest.is_some_and(|(allowed, span)| requests * span >= allowed * seconds);
        if redundant {
            continue;
        }
        tightest = Some((requests, seconds));
        limits.extend(limit(name, requests, seconds));
    }
    limits
}

fn limit(name: &str, requests: u64, seconds: u64) -> Option<Limit> {
    let name: LimitName = name.parse().ok()?;
    let rate = format!("{requests}/{seconds}s").parse().ok()?;
    Some(Limit {
        name,
        rate,
        per: None,
        route: None,
        adaptive: None,
        scope: LimitScope::default(),
        overrides: Vec::new(),
    })
}

/// Up to the next number with two digits that are not zero: 20, 370, 4,800.
fn rounded(number: u64) -> u64 {
    let mut unit = 1;
    while number / unit >= 100 {
        unit *= 10;
    }
    number.div_ceil(unit) * unit
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(ten_seconds: u32, hour: u32, day: u32) -> Vec<String> {
        let proposed = limits(Busiest { ten_seconds, hour, day });
        proposed.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn leaves_room_above_what_was_seen() {
        assert_eq!(texts(12, 130, 900), ["burst=24/10s", "hour=200/1h", "day=1400/1d"]);
        assert_eq!(texts(0, 0, 0), Vec::<String>::new());
        assert_eq!(texts(1, 1, 1), ["burst=2/10s", "hour=2/1h", "day=2/1d"]);
    }

    #[test]
    fn a_longer_limit_that_limits_nothing_is_left_out() {
        // Busy all day long: an hour of it fits into the burst limit anyway.
        assert_eq!(texts(10, 7_200, 100_000), ["burst=20/10s", "day=150000/1d"]);
    }

    proptest! {
        #[test]
        fn all_that_was_seen_would_pass(ten in 1u32..1_000_000, hour in 1u32..5_000_000, day in 1u32..50_000_000) {
            let seen = [(10, ten), (3_600, hour), (86_400, day)];
            for limit in limits(Busiest { ten_seconds: ten, hour, day }) {
                for (seconds, most) in seen {
                    if limit.rate.period().as_secs() == seconds {
                        prop_assert!(limit.rate.requests() >= most);
                    }
                }
            }
        }
    }
}
