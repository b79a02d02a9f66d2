//! Keyspaces.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LimitView, Patch, RestrictionsChange, RestrictionsView};

/// Makes a keyspace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKeyspaceRequest {
    /// 1 to 64 characters of a-z, 0-9, '-', '_'.
    pub name: String,
    /// What its keys begin with: 1 to 24 characters of a-z, 0-9, '_'.
    pub prefix: String,
    /// The life of a key that names none, such as `90d`, or `never`; `90d` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_expires_in: Option<String>,
    /// The grace of a rotation that names none; `1d` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_grace: Option<String>,
    /// `closed` (the default) or `open`: what to answer for keys a node cannot vouch for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_policy: Option<String>,
    /// From where, when and for what it may be used.
    #[serde(default, skip_serializing_if = "RestrictionsView::is_empty")]
    pub restrictions: RestrictionsView,
    /// How often, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitView>,
    /// How much in each period, such as `5000/month` or `100/day Europe/Berlin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<String>,
    /// How many requests at once, and for how long each holds its place: `5/30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<String>,
}

/// Changes a keyspace. The prefix never changes. Absent fields stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateKeyspaceRequest {
    /// The life of a key that names none, such as `90d`, or `never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_expires_in: Option<String>,
    /// The grace of a rotation that names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_grace: Option<String>,
    /// `closed` or `open`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_policy: Option<String>,
    /// Replaces its restrictions, each kind by itself; null takes all of them away.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    #[schema(value_type = Option<RestrictionsChange>)]
    pub restrictions: Patch<RestrictionsChange>,
    /// Replaces all its limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Vec<LimitView>>,
    /// How much in each period; null for no quota.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    #[schema(value_type = Option<String>)]
    pub quota: Patch<String>,
    /// How many requests at once; null for any number.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    #[schema(value_type = Option<String>)]
    pub concurrency: Patch<String>,
}

/// A set of keys with one prefix and shared defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct KeyspaceView {
    /// Its name within the project.
    pub name: String,
    /// What its keys begin with.
    pub prefix: String,
    /// The life of a key that names none, or `never`.
    pub default_expires_in: String,
    /// The grace of a rotation that names none.
    pub default_grace: String,
    /// `closed` or `open`.
    pub fail_policy: String,
    /// From where, when and for what it may be used.
    #[serde(default, skip_serializing_if = "RestrictionsView::is_empty")]
    pub restrictions: RestrictionsView,
    /// How often, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitView>,
    /// How much in each period, such as `5000/month` or `100/day Europe/Berlin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<String>,
    /// How many requests at once, and for how long each holds its place: `5/30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Changes so far.
    pub revision: u64,
}
