//! Hours of the week in which a key works.

use std::{fmt, str::FromStr};

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};
use serde::{Deserialize, Serialize};

use super::days::Days;
use crate::Invalid;

/// The most windows one key can have.
pub(super) const MOST_WINDOWS: usize = 50;

const LONGEST: usize = 128;
const MINUTES_OF_A_DAY: i16 = 24 * 60;
/// How far ahead the next opening is looked for, in days: one more than a week, for a window that
/// falls into the hour skipped in spring.
const DAYS_AHEAD: i64 = 8;

/// Some hours on some days of the week, by the clock on the wall of one time zone, such as
/// `Mon-Fri 09:00-17:00 Europe/Berlin`.
///
/// The start is within the window, the end is not; an end of `24:00` is midnight. When clocks go
/// back, an hour that comes twice is open twice; an hour that clocks skip is not there to be open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    days: Days,
    /// Minutes since midnight on the wall, 0 to 1439.
    start: i16,
    /// Minutes since midnight on the wall, `start` + 1 to 1440.
    end: i16,
    zone: TimeZone,
}

impl Window {
    fn is_open(&self, wall: DateTime) -> bool {
        let minute = i16::from(wall.hour()) * 60 + i16::from(wall.minute());
        self.days.contains(wall.date().weekday()) && (self.start..self.end).contains(&minute)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.days.share_a_day(other.days) && self.start < other.end && other.start < self.end
    }

    /// The moments, none to two, at which the wall clock shows the window's start on that day.
    fn starts_on(&self, date: Date) -> impl Iterator<Item = Timestamp> {
        let offsets = self
            .start_on(date)
            .map(|wall| (wall, self.zone.to_ambiguous_timestamp(wall).offset()))
            .map(|(wall, offset)| match offset {
                AmbiguousOffset::Unambiguous { offset } => [Some((wall, offset)), None],
                AmbiguousOffset::Gap { .. } => [None, None],
                AmbiguousOffset::Fold { before, after } => {
                    [Some((wall, before)), Some((wall, after))]
                }
            });
        offsets
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|(wall, offset)| offset.to_timestamp(wall).ok())
    }

    fn start_on(&self, date: Date) -> Option<DateTime> {
        if !self.days.contains(date.weekday()) {
            return None;
        }
        let since_midnight = SignedDuration::from_mins(i64::from(self.start));
        date.at(0, 0, 0, 0).checked_add(since_midnight).ok()
    }

    fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or_default()
    }
}

/// The windows of one key: at most 50, in one time zone, none overlapping another.
///
/// A key with no windows works at all hours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Window>", into = "Vec<Window>")]
pub struct Windows(Vec<Window>);

impl Windows {
    /// Checks the windows against each other.
    pub fn new(windows: Vec<Window>) -> Result<Self, Invalid> {
        if windows.len() > MOST_WINDOWS {
            return Err(Invalid::new(format!("must not have more than {MOST_WINDOWS} windows")));
        }
        for (index, window) in windows.iter().enumerate() {
            for earlier in &windows[..index] {
                if earlier.zone_name() != window.zone_name() {
                    return Err(Invalid::new("must name the same time zone in all windows"));
                }
                if earlier.overlaps(window) {
                    return Err(Invalid::new("must not have windows that overlap"));
                }
            }
        }
        Ok(Self(windows))
    }

    /// Whether there are no windows, so that all hours are open.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The windows, in the order they were given.
    pub fn as_slice(&self) -> &[Window] {
        &self.0
    }

    /// Whether a window is open at that moment, or there are none.
    pub fn contains(&self, at: Timestamp) -> bool {
        let Some(first) = self.0.first() else {
            return true;
        };
        let wall = first.zone.to_datetime(at);
        self.0.iter().any(|window| window.is_open(wall))
    }

    /// The first moment from `at` on at which a window is open: `at` itself if one is open then.
    ///
    /// Nothing if none opens within 8 days, which happens only to a window that lies in the hour
    /// skipped in spring.
    pub fn next_opening(&self, at: Timestamp) -> Option<Timestamp> {
        if self.contains(at) {
            return Some(at);
        }
        let zone = &self.0.first()?.zone;
        let last = at
            .saturating_add(SignedDuration::from_hours(DAYS_AHEAD * 24))
            .unwrap_or(Timestamp::MAX);
        // A closed key opens when the wall clock reaches a start, or when the clock is moved.
        let moved = zone.following(at).map(|transition| transition.timestamp());
        let moved = moved.take_while(|moment| *moment <= last);
        // One day back, for clocks that go back over midnight.
        let today = zone.to_datetime(at).date();
        let days = (-1..=DAYS_AHEAD)
            .filter_map(|day| today.checked_add(SignedDuration::from_hours(day * 24)).ok());
        let starts =
            days.flat_map(|date| self.0.iter().flat_map(move |window| window.starts_on(date)));
        moved
            .chain(starts)
            .filter(|moment| (at..=last).contains(moment) && self.contains(*moment))
            .min()
    }
}

impl TryFrom<Vec<Window>> for Windows {
    type Error = Invalid;

    fn try_from(windows: Vec<Window>) -> Result<Self, Invalid> {
        Self::new(windows)
    }
}

impl From<Windows> for Vec<Window> {
    fn from(windows: Windows) -> Self {
        windows.0
    }
}

impl FromStr for Window {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: &str = "must be days, hours and a time zone, such as Mon-Fri 09:00-17:00 \
                            Europe/Berlin";
        let wrong = || Invalid::new(RULE);
        if text.len() > LONGEST {
            return Err(wrong());
        }
        let mut parts = text.split_ascii_whitespace();
        let (Some(days), Some(hours), Some(zone), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        let (start, end) = hours.split_once('-').ok_or_else(wrong)?;
        let (start, end) = (minutes(start).ok_or_else(wrong)?, minutes(end).ok_or_else(wrong)?);
        if start >= end {
            return Err(Invalid::new(
                "must end after it starts: write a night as two windows, up to 24:00 and from \
                 00:00 on the next day",
            ));
        }
        Ok(Self { days: days.parse()?, start, end, zone: time_zone(zone)? })
    }
}

/// `00:00` to `24:00`, two digits each, in minutes.
fn minutes(text: &str) -> Option<i16> {
    let [h1, h2, b':', m1, m2] = text.as_bytes() else {
        return None;
    };
    let number = |tens: &u8, ones: &u8| {
        let good = tens.is_ascii_digit() && ones.is_ascii_digit();
        good.then(|| i16::from(tens - b'0') * 10 + i16::from(ones - b'0'))
    };
    let (hour, minute) = (number(h1, h2)?, number(m1, m2)?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= MINUTES_OF_A_DAY).then_some(total)
}

/// Reads the database built into the program, so that the answer is the same on every machine.
fn time_zone(name: &str) -> Result<TimeZone, Invalid> {
    TimeZoneDatabase::bundled()
        .get(name)
        .ok()
        .filter(|zone| !zone.is_unknown() && zone.iana_name().is_some())
        .ok_or_else(|| {
            Invalid::new("must name a time zone of the IANA database, such as Europe/Berlin")
        })
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = (self.start, self.end);
        let [start_hour, start_minute, end_hour, end_minute] =
            [start / 60, start % 60, end / 60, end % 60];
        write!(
            f,
            "{} {start_hour:02}:{start_minute:02}-{end_hour:02}:{end_minute:02} {}",
            self.days,
            self.zone_name()
        )
    }
}

serde_as_text!(Window);

#[cfg(test)]
mod tests;
