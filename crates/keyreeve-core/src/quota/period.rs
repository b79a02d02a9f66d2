//! Calendar periods: where they begin and end in a time zone.

use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};

/// When a quota is refilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refill {
    /// Never.
    Once,
    /// At the beginning of each day.
    Day,
    /// At the beginning of one day of each month.
    Month {
        /// The day of the month, 1 to 31. A month that is shorter refills on its last day.
        day: i8,
    },
}

/// The time between two refills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The first instant of the period.
    pub start: Timestamp,
    /// The first instant after the period; absent if it never ends.
    pub end: Option<Timestamp>,
}

impl Period {
    /// Whether the period is over at `now`.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.end.is_some_and(|end| end <= now)
    }
}

/// Whether a period that ends at `end` lasts longer than one that ends at `other`.
pub(super) fn ends_later(end: Option<Timestamp>, other: Option<Timestamp>) -> bool {
    match (end, other) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(end), Some(other)) => end > other,
    }
}

/// The refill and the zone whose calendar it follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) refill: Refill,
    pub(super) zone: TimeZone,
}

impl Schedule {
    /// The period that holds `at`.
    pub(super) fn period(&self, at: Timestamp) -> Period {
        if self.refill == Refill::Once {
            return Period { start: Timestamp::UNIX_EPOCH, end: None };
        }
        let today = self.zone.to_datetime(at).date();
        // Found by comparing instants, not dates. Where clocks go back across midnight, as
        // St. John's did at 00:01, the date goes back too, but the new day has begun for good.
        for steps in [1, 0, -1] {
            if let Some(start) = self.boundary(today, steps)
                && start <= at
            {
                return Period { start, end: self.boundary(today, steps + 1) };
            }
        }
        // Only in the first month that a timestamp can express.
        Period { start: Timestamp::MIN, end: self.boundary(today, 0) }
    }

