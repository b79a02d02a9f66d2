//! Owners.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LimitView, MetadataView, Patch, RestrictionsChange, RestrictionsView};

/// Makes an owner. Creating a key for an unknown owner does this too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateOwnerRequest {
    /// Your own id for it, 1 to 255 characters.
    pub id: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Comes back with every verdict on its keys. At most 16 KiB.
    #[serde(default, skip_serializing_if = "MetadataView::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: MetadataView,
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

/// Changes an owner. Absent fields stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateOwnerRequest {
    /// What people call it; null clears it.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// Replaces the metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<MetadataView>,
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

/// The outside identity that keys belong to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OwnerView {
    /// Your own id for it.
    pub id: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Comes back with every verdict on its keys.
    #[schema(value_type = Object)]
    pub metadata: MetadataView,
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
    /// When it was first seen.
    pub created_at: Timestamp,
    /// Changes so far.
    pub revision: u64,
}
