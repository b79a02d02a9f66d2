//! A rate: so many requests in so much time.

use std::{fmt, str::FromStr};

use jiff::SignedDuration;

use crate::{Invalid, duration};

const MOST_REQUESTS: u32 = 1_000_000_000;
const SHORTEST: SignedDuration = SignedDuration::from_millis(100);
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);
const RULE: &str = "must be a rate such as 20/10s, 5/s or 1000/1d: 1 to 1000000000 requests, a \
                    slash and a length of time";

/// So many requests in so much time, such as `20/10s`.
///
/// Written `<requests>/<time>`; the time is what [`duration::parse`] reads, 100 ms to 366 days, or
/// a unit alone for one of it (`5/s`, `300/min`, `1000/day`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    requests: u32,
    period_ns: u64,
    /// Kept because the division is on the path of every request.
    interval_ns: u64,
}

impl Rate {
    /// A rate of `requests` (1 to 1,000,000,000) per `period` (100 ms to 366 days, in whole
    /// milliseconds). More than one request a nanosecond is refused.
    pub fn new(requests: u32, period: SignedDuration) -> Result<Self, Invalid> {
        if requests == 0 || requests > MOST_REQUESTS {
            return Err(Invalid::new(RULE));
        }
        if period < SHORTEST || period > LONGEST {
            return Err(Invalid::new("must have a length of time of 100ms to 366d"));
        }
        if period.subsec_nanos() % 1_000_000 != 0 {
            return Err(Invalid::new("must have a length of time in whole milliseconds"));
        }
        let period_ns = u64::try_from(period.as_nanos()).map_err(|_| Invalid::new(RULE))?;
        if period_ns < u64::from(requests) {
            return Err(Invalid::new("must not allow more than one request a nanosecond"));
        }
        Ok(Self::of(requests, period_ns))
    }

    /// `requests` is at least 1 and at most `period_ns`.
    fn of(requests: u32, period_ns: u64) -> Self {
        Self { requests, period_ns, interval_ns: period_ns.div_ceil(u64::from(requests)) }
    }

    /// How many requests at most, at once and in each period.
    pub fn requests(&self) -> u32 {
        self.requests
    }

    /// The time in which that many requests are allowed again.
    pub fn period(&self) -> SignedDuration {
        SignedDuration::from_nanos(i64::try_from(self.period_ns).unwrap_or(i64::MAX))
    }

    /// The period in whole seconds, rounded up: the `w` of a `RateLimit-Policy` header.
    pub fn period_s(&self) -> u64 {
        self.period_ns.div_ceil(1_000_000_000)
    }

    /// The time one request takes from the limit, in nanoseconds.
    ///
    /// Rounded up, so that rounding never admits more than the rate says.
    pub fn interval_ns(&self) -> u64 {
        self.interval_ns
    }

    /// The time a full limit needs to drain, in nanoseconds: the period, but for rounding.
    pub fn capacity_ns(&self) -> u64 {
        u64::from(self.requests).saturating_mul(self.interval_ns)
    }

    /// This rate times `per_mille / 1000`, rounded down but never below one request a period.
    #[must_use]
    pub fn scaled(&self, per_mille: u16) -> Self {
        let most = u64::from(MOST_REQUESTS).min(self.period_ns);
        let wanted = u64::from(self.requests) * u64::from(per_mille) / 1_000;
        let requests = u32::try_from(wanted.clamp(1, most)).unwrap_or(MOST_REQUESTS);
        Self::of(requests, self.period_ns)
    }
}

/// A length of time, or a unit standing for one of it.
fn parse_period(text: &str) -> Result<SignedDuration, Invalid> {
    let hours = SignedDuration::from_hours;
    match text {
        "s" | "sec" | "second" => Ok(SignedDuration::from_secs(1)),
        "m" | "min" | "minute" => Ok(SignedDuration::from_mins(1)),
        "h" | "hour" => Ok(hours(1)),
        "d" | "day" => Ok(hours(24)),
        "w" | "week" => Ok(hours(7 * 24)),
        _ => duration::parse(text),
    }
}

impl FromStr for Rate {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (requests, period) = text.split_once('/').ok_or(Invalid::new(RULE))?;
        Self::new(parse_count(requests).ok_or(Invalid::new(RULE))?, parse_period(period)?)
    }
}

