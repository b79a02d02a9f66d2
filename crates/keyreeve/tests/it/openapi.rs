//! The OpenAPI document tells the truth about the answers.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Installation, block_on, http};

/// Whether a value fits a schema of the document: types, required and unknown fields, references,
/// arrays, and compositions. If not, says where and why.
fn fits(document: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.strip_prefix('#').unwrap());
        return fits(document, target.unwrap(), value, place);
    }
    if let Some(all) = schema["allOf"].as_array() {
        let mut known = Vec::new();
        for part in all {
            object_fits(document, part, value, place)?;
            known.extend(property_names(document, part));
        }
        return no_strangers(value, &known, place);
    }
    for composition in ["oneOf", "anyOf"] {
        if let Some(parts) = schema[composition].as_array() {
            return fits_some(document, parts, value, place);
        }
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => return Ok(()),
    };
    let actual = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !types.contains(&actual) {
        return Err(format!("{place} is {actual}, documented as {types:?}"));
    }
    if let (Some(items), Value::Array(values)) = (schema.get("items"), value) {
        for value in values {
            fits(document, items, value, &format!("{place}[]"))?;
        }
    }
    if schema["properties"].is_object() && value.is_object() {
        object_fits(document, schema, value, place)?;
        no_strangers(value, &property_names(document, schema), place)?;
    }
    Ok(())
}

/// Null needs a part that is null; anything else must fit one of the other parts in full.
fn fits_some(document: &Value, parts: &[Value], value: &Value, place: &str) -> Result<(), String> {
    let (nulls, others): (Vec<_>, Vec<_>) = parts.iter().partition(|part| part["type"] == "null");
    if value.is_null() {
        let misfit = || format!("{place} is null, which is not documented");
        return if nulls.is_empty() { Err(misfit()) } else { Ok(()) };
    }
    let mut misfits = Vec::new();
    for part in others {
        match fits(document, part, value, place) {
            Ok(()) => return Ok(()),
            Err(misfit) => misfits.push(misfit),
        }
    }
    Err(format!("{place} fits no part: {}", misfits.join("; ")))
}

fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => schema,
    }
}

fn object_fits(document: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let schema = resolve(document, schema);
    for required in schema["required"].as_array().into_iter().flatten() {
        let name = required.as_str().unwrap();
        if value.get(name).is_none() {
            return Err(format!("{place} lacks {name}"));
        }
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            fits(document, schema, value, &format!("{place}.{name}"))?;
        }
    }
    Ok(())
}

fn property_names(document: &Value, schema: &Value) -> Vec<String> {
    let properties = resolve(document, schema)["properties"].as_object();
    properties.into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

fn no_strangers(value: &Value, known: &[String], place: &str) -> Result<(), String> {
    for name in value.as_object().into_iter().flat_map(|object| object.keys()) {
        if !known.contains(name) {
            return Err(format!("{place}.{name} is not documented"));
        }
    }
    Ok(())
}

#[test]
fn the_check_finds_what_does_not_fit_a_composition() {
    let document = json!({"components": {"schemas": {
        "A": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}},
        "B": {"type": "object", "required": ["b"], "properties": {"b": {"type": "integer"}}},
    }}});
    let (a, b) =
        (json!({"$ref": "#/components/schemas/A"}), json!({"$ref": "#/components/schemas/B"}));
    let optional = json!({"oneOf": [a, {"type": "null"}]});
    let either = json!({"anyOf": [a, b]});
    let check = |schema, value: Value| fits(&document, schema, &value, "x").is_ok();
    assert!(check(&optional, json!({"a": "1"})) && check(&optional, Value::Null));
    for wrong in [json!({"a": 1}), json!({}), json!({"a": "1", "c": 1}), json!("a")] {
        assert!(!check(&optional, wrong.clone()), "{wrong}");
    }
    assert!(check(&either, json!({"a": "1"})) && check(&either, json!({"b": 1})));
    assert!(!check(&either, Value::Null) && !check(&either, json!({"b": "1"})));
}

