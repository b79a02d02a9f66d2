//! Lengths of time as Go writes them: `1h0m0s`.

use jiff::SignedDuration;
use keyreeve_core::duration;
use serde_json::Value;

/// As Go prints them, in whole seconds.
pub(super) fn format(length: SignedDuration) -> String {
    let seconds = length.as_secs();
    let (sign, seconds) = if seconds < 0 { ("-", -seconds) } else { ("", seconds) };
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{rest}s"),
        (0, _) => format!("{sign}{minutes}m{rest}s"),
        _ => format!("{sign}{hours}h{minutes}m{rest}s"),
    }
}

/// A number of seconds, or text such as `24h` or `3600`. A negative length switches something off.
pub(super) fn parse(value: &Value) -> Option<SignedDuration> {
    let whole = |seconds| Some(SignedDuration::from_secs(seconds));
    let length = match value {
        Value::Number(number) => number.as_i64().and_then(whole),
        Value::String(text) => match text.parse() {
            Ok(seconds) => whole(seconds),
            Err(_) if text.is_empty() => Some(SignedDuration::ZERO),
            Err(_) => match text.strip_prefix('-') {
                Some(rest) => duration::parse(rest).ok().map(|length| -length),
                None => duration::parse(text).ok(),
            },
        },
        _ => None,
    };
    length.filter(|length| (-duration::LONGEST..=duration::LONGEST).contains(length))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn as_go_writes_them() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m0s"),
            (3_600, "1h0m0s"),
            (90_061, "25h1m1s"),
            (-1, "-1s"),
        ] {
            assert_eq!(format(SignedDuration::from_secs(seconds)), text);
            assert_eq!(parse(&json!(text)), Some(SignedDuration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse(&json!(30)), Some(SignedDuration::from_secs(30)));
        assert_eq!(parse(&json!("30")), Some(SignedDuration::from_secs(30)));
        assert_eq!(parse(&json!("24h")), Some(SignedDuration::from_hours(24)));
        assert_eq!(parse(&json!("soon")), None);
        assert_eq!(parse(&json!(i64::MIN)), None);
        assert_eq!(parse(&json!(true)), None);
    }
}
