//! How use is counted.

use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;

use super::{fault::Rules, rule::timer};

/// `[usage]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsageConfig {
    /// How often counts are written to the store.
    pub(crate) flush_interval: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUsage {
    flush_interval: String,
}

impl RawUsage {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<UsageConfig> {
        let bounds = SignedDuration::from_millis(100)..=SignedDuration::from_hours(1);
        let flush_interval = timer(&self.flush_interval, &bounds);
        let flush_interval = rules.keep("usage.flush_interval", flush_interval)?;
        Some(UsageConfig { flush_interval })
    }
}
