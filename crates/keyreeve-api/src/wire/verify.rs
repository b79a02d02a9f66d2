//! Verification.

use std::{collections::BTreeMap, net::IpAddr};

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
    /// The request you got with the key: restrictions look at it, and it is recorded as the key's
    /// last use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestContext>,
    /// What the request costs; 1 of everything if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostRequest>,
    /// Sets something aside of the quota, for a cost that is known only later. Takes the place of
    /// `cost.quota`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve: Option<ReserveRequest>,
    /// Decide, but spend and count nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

impl VerifyRequest {
    /// Asks for a key alone.
    pub fn new(key: SecretText) -> Self {
        Self { key, require: None, request: None, cost: None, reserve: None, dry_run: false }
    }
}

/// What you know of the request that carried the key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestContext {
    /// The caller's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ip: Option<IpAddr>,
    /// The request's method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The host it was sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its path; a query is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its `Origin`, or the origin of its `Referer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The caller's `User-Agent`; the first 200 characters are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The moment it is about, with `dry_run` only; now if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// What a request costs. 0 only asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CostRequest {
    /// Of the quota; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<u64>,
    /// Of limits by name; 1 of those that are not named. A name that no limit has costs nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, u32>,
}

/// What to set aside of a quota.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReserveRequest {
    /// How much, at least 1.
    pub amount: u64,
    /// Seconds after which what is not committed is free again, 1 to 86,400; 60 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u32>,
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
    /// Every limit that looked at the request, as it stands now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitLevelView>,
    /// The quota that has the least left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaLevelView>,
    /// The place among the requests in flight; give it up when the request ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseView>,
    /// What was set aside; commit or cancel it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<ReservationView>,
    /// Whole seconds after which asking again may help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
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
    /// The check that failed: `format`, `lookup`, `state`, `not_before`, `expiry`, `ip`,
    /// `country`, `window`, `origin`, `route`, `permissions`, `limits`, `concurrency`, `quota`,
    /// `abuse`, `freshness` or `error`.
    pub check: String,
    /// The rule that decided, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The fewest permissions that would have been enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// Where a limit stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitLevelView {
    /// Its name.
    pub name: String,
    /// What it counts.
    pub per: String,
    /// Requests in a period, adaptation included.
    pub limit: u32,
    /// The period in seconds, rounded up.
    pub period_s: u64,
    /// What is left now.
    pub remaining: u32,
    /// Seconds until all of it is back, rounded up.
    pub reset_s: u64,
    /// Whether there was too little.
    pub exceeded: bool,
    /// Why an adaptive limit stands where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Where a quota stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotaLevelView {
    /// How much there is in each period.
    pub amount: u64,
    /// How much is left in this one.
    pub remaining: u64,
    /// When there is all of it again; absent if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<Timestamp>,
    /// Whether there was too little.
    #[serde(default)]
    pub exceeded: bool,
}

/// A place among the requests in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeaseView {
    /// Names it when it is given up.
    pub id: String,
    /// How many requests are in flight, this one included.
    pub in_flight: u32,
    /// How many there may be.
    pub most: u32,
    /// Milliseconds after which the place is free by itself.
    pub lasts_ms: u64,
}

/// Something set aside of a quota.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReservationView {
    /// Names it when it is committed or cancelled.
    pub id: String,
    /// How much.
    pub amount: u64,
    /// When it is free again by itself.
    pub expires_at: Timestamp,
}

/// Spends from what was set aside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommitReservationRequest {
    /// What the request really cost, at most what was set aside.
    pub amount: u64,
}

/// What would become of a request with a key, check by check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// What it must grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<String>,
    /// The request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestContext>,
    /// What it costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostRequest>,
}

/// Every check of one key for one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplanationView {
    /// Whether the request would be let through.
    pub valid: bool,
    /// What verification would answer.
    pub code: String,
    /// The moment it is about.
    pub at: Timestamp,
    /// Every check, in order.
    pub checks: Vec<CheckView>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckView {
    /// The check.
    pub check: String,
    /// Whether it lets the request through.
    pub passed: bool,
    /// What it found.
    pub detail: String,
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
