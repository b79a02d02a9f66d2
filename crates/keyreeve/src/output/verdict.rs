//! Verdicts on keys, for people.

use keyreeve_api::VerifyView;

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
        fields.add("failed at", &reason.check).list("missing", &reason.missing);
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
    fields.add("request", &verdict.request_id);
    fields.draw(canvas)
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