/// Digits only: the standard parser takes a sign too.
pub(crate) fn parse_count(text: &str) -> Option<u32> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, duration::format(self.period()))
    }
}

super::serde_as_text!(Rate);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn reads_what_people_write_and_writes_it_one_way() {
        for (text, canonical) in [
            ("20/10s", "20/10s"),
            ("1000/1d", "1000/1d"),
            ("5/s", "5/1s"),
            ("300/min", "300/1m"),
            ("100/minute", "100/1m"),
            ("100/60s", "100/1m"),
            ("100/hour", "100/1h"),
            ("100/day", "100/1d"),
            ("100/week", "100/1w"),
            ("1/100ms", "1/100ms"),
            ("1/366d", "1/366d"),
            ("1000000000/1s", "1000000000/1s"),
            ("100000000/100ms", "100000000/100ms"),
        ] {
            assert_eq!(rate(text).to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_rate() {
        for text in [
            "",
            "/",
            "20",
            "20/",
            "/10s",
            "0/10s",
            "-1/10s",
            "+1/10s",
            " 1/10s",
            "1/99ms",
            "1/367d",
            "1/0s",
            "1000000001/1d",
            "4294967296/1d",
            "100000001/100ms",
            "1/1us",
            "1/x",
            "1/1y",
            "1/2/3",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        assert!(Rate::new(1, SignedDuration::from_micros(100_500)).is_err());
        let rule = "secret/10s".parse::<Rate>().unwrap_err();
        assert!(!rule.rule().contains("secret"), "{rule}");
    }

    #[test]
    fn figures() {
        let three = rate("3/1s");
        assert_eq!((three.requests(), three.interval_ns()), (3, 333_333_334));
        assert_eq!(three.period(), SignedDuration::from_secs(1));
        assert_eq!(three.capacity_ns(), 1_000_000_002);
        assert_eq!(rate("1/1500ms").period_s(), 2);
        assert_eq!(rate("1/100ms").period_s(), 1);
        assert_eq!(rate("1/1h").period_s(), 3_600);
    }

    #[test]
    fn scaling_rounds_down_and_stays_a_rate() {
        for (text, per_mille, expected) in [
            ("20/10s", 1_000, "20/10s"),
            ("20/10s", 500, "10/10s"),
            ("20/10s", 99, "1/10s"),
            ("20/10s", 0, "1/10s"),
            ("20/10s", 4_000, "80/10s"),
            ("1/10s", 999, "1/10s"),
            ("100000000/100ms", 4_000, "100000000/100ms"),
            ("1000000000/1d", 4_000, "1000000000/1d"),
        ] {
            assert_eq!(rate(text).scaled(per_mille), rate(expected), "{text} at {per_mille}");
        }
    }

    #[test]
    fn is_text_in_json() {
        assert_eq!(serde_json::to_string(&rate("5/s")).unwrap(), "\"5/1s\"");
        assert_eq!(serde_json::from_str::<Rate>("\"5/s\"").unwrap(), rate("5/1s"));
        assert!(serde_json::from_str::<Rate>("\"5\"").is_err());
        assert!(serde_json::from_str::<Rate>("5").is_err());
    }

    proptest! {
        #[test]
        fn text_is_undone_by_parsing(
            requests in 1u32..=100_000_000, ms in 100i64..=31_622_400_000,
        ) {
            let rate = Rate::new(requests, SignedDuration::from_millis(ms)).unwrap();
            prop_assert_eq!(rate.to_string().parse::<Rate>().unwrap(), rate);
        }

        #[test]
        fn rounding_never_admits_more(
            requests in 1u32..=100_000_000, ms in 100i64..=31_622_400_000, per_mille: u16,
        ) {
            let rate = Rate::new(requests, SignedDuration::from_millis(ms)).unwrap();
            for rate in [rate, rate.scaled(per_mille)] {
                let period_ns = u128::from(rate.period_ns);
                let exact = u128::from(rate.interval_ns()) * u128::from(rate.requests());
                prop_assert!(exact >= period_ns);
                prop_assert!(exact < period_ns + u128::from(rate.requests()));
            }
        }

        #[test]
        fn never_panics(text in "[0-9]{0,11}/?.{0,20}") {
            let _ = text.parse::<Rate>();
        }
    }
}
