//! How long answers are kept for repeated requests.

use jiff::SignedDuration;
use serde::Deserialize;

use super::{fault::Rules, rule::span};

/// `[idempotency]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdempotencyConfig {
    /// How long the answer to a request with an `Idempotency-Key` is kept.
    pub(crate) keep: SignedDuration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIdempotency {
    keep: String,
}

impl RawIdempotency {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<IdempotencyConfig> {
        let bounds = SignedDuration::from_mins(1)..=SignedDuration::from_hours(30 * 24);
        let keep = rules.keep("idempotency.keep", span(&self.keep, &bounds))?;
        Some(IdempotencyConfig { keep })
    }
}
