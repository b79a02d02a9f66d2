//! How several nodes work together.

use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;

use super::{fault::Rules, rule::timer};

/// The bounds of the bound. Below the first, a hiccup of the network denies everybody.
const SHORTEST: SignedDuration = SignedDuration::from_millis(200);
const LONGEST: SignedDuration = SignedDuration::from_secs(60);

/// `[cluster]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterConfig {
    /// How old a node's knowledge of the others may be before it vouches for nothing.
    pub(crate) bound: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCluster {
    bound: String,
}

impl RawCluster {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<ClusterConfig> {
        let bound = rules.keep("cluster.bound", timer(&self.bound, &(SHORTEST..=LONGEST)))?;
        Some(ClusterConfig { bound })
    }
}
