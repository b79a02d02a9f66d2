//! How the audit is anchored.

use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;

use super::{fault::Rules, rule::timer};

/// `[audit]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuditConfig {
    /// How often the signed head of the tree is written beside the database.
    pub(crate) anchor_interval: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAudit {
    anchor_interval: String,
}

impl RawAudit {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<AuditConfig> {
        let bounds = SignedDuration::from_millis(10)..=SignedDuration::from_hours(1);
        let anchor_interval = timer(&self.anchor_interval, &bounds);
        let anchor_interval = rules.keep("audit.anchor_interval", anchor_interval)?;
        Some(AuditConfig { anchor_interval })
    }
}
