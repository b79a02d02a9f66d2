//! The verdict as JSON, written straight from the live table. Has the fields of
//! [`keyreeve_api::VerifyView`], which reads it in every test of the API.

use keyreeve_core::verdict::VerdictCode;
use keyreeve_engine::{LimitLevel, RequestId, Verdict, live::LiveKey};

use super::json_object::{JsonObject, name, object};

/// Room for most answers.
const USUAL_LENGTH: usize = 1024;

/// The whole answer.
pub(super) fn write(verdict: &Verdict, request: &RequestId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_LENGTH);
    object(&mut bytes, |body| {
        let valid = verdict.code == VerdictCode::Valid;
        body.flag(name!("valid"), valid);
        body.word(name!("code"), verdict.code.as_str().as_bytes());
        if !valid {
            body.object(name!("reason"), |reason| write_reason(reason, verdict));
        }
        let key = verdict.key.as_deref();
        if let Some(key) = key {
            body.object(name!("key"), |object| write_key(object, key, verdict));
            write_owner(body, key);
        }
        body.texts(name!("roles"), |each| {
            key.into_iter().flat_map(LiveKey::role_names).for_each(each);
        });
        body.texts(name!("permissions"), |each| {
            if let Some(key) = key {
                key.for_each_permission(each);
            }
        });
        if !verdict.limits.is_empty() {
            body.objects(name!("limits"), &verdict.limits, write_limit);
        }
        write_spending(body, verdict);
        body.maybe_number(name!("retry_after_s"), verdict.retry_after_s);
        if let Some((grace_ends_at, successor)) = key.and_then(LiveKey::rotation) {
            body.object(name!("rotation"), |rotation| {
                rotation.moment(name!("grace_ends_at"), Some(grace_ends_at));
                rotation.text(name!("successor_id"), successor.as_str());
            });
        }
        body.object(name!("as_of"), |as_of| {
            as_of.number(name!("epoch"), verdict.epoch);
            as_of.number(name!("age_ms"), verdict.age_ms);
        });
        body.word(name!("request_id"), request.as_bytes());
    });
    bytes
}

fn write_reason(reason: &mut JsonObject<'_>, verdict: &Verdict) {
    reason.word(name!("check"), verdict.code.check().as_bytes());
    reason.maybe_text(name!("policy"), verdict.why.as_deref());
    if !verdict.missing.is_empty() {
        reason.texts(name!("missing"), |each| {
            verdict.missing.iter().map(String::as_str).for_each(each);
        });
    }
}

fn write_key(object: &mut JsonObject<'_>, key: &LiveKey, verdict: &Verdict) {
    object.word(name!("id"), key.id().as_bytes());
    object.text(name!("name"), key.name());
    object.word(name!("keyspace"), key.keyspace().as_bytes());
    object.word(name!("environment"), key.environment().as_bytes());
    object.word(name!("state"), key.state(verdict.at).as_str().as_bytes());
    object.moment(name!("expires_at"), key.expires_at());
    object.raw(name!("metadata"), key.metadata_json());
}

fn write_owner(body: &mut JsonObject<'_>, key: &LiveKey) {
    let Some(id) = key.owner_id() else { return };
    // Held while it is written: it may be replaced meanwhile.
    let metadata = key.owner_metadata_json();
    body.object(name!("owner"), |owner| {
        owner.text(name!("id"), id);
        owner.raw(name!("metadata"), metadata.as_deref().map(|json| &**json));
    });
}

fn write_limit(object: &mut JsonObject<'_>, level: &LimitLevel) {
    object.word(name!("name"), level.name.as_str().as_bytes());
    object.word(name!("per"), level.per.as_str().as_bytes());
    object.number(name!("limit"), level.limit.into());
    object.number(name!("period_s"), level.period_s);
    object.number(name!("remaining"), level.remaining.into());
    object.number(name!("reset_s"), level.reset_s);
    object.flag(name!("exceeded"), level.exceeded);
    object.maybe_text(name!("why"), level.why.as_deref());
}

fn write_spending(body: &mut JsonObject<'_>, verdict: &Verdict) {
    if let Some(quota) = &verdict.quota {
        body.object(name!("quota"), |object| {
            object.number(name!("amount"), quota.amount);
            object.number(name!("remaining"), quota.remaining);
            object.moment(name!("resets_at"), quota.resets_at);
            object.flag(name!("exceeded"), quota.exceeded);
        });
    }
    if let Some(lease) = &verdict.lease {
        body.object(name!("lease"), |object| {
            object.text(name!("id"), &lease.id.to_string());
            object.number(name!("in_flight"), lease.in_flight.into());
            object.number(name!("most"), lease.most.into());
            object.number(name!("lasts_ms"), lease.lasts_ms);
        });
    }
    if let Some(reservation) = &verdict.reservation {
        body.object(name!("reservation"), |object| {
            object.text(name!("id"), &reservation.id.to_string());
            object.number(name!("amount"), reservation.amount);
            object.moment(name!("expires_at"), Some(reservation.expires_at));
        });
    }
}
