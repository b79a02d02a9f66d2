//! A quota as people write it: `5000/month`, `100/day`, `5000/month@15 Europe/Berlin`, `1000`.

use std::{fmt, str::FromStr};

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::period::{Period, Refill, Schedule};
use crate::Invalid;

/// The largest amount of a quota: 10^15 units.
pub const LARGEST_AMOUNT: u64 = 1_000_000_000_000_000;

const RULE: &str = "must be a quota such as 1000, 100/day, 5000/month, 5000/month@15 or \
                    5000/month@15 Europe/Berlin";

/// How much may be spent per calendar period.
///
/// Built from text: the amount, then `/day`, `/month`, `/month@D` with the day of the refill, or
/// `/once`, which may be left out. Days and months may be followed by a space and the name of the
/// time zone whose calendar they follow; without one that is UTC.
#[derive(Clone, PartialEq, Eq)]
pub struct Quota {
    amount: u64,
    schedule: Schedule,
}

impl Quota {
    /// How much may be spent in one period: 1 to [`LARGEST_AMOUNT`].
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// When it may be spent anew.
    pub fn refill(&self) -> Refill {
        self.schedule.refill
    }

    /// The period that holds `at`. Good until its end, so callers keep it till then.
    ///
    /// A period begins with the first instant of a day in the quota's zone, which is not 00:00
    /// where clocks are put forward at midnight. What is never refilled has one period, from the
    /// Unix epoch on.
    pub fn period(&self, at: Timestamp) -> Period {
        self.schedule.period(at)
    }

    pub(super) fn schedule(&self) -> &Schedule {
        &self.schedule
    }
}

impl FromStr for Quota {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (quota, zone) = match text.split_once(' ') {
            Some((quota, zone)) => (quota, Some(zone)),
            None => (text, None),
        };
        let (amount, refill) = match quota.split_once('/') {
            Some((amount, refill)) => (amount, parse_refill(refill)?),
            None => (quota, Refill::Once),
        };
        let amount = parse_digits(amount).ok_or_else(|| Invalid::new(RULE))?;
        if !(1..=LARGEST_AMOUNT).contains(&amount) {
            return Err(Invalid::new(format!("must have an amount of 1 to {LARGEST_AMOUNT}")));
        }
        let zone = match zone {
            None => TimeZone::UTC,
            Some(_) if refill == Refill::Once => {
                return Err(Invalid::new("must not name a time zone unless refilled"));
            }
            Some(name) => parse_zone(name)?,
        };
        Ok(Self { amount, schedule: Schedule { refill, zone } })
    }
}

fn parse_refill(text: &str) -> Result<Refill, Invalid> {
    match text {
        "once" => Ok(Refill::Once),
        "day" => Ok(Refill::Day),
        "month" => Ok(Refill::Month { day: 1 }),
        _ => {
            let day = text.strip_prefix("month@").ok_or_else(|| Invalid::new(RULE))?;
            let day = parse_digits(day).and_then(|day| i8::try_from(day).ok());
            match day {
                Some(day @ 1..=31) => Ok(Refill::Month { day }),
                _ => Err(Invalid::new("must have a refill day of 1 to 31")),
            }
        }
    }
}

/// Digits alone, without the sign that `parse` would let through. What is too large for the type
/// is too large for every rule here, so it becomes the largest value.
fn parse_digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

