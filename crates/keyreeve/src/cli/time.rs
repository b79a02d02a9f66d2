//! Times and lengths of time as people type them.

use std::str::FromStr;

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use keyreeve_core::{Invalid, duration};

/// A point in time, or how long ago it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// `2026-12-21T09:00:00Z`
    At(Timestamp),
    /// `24h`
    Ago(SignedDuration),
}

impl When {
    /// The point in time.
    pub(crate) fn seen_from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(length) => now.checked_sub(length).unwrap_or(Timestamp::MIN),
        }
    }
}

impl FromStr for When {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Ok(length) = duration::parse(text) {
            return Ok(Self::Ago(length));
        }
        timestamp(text).map(Self::At).map_err(|_| {
            Invalid::new(
                "must be a time such as 2026-12-21T09:00:00Z, a date such as 2026-12-21, or how \
                 long ago, such as 24h",
            )
        })
    }
}

/// How long a key lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// `never`: it does not expire.
    Unlimited,
    /// That long, with the text as typed.
    Limited(SignedDuration, String),
}

impl Life {
    /// The text for the server.
    pub(crate) fn to_wire(&self) -> String {
        match self {
            Self::Unlimited => "never".to_owned(),
            Self::Limited(_, text) => text.clone(),
        }
    }
}

impl FromStr for Life {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text == "never" {
            return Ok(Self::Unlimited);
        }
        match duration::parse(text) {
            Ok(length) => Ok(Self::Limited(length, text.to_owned())),
            Err(_) => Err(Invalid::new("must be a length of time such as 90d or 36h, or never")),
        }
    }
}

/// A length of time, as text that the server will read.
pub(crate) fn length(text: &str) -> Result<String, Invalid> {
    duration::parse(text).map(|_| text.to_owned())
}

/// A point in time: RFC 3339, `2026-12-21 09:00 UTC` as Keyreeve prints it, or a date, which
/// means its midnight in UTC.
pub(crate) fn timestamp(text: &str) -> Result<Timestamp, Invalid> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let civil = match text.strip_suffix("UTC") {
        Some(rest) => rest.trim_end().parse::<DateTime>().ok(),
        // A date alone: anything longer would be a time without a zone.
        None if text.len() == "2026-12-21".len() => {
            text.parse::<Date>().ok().map(|date| date.at(0, 0, 0, 0))
        }
        None => None,
    };
    let zoned = civil.and_then(|civil| civil.to_zoned(TimeZone::UTC).ok());
    zoned.map(|zoned| zoned.timestamp()).ok_or_else(|| {
        Invalid::new(
            "must be a time such as 2026-12-21T09:00:00Z, or a date such as 2026-12-21, which \
             means its midnight in UTC",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, expected) in [
            ("2026-12-21T09:00:00Z", "2026-12-21T09:00:00Z"),
            ("2026-12-21T11:00:00+02:00", "2026-12-21T09:00:00Z"),
            ("2026-12-21 09:00 UTC", "2026-12-21T09:00:00Z"),
            ("2026-12-21", "2026-12-21T00:00:00Z"),
        ] {
            assert_eq!(timestamp(text).unwrap().to_string(), expected, "{text}");
        }
        for bad in ["", "tomorrow", "2026-12-21T09:00:00", "2026-13-01", "21.12.2026", "30d"] {
            assert!(timestamp(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_length_is_so_long_ago() {
        let now: Timestamp = "2026-11-21T09:00:00Z".parse().unwrap();
        let when: When = "24h".parse().unwrap();
        assert_eq!(when.seen_from(now).to_string(), "2026-11-20T09:00:00Z");
        let when: When = "2026-11-01".parse().unwrap();
        assert_eq!(when.seen_from(now).to_string(), "2026-11-01T00:00:00Z");
        assert!("soon".parse::<When>().is_err());
    }

    #[test]
    fn lives_are_lengths_or_never() {
        assert_eq!("never".parse::<Life>().unwrap().to_wire(), "never");
        assert_eq!("90d".parse::<Life>().unwrap().to_wire(), "90d");
        for bad in ["", "Never", "1y", "-1d"] {
            assert!(bad.parse::<Life>().is_err(), "{bad}");
        }
    }
}
