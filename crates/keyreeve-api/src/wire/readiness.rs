//! Readiness.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether a server can do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReadinessView {
    /// Whether to send requests here.
    pub ready: bool,
    /// What was looked at.
    pub checks: ReadinessChecksView,
    /// The last change that verification knows.
    pub epoch: u64,
    /// For how long other nodes may have done what this one does not know yet, in milliseconds.
    pub age_ms: u64,
    /// Keys that verification knows.
    pub live_keys: u64,
}

/// What readiness depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReadinessChecksView {
    /// `ok` or `failed`: whether the store reads, and writes unless an operator keeps changes out.
    pub store: String,
    /// `ok` or `stale`: whether this node knows what other nodes did, within its bound.
    pub knowledge: String,
    /// `ok`, or `degraded` while the nodes cannot count together and each limits alone; a node that
    /// does is ready.
    pub limits: String,
    /// Whether the server is about to stop.
    pub draining: bool,
}
