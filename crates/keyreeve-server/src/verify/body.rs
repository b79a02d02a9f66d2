//! The verdict as JSON, written straight from the live table. Has the fields of
//! [`keyreeve_api::VerifyView`]; a test holds the two together.

use std::sync::Arc;

use jiff::Timestamp;
use keyreeve_core::verdict::VerdictCode;
use keyreeve_engine::{LimitLevel, RequestId, Verdict, live::LiveKey};
use serde::{Serialize, Serializer, ser::SerializeSeq};
use serde_json::value::RawValue;

#[derive(Serialize)]
pub(super) struct VerdictBody<'a> {
    valid: bool,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<KeyBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<OwnerBody<'a>>,
    roles: Roles<'a>,
    permissions: Permissions<'a>,
    #[serde(skip_serializing_if = "<[LimitLevel]>::is_empty", serialize_with = "limits")]
    limits: &'a [LimitLevel],
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<QuotaBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<LeaseBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reservation: Option<ReservationBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation: Option<RotationBody>,
    as_of: AsOf,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Reason<'a> {
    check: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    missing: &'a [String],
}

#[derive(Serialize)]
struct KeyBody<'a> {
    id: KeyIdText<'a>,
    name: &'a str,
    keyspace: &'a str,
    environment: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct OwnerBody<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Shared>,
}

/// Metadata that its owner may replace while it is being written.
struct Shared(Arc<Box<RawValue>>);

#[derive(Serialize)]
struct LimitBody<'a> {
    name: &'a str,
    per: &'static str,
    limit: u32,
    period_s: u64,
    remaining: u32,
    reset_s: u64,
    exceeded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

#[derive(Serialize)]
struct QuotaBody {
    amount: u64,
    remaining: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    resets_at: Option<Timestamp>,
    exceeded: bool,
}

#[derive(Serialize)]
struct LeaseBody {
    id: String,
    in_flight: u32,
    most: u32,
    lasts_ms: u64,
}

#[derive(Serialize)]
struct ReservationBody {
    id: String,
    amount: u64,
    expires_at: Timestamp,
}

fn limits<S: Serializer>(levels: &&[LimitLevel], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(levels.iter().map(|level| LimitBody {
        name: level.name.as_str(),
        per: level.per.as_str(),
        limit: level.limit,
        period_s: level.period_s,
        remaining: level.remaining,
        reset_s: level.reset_s,
        exceeded: level.exceeded,
        why: level.why.as_deref(),
    }))
}

#[derive(Serialize)]
struct RotationBody {
    grace_ends_at: Timestamp,
    successor_id: String,
}

#[derive(Serialize)]
struct AsOf {
    epoch: u64,
    age_ms: u64,
}

struct KeyIdText<'a>(&'a LiveKey);
struct Roles<'a>(Option<&'a LiveKey>);
struct Permissions<'a>(Option<&'a LiveKey>);

impl<'a> VerdictBody<'a> {
    pub(super) fn new(verdict: &'a Verdict, request: &'a RequestId) -> Self {
        let key = verdict.key.as_deref();
        let valid = verdict.code == VerdictCode::Valid;
        Self {
            valid,
            code: verdict.code.as_str(),
            reason: (!valid).then(|| Reason {
                check: verdict.code.check(),
                policy: verdict.why.as_deref(),
                missing: &verdict.missing,
            }),
            key: key.map(|key| KeyBody {
                id: KeyIdText(key),
                name: key.name(),
                keyspace: key.keyspace(),
                environment: key.environment(),
                state: key.state(verdict.at).as_str(),
                expires_at: key.expires_at(),
                metadata: key.metadata_json(),
            }),
            owner: key.and_then(|key| {
                Some(OwnerBody {
                    id: key.owner_id()?,
                    metadata: key.owner_metadata_json().map(Shared),
                })
            }),
            roles: Roles(key),
            permissions: Permissions(key),
            limits: &verdict.limits,
            quota: verdict.quota.map(|quota| QuotaBody {
                amount: quota.amount,
                remaining: quota.remaining,
                resets_at: quota.resets_at,
                exceeded: quota.exceeded,
            }),
            lease: verdict.lease.map(|lease| LeaseBody {
                id: lease.id.to_string(),
                in_flight: lease.in_flight,
                most: lease.most,
                lasts_ms: lease.lasts_ms,
            }),
            reservation: verdict.reservation.map(|reservation| ReservationBody {
                id: reservation.id.to_string(),
                amount: reservation.amount,
                expires_at: reservation.expires_at,
            }),
            retry_after_s: verdict.retry_after_s,
            rotation: key.and_then(LiveKey::rotation).map(|(grace_ends_at, successor)| {
                RotationBody { grace_ends_at, successor_id: successor.to_string() }
            }),
            // One node alone misses nothing.
            as_of: AsOf { epoch: verdict.epoch, age_ms: 0 },
            request_id: request.as_str(),
        }
    }
}

impl Serialize for Shared {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Serialize for KeyIdText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.id().as_str())
    }
}

impl Serialize for Roles<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.into_iter().flat_map(LiveKey::role_names))
    }
}

impl Serialize for Permissions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(None)?;
        let mut result = Ok(());
        if let Some(key) = self.0 {
            key.for_each_permission(|permission| {
                if result.is_ok() {
                    result = sequence.serialize_element(permission);
                }
            });
        }
        result?;
        sequence.end()
    }
}