fn parse_zone(name: &str) -> Result<TimeZone, Invalid> {
    const RULE: &str = "must name a known time zone, such as Europe/Berlin";
    match TimeZone::get(name) {
        // Only a zone with a name can be written down again.
        Ok(zone) if !zone.is_unknown() && zone.iana_name().is_some() => Ok(zone),
        _ => Err(Invalid::new(RULE)),
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.amount)?;
        match self.schedule.refill {
            Refill::Once => f.write_str("/once")?,
            Refill::Day => f.write_str("/day")?,
            Refill::Month { day: 1 } => f.write_str("/month")?,
            Refill::Month { day } => write!(f, "/month@{day}")?,
        }
        match self.schedule.zone.iana_name() {
            Some(name) if self.schedule.zone != TimeZone::UTC => write!(f, " {name}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Quota {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quota {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_and_writes_the_canonical_form() {
        for (text, canonical) in [
            ("1000", "1000/once"),
            ("1000/once", "1000/once"),
            ("100/day", "100/day"),
            ("5000/month", "5000/month"),
            ("5000/month@1", "5000/month"),
            ("5000/month@01", "5000/month"),
            ("5000/month@15", "5000/month@15"),
            ("5000/month@31 Europe/Berlin", "5000/month@31 Europe/Berlin"),
            ("5000/month europe/berlin", "5000/month Europe/Berlin"),
            ("5000/day UTC", "5000/day"),
            ("1000000000000000", "1000000000000000/once"),
        ] {
            let quota: Quota = text.parse().unwrap();
            assert_eq!(quota.to_string(), canonical, "{text}");
            assert_eq!(canonical.parse::<Quota>().unwrap(), quota, "{text}");
        }
    }

    #[test]
    fn knows_its_parts() {
        let quota: Quota = "5000/month@15 Europe/Berlin".parse().unwrap();
        assert_eq!((quota.amount(), quota.refill()), (5000, Refill::Month { day: 15 }));
        assert_eq!("7".parse::<Quota>().unwrap().refill(), Refill::Once);
    }

    #[test]
    fn refuses_the_rest_and_says_which_rule() {
        for (text, rule) in [
            ("", "must be a quota"),
            ("month", "must be a quota"),
            ("+5/day", "must be a quota"),
            ("-5/day", "must be a quota"),
            ("5 /day", "must not name a time zone"),
            ("5/", "must be a quota"),
            ("5/week", "must be a quota"),
            ("5/day@3", "must be a quota"),
            ("5/Day", "must be a quota"),
            (" 5/day", "must be a quota"),
            ("0/day", "must have an amount"),
            ("1000000000000001/day", "must have an amount"),
            ("99999999999999999999999/day", "must have an amount"),
            ("5/month@0", "must have a refill day"),
            ("5/month@32", "must have a refill day"),
            ("5/month@300", "must have a refill day"),
            ("5/month@", "must have a refill day"),
            ("5/month@+1", "must have a refill day"),
            ("5/day Atlantis/Center", "must name a known time zone"),
            ("5/day ", "must name a known time zone"),
            ("5/day Etc/Unknown", "must name a known time zone"),
            ("5/day  UTC", "must name a known time zone"),
            ("5/once UTC", "must not name a time zone"),
            ("5 UTC", "must not name a time zone"),
        ] {
            let refused = text.parse::<Quota>();
            match refused {
                Ok(quota) => panic!("{text} was read as {quota}"),
                Err(error) => assert!(error.rule().starts_with(rule), "{text}: {error}"),
            }
        }
    }

    #[test]
    fn is_a_string_on_the_wire() {
        use serde::de::{IntoDeserializer, value::Error as ValueError};

        fn read(text: &str) -> Result<Quota, ValueError> {
            let text: serde::de::value::StrDeserializer<'_, ValueError> = text.into_deserializer();
            Quota::deserialize(text)
        }
        assert_eq!(read("100/day Asia/Tokyo").unwrap().to_string(), "100/day Asia/Tokyo");
        assert!(read("100/fortnight").unwrap_err().to_string().starts_with("must be a quota"));
    }

    proptest! {
        #[test]
        fn writing_is_undone_by_reading(
            amount in 1..=LARGEST_AMOUNT,
            refill in "(|/once|/day|/month|/month@([1-9]|[12][0-9]|3[01])|/day Asia/Kathmandu)",
        ) {
            let quota: Quota = format!("{amount}{refill}").parse().unwrap();
            prop_assert_eq!(quota.amount(), amount);
            prop_assert_eq!(quota.to_string().parse::<Quota>().unwrap(), quota);
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = text.parse::<Quota>();
        }
    }
}
