//! A request as it is kept: what an app gets of it, and what a person may look at.

use keyreeve_core::{Invalid, name::ProjectName, vault::EnvelopeError, webhook::Scheme};
use serde::{Deserialize, Serialize};

use super::HookRequest;
use crate::{Engine, FieldError, vault::VaultError};

/// Headers that show a token or are of the way and not of the event.
const LEFT_OUT: [&str; 9] = [
    "authorization",
    "connection",
    "cookie",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// A request that came in. Cannot be printed: it holds what customers sent.
#[derive(Serialize, Deserialize)]
pub struct StoredRequest {
    /// The method.
    #[serde(rename = "m")]
    pub method: String,
    /// What stood behind the source's name in the path, without a token.
    #[serde(rename = "p", default, skip_serializing_if = "String::is_empty")]
    pub rest: String,
    /// The query, without a token.
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The headers that say something about the event.
    #[serde(rename = "h")]
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte.
    #[serde(rename = "b", with = "base64_text")]
    pub body: Vec<u8>,
}

impl StoredRequest {
    /// What of a request is kept.
    pub(super) fn of(request: &HookRequest<'_>, scheme: &Scheme) -> Self {
        let token_header = scheme.token_header();
        let query = request.query.map(|query| scheme.without_token(query));
        let rest = if scheme.has_token_in_path() { "" } else { request.rest };
        let is_kept = |name: &str| {
            let lower = name.to_ascii_lowercase();
            !LEFT_OUT.contains(&lower.as_str())
                && !token_header.is_some_and(|token| token.eq_ignore_ascii_case(name))
        };
        let headers = request.headers.iter().filter(|line| is_kept(line.name)).filter_map(|line| {
            Some((line.name.to_owned(), std::str::from_utf8(line.value).ok()?.to_owned()))
        });
        Self {
            method: request.method.to_owned(),
            rest: rest.to_owned(),
            query: query.filter(|query| !query.is_empty()),
            headers: headers.collect(),
            body: request.body.to_vec(),
        }
    }

    /// What the body is, as the sender says.
    pub fn content_type(&self) -> Option<&str> {
        let named = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("content-type");
        self.headers.iter().find(named).map(|(_, value)| value.as_str())
    }
}

/// Where the request of an event belongs.
fn place(id: &str) -> String {
    format!("webhook-event {id}")
}

impl Engine {
    /// Encrypts what is kept of a request.
    pub(super) fn seal_request(
        &self,
        project: &ProjectName,
        id: &str,
        request: &StoredRequest,
    ) -> Result<Vec<u8>, VaultError> {
        let text = serde_json::to_vec(request).map_err(|_| {
            let rule = Invalid::new("cannot be written as JSON");
            VaultError::Invalid(FieldError::new("request", rule))
        })?;
        self.seal_bytes(project, &place(id), 1, &text)
    }

    /// What was kept of a request.
    pub(super) fn open_request(
        &self,
        project: &ProjectName,
        id: &str,
        sealed: &[u8],
    ) -> Result<StoredRequest, VaultError> {
        let opened = self.open_bytes(project, &place(id), 1, sealed)?;
        // EXPOSE: taken apart for the app, or for who may look at it.
        serde_json::from_slice(opened.expose()).map_err(|_| tampered(id))
    }
}

fn tampered(id: &str) -> VaultError {
    VaultError::Tampered { what: id.to_owned(), why: EnvelopeError::Malformed }
}

/// Bytes as text, so that they fit into JSON.
mod base64_text {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        BASE64_STANDARD.decode(text).map_err(|_| D::Error::custom("must be base64"))
    }
}