/// Checks an answer against what the document says of that operation and status.
fn check_documented(document: &Value, method: &str, template: &str, status: &str, body: &Value) {
    let responses = &document["paths"][template][method]["responses"];
    let range = format!("{}XX", &status[..1]);
    let response = responses.get(status).or_else(|| responses.get(&range));
    let place = format!("{method} {template} {status}");
    let response = response.unwrap_or_else(|| panic!("{place} is not documented"));
    let content = response["content"].as_object();
    let schema = content.and_then(|content| content.values().next());
    if let Some(schema) = schema {
        let fitting = fits(document, &schema["schema"], body, &place);
        fitting.unwrap_or_else(|misfit| panic!("{misfit}"));
    }
}

#[test]
fn answers_are_as_documented() {
    let installation = Installation::new();
    let server = installation.serve();
    block_on(async {
        let send = async |method: Method, path: &str, body: Option<Value>| {
            let mut request = http().request(method, format!("{}{path}", server.url));
            request = request.bearer_auth(&installation.admin_key);
            if let Some(body) = body {
                request = request.json(&body);
            }
            let response = request.send().await.unwrap();
            let status = response.status().as_u16().to_string();
            (status, response.json::<Value>().await.unwrap_or(Value::Null))
        };
        let (_, document) = send(Method::GET, "/openapi.json", None).await;
        let documented = |method: &str, template: &str, status: &str, body: &Value| {
            check_documented(&document, method, template, status, body);
        };
        let (status, made) = send(
            Method::POST,
            "/api/v1/api-keys",
            Some(json!({"name": "a", "owner": "acme", "metadata": {"plan": "pro"}, "tags": ["t"]})),
        )
        .await;
        documented("post", "/api/v1/api-keys", &status, &made);
        let id = made["id"].as_str().unwrap();
        for (method, template, body) in [
            (Method::POST, "/api/v1/api-keys", json!({})),
            (Method::GET, "/api/v1/api-keys", Value::Null),
            (Method::GET, "/api/v1/api-keys/{id}", Value::Null),
            (Method::PATCH, "/api/v1/api-keys/{id}", json!({"name": "b"})),
            (Method::POST, "/api/v1/api-keys/{id}/rotate", json!({"grace": "1h"})),
            (Method::POST, "/api/v1/api-keys/{id}/finish-rotation", json!({})),
            (Method::POST, "/api/v1/api-keys/{id}/disable", json!({"reason": "x"})),
            (Method::POST, "/api/v1/api-keys/{id}/enable", json!({})),
            (Method::POST, "/api/v1/api-keys/{id}/revoke", json!({})),
            (Method::DELETE, "/api/v1/api-keys/{id}", Value::Null),
            (Method::POST, "/api/v1/api-keys/{id}/undelete", json!({})),
            (Method::POST, "/api/v1/api-keys/{id}/purge", json!({})),
            (Method::GET, "/api/v1/api-keys/expiring", Value::Null),
            (Method::POST, "/api/v1/api-keys/cleanup-expired", json!({})),
            (Method::POST, "/api/v1/verify", json!({"key": made["key"], "require": "a.b"})),
            (Method::POST, "/api/v1/verify", json!({"key": installation.admin_key})),
            (Method::GET, "/api/v1/keyspaces", Value::Null),
            (Method::POST, "/api/v1/keyspaces", json!({"name": "k", "prefix": "k"})),
            (Method::GET, "/api/v1/environments", Value::Null),
            (Method::POST, "/api/v1/environments", json!({"name": "e", "tag": "test"})),
            (Method::GET, "/api/v1/owners", Value::Null),
            (Method::POST, "/api/v1/owners", json!({"id": "globex", "name": "Globex"})),
            (Method::GET, "/api/v1/roles", Value::Null),
            (Method::POST, "/api/v1/roles", json!({"name": "r", "permissions": ["a.*"]})),
            (Method::GET, "/api/v1/projects", Value::Null),
            (Method::POST, "/api/v1/projects", json!({"name": "other"})),
            (Method::GET, "/api/v1/audit", Value::Null),
            (Method::GET, "/api/v1/audit/checkpoint", Value::Null),
        ] {
            let path = template.replace("{id}", id);
            let body = (!body.is_null()).then_some(body);
            let (status, answer) = send(method.clone(), &path, body).await;
            documented(&method.as_str().to_lowercase(), template, &status, &answer);
        }
    });
}