    /// The refill `steps` days after `today`, or in the month that many after that of `today`.
    /// Nothing beyond what a timestamp can express.
    fn boundary(&self, today: Date, steps: i32) -> Option<Timestamp> {
        let date = match self.refill {
            Refill::Once => return None,
            Refill::Day => today.checked_add(Span::new().days(steps)).ok()?,
            Refill::Month { day } => {
                let month = today.first_of_month().checked_add(Span::new().months(steps)).ok()?;
                month.with().day(day.min(month.days_in_month())).build().ok()?
            }
        };
        // Not simply 00:00: a day may begin at 01:00, or not take place at all.
        let day = date.to_zoned(self.zone.clone()).ok()?.start_of_day().ok()?;
        Some(day.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quota::Quota;

    fn period(quota: &str, at: &str) -> (String, Option<String>) {
        let period = quota.parse::<Quota>().unwrap().period(at.parse().unwrap());
        (period.start.to_string(), period.end.map(|end| end.to_string()))
    }

    #[test]
    fn periods() {
        for (quota, at, start, end) in [
            ("9/day", "2026-05-20T13:00:00Z", "2026-05-20T00:00:00Z", "2026-05-21T00:00:00Z"),
            ("9/day", "2026-05-20T00:00:00Z", "2026-05-20T00:00:00Z", "2026-05-21T00:00:00Z"),
            ("9/day", "2026-05-19T23:59:59.999Z", "2026-05-19T00:00:00Z", "2026-05-20T00:00:00Z"),
            ("9/day", "2026-12-31T12:00:00Z", "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("9/month", "2026-12-31T12:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("9/month@15", "2027-01-14T23:59:59Z", "2026-12-15T00:00:00Z", "2027-01-15T00:00:00Z"),
            ("9/month@15", "2027-01-15T00:00:00Z", "2027-01-15T00:00:00Z", "2027-02-15T00:00:00Z"),
            // The 31st, through February, with and without a leap day.
            ("9/month@31", "2026-01-30T00:00:00Z", "2025-12-31T00:00:00Z", "2026-01-31T00:00:00Z"),
            ("9/month@31", "2026-02-01T00:00:00Z", "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"),
            ("9/month@31", "2026-02-28T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"),
            ("9/month@31", "2028-02-28T12:00:00Z", "2028-01-31T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("9/month@31", "2028-03-30T00:00:00Z", "2028-02-29T00:00:00Z", "2028-03-31T00:00:00Z"),
            ("9/month@30", "2027-02-28T00:00:00Z", "2027-02-28T00:00:00Z", "2027-03-30T00:00:00Z"),
            ("9/month@31", "2026-04-30T01:00:00Z", "2026-04-30T00:00:00Z", "2026-05-31T00:00:00Z"),
        ] {
            let expected = (start.to_owned(), Some(end.to_owned()));
            assert_eq!(period(quota, at), expected, "{quota} at {at}");
        }
        let once = ("1970-01-01T00:00:00Z".to_owned(), None);
        assert_eq!(period("9/once", "2026-05-20T13:00:00Z"), once);
    }

    #[test]
    fn periods_follow_the_clocks_of_the_zone() {
        for (quota, at, start, end) in [
            // 23 hours and 25 hours.
            ("9/day Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23", "2026-03-29T22"),
            ("9/day Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22", "2026-10-25T23"),
            ("9/month Europe/Berlin", "2026-03-31T22:00:00Z", "2026-03-31T22", "2026-04-30T22"),
            ("9/month Europe/Berlin", "2026-03-31T21:59:59Z", "2026-02-28T23", "2026-03-31T22"),
            // Year's end comes earlier in the east.
            ("9/month Asia/Tokyo", "2026-12-31T15:00:00Z", "2026-12-31T15", "2027-01-31T15"),
            // Days that begin at 01:00.
            ("9/day America/Sao_Paulo", "2018-11-04T12:00:00Z", "2018-11-04T03", "2018-11-05T02"),
            ("9/day Asia/Beirut", "2026-03-29T12:00:00Z", "2026-03-28T22", "2026-03-29T21"),
            // Clocks go back at midnight into the day before: that day has 25 hours.
            ("9/day America/Sao_Paulo", "2018-02-18T02:30:00Z", "2018-02-17T02", "2018-02-18T03"),
            // 30 December 2011 did not take place on Samoa.
            ("9/day Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-29T10", "2011-12-30T10"),
            ("9/day Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T10", "2011-12-31T10"),
        ] {
            let expected = (format!("{start}:00:00Z"), Some(format!("{end}:00:00Z")));
            assert_eq!(period(quota, at), expected, "{quota} at {at}");
        }
    }

    #[test]
    fn a_day_that_has_begun_stays_begun_when_clocks_go_back_over_midnight() {
        // St. John's, 7 November 2010: one minute after midnight it was 23:01 again.
        let expected = ("2010-11-07T02:30:00Z".to_owned(), Some("2010-11-08T03:30:00Z".to_owned()));
        for at in ["2010-11-07T02:30:00Z", "2010-11-07T02:31:00Z", "2010-11-07T03:29:59Z"] {
            assert_eq!(period("9/day America/St_Johns", at), expected, "{at}");
        }
    }

    #[test]
    fn the_ends_of_time() {
        for text in ["9/day Asia/Tokyo", "9/day America/New_York", "9/month@31", "9/once"] {
            let quota: Quota = text.parse().unwrap();
            let last = quota.period(Timestamp::MAX);
            assert!(last.start <= Timestamp::MAX && !last.is_over(Timestamp::MAX), "{text}");
            let first = quota.period(Timestamp::MIN);
            assert!(!first.is_over(Timestamp::MIN), "{text}");
        }
    }

    proptest! {
        #[test]
        fn periods_hold_their_moment_and_join_without_gaps(
            second in -3_000_000_000i64..8_000_000_000,
            day in 1i8..=31,
            daily: bool,
            zone in prop::sample::select(vec![
                "UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut", "America/St_Johns",
                "Pacific/Apia", "Asia/Kathmandu", "America/Havana", "Africa/Cairo",
            ]),
        ) {
            let refill = if daily { Refill::Day } else { Refill::Month { day } };
            let schedule = Schedule { refill, zone: TimeZone::get(zone).unwrap() };
            let at = Timestamp::from_second(second).unwrap();
            let period = schedule.period(at);
            let end = period.end.unwrap();
            prop_assert!(period.start <= at && at < end);
            prop_assert_eq!(schedule.period(period.start), period);
            prop_assert_eq!(schedule.period(end).start, end);
            let before = Timestamp::from_second(end.as_second() - 1).unwrap();
            prop_assert_eq!(schedule.period(before), period);
        }
    }
}
