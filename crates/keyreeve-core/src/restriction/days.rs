//! Sets of days of the week.

use std::{fmt, str::FromStr};

use jiff::civil::Weekday;

use crate::Invalid;

const NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A set of days of the week, never empty. Bit 0 is Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Days(u8);

impl Days {
    /// Whether the day is in the set.
    pub(super) fn contains(self, day: Weekday) -> bool {
        self.0 & (1 << day.to_monday_zero_offset()) != 0
    }

    /// Whether the two sets share a day.
    pub(super) fn share_a_day(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn has(self, index: usize) -> bool {
        self.0 & (1 << index) != 0
    }
}

impl FromStr for Days {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut days = 0;
        for part in text.split(',') {
            for bit in part_of_the_week(part)? {
                if days & bit != 0 {
                    return Err(Invalid::new("must name each day once"));
                }
                days |= bit;
            }
        }
        Ok(Self(days))
    }
}

/// The bits of one day or of a range of days. A range may run over the end of the week, as
/// `Sun-Thu` does.
fn part_of_the_week(text: &str) -> Result<impl Iterator<Item = u8>, Invalid> {
    let (first, last) = match text.split_once('-') {
        None => {
            let day = day_index(text)?;
            (day, day)
        }
        Some((first, last)) => {
            let (first, last) = (day_index(first)?, day_index(last)?);
            if first == last {
                return Err(Invalid::new("must not have a range of days from a day to itself"));
            }
            (first, last)
        }
    };
    let length = (last + NAMES.len() - first) % NAMES.len() + 1;
    Ok((first..first + length).map(|day| 1 << (day % NAMES.len())))
}

fn day_index(text: &str) -> Result<usize, Invalid> {
    NAMES.iter().position(|name| name.eq_ignore_ascii_case(text)).ok_or_else(|| {
        Invalid::new("must name days as Mon, Tue, Wed, Thu, Fri, Sat or Sun, as in Mon-Wed,Sat")
    })
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        let mut first = 0;
        while first < NAMES.len() {
            if !self.has(first) {
                first += 1;
                continue;
            }
            let after = (first..NAMES.len()).find(|day| !self.has(*day)).unwrap_or(NAMES.len());
            write!(f, "{comma}{}", NAMES[first])?;
            if after - first > 1 {
                write!(f, "-{}", NAMES[after - 1])?;
            }
            comma = ",";
            first = after;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_days_ranges_and_lists() {
        for (text, bits, canonical) in [
            ("Mon", 0b000_0001, "Mon"),
            ("sun", 0b100_0000, "Sun"),
            ("MON-FRI", 0b001_1111, "Mon-Fri"),
            ("Mon,Wed,Fri", 0b001_0101, "Mon,Wed,Fri"),
            ("Sat,Mon-Wed", 0b010_0111, "Mon-Wed,Sat"),
            ("Mon-Sun", 0b111_1111, "Mon-Sun"),
            ("Sat,Sun", 0b110_0000, "Sat-Sun"),
            ("Sun-Thu", 0b100_1111, "Mon-Thu,Sun"),
            ("Tue-Mon", 0b111_1111, "Mon-Sun"),
        ] {
            let days: Days = text.parse().unwrap();
            assert_eq!((days.0, days.to_string().as_str()), (bits, canonical), "{text}");
        }
    }

    #[test]
    fn refuses_unclear_days() {
        for (text, rule) in [
            ("", "must name days as"),
            ("Monday", "must name days as"),
            ("Mon-", "must name days as"),
            ("Mon,,Tue", "must name days as"),
            ("Mon-Tue-Wed", "must name days as"),
            ("daily", "must name days as"),
            ("Mon-Mon", "must not have a range"),
            ("Mon,Mon", "must name each day once"),
            ("Mon-Wed,Tue", "must name each day once"),
        ] {
            let broken = text.parse::<Days>().unwrap_err();
            assert!(broken.rule().starts_with(rule), "{text}: {broken}");
        }
    }

    proptest! {
        #[test]
        fn every_set_is_read_back(bits in 1u8..128) {
            prop_assert_eq!(Days(bits).to_string().parse::<Days>(), Ok(Days(bits)));
        }
    }
}
