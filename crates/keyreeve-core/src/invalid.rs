//! What a constructor says when a value breaks its rule.

use std::borrow::Cow;

/// A value from outside broke a rule.
///
/// Carries the rule only. The boundary that received the value knows which field it stood in and
/// adds that; the value itself is never repeated, because it may be a secret in the wrong place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub struct Invalid {
    rule: Cow<'static, str>,
}

impl Invalid {
    /// `rule` completes the sentence "the field …", for example "must be 1 to 100 characters".
    pub fn new(rule: impl Into<Cow<'static, str>>) -> Self {
        Self { rule: rule.into() }
    }

    /// The rule that was broken.
    pub fn rule(&self) -> &str {
        &self.rule
    }
}
