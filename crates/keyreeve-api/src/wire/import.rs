//! Keys of another system.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::MetadataView;

/// Brings keys in by their hashes: all of them or none, unless `partial`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// Where they go; `default` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyspace: Option<String>,
    /// The stage they are for; `production` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The keys, 1 to 50,000.
    pub keys: Vec<ImportRowRequest>,
    /// Bring in those that are good even if others are not.
    #[serde(default)]
    pub partial: bool,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// One key of another system.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportRowRequest {
    /// What people call it.
    pub name: String,
    /// SHA-256 in hex or base64, SHA-512 in hex, `hmac-sha256:` and hex, bcrypt or Argon2.
    pub hash: String,
    /// Its first 4 to 32 characters; needed with bcrypt and Argon2, which find no key by
    /// themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Whom it belongs to; made on the way if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Roles to carry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Permissions to carry besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<String>,
    /// Comes back with every verdict.
    #[serde(default, skip_serializing_if = "MetadataView::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: MetadataView,
    /// Words to filter by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// When it expires; the keyspace's default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportView {
    /// Keys stored, or that would be.
    pub imported: u64,
    /// Rows that break a rule.
    pub refused: u64,
    /// Whether anything was stored.
    pub stored: bool,
    /// Whether nothing was to be.
    pub dry_run: bool,
    /// One entry for each row, in order.
    pub rows: Vec<ImportedRowView>,
}

/// What became of one row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportedRowView {
    /// Its place in the batch, from 1.
    pub row: u64,
    /// The key's id here; absent if it breaks a rule or nothing was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The field that breaks a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The rule, completing "the field …".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}
