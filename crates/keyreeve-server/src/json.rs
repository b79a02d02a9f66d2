//! Reading JSON from strangers, and saying what is wrong with it without repeating it.

use serde::de::DeserializeOwned;

use crate::problem::Failure;

/// Reads a value. Errors name the field and the rule, never the value: a secret in the wrong
/// place must not come back in an error.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    // serde would take an array for an object, fields in order; callers mean no such thing.
    if bytes.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(Failure::field("body", "must be a JSON object"));
    }
    // Keeping track of the path costs as much as the reading: only a body that is wrong pays for it. And
    // whether all of it is text is seen sooner at once than string by string.
    if let Some(value) = str::from_utf8(bytes).ok().and_then(|it| serde_json::from_str(it).ok()) {
        return Ok(value);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        match inner.classify() {
            serde_json::error::Category::Data => broken_rule(&path, &inner.to_string()),
            _ => syntax(&inner),
        }
    })?;
    deserializer.end().map_err(|error| syntax(&error))?;
    Ok(value)
}

fn syntax(error: &serde_json::Error) -> Failure {
    Failure::new(keyreeve_api::ErrorCode::InvalidRequest).detail(format!(
        "the body is not JSON: line {}, column {}",
        error.line(),
        error.column()
    ))
}

/// Turns serde's sentence into field and rule.
pub(crate) fn broken_rule(path: &str, message: &str) -> Failure {
    let message = message.split(" at line ").next().unwrap_or(message);
    if let Some((name, known)) = between(message, "unknown field `", "`, expected ") {
        let field = shown(
            path.rsplit('.')
                .next()
                .filter(|last| *last == name)
                .map_or_else(|| join(path, name), |_| path.to_owned()),
        );
        return Failure::field(
            field,
            format!("is not known here; known: {}", unquoted(known.trim_start_matches("one of "))),
        );
    }
    if let Some((name, _)) = between(message, "missing field `", "`") {
        return Failure::field(join(path, name), "is missing");
    }
    if let Some((name, _)) = between(message, "duplicate field `", "`") {
        return Failure::field(join(path, name), "stands twice");
    }
    let field = if path == "." { "body".to_owned() } else { shown(path.to_owned()) };
    let rule = rule_of_type(message).or_else(|| rule_of_range(message));
    let rule = rule.or_else(|| rule_of_field(&field)).unwrap_or("is not valid");
    Failure::field(field, rule)
}

/// What serde expected, in our words. Its own sentence may hold what it got instead.
fn rule_of_type(message: &str) -> Option<&'static str> {
    let (_, expected) = message.strip_prefix("invalid type: ")?.rsplit_once(", expected ")?;
    Some(match expected {
        "a string" | "a borrowed string" => "must be text",
        "a sequence" => "must be a list",
        "a boolean" => "must be true or false",
        "u8" | "u16" | "u32" | "u64" | "i64" | "usize" => "must be a whole number",
        object if object.starts_with("struct ") || object == "a map" => "must be an object",
        _ => return None,
    })
}

/// The numbers that serde expected, where it got one beyond them.
fn rule_of_range(message: &str) -> Option<&'static str> {
    let (_, expected) =
        message.strip_prefix("invalid value: integer ")?.rsplit_once(", expected ")?;
    Some(match expected {
        "u8" => "must be a whole number from 0 to 255",
        "u16" => "must be a whole number from 0 to 65535",
        "u32" => "must be a whole number from 0 to 4294967295",
        "u64" | "usize" => "must be a whole number, and not below 0",
        _ => return None,
    })
}

/// The rule of fields that hold more than their JSON type says.
fn rule_of_field(field: &str) -> Option<&'static str> {
    Some(match field.rsplit('.').next()? {
        "expires_at" | "since" | "until" => "must be a time such as 2026-12-21T09:00:00Z",
        "ip" => "must be an IP address",
        "limit" | "days" => "must be a whole number",
        _ => return None,
    })
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<(&'a str, &'a str)> {
    text.strip_prefix(before)?.split_once(after)
}

