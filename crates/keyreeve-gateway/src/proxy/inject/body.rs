//! Credentials in bodies: fields of forms, members of JSON.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use keyreeve_core::{
    Secret,
    encoding::{percent_decoded, push_percent_encoded},
};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{Refusal, RefusalKind};

type Fields = [(String, Secret<String>)];

fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().split(';').next().unwrap_or_default().trim()
}

/// A form (<https://url.spec.whatwg.org/#application/x-www-form-urlencoded>) with these fields, in the
/// place of the client's.
pub(super) fn with_form_fields(
    headers: &mut HeaderMap,
    body: &[u8],
    fields: &Fields,
) -> Result<Bytes, Refusal> {
    const FORM: &str = "application/x-www-form-urlencoded";
    require_plain(headers)?;
    let kind = media_type(headers);
    let is_form = kind.eq_ignore_ascii_case(FORM) || (kind.is_empty() && body.is_empty());
    if !is_form {
        let words = format!("this connection puts its credential into a form: send {FORM}");
        return Err(Refusal::saying(RefusalKind::Invalid, words));
    }
    let text = std::str::from_utf8(body)
        .map_err(|_| Refusal::saying(RefusalKind::Invalid, "the form must be ASCII"))?;
    let is_ours = |pair: &&str| {
        let name = decoded(pair.split_once('=').map_or(*pair, |(name, _)| name));
        fields.iter().any(|(ours, _)| name == ours.as_bytes())
    };
    let kept: Vec<&str> = text.split('&').filter(|it| !it.is_empty() && !is_ours(it)).collect();
    let mut form = Zeroizing::new(kept.join("&"));
    for (name, value) in fields {
        if !form.is_empty() {
            form.push('&');
        }
        push_percent_encoded(&mut form, name.as_bytes());
        form.push('=');
        // EXPOSE: becomes a field.
        push_percent_encoded(&mut form, value.expose().as_bytes());
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(FORM));
    Ok(Bytes::copy_from_slice(form.as_bytes()))
}

/// A JSON object with these members (RFC 6901), in the place of the client's.
pub(super) fn with_json_members(
    headers: &HeaderMap,
    body: &[u8],
    members: &Fields,
) -> Result<Bytes, Refusal> {
    let invalid = |words: &str| Refusal::saying(RefusalKind::Invalid, words);
    require_plain(headers)?;
    let kind = media_type(headers);
    if !kind.eq_ignore_ascii_case("application/json") && !kind.ends_with("+json") {
        return Err(invalid(
            "this connection puts its credential into JSON: send application/json",
        ));
    }
    let mut document: Value =
        serde_json::from_slice(body).map_err(|_| invalid("the body must be JSON"))?;
    for (pointer, value) in members {
        // EXPOSE: becomes a member.
        if !set(&mut document, pointer, value.expose()) {
            return Err(invalid("the body must have an object where the credential goes"));
        }
    }
    let text = serde_json::to_vec(&document).map_err(|_| invalid("the body must be JSON"))?;
    Ok(Bytes::from(text))
}

/// What is encoded cannot be changed.
fn require_plain(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        let words = "this connection puts its credential into the body: send it without encoding";
        return Err(Refusal::saying(RefusalKind::Invalid, words));
    }
    Ok(())
}

/// Sets a member. Objects on the way are made.
fn set(document: &mut Value, pointer: &str, value: &str) -> bool {
    let Some(path) = pointer.strip_prefix('/') else { return false };
    let mut place = document;
    for token in path.split('/') {
        let name = token.replace("~1", "/").replace("~0", "~");
        let Value::Object(members) = place else { return false };
        place = members.entry(name).or_insert_with(|| Value::Object(serde_json::Map::new()));
    }
    *place = Value::String(value.to_owned());
    true
}

/// A name of a form or a query: percent-encoding and `+` undone; what is no encoding stays.
pub(super) fn decoded(text: &str) -> Vec<u8> {
    percent_decoded(&text.replace('+', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: &str) -> Vec<(String, Secret<String>)> {
        vec![(name.to_owned(), Secret::new("s3 cr&t".to_owned()))]
    }

    fn typed(kind: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))])
    }

    #[test]
    fn a_form_holds_ours_once() {
        let mut headers = typed("application/x-www-form-urlencoded; charset=utf-8");
        let body =
            with_form_fields(&mut headers, b"a=1&to%6ben=evil&token=e&b=2", &fields("token"));
        assert_eq!(body.unwrap(), "a=1&b=2&token=s3%20cr%26t");
        let empty = with_form_fields(&mut HeaderMap::new(), b"", &fields("token")).unwrap();
        assert_eq!(empty, "token=s3%20cr%26t");
        assert!(with_form_fields(&mut typed("text/plain"), b"x", &fields("token")).is_err());
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(with_form_fields(&mut headers, b"", &fields("token")).is_err());
    }

    #[test]
    fn json_holds_ours_where_it_belongs() {
        let headers = typed("application/json");
        let body =
            with_json_members(&headers, br#"{"auth":{"key":1,"x":2}}"#, &fields("/auth/key"));
        assert_eq!(body.unwrap(), r#"{"auth":{"key":"s3 cr&t","x":2}}"#);
        let body = with_json_members(&headers, b"{}", &fields("/a~1b/c~0d")).unwrap();
        assert_eq!(body, r#"{"a/b":{"c~d":"s3 cr&t"}}"#);
        for bad in [&b"[]"[..], b"1", b"{", b""] {
            assert!(with_json_members(&headers, bad, &fields("/key")).is_err(), "{bad:?}");
        }
    }
}
