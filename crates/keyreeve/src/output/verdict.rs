//! Verdicts on keys, for people.

use keyreeve_api::{LimitLevelView, VerifyView};

use super::{
    canvas::{Canvas, Tone},
    fields::Fields,
};

/// A verdict.
pub(crate) fn fields(verdict: &VerifyView, canvas: &Canvas) -> String {
    let mut fields = Fields::default();
    if verdict.valid {
        fields.toned("verdict", "valid", Tone::Good);
    } else {
        fields.toned("verdict", format!("not valid: {}", verdict.code), Tone::Bad);
    }
    if let Some(reason) = &verdict.reason {
        fields
            .add("failed at", &reason.check)
            .maybe("rule", reason.policy.as_ref())
            .list("missing", &reason.missing);
    }
    if let Some(key) = &verdict.key {
        fields
            .add("id", &key.id)
            .add("name", &key.name)
            .toned("state", &key.state, Tone::of_state(&key.state))
            .add("keyspace", &key.keyspace)
            .add("environment", &key.environment)
            .add("expires", key.expires_at.map_or("never".to_owned(), |at| canvas.moment(at)))
            .object("metadata", &key.metadata);
    }
    if let Some(owner) = &verdict.owner {
        fields.add("owner", &owner.id);
    }
    fields.list("roles", &verdict.roles).list("permissions", &verdict.permissions);
    if let Some(rotation) = &verdict.rotation {
        fields
            .add("replaced by", &rotation.successor_id)
            .add("grace ends", canvas.moment(rotation.grace_ends_at));
    }
    levels(&mut fields, verdict, canvas);
    fields.add("request", &verdict.request_id);
    fields.draw(canvas)
}

/// Where limits and quota stand.
fn levels(fields: &mut Fields, verdict: &VerifyView, canvas: &Canvas) {
    for limit in &verdict.limits {
        let LimitLevelView { name, per, remaining, limit: most, period_s, .. } = limit;
        let why = limit.why.as_ref().map(|why| format!(", {why}")).unwrap_or_default();
        let text = format!("{name}: {remaining} of {most} left per {period_s}s by {per}{why}");
        fields.toned("limit", text, tone(limit.exceeded));
    }
    if let Some(quota) = &verdict.quota {
        let again = quota.resets_at.map(|at| format!(", all again {}", canvas.moment(at)));
        let again = again.unwrap_or_default();
        let text = format!("{} of {} left{again}", quota.remaining, quota.amount);
        fields.toned("quota", text, tone(quota.exceeded));
    }
    if let Some(lease) = &verdict.lease {
        fields.add("at once", format!("{} of {}", lease.in_flight, lease.most));
        fields.add("lease", format!("{}, free after {} ms", lease.id, lease.lasts_ms));
    }
    fields.maybe("retry after", verdict.retry_after_s.map(|seconds| format!("{seconds}s")));
}

fn tone(exceeded: bool) -> Tone {
    if exceeded { Tone::Bad } else { Tone::Plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(json: &str) -> VerifyView {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_refusal_says_what_is_missing() {
        let verdict = verdict(
            r#"{"valid": false, "code": "INSUFFICIENT_PERMISSIONS",
                "reason": {"check": "permissions", "missing": ["documents.write"]},
                "as_of": {"epoch": 7, "age_ms": 0}, "request_id": "r-1"}"#,
        );
        let expected = "\
verdict    not valid: INSUFFICIENT_PERMISSIONS
failed at  permissions
missing    documents.write
request    r-1";
        assert_eq!(fields(&verdict, &Canvas::for_tests()), expected);
    }

    #[test]
    fn limits_and_quota_are_shown() {
        let verdict = verdict(
            r#"{"valid": false, "code": "RATE_LIMITED", "reason": {"check": "limits"},
                "limits": [{"name": "burst", "per": "key", "limit": 20, "period_s": 10,
                            "remaining": 0, "reset_s": 10, "exceeded": true,
                            "why": "many refusals"}],
                "quota": {"amount": 50, "remaining": 7}, "retry_after_s": 1,
                "as_of": {"epoch": 7, "age_ms": 0}, "request_id": "r-1"}"#,
        );
        let expected = "\
verdict      not valid: RATE_LIMITED
failed at    limits
limit        burst: 0 of 20 left per 10s by key, many refusals
quota        7 of 50 left
retry after  1s
request      r-1";
        assert_eq!(fields(&verdict, &Canvas::for_tests()), expected);
    }

    #[test]
    fn a_good_key_is_shown() {
        let verdict = verdict(
            r#"{"valid": true, "code": "VALID",
                "key": {"id": "4Tn0Zs8QbW1c", "name": "billing", "keyspace": "default",
                        "environment": "production", "state": "active"},
                "permissions": ["documents.read"],
                "as_of": {"epoch": 7, "age_ms": 0}, "request_id": "r-1"}"#,
        );
        let text = fields(&verdict, &Canvas::for_tests());
        assert!(text.starts_with("verdict      valid\n"), "{text}");
        assert!(text.contains("expires      never\n"), "{text}");
    }
}