fn join(path: &str, name: &str) -> String {
    shown(if path == "." || path.is_empty() { name.to_owned() } else { format!("{path}.{name}") })
}

/// A field name comes from the caller too: short ones are shown, keys in their place are not.
fn shown(field: String) -> String {
    let looks_harmless = field.len() <= 64
        && field.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-[]".contains(&b));
    if looks_harmless { field } else { "(a field with an odd name)".to_owned() }
}

fn unquoted(text: &str) -> String {
    text.replace('`', "")
}

#[cfg(test)]
mod tests {
    use keyreeve_api::{CreateApiKeyRequest, VerifyRequest};
    use keyreeve_engine::RequestId;

    use super::*;

    fn fault<T: DeserializeOwned + std::fmt::Debug>(body: &str) -> (String, String) {
        let id = RequestId::from_caller("r").unwrap();
        let problem = parse::<T>(body.as_bytes()).unwrap_err().problem(&id);
        match problem.errors.first() {
            Some(error) => (error.field.clone(), error.rule.clone()),
            None => (String::new(), problem.detail.unwrap()),
        }
    }

    #[test]
    fn names_field_and_rule() {
        let create = fault::<CreateApiKeyRequest>;
        assert_eq!(create(r#"{"name":5}"#), ("name".into(), "must be text".into()));
        assert_eq!(create("{}"), ("name".into(), "is missing".into()));
        assert_eq!(create(r#"{"name":"a","name":"b"}"#), ("name".into(), "stands twice".into()));
        assert_eq!(create(r#"{"name":"a","tags":"x"}"#), ("tags".into(), "must be a list".into()));
        let (field, rule) = create(r#"{"name":"a","colour":"red"}"#);
        assert_eq!(field, "colour");
        assert!(rule.starts_with("is not known here; known: name, keyspace"), "{rule}");
        assert_eq!(create("{1").1, "the body is not JSON: line 1, column 2");
        assert_eq!(create(r#"["a"]"#), ("body".into(), "must be a JSON object".into()));
        let (field, _) = fault::<VerifyRequest>(r#"{"key":"k","request":{"ip":"nowhere"}}"#);
        assert_eq!(field, "request.ip");
        let time = "must be a time such as 2026-12-21T09:00:00Z";
        let (_, rule) = create(r#"{"name":"a","expires_at":"kr_live_canary"}"#);
        assert_eq!(rule, time);
        assert_eq!(create(r#"{"name":"a","metadata":5}"#).1, "must be an object");
        for cost in ["-1", "4294967296"] {
            let body = format!(r#"{{"key":"k","cost":{{"limits":{{"burst":{cost}}}}}}}"#);
            let (field, rule) = fault::<VerifyRequest>(&body);
            assert_eq!(field, "cost.limits.burst");
            assert_eq!(rule, "must be a whole number from 0 to 4294967295");
        }
        let (_, rule) = fault::<VerifyRequest>(r#"{"key":"k","cost":{"quota":-1}}"#);
        assert_eq!(rule, "must be a whole number, and not below 0");
    }

    #[test]
    fn never_repeats_a_value() {
        let canary = "kr_live_canary";
        for body in [
            format!(r#"{{"name":["{canary}"]}}"#),
            format!(r#"{{"name":"a","tags":"{canary}"}}"#),
            format!(r#"{{"name":"a","expires_at":"{canary}"}}"#),
            format!(r#"{{"name":"a","metadata":"{canary}"}}"#),
            format!(r#"{{"name":"a","{canary} x":1}}"#),
            format!(r#"{{"name":"{canary}"#),
            format!("\"{canary}\""),
        ] {
            let (field, rule) = fault::<CreateApiKeyRequest>(&body);
            assert!(!field.contains("canary") && !rule.contains("canary"), "{field} {rule}");
        }
    }
}
