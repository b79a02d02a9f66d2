//! What a client of Vault sent.

use axum::{body::Body, extract::Request};
use bytes::Bytes;
use http::{HeaderValue, Method, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::{PREFIX, answer::Refusal};

/// The most bytes of a body: a secret of 1 MiB, and what stands around it.
const MOST_BYTES: usize = (1 << 20) + (64 << 10);

/// A request, read whole.
pub(super) struct VaultRequest {
    pub(super) parts: Parts,
    /// The path behind `/v1/`, decoded, without the slash at its end.
    pub(super) path: String,
    pub(super) body: Bytes,
}

impl VaultRequest {
    pub(super) async fn read(request: Request<Body>) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().strip_prefix(PREFIX).unwrap_or_default();
        let path = decode(path).ok_or_else(|| Refusal::bad_request("the path is not UTF-8"))?;
        let path = path.strip_suffix('/').map_or(path.clone(), str::to_owned);
        let namespace = parts.headers.get("x-vault-namespace").map(HeaderValue::as_bytes);
        if !matches!(namespace, None | Some(b"" | b"/" | b"root" | b"root/")) {
            return Err(Refusal::bad_request("there are no namespaces; use a project's own key"));
        }
        let body = match Limited::new(body, MOST_BYTES).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(Refusal::too_large());
            }
            Err(_) => return Err(Refusal::bad_request("the body did not arrive whole")),
        };
        Ok(Self { parts, path, body })
    }

    /// Whether it writes: `bao` says PUT, hvac says POST.
    pub(super) fn writes(&self) -> bool {
        matches!(self.parts.method, Method::PUT | Method::POST)
    }

    /// Whether it lists: as the method `LIST` or `SCAN`, or as a parameter of GET.
    pub(super) fn lists(&self) -> bool {
        matches!(self.parts.method.as_str(), "LIST" | "SCAN")
            || (self.parts.method == Method::GET && (self.flag("list") || self.flag("scan")))
    }

    /// Whether folders below are listed, too.
    pub(super) fn is_recursive(&self) -> bool {
        self.parts.method.as_str() == "SCAN" || self.flag("scan")
    }

    fn flag(&self, name: &str) -> bool {
        self.query(name).is_some_and(|value| value == "true" || value == "1")
    }

    /// A parameter of the query; the first of that name.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        let pairs = self.parts.uri.query()?.split('&');
        let mut values = pairs.filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| decode(&value.replace('+', " "))).flatten()
        });
        values.next()
    }

    /// The token, for answers that have to show it.
    pub(super) fn token(&self) -> &str {
        let headers = &self.parts.headers;
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let bearer = text(header::AUTHORIZATION).and_then(|value| value.split_once(' '));
        text(crate::authenticate::VAULT_TOKEN)
            .or_else(|| bearer.map(|(_, token)| token.trim()))
            .unwrap_or_default()
    }

    /// The body, whatever its type is said to be; an empty one and `null` are as `{}`.
    pub(super) fn json<T: DeserializeOwned + Default>(&self) -> Result<T, Refusal> {
        let body = self.body.trim_ascii();
        if body.is_empty() || body == b"null" {
            return Ok(T::default());
        }
        parse(body)
    }
}

/// Reads JSON. What is wrong with it is said without repeating it: it may hold secrets.
pub(super) fn parse<'b, T: serde::Deserialize<'b>>(body: &'b [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let what = match error.classify() {
            serde_json::error::Category::Data => "the body has not the form that this call takes",
            _ => "the body is not JSON",
        };
        Refusal::bad_request(format!("{what}: line {line}, column {column}"))
    })
}

/// Percent-encoding (RFC 3986, section 2.1) of UTF-8.
fn decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            // Not by the standard library's parser, which takes a sign, too.
            let digit =
                |byte: u8| char::from(byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
            let [high, low] = *tail.get(..2)? else { return None };
            bytes.push(digit(high)? << 4 | digit(low)?);
            rest = tail.get(2..)?;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_once() {
        assert_eq!(decode("a%20b/%c3%bc").as_deref(), Some("a b/ü"));
        assert_eq!(decode("a%2525").as_deref(), Some("a%25"));
        for bad in ["%", "%2", "%zz", "%ff", "%+1"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
