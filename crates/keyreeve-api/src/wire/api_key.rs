//! API keys.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    LimitView, MetadataView, Patch, PeaksView, RestrictionsChange, RestrictionsView, SecretText,
};

/// Makes a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApiKeyRequest {
    /// What people call it, 1 to 100 characters.
    pub name: String,
    /// Where prefix and defaults come from; `default` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyspace: Option<String>,
    /// The stage it is for; `production` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Your own id for whom it belongs to; made on the way if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Roles to carry, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Permissions to carry besides, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<String>,
    /// Comes back with every verdict. At most 16 KiB.
    #[serde(default, skip_serializing_if = "MetadataView::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: MetadataView,
    /// Words to filter by, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Its life, such as `30d`, or `never`; the keyspace's default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
    /// The moment it expires; not together with `expires_in`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The first moment at which it is accepted; at once if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
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

/// Changes a key. Absent fields stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateApiKeyRequest {
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whom it belongs to; null takes it from its owner.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    #[schema(value_type = Option<String>)]
    pub owner: Patch<String>,
    /// Replaces its roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// Replaces its permissions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<String>>,
    /// Replaces its metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<MetadataView>,
    /// Replaces its tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// The moment it expires; null for never.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    #[schema(value_type = Option<Timestamp>)]
    pub expires_at: Patch<Timestamp>,
    /// The first moment at which it is accepted; null for at once.
    #[serde(default, skip_serializing_if = "Patch::is_keep")]
    #[schema(value_type = Option<Timestamp>)]
    pub not_before: Patch<Timestamp>,
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
    /// Refuse the change unless the key is still at this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// A key, without its secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ApiKeyView {
    /// Its public id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Its keyspace.
    pub keyspace: String,
    /// Its environment.
    pub environment: String,
    /// `live` or `test`.
    pub tag: String,
    /// Its last four characters.
    pub last_four: String,
    /// `active`, `disabled`, `rotating`, `expired`, `revoked` or `deleted`.
    pub state: String,
    /// Whom it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its roles.
    pub roles: Vec<String>,
    /// Permissions it carries besides its roles.
    pub permissions: Vec<String>,
    /// Comes back with every verdict.
    #[schema(value_type = Object)]
    pub metadata: MetadataView,
    /// Words to filter by.
    pub tags: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it expires; absent if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The first moment at which it is accepted; at once if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
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
    /// The key it was derived from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Whether it came from another system.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
    /// Where it stands in a chain of rotations; absent if never rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationView>,
    /// Present once revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<RevocationView>,
    /// Since when it is disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<Timestamp>,
    /// Since when it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// How it is used; absent if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageView>,
    /// Changes so far.
    pub revision: u64,
}

/// A key's place in a chain of rotations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RotationView {
    /// The first key of the chain.
    pub lineage: String,
    /// The key this one replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor: Option<String>,
    /// The key that replaces this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<String>,
    /// The first moment at which this key is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ends_at: Option<Timestamp>,
}

/// When and why a key was revoked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RevocationView {
    /// When.
    pub at: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a key is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageView {
    /// Verifications that found it valid.
    pub verifications: u64,
    /// The last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
    /// Where it came from, if the verifier said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_ip: Option<String>,
    /// With which `User-Agent`, if the verifier said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_user_agent: Option<String>,
    /// The busiest spans.
    #[serde(default)]
    pub peaks: PeaksView,
}

/// A new key. `key` is shown this once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CreatedApiKeyView {
    /// The key itself, never shown again.
    pub key: SecretText,
    /// Everything else about it.
    #[serde(flatten)]
    pub details: ApiKeyView,
}

/// Replaces a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateApiKeyRequest {
    /// How long the old key stays good, at most until its own expiry; the keyspace's default if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<String>,
    /// The new key's life, or `never`; as long as the old key's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
}

/// The new key of a rotation. `key` is shown this once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RotatedApiKeyView {
    /// The key itself, never shown again.
    pub key: SecretText,
    /// The first moment at which the old key is refused.
    pub grace_ends_at: Timestamp,
    /// Everything else about the new key.
    #[serde(flatten)]
    pub details: ApiKeyView,
}

/// Ends the grace of a replaced key before its time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FinishRotationRequest {
    /// Only if the old key was not used for this long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_silent_for: Option<String>,
}

/// Why something is done to a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReasonRequest {
    /// Goes into the audit, at most 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Which keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListApiKeysQuery {
    /// Of this keyspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyspace: Option<String>,
    /// Of this environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Of this owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// With this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// With this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Whose name contains this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// In this state; without it, all but the deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// 1 to 1000 keys a page; 100 if absent. Newest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Keys about to expire.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExpiringQuery {
    /// Within so many days, 1 to 3650; 30 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    /// 1 to 1000 keys a page; 100 if absent. Soonest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Deletes keys that expired; they can be brought back for 30 days.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CleanupExpiredRequest {
    /// Only those expired at least this long ago; `0s` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired_for: Option<String>,
    /// Only say which.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a clean-up did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CleanupExpiredView {
    /// How many keys were deleted, or would be.
    pub count: u64,
    /// Their ids, the first 1000.
    pub ids: Vec<String>,
    /// Whether nothing was changed.
    pub dry_run: bool,
}

/// A key removed for good. Its audit entries stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PurgeView {
    /// Its id.
    pub purged: String,
}

/// Derives a key from the caller's own: good only while that one is, and for no more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeriveApiKeyRequest {
    /// What people call it.
    pub name: String,
    /// Roles, all of which the deriving key has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Permissions besides. Without any role or permission it gets those of the deriving key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<String>,
    /// Comes back with every verdict.
    #[serde(default, skip_serializing_if = "MetadataView::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: MetadataView,
    /// Words to filter by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Its life, such as `1h`; as long as that of the deriving key if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
    /// The moment it expires; not together with `expires_in`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The first moment at which it is accepted; at once if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
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
