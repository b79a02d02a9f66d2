//! One permission, possibly with wildcards, and what it covers.

use std::{fmt, str::FromStr, sync::Arc};

use crate::Invalid;

/// The first segment of permissions on Keyreeve's own API.
pub const RESERVED_SEGMENT: &str = "keyreeve";

const LONGEST: usize = 128;
const MOST_SEGMENTS: usize = 8;
const RULE: &str = "must be a permission: 1 to 8 segments joined by '.', each of a-z, A-Z, 0-9, \
                    '_', '-', ':' or a single '*', 128 characters at most";

/// A granted permission, such as `documents.read`, `documents.*` or `*`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Permission(Arc<str>);

impl Permission {
    /// The permission as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether everything `wanted` asks for is granted by this permission.
    ///
    /// `wanted` may hold wildcards itself; then all it stands for must be covered. That one rule
    /// answers both "may this key read documents" and "may this creator grant `documents.*`".
    pub fn covers(&self, wanted: &str) -> bool {
        let granted = self.as_str();
        if granted == wanted {
            return true;
        }
        // A leading wildcard does not reach into the reserved namespace.
        if granted.starts_with('*') && first_segment(wanted) == RESERVED_SEGMENT {
            return false;
        }
        granted.contains('*') && segments_cover(granted, wanted)
    }
}

/// Checks the grammar without allocating.
pub(super) fn check(text: &str) -> Result<(), Invalid> {
    let segment_is_good = |segment: &str| {
        segment == "*"
            || !segment.is_empty()
                && segment
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b':'))
    };
    let mut segments = 0;
    for segment in text.split('.') {
        segments += 1;
        if segments > MOST_SEGMENTS || !segment_is_good(segment) {
            return Err(Invalid::new(RULE));
        }
    }
    if text.len() > LONGEST { Err(Invalid::new(RULE)) } else { Ok(()) }
}

/// Glob over segments: `*` takes one or more; a wildcard on the wanted side counts as a segment
/// that only a wildcard can take. Depth is bounded by [`MOST_SEGMENTS`].
fn segments_cover(granted: &str, wanted: &str) -> bool {
    let (head, granted_rest) = split_first(granted);
    let (wanted_head, mut wanted_rest) = split_first(wanted);
    if head != "*" {
        return head == wanted_head
            && match (granted_rest, wanted_rest) {
                (None, None) => true,
                (Some(granted), Some(wanted)) => segments_cover(granted, wanted),
                _ => false,
            };
    }
    let Some(granted_rest) = granted_rest else {
        return true;
    };
    while let Some(rest) = wanted_rest {
        if segments_cover(granted_rest, rest) {
            return true;
        }
        wanted_rest = split_first(rest).1;
    }
    false
}

fn first_segment(text: &str) -> &str {
    split_first(text).0
}

fn split_first(text: &str) -> (&str, Option<&str>) {
    match text.split_once('.') {
        Some((head, rest)) => (head, Some(rest)),
        None => (text, None),
    }
}

impl FromStr for Permission {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        check(text)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn covers(granted: &str, wanted: &str) -> bool {
        granted.parse::<Permission>().unwrap().covers(wanted)
    }

    #[test]
    fn wildcards_are_real() {
        for (granted, wanted, expected) in [
            ("documents.read", "documents.read", true),
            ("documents.read", "documents.write", false),
            ("documents.*", "documents.read", true),
            ("documents.*", "documents.pages.read", true),
            ("documents.*", "documents", false),
            ("documents.*", "documentsx.read", false),
            ("*", "documents.read", true),
            ("*.read", "documents.read", true),
            ("*.read", "documents.pages.read", true),
            ("*.read", "read", false),
            ("*.read", "documents.write", false),
            ("a.*.z", "a.b.c.z", true),
            ("a.*.z", "a.z", false),
            ("documents.*", "documents.*", true),
            ("documents.*", "documents.*.read", true),
            ("documents.read", "documents.*", false),
            ("documents.*", "*", false),
        ] {
            assert_eq!(covers(granted, wanted), expected, "{granted} covers {wanted}");
        }
    }

    #[test]
    fn wildcards_do_not_reach_keyreeves_own_api() {
        assert!(!covers("*", "keyreeve.keys.write"));
        assert!(!covers("*.read", "keyreeve.keys.read"));
        assert!(!covers("*", "keyreeve.*"));
        assert!(!covers("*", "keyreeve"));
        assert!(covers("keyreeve.*", "keyreeve.keys.write"));
        assert!(covers("keyreeve.*.read", "keyreeve.keys.read"));
        assert!(!covers("keyreeve.*.read", "keyreeve.keys.write"));
    }

    #[test]
    fn grammar() {
        for good in ["a", "a.b", "*", "a.*.b", "Users:read", "a_b-c.d", "1.2.3.4.5.6.7.8"] {
            assert!(good.parse::<Permission>().is_ok(), "{good}");
        }
        let long = "x".repeat(129);
        for bad in ["", ".", "a.", ".a", "a..b", "a*", "a b", "ä", "1.2.3.4.5.6.7.8.9", &long] {
            assert!(bad.parse::<Permission>().is_err(), "{bad}");
        }
    }

    fn arb_pattern() -> impl Strategy<Value = String> {
        prop::collection::vec("(a|b|keyreeve|\\*)", 1..5).prop_map(|s| s.join("."))
    }

    fn arb_concrete() -> impl Strategy<Value = String> {
        prop::collection::vec("(a|b|keyreeve)", 1..6).prop_map(|s| s.join("."))
    }

    /// What the documentation says, written naively: try every length for every wildcard.
    fn model(granted: &[&str], wanted: &[&str]) -> bool {
        match granted {
            [] => wanted.is_empty(),
            ["*", rest @ ..] => (1..=wanted.len()).any(|n| model(rest, &wanted[n..])),
            [head, rest @ ..] => wanted.first() == Some(head) && model(rest, &wanted[1..]),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_model(granted in arb_pattern(), wanted in arb_concrete()) {
            let segments: Vec<_> = granted.split('.').collect();
            let wanted_segments: Vec<_> = wanted.split('.').collect();
            let reserved = segments[0] == "*" && wanted_segments[0] == RESERVED_SEGMENT;
            let expected = !reserved && model(&segments, &wanted_segments);
            prop_assert_eq!(covers(&granted, &wanted), expected);
        }

        #[test]
        fn covering_a_pattern_means_covering_all_it_grants(
            granted in arb_pattern(), wanted in arb_pattern(), concrete in arb_concrete(),
        ) {
            if covers(&granted, &wanted) && covers(&wanted, &concrete) {
                prop_assert!(covers(&granted, &concrete), "{} {} {}", granted, wanted, concrete);
            }
        }

        #[test]
        fn covers_itself(pattern in arb_pattern()) {
            prop_assert!(covers(&pattern, &pattern));
        }
    }
}
