//! Whom an override of a limit is for.

use std::{fmt, str::FromStr, sync::Arc};

use crate::Invalid;

const LONGEST: usize = 255;

/// A subject's exact text, or one with `*` for any run of characters, such as `*@example.com`.
///
/// 1 to 255 characters, none of them a control character.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectPattern(Arc<str>);

impl SubjectPattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern stands for `subject`. The time it takes grows with the two lengths
    /// together, not with their product: each piece between stars is sought once, leftmost first,
    /// and what lies before the place found is never looked at again.
    pub fn matches(&self, subject: &str) -> bool {
        let Some((head, tail)) = self.0.split_once('*') else {
            return *self.0 == *subject;
        };
        let (middle, end) = tail.rsplit_once('*').unwrap_or(("", tail));
        let Some(mut rest) = subject.strip_prefix(head).and_then(|rest| rest.strip_suffix(end))
        else {
            return false;
        };
        for piece in middle.split('*') {
            match rest.split_once(piece) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        true
    }

    /// How much the pattern says: its characters that are not `*`.
    pub(super) fn weight(&self) -> usize {
        self.0.chars().filter(|c| *c != '*').count()
    }
}

impl FromStr for SubjectPattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let good = !text.is_empty()
            && text.chars().take(LONGEST + 1).count() <= LONGEST
            && !text.chars().any(char::is_control);
        if good {
            return Ok(Self(text.into()));
        }
        Err(Invalid::new(
            "must be 1 to 255 characters without control characters; * stands for any",
        ))
    }
}

impl fmt::Display for SubjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SubjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

super::serde_as_text!(SubjectPattern);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, subject: &str) -> bool {
        pattern.parse::<SubjectPattern>().unwrap().matches(subject)
    }

    #[test]
    fn stars_stand_for_any_run() {
        for (pattern, subject, expected) in [
            ("acme", "acme", true),
            ("acme", "acme2", false),
            ("*", "", true),
            ("*", "anything", true),
            ("*@acme.com", "me@acme.com", true),
            ("*@acme.com", "@acme.com", true),
            ("*@acme.com", "me@acme.com.evil.example", false),
            ("enterprise:*", "enterprise:7", true),
            ("enterprise:*", "xenterprise:7", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("ab*ba", "aba", false),
            ("a**b", "ab", true),
            ("*ß*", "größe", true),
        ] {
            assert_eq!(matches(pattern, subject), expected, "{pattern} stands for {subject}");
        }
    }

    #[test]
    fn grammar() {
        assert!("ä".repeat(255).parse::<SubjectPattern>().is_ok());
        for bad in ["", "a\nb", "a\u{0}", &"x".repeat(256)] {
            assert!(bad.parse::<SubjectPattern>().is_err(), "{bad:?}");
        }
        assert!(serde_json::from_str::<SubjectPattern>("\"\"").is_err());
    }

    #[test]
    fn hostile_patterns_do_not_explode() {
        let pattern = "a*".repeat(127) + "b";
        assert!(!matches(&pattern, &"a".repeat(1_000_000)));
    }

    /// What the documentation says, written naively.
    fn model(pattern: &[char], subject: &[char]) -> bool {
        match pattern {
            [] => subject.is_empty(),
            ['*', rest @ ..] => (0..=subject.len()).any(|n| model(rest, &subject[n..])),
            [head, rest @ ..] => subject.first() == Some(head) && model(rest, &subject[1..]),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_model(pattern in "[abä*]{1,8}", subject in "[abä]{0,10}") {
            let (p, s): (Vec<_>, Vec<_>) = (pattern.chars().collect(), subject.chars().collect());
            prop_assert_eq!(matches(&pattern, &subject), model(&p, &s));
        }
    }
}
