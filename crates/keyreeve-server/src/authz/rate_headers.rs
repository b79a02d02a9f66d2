//! How much is left, in headers: `RateLimit-Policy` and `RateLimit` of
//! draft-ietf-httpapi-ratelimit-headers-10, and the three older ones that clients know.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderValue};

/// The largest integer of RFC 9651.
const LARGEST: u64 = 999_999_999_999_999;

/// A limit, and how much of it is left.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) name: String,
    /// How much there is when full.
    pub(super) amount: u64,
    /// The seconds it is for, if that is a fixed number.
    pub(super) window_s: Option<u64>,
    pub(super) remaining: u64,
    /// Seconds until there is more: until it is full, or, when exceeded, until a retry can pass.
    pub(super) reset_s: u64,
    /// Whether it is why the request was denied.
    pub(super) exceeded: bool,
}

/// Adds the headers, if there are limits.
pub(super) fn insert(headers: &mut HeaderMap, policies: &[Policy]) {
    let Some(closest) = closest(policies) else {
        return;
    };
    let (mut all, mut left) = (String::new(), String::new());
    for policy in policies {
        if !all.is_empty() {
            all.push_str(", ");
            left.push_str(", ");
        }
        let name = quoted(&policy.name);
        // Into memory: there is nothing here that can fail.
        let _ = write!(all, "{name};q={}", policy.amount.min(LARGEST));
        if let Some(window) = policy.window_s {
            let _ = write!(all, ";w={}", window.min(LARGEST));
        }
        let (remaining, reset) = (policy.remaining.min(LARGEST), policy.reset_s.min(LARGEST));
        let _ = write!(left, "{name};r={remaining};t={reset}");
    }
    for (name, text) in [("ratelimit-policy", all), ("ratelimit", left)] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
    headers.insert("x-ratelimit-limit", closest.amount.into());
    headers.insert("x-ratelimit-remaining", closest.remaining.into());
    headers.insert("x-ratelimit-reset", closest.reset_s.into());
}

/// The limit that will end first: an exceeded one, or the one with the smallest part left. Of
/// equal ones the first.
fn closest(policies: &[Policy]) -> Option<&Policy> {
    policies.iter().min_by(|a, b| {
        let part = |of: &Policy, other: &Policy| {
            u128::from(of.remaining) * u128::from(other.amount.max(1))
        };
        b.exceeded.cmp(&a.exceeded).then_with(|| part(a, b).cmp(&part(b, a)))
    })
}

/// A string of RFC 9651. What cannot stand in one is replaced.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for sign in text.chars() {
        match sign {
            '"' | '\\' => quoted.extend(['\\', sign]),
            ' '..='~' => quoted.push(sign),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, amount: u64, remaining: u64, reset: u64) -> Policy {
        let (name, window_s) = (name.to_owned(), Some(60));
        Policy { name, amount, window_s, remaining, reset_s: reset, exceeded: false }
    }

    fn headers_of(policies: &[Policy]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        insert(&mut headers, policies);
        headers
    }

    #[test]
    fn without_limits_there_are_no_headers() {
        assert!(headers_of(&[]).is_empty());
    }

    #[test]
    fn all_limits_are_told_and_the_closest_to_old_clients() {
        let daily = Policy { window_s: Some(86_400), ..policy("daily", 1000, 10, 3600) };
        let quota = Policy { window_s: None, ..policy("quota", 5000, 4999, 99) };
        let headers = headers_of(&[policy("burst", 100, 50, 30), daily, quota]);
        for (name, value) in [
            ("ratelimit-policy", r#""burst";q=100;w=60, "daily";q=1000;w=86400, "quota";q=5000"#),
            ("ratelimit", r#""burst";r=50;t=30, "daily";r=10;t=3600, "quota";r=4999;t=99"#),
            ("x-ratelimit-limit", "1000"),
            ("x-ratelimit-remaining", "10"),
            ("x-ratelimit-reset", "3600"),
        ] {
            assert_eq!(headers[name], value, "{name}");
        }
        assert_eq!(headers.len(), 5);
    }

    #[test]
    fn an_exceeded_limit_is_closer_than_an_empty_one() {
        let empty = policy("a", 10, 0, 5);
        let exceeded = Policy { exceeded: true, ..policy("b", 10, 2, 7) };
        assert_eq!(headers_of(&[empty, exceeded])["x-ratelimit-reset"], "7");
        // Of equals the first, and nothing is divided by nothing.
        let (first, second) = (policy("a", 0, 0, 1), policy("b", 0, 0, 2));
        assert_eq!(headers_of(&[first, second])["x-ratelimit-reset"], "1");
    }

    #[test]
    fn names_and_numbers_keep_the_syntax() {
        let headers = headers_of(&[policy("a\"b\\c\né", u64::MAX, 1, 1)]);
        let text = r#""a\"b\\c??";q=999999999999999;w=60"#;
        assert_eq!(headers["ratelimit-policy"], text);
    }
}
