//! A sender that is not known here, described by who sets it up.

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

use super::{
    handshake::Handshake,
    key::KeyForm,
    scheme::{
        Family, Freshness, HeaderProof, Identity, Method, Part, Proof, Scheme, SignatureList,
        TextForm, TimeUnit,
    },
};
use crate::Invalid;

/// The longest name of a header and the longest template in bytes.
const LONGEST_NAME: usize = 100;
const LONGEST_TEMPLATE: usize = 500;
/// The tolerance where none is set, and the greatest, in seconds.
const USUAL_TOLERANCE_S: u32 = 300;
const GREATEST_TOLERANCE_S: u32 = 86_400;

/// A scheme with an HMAC in a header, as configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenericScheme {
    /// The header that the signature stands in.
    pub header: String,
    /// What stands before it: `sha256=`.
    #[serde(default)]
    pub prefix: String,
    /// `sha1`, `sha256`, `sha384` or `sha512`.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// How the signature is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// How the secret is written.
    #[serde(default)]
    pub secret_encoding: SecretEncoding,
    /// What is signed: a text with `{body}`, and maybe `{timestamp}`, `{id}`, `{method}`, `{url}` and
    /// `{path}`.
    #[serde(default = "body_alone")]
    pub payload: String,
    /// What stands between several signatures in one header.
    #[serde(default, alias = "list_separator", skip_serializing_if = "Option::is_none")]
    pub separator: Option<char>,
    /// Where the header is a list of `name=value`: the name of a signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature_key: Option<String>,
    /// Where the header is a list of `name=value`: the name of the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_key: Option<String>,
    /// The header that the time stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_header: Option<String>,
    /// What the time is counted in.
    #[serde(default)]
    pub timestamp_unit: Unit,
    /// Seconds that a request may be old or ahead; 300 unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance_s: Option<u32>,
    /// The header that the event's id stands in.
    #[serde(
        default,
        alias = "replay_id_header",
        alias = "replay_id",
        skip_serializing_if = "Option::is_none"
    )]
    pub id_header: Option<String>,
}

/// The hash of an HMAC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Old, and good enough in an HMAC.
    Sha1,
    /// The usual one.
    #[default]
    Sha256,
    /// Longer.
    Sha384,
    /// Longest.
    Sha512,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// In small letters.
    #[default]
    Hex,
    /// With padding.
    Base64,
    /// URL-safe, without padding.
    Base64url,
}

/// How a secret is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretEncoding {
    /// The text is the key.
    #[default]
    Utf8,
    /// Hexadecimal.
    Hex,
    /// Base64.
    Base64,
}

/// What a time is counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Seconds of Unix time.
    #[default]
    #[serde(rename = "s", alias = "seconds")]
    Seconds,
    /// Milliseconds of Unix time.
    #[serde(rename = "ms", alias = "milliseconds", alias = "millis")]
    Millis,
    /// As `2026-11-22T17:00:00Z`.
    #[serde(rename = "rfc3339")]
    Rfc3339,
}

fn body_alone() -> String {
    "{body}".to_owned()
}

