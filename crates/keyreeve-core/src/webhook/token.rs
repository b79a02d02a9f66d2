//! Senders that sign nothing and show a token that both sides know.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::{
    Reason, ReceivedRequest, SigningKey, form,
    handshake::Handshake,
    key::{KeyForm, KeyMaterial, token_digest},
    scheme::{Name, Proof, Scheme},
};
use crate::Invalid;

/// Where a token stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenPlace {
    Header(Name),
    /// A field of the address's query.
    QueryField(Name),
    /// The last segment of the address's path.
    Path,
    /// User and password of basic authentication, with a colon between them.
    Basic,
}

/// A sender that shows a token, as configured: exactly one member says where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SharedToken {
    /// The header that it stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The field of the query that it stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Whether it is the last segment of the path.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub path: bool,
    /// Whether it is `user:password` of basic authentication.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub basic: bool,
}

impl SharedToken {
    /// The scheme that reads it.
    pub fn scheme(&self, name: &str) -> Result<Scheme, Invalid> {
        let place = match (&self.header, &self.query, self.path, self.basic) {
            (Some(header), None, false, false) => TokenPlace::Header(header.clone().into()),
            (None, Some(field), false, false) => TokenPlace::QueryField(field.clone().into()),
            (None, None, true, false) => TokenPlace::Path,
            (None, None, false, true) => TokenPlace::Basic,
            _ => {
                let rule = "must say one place of the token: a header, a field of the query, the path or basic";
                return Err(Invalid::new(rule));
            }
        };
        Ok(Scheme {
            name: name.to_owned().into(),
            key: KeyForm::Token,
            proof: Proof::Token(place),
            freshness: None,
            identity: Vec::new().into(),
            handshake: Handshake::None,
        })
    }
}

/// Which of the tokens a request shows.
pub(super) fn prove(
    place: &TokenPlace,
    keys: &[SigningKey],
    request: &ReceivedRequest<'_>,
) -> Result<usize, Reason> {
    let shown = match place {
        TokenPlace::Header(name) => request.required(name)?.to_owned(),
        TokenPlace::QueryField(name) => {
            let mut fields = form::query_fields(request.query(), name);
            let first = fields.next().ok_or(Reason::BadToken)?;
            if fields.next().is_some() {
                return Err(Reason::BadToken);
            }
            first
        }
        TokenPlace::Path => request.path().rsplit('/').next().unwrap_or_default().to_owned(),
        TokenPlace::Basic => {
            let value = request.required("authorization")?;
            let (kind, encoded) = value.split_once(' ').ok_or(Reason::MalformedHeader)?;
            let decoded = STANDARD.decode(encoded.trim()).ok();
            decoded
                .filter(|_| kind.eq_ignore_ascii_case("basic"))
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or(Reason::MalformedHeader)?
        }
    };
    let shown = token_digest(shown.as_bytes());
    let mut fitting = None;
    for (index, SigningKey(key)) in keys.iter().enumerate() {
        if let KeyMaterial::Token(expected) = key
            && bool::from(expected.ct_eq(&shown))
            && fitting.is_none()
        {
            fitting = Some(index);
        }
    }
    fitting.ok_or(Reason::BadToken)
}
