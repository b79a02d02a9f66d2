//! Points in time as people read them.

use jiff::Timestamp;

/// `2026-12-21 09:00 UTC`.
pub(crate) fn absolute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// `in 30 days`, `5 minutes ago` or `now`, rounded to the nearest.
pub(crate) fn relative(at: Timestamp, now: Timestamp) -> String {
    let milliseconds = at.duration_since(now).as_millis();
    let length = length(milliseconds.unsigned_abs());
    match milliseconds {
        -499..500 => "now".to_owned(),
        ..-499 => format!("{length} ago"),
        _ => format!("in {length}"),
    }
}

/// Both: `2026-12-21 09:00 UTC (in 30 days)`.
pub(crate) fn both(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", absolute(at), relative(at, now))
}

/// The largest unit that still tells something. Days go far, because lives of keys are thought of
/// in days.
fn length(milliseconds: u128) -> String {
    const UNITS: [(&str, u128, u128); 4] = [
        ("second", 1_000, 60),
        ("minute", 60_000, 60),
        ("hour", 3_600_000, 48),
        ("day", 86_400_000, 730),
    ];
    for (unit, size, most) in UNITS {
        let count = rounded(milliseconds, size);
        if count < most {
            return counted(count, unit);
        }
    }
    counted(rounded(milliseconds, 365 * 86_400_000), "year")
}

fn rounded(milliseconds: u128, size: u128) -> u128 {
    (milliseconds + size / 2) / size
}

fn counted(count: u128, unit: &str) -> String {
    if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T09:00:00Z".parse().unwrap()
    }

    #[test]
    fn dates_are_in_utc() {
        let at: Timestamp = "2026-12-21T11:00:29+02:00".parse().unwrap();
        assert_eq!(absolute(at), "2026-12-21 09:00 UTC");
        assert_eq!(both(at, now()), "2026-12-21 09:00 UTC (in 30 days)");
    }

    #[test]
    fn distances_are_rounded_to_the_nearest() {
        for (seconds, expected) in [
            (0, "now"),
            (1, "in 1 second"),
            (-1, "1 second ago"),
            (59, "in 59 seconds"),
            (60, "in 1 minute"),
            (-150, "3 minutes ago"),
            (3_599, "in 1 hour"),
            (5_400, "in 2 hours"),
            (47 * 3_600, "in 47 hours"),
            (48 * 3_600, "in 2 days"),
            (30 * 86_400 - 1, "in 30 days"),
            (-90 * 86_400, "90 days ago"),
            (729 * 86_400, "in 729 days"),
            (730 * 86_400, "in 2 years"),
        ] {
            let at = now() + SignedDuration::from_secs(seconds);
            assert_eq!(relative(at, now()), expected, "{seconds}");
        }
    }
}