impl GenericScheme {
    /// The scheme that it describes. Fails with the member and the rule that it breaks.
    pub fn scheme(&self, name: &str) -> Result<Scheme, Invalid> {
        for (member, header) in [
            ("header", Some(&self.header)),
            ("timestamp_header", self.timestamp_header.as_ref()),
            ("id_header", self.id_header.as_ref()),
        ] {
            if header.is_some_and(|header| !is_token(header)) {
                return Err(Invalid::new(format!("{member} must be the name of a header")));
            }
        }
        let message = template(&self.payload)?;
        let has = |part: &Part| message.contains(part);
        if !has(&Part::Body) {
            return Err(Invalid::new(
                "payload must hold {body}: what is not signed is not verified",
            ));
        }
        let timed = self.timestamp_header.is_some() || self.timestamp_key.is_some();
        if timed != has(&Part::Timestamp) {
            return Err(Invalid::new(
                "payload must hold {timestamp} if, and only if, there is a timestamp_header or a \
                 timestamp_key: a time that is not signed says nothing",
            ));
        }
        if self.timestamp_header.is_some() && self.timestamp_key.is_some() {
            return Err(Invalid::new("timestamp_header must not stand beside timestamp_key"));
        }
        if has(&Part::Id) && self.id_header.is_none() {
            return Err(Invalid::new("id_header must be there where payload holds {id}"));
        }
        if self.tolerance_s.is_some_and(|s| !(1..=GREATEST_TOLERANCE_S).contains(&s)) {
            return Err(Invalid::new("tolerance_s must be 1 to 86400"));
        }
        let signs_id = has(&Part::Id);
        let identity = match &self.id_header {
            Some(_) if signs_id => vec![Identity::SignedId],
            Some(header) => vec![Identity::UnsignedHeader(header.clone().into())],
            None => Vec::new(),
        };
        let family = Family {
            signature: self.header.clone().into(),
            timestamp: self.timestamp_header.clone().map(Into::into),
            id: self.id_header.clone().filter(|_| signs_id).map(Into::into),
        };
        Ok(Scheme {
            name: name.to_owned().into(),
            key: match self.secret_encoding {
                SecretEncoding::Utf8 => KeyForm::Text,
                SecretEncoding::Hex => KeyForm::Hex,
                SecretEncoding::Base64 => KeyForm::Base64,
            },
            proof: Proof::Headers(HeaderProof {
                families: vec![family].into(),
                list: self.list()?,
                method: self.method(),
                message: message.into(),
            }),
            freshness: timed.then(|| Freshness {
                unit: match self.timestamp_unit {
                    Unit::Seconds => TimeUnit::Seconds,
                    Unit::Millis => TimeUnit::Millis,
                    Unit::Rfc3339 => TimeUnit::Rfc3339,
                },
                pointer: None,
                tolerance_s: self.tolerance_s.unwrap_or(USUAL_TOLERANCE_S),
            }),
            identity: identity.into(),
            handshake: Handshake::None,
        })
    }

    fn list(&self) -> Result<SignatureList, Invalid> {
        let prefix = || self.prefix.clone().into();
        Ok(match (&self.signature_key, self.separator) {
            (Some(signature), separator) if self.prefix.is_empty() => SignatureList::Pairs {
                separator: separator.unwrap_or(','),
                signature: signature.clone().into(),
                timestamp: self.timestamp_key.clone().map(Into::into),
            },
            (Some(_), _) => {
                return Err(Invalid::new("prefix must not stand beside signature_key"));
            }
            (None, _) if self.timestamp_key.is_some() => {
                return Err(Invalid::new("signature_key must stand beside timestamp_key"));
            }
            (None, Some(separator)) => SignatureList::Several { prefix: prefix(), separator },
            (None, None) => SignatureList::One { prefix: prefix() },
        })
    }

    fn method(&self) -> Method {
        let algorithm = match self.algorithm {
            Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::Sha256 => hmac::HMAC_SHA256,
            Algorithm::Sha384 => hmac::HMAC_SHA384,
            Algorithm::Sha512 => hmac::HMAC_SHA512,
        };
        let form = match self.encoding {
            Encoding::Hex => TextForm::Hex,
            Encoding::Base64 => TextForm::Base64,
            Encoding::Base64url => TextForm::Base64Url,
        };
        Method::Hmac(algorithm, form)
    }
}

/// The pieces of a template. A brace that begins no known name is a mistake.
fn template(text: &str) -> Result<Vec<Part>, Invalid> {
    let rule = "payload must be a text of at most 500 bytes with {body}, {timestamp}, {id}, {method}, \
                {url} or {path}, and no other braces";
    if text.len() > LONGEST_TEMPLATE {
        return Err(Invalid::new(rule));
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (plain, after) = rest.split_once('{').unwrap_or((rest, ""));
        if plain.contains('}') {
            return Err(Invalid::new(rule));
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain.to_owned().into()));
        }
        if plain.len() == rest.len() {
            break;
        }
        let (name, after) = after.split_once('}').ok_or_else(|| Invalid::new(rule))?;
        parts.push(match name {
            "body" => Part::Body,
            "timestamp" => Part::Timestamp,
            "id" => Part::Id,
            "method" => Part::Method,
            "url" => Part::Url,
            "path" => Part::Path,
            _ => return Err(Invalid::new(rule)),
        });
        rest = after;
    }
    Ok(parts)
}

/// Whether a text can be the name of a header (RFC 9110 §5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(fits)
}
