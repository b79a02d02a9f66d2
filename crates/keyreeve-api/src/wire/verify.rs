//! Verification.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{MetadataView, SecretText};

/// Is this key good, and does it grant this?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// The key as it was shown to you, at most 512 characters.
    pub key: SecretText,
    /// What it must grant: a permission, or several with AND, OR and parentheses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<String>,
    /// The request you got with the key; recorded as the key's last use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestContext>,
}

/// What you know of the request that carried the key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestContext {
    /// The caller's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ip: Option<IpAddr>,
    /// The caller's `User-Agent`; the first 200 characters are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

/// The verdict. The HTTP status is 200 whatever it says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VerifyView {
    /// Whether to let the request through.
    pub valid: bool,
    /// `VALID`, or the check that failed.
    pub code: String,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DenialView>,
    /// The key; absent unless the whole text matched one of yours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<VerifiedKeyView>,
    /// Whom it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<VerifiedOwnerView>,
    /// Its roles.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Its permissions, those of its roles included.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// Present while the key is being replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<VerifiedRotationView>,
    /// How fresh the data behind the verdict is.
    pub as_of: AsOfView,
    /// Names this request in logs.
    pub request_id: String,
}

/// Why a key was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DenialView {
    /// The check that failed: `format`, `lookup`, `state`, `expiry` or `permissions`.
    pub check: String,
    /// The fewest permissions that would have been enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// The key behind a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VerifiedKeyView {
    /// Its public id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Its keyspace.
    pub keyspace: String,
    /// Its environment.
    pub environment: String,
    /// Its state.
    pub state: String,
    /// When it expires; absent if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What you stored with it.
    #[serde(default, skip_serializing_if = "MetadataView::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: MetadataView,
}

/// Whom a key belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VerifiedOwnerView {
    /// Your own id for it.
    pub id: String,
    /// What you stored with it.
    #[serde(default, skip_serializing_if = "MetadataView::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: MetadataView,
}

/// A key that is being replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VerifiedRotationView {
    /// The first moment at which the old key is refused.
    pub grace_ends_at: Timestamp,
    /// The key that replaces it.
    pub successor_id: String,
}

/// How fresh the data behind a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AsOfView {
    /// The last change this node knows of; counts up by one a change.
    pub epoch: u64,
    /// How long ago this node last knew that it misses none, in milliseconds.
    pub age_ms: u64,
}
