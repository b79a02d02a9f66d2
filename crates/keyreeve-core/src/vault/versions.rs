//! Versions of one secret: numbered from 1, never reused.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A version's number, from 1.
pub type VersionNumber = u64;

/// What is known of a version besides its fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionMeta {
    /// When it was written.
    pub created_at: Timestamp,
    /// From when on it is deleted, which may be a time to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// Whether its fields are gone for good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub destroyed: bool,
    /// Who wrote it, as the audit names actors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
}

impl VersionMeta {
    /// Whether its fields can be read.
    pub fn is_readable(&self, now: Timestamp) -> bool {
        !self.destroyed && self.deleted_at.is_none_or(|at| at > now)
    }
}

/// A write did not expect what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CasMismatch {
    /// The writer has to say which version it has seen.
    #[error("check-and-set parameter required for this call")]
    Required,
    /// Another version is current.
    #[error("check-and-set parameter did not match the current version")]
    Mismatch {
        /// Which.
        current: VersionNumber,
    },
}
