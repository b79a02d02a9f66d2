//! What providers ask before or beside the events, to see whether we are there.

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use super::{
    Reason, ReceivedRequest, Scheme, Settings, SigningKey, form,
    key::{KeyMaterial, mac, token_digest},
    scheme::Proof,
    verify::LazyBody,
};
use crate::encoding::hex;

/// What a provider asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handshake {
    None,
    /// A GET with a token and a challenge.
    Meta,
    /// `url_verification` with a challenge.
    Slack,
    /// `endpoint.url_validation` with a token to sign.
    Zoom,
    /// PING, of interactions and of webhook events.
    Discord,
    /// A list of no events.
    Line,
    /// `{"test":"test"}` without a signature, when a webhook is made.
    Daily,
    /// `webhook_id=…` without a signature, when a webhook is saved.
    WooCommerce,
}

/// What a provider has to be answered. Nothing of the request is an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeAnswer {
    /// The status.
    pub status: u16,
    /// What the body is.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: String,
}

impl HandshakeAnswer {
    fn empty(status: u16) -> Self {
        Self { status, content_type: None, body: String::new() }
    }

    fn text(body: String) -> Self {
        Self { status: 200, content_type: Some("text/plain; charset=utf-8"), body }
    }

    fn json(value: &Value) -> Self {
        Self { status: 200, content_type: Some("application/json"), body: value.to_string() }
    }
}

/// Handshakes that have no signature.
pub(super) fn before_proof(
    scheme: &Scheme,
    settings: &Settings<'_>,
    request: &ReceivedRequest<'_>,
) -> Result<Option<HandshakeAnswer>, Reason> {
    match scheme.handshake {
        Handshake::Meta if request.method == "GET" => meta(settings, request).map(Some),
        Handshake::Daily | Handshake::WooCommerce if !is_signed(scheme, request) => {
            Ok(is_probe(scheme.handshake, request.body).then(|| HandshakeAnswer::empty(200)))
        }
        _ => Ok(None),
    }
}

/// <https://developers.facebook.com/docs/graph-api/webhooks/getting-started>.
fn meta(settings: &Settings<'_>, request: &ReceivedRequest<'_>) -> Result<HandshakeAnswer, Reason> {
    let expected = settings.verify_token.filter(|token| !token.is_empty());
    let expected = expected.ok_or(Reason::ConfigError)?;
    let field = |name| form::query_field(request.query(), name);
    let shown = field("hub.verify_token").ok_or(Reason::BadToken)?;
    let same = token_digest(expected).ct_eq(&token_digest(shown.as_bytes()));
    if !bool::from(same) || field("hub.mode").as_deref() != Some("subscribe") {
        return Err(Reason::BadToken);
    }
    // Sent back as text: the browser of whoever knows the token must not take it for a page.
    Ok(HandshakeAnswer::text(field("hub.challenge").ok_or(Reason::BadToken)?))
}

fn is_signed(scheme: &Scheme, request: &ReceivedRequest<'_>) -> bool {
    let Proof::Headers(proof) = &scheme.proof else { return true };
    proof.families.iter().any(|family| request.has(&family.signature))
}

/// Without a signature and without content: all that its sender can learn is that we are there.
fn is_probe(handshake: Handshake, body: &[u8]) -> bool {
    // Before anybody proved anything, nothing long is read.
    if body.len() > 64 {
        return false;
    }
    match handshake {
        Handshake::Daily => serde_json::from_slice::<Value>(body)
            .is_ok_and(|body| body == json!({ "test": "test" })),
        Handshake::WooCommerce => body
            .strip_prefix(b"webhook_id=")
            .is_some_and(|id| (1..=20).contains(&id.len()) && id.iter().all(u8::is_ascii_digit)),
        _ => false,
    }
}

/// Handshakes in a request that was proved.
pub(super) fn after_proof(
    handshake: Handshake,
    SigningKey(key): &SigningKey,
    body: &LazyBody<'_>,
) -> Option<HandshakeAnswer> {
    let text = |pointer: &str| body.json()?.pointer(pointer)?.as_str().map(str::to_owned);
    match handshake {
        Handshake::None | Handshake::Meta | Handshake::Daily | Handshake::WooCommerce => None,
        Handshake::Slack => {
            let asked = text("/type")? == "url_verification";
            asked.then(|| text("/challenge")).flatten().map(HandshakeAnswer::text)
        }
        Handshake::Zoom => {
            if text("/event")? != "endpoint.url_validation" {
                return None;
            }
            let plain = text("/payload/plainToken")?;
            let KeyMaterial::Shared(key) = key else { return None };
            let encrypted = hex(mac(hmac::HMAC_SHA256, key, &[plain.as_bytes()]).as_ref());
            Some(HandshakeAnswer::json(
                &json!({ "plainToken": plain, "encryptedToken": encrypted }),
            ))
        }
        Handshake::Discord => {
            let body = body.json()?;
            match body.get("type")?.as_i64()? {
                // An interaction. A webhook's event has the same number and an `event`.
                1 if body.get("event").is_none() => {
                    Some(HandshakeAnswer::json(&json!({ "type": 1 })))
                }
                0 => Some(HandshakeAnswer::empty(204)),
                _ => None,
            }
        }
        Handshake::Line => {
            let events = body.json()?.get("events")?.as_array()?;
            events.is_empty().then(|| HandshakeAnswer::empty(200))
        }
    }
}
