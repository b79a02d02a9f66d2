//! Environments.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Makes an environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateEnvironmentRequest {
    /// 1 to 64 characters of a-z, 0-9, '-', '_'.
    pub name: String,
    /// `live` or `test`; written into its keys.
    pub tag: String,
}

/// A stage such as `production`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EnvironmentView {
    /// Its name within the project.
    pub name: String,
    /// `live` or `test`.
    pub tag: String,
    /// When it was made.
    pub created_at: Timestamp,
}
