//! The rules that several settings share.

use std::{fmt::Display, ops::RangeInclusive, path::PathBuf, time::Duration};

use jiff::SignedDuration;
use keyreeve_core::{Invalid, duration};

/// A whole number within bounds.
pub(super) fn whole<T>(value: i64, bounds: &RangeInclusive<T>) -> Result<T, Invalid>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    T::try_from(value).ok().filter(|value| bounds.contains(value)).ok_or_else(|| {
        Invalid::new(format!("must be between {} and {}", bounds.start(), bounds.end()))
    })
}

/// A length of time within bounds.
pub(super) fn span(
    text: &str,
    bounds: &RangeInclusive<SignedDuration>,
) -> Result<SignedDuration, Invalid> {
    let length = duration::parse(text)?;
    if bounds.contains(&length) {
        return Ok(length);
    }
    let (shortest, longest) = (duration::format(*bounds.start()), duration::format(*bounds.end()));
    Err(Invalid::new(format!("must be between {shortest} and {longest}")))
}

/// A length of time within bounds, for timers.
pub(super) fn timer(
    text: &str,
    bounds: &RangeInclusive<SignedDuration>,
) -> Result<Duration, Invalid> {
    span(text, bounds).map(SignedDuration::unsigned_abs)
}

/// A path of a file or folder.
pub(super) fn path(text: &str) -> Result<PathBuf, Invalid> {
    if text.trim().is_empty() {
        return Err(Invalid::new("must not be empty"));
    }
    if text.contains(char::is_control) {
        return Err(Invalid::new("must be a path on one line"));
    }
    Ok(PathBuf::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_bounds() {
        assert_eq!(whole::<u16>(7, &(1..=64)), Ok(7));
        for bad in [0, 65, -1, i64::MAX] {
            let error = whole::<u16>(bad, &(1..=64)).unwrap_err();
            assert_eq!(error.rule(), "must be between 1 and 64");
        }
    }

    #[test]
    fn lengths_keep_their_bounds() {
        let bounds = SignedDuration::from_millis(100)..=SignedDuration::from_mins(10);
        assert_eq!(timer("2s", &bounds), Ok(Duration::from_secs(2)));
        for bad in ["99ms", "11m"] {
            let error = timer(bad, &bounds).unwrap_err();
            assert_eq!(error.rule(), "must be between 100ms and 10m");
        }
        assert!(timer("soon", &bounds).is_err());
    }
}
