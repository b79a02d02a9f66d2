//! Lengths of time as people write them: `90d`, `36h`, `1h30m`, `2s`, `500ms`.

use jiff::{SignedDuration, Span, SpanRelativeTo};

use crate::Invalid;

/// The longest length accepted anywhere: 100 years of 365 days.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(100 * 365 * 24);

/// Parses a length of time.
///
/// Units are `ms`, `s`, `m`, `h`, `d` (24 hours) and `w` (7 days), in any mix; ISO 8601 durations
/// (`P90D`) work too. Months and years are refused because their length depends on where one
/// starts. Negative lengths and those over [`LONGEST`] are refused.
pub fn parse(text: &str) -> Result<SignedDuration, Invalid> {
    const RULE: &str =
        "must be a length of time such as 90d, 36h, 1h30m or 2s (units ms, s, m, h, d, w)";
    if text.len() > 64 {
        return Err(Invalid::new(RULE));
    }
    let span: Span = text.trim().parse().map_err(|_| Invalid::new(RULE))?;
    let length =
        span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| Invalid::new(RULE))?;
    if length.is_negative() {
        return Err(Invalid::new("must not be negative"));
    }
    if length.subsec_nanos() % 1_000_000 != 0 {
        return Err(Invalid::new("must be a whole number of milliseconds"));
    }
    if length > LONGEST {
        return Err(Invalid::new("must not be longer than 100 years"));
    }
    Ok(length)
}

/// The shortest exact way to write a length in the units [`parse`] reads, such as `1d12h`.
pub fn format(length: SignedDuration) -> String {
    const UNITS: [(&str, i128); 6] = [
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    let mut rest = length.as_millis();
    let mut text = String::new();
    for (unit, size) in UNITS {
        // Weeks only where they say it all: 90d reads better than 12w6d.
        if unit == "w" && rest % size != 0 {
            continue;
        }
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, seconds) in
            [("2s", 2), ("30d", 2_592_000), ("1h30m", 5_400), ("2w", 1_209_600), ("0s", 0)]
        {
            assert_eq!(parse(text).unwrap().as_secs(), seconds, "{text}");
        }
        assert_eq!(parse("500ms").unwrap().as_millis(), 500);
    }

    #[test]
    fn refuses_what_has_no_fixed_length_or_makes_no_sense() {
        for text in ["", "abc", "-5s", "1y", "2mo", "30", "9999999999d", "5 parsecs", "101y", "1us"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&"1".repeat(100)).is_err());
    }

    proptest! {
        #[test]
        fn formatting_is_undone_by_parsing(ms in 0i64..3_000_000_000_000) {
            let length = SignedDuration::from_millis(ms);
            prop_assert_eq!(parse(&format(length)).unwrap(), length);
        }

        #[test]
        fn never_panics(text in ".{0,80}") {
            let _ = parse(&text);
        }
    }
}
