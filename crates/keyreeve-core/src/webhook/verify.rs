//! The engine: one way for all schemes.

use aws_lc_rs::{
    digest,
    signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use subtle::{Choice, ConstantTimeEq as _};

use super::{
    Certificate, CertificateUrl, ConfirmationUrl, HandshakeAnswer, Reason, ReceivedRequest, Scheme,
    SigningKey,
    certificate::{PAYPAL_CERTIFICATE, paypal_url, sns_url},
    form, handshake,
    key::{KeyMaterial, mac},
    message::{self, Message, messages},
    scheme::{Freshness, Identity, Method, Part, Proof, TextForm, TimeUnit},
    sent::{Candidate, Sent},
    sns, token,
};
use crate::{encoding::hex, restriction::IpNetwork};

/// What is configured beside the scheme and its keys.
#[derive(Clone, Copy, Default)]
pub struct Settings<'a> {
    /// Seconds that a request may be old or ahead, instead of the scheme's.
    pub tolerance_s: Option<u32>,
    /// What the subscription handshake of Meta has to show.
    pub verify_token: Option<&'a [u8]>,
    /// The topics of Amazon SNS that are ours.
    pub topics: &'a [String],
    /// Whether signatures of Amazon SNS with SHA-1 are taken.
    pub allow_sha1: bool,
    /// Networks that requests may come from; all where there is none.
    pub allow_from: &'a [IpNetwork],
    /// What names an event, instead of what the scheme has: a member of the body as `a.b` or `/a/b`, or
    /// else a field of the query or of a form.
    pub event_id: Option<&'a str>,
    /// Where the text stands that events have in common which go on one after the other: as `event_id`,
    /// or `*` for all of them.
    pub order_by: Option<&'a str>,
    /// The certificate that was fetched from where [`certificate_needed`] said.
    pub certificate: Option<&'a Certificate>,
}

/// A request that was sent by who it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What the sender calls the event, where it names it.
    pub event_id: Option<String>,
    /// What no other request may have: digests, of which none may have been seen before.
    pub replay_keys: Vec<[u8; 32]>,
    /// What it has in common with those that it goes on behind: a digest. Nothing where the event has
    /// no such text.
    pub order_key: Option<[u8; 32]>,
    /// When it was sent, in milliseconds of Unix time, where that is signed.
    pub sent_at_ms: Option<i64>,
    /// Which of the keys fitted.
    pub key: usize,
    /// What the provider has to be answered, where the request only asks whether we are there.
    pub handshake: Option<HandshakeAnswer>,
    /// What has to be called so that events come at all, where the provider asks whether they are wanted.
    pub confirm: Option<ConfirmationUrl>,
}

/// Where the certificate is that signs a request, if one does.
///
/// Nothing is fetched from elsewhere: the host is the provider's own, and the scheme `https`.
pub fn certificate_needed(
    scheme: &Scheme,
    request: &ReceivedRequest<'_>,
) -> Result<Option<CertificateUrl>, Reason> {
    if !scheme.uses_certificate() {
        return Ok(None);
    }
    match &scheme.proof {
        Proof::Sns => sns_url(&sns::Document::read(request.body)?.signing_cert_url).map(Some),
        _ => paypal_url(request.required(PAYPAL_CERTIFICATE)?).map(Some),
    }
}

/// Whether a request was sent by who it says, and recently.
///
/// Whether it was sent before is not looked at: that is for who keeps [`Verified::replay_keys`].
pub fn verify(
    scheme: &Scheme,
    keys: &[SigningKey],
    settings: &Settings<'_>,
    request: &ReceivedRequest<'_>,
) -> Result<Verified, Reason> {
    if keys.is_empty() {
        return Err(Reason::ConfigError);
    }
    if !settings.allow_from.is_empty() {
        let from = request.remote_ip;
        if !from.is_some_and(|ip| settings.allow_from.iter().any(|net| net.contains(ip))) {
            return Err(Reason::IpNotAllowed);
        }
    }
    if let Some(answer) = handshake::before_proof(scheme, settings, request)? {
        return Ok(Verified {
            event_id: None,
            replay_keys: Vec::new(),
            order_key: None,
            sent_at_ms: None,
            key: 0,
            handshake: Some(answer),
            confirm: None,
        });
    }
    let (sent, proved) = match &scheme.proof {
        Proof::Headers(proof) => {
            let sent = Sent::read(proof, request)?;
            let mut readings = Vec::new();
            for id in webhook_ids(&proof.message, keys)? {
                readings.extend(messages(&proof.message, request, &sent, id)?);
            }
            if let Method::Certificate { .. } = proof.method {
                paypal_url(request.required(PAYPAL_CERTIFICATE)?)?;
            }
            let proved = prove(&sent.candidates, &readings, keys, settings.certificate)?;
            drop(readings);
            if proof.message.contains(&Part::TwilioForm) {
                check_body(request)?;
            }
            (sent, proved)
        }
        Proof::Mailgun => mailgun(keys, request)?,
        Proof::Sns => sns::prove(keys, settings, request)?,
        Proof::Token(place) => {
            let key = token::prove(place, keys, request)?;
            // Nothing is signed: all that the sender says is what it said.
            let said = [request.method.as_bytes(), request.url.as_bytes(), request.body];
            (Sent::default(), Proved { key, mark: digest_of(b"said", &said), confirm: None })
        }
    };
    let Proved { key, mark, confirm } = proved;
    let sent_at_ms = match &scheme.freshness {
        Some(freshness) => Some(check_time(freshness, settings, &sent, request)?),
        None => None,
    };
    let body = LazyBody::new(request.body);
    let (event_id, replay_keys) = identify(scheme, settings, &sent, request, &body, mark)?;
    let order_key = settings.order_by.and_then(|place| {
        let common =
            if place == "*" { Some(String::new()) } else { text_at(place, request, &body) };
        common.map(|text| digest_of(b"order", &[place.as_bytes(), text.as_bytes()]))
    });
    let handshake = handshake::after_proof(scheme.handshake, &keys[key], &body);
    Ok(Verified { event_id, replay_keys, order_key, sent_at_ms, key, handshake, confirm })
}

/// What was proved.
pub(super) struct Proved {
    /// Which of the keys fitted.
    pub(super) key: usize,
    /// A digest of the very bytes that were signed: the same for every request that they prove, however
    /// it is written.
    pub(super) mark: [u8; 32],
    /// What the provider asks to be called.
    pub(super) confirm: Option<ConfirmationUrl>,
}

/// Every signature with every key over every reading of what was signed. Which fitted is known only at
/// the end, so that time tells nothing.
fn prove(
    candidates: &[Candidate<'_>],
    messages: &[Message<'_>],
    keys: &[SigningKey],
    certificate: Option<&Certificate>,
) -> Result<Proved, Reason> {
    let mut usable = false;
    let mut fitting = None;
    for message in messages {
        let parts: Vec<&[u8]> = message.iter().map(|part| &**part).collect();
        let whole = std::cell::OnceCell::new();
        for (index, SigningKey(key)) in keys.iter().enumerate() {
            // Made once for all signatures: whoever sends many makes us work no more.
            let mut expected: Option<(Method, String)> = None;
            for candidate in candidates {
                let fits = if let (KeyMaterial::Shared(key), Method::Hmac(algorithm, form)) =
                    (key, candidate.method)
                {
                    if expected.as_ref().is_none_or(|(method, _)| *method != candidate.method) {
                        let tag = mac(algorithm, key, &parts);
                        expected = Some((candidate.method, written(form, tag.as_ref())));
                    }
                    let text = expected.as_ref().map_or("", |(_, text)| text);
                    Some(text.as_bytes().ct_eq(candidate.text.as_bytes()))
                } else {
                    let whole: &Vec<u8> = whole.get_or_init(|| parts.concat());
                    fits(key, candidate, whole, certificate)?
                };
                let Some(fits) = fits else { continue };
                usable = true;
                if bool::from(fits) && fitting.is_none() {
                    let mark = signed_mark(message);
                    fitting = Some(Proved { key: index, mark, confirm: None });
                }
            }
        }
    }
    match fitting {
        Some(proved) => Ok(proved),
        None if usable => Err(Reason::BadSignature),
        None => Err(Reason::NoSupportedSignature),
    }
}

/// What tells signed bytes from others. Where one piece ends and the next begins is not signed.
pub(super) fn signed_mark(message: &[std::borrow::Cow<'_, [u8]>]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"signed");
    for part in message {
        context.update(part);
    }
    finished(context)
}

/// Whether a signature with a public key is this key's; nothing where it cannot be, because it is of
/// another kind.
fn fits(
    key: &KeyMaterial,
    candidate: &Candidate<'_>,
    message: &[u8],
    certificate: Option<&Certificate>,
) -> Result<Option<Choice>, Reason> {
    let text = candidate.text.as_bytes();
    let fits = match (key, candidate.method) {
        (KeyMaterial::Ed25519(key), Method::Ed25519(form)) => {
            let key = UnparsedPublicKey::new(&ED25519, key);
            decoded(form, text).is_some_and(|it| key.verify(message, &it).is_ok())
        }
        (KeyMaterial::P256(key), Method::P256) => {
            let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key);
            decoded(TextForm::Base64, text).is_some_and(|it| key.verify(message, &it).is_ok())
        }
        (KeyMaterial::WebhookId(_), Method::Certificate { sha1 }) => {
            let certificate = certificate.ok_or(Reason::ConfigError)?;
            decoded(TextForm::Base64, text).is_some_and(|it| certificate.signed(sha1, message, &it))
        }
        _ => return Ok(None),
    };
    Ok(Some(Choice::from(u8::from(fits))))
}

/// The one way to write a signature.
pub(super) fn written(form: TextForm, bytes: &[u8]) -> String {
    match form {
        TextForm::Hex => hex(bytes),
        TextForm::Base64 => STANDARD.encode(bytes),
        TextForm::Base64Url => URL_SAFE_NO_PAD.encode(bytes),
    }
}

/// A signature that cannot be made again, from the one way to write it.
pub(super) fn decoded(form: TextForm, text: &[u8]) -> Option<Vec<u8>> {
    let bytes = match form {
        TextForm::Hex => {
            let (pairs, rest) = text.as_chunks::<2>();
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let pair = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
            if !rest.is_empty() {
                return None;
            }
            pairs.iter().map(pair).collect::<Option<Vec<u8>>>()?
        }
        TextForm::Base64 => STANDARD.decode(text).ok()?,
        TextForm::Base64Url => URL_SAFE_NO_PAD.decode(text).ok()?,
    };
    (written(form, &bytes).as_bytes() == text).then_some(bytes)
}

/// Twilio signs the body as a form, or says its hash in the address.
fn check_body(request: &ReceivedRequest<'_>) -> Result<(), Reason> {
    let claimed = form::query_field(request.query(), message::BODY_SHA256);
    match claimed {
        Some(claimed) => {
            let hash = hex(digest::digest(&digest::SHA256, request.body).as_ref());
            if bool::from(hash.as_bytes().ct_eq(claimed.as_bytes())) {
                Ok(())
            } else {
                Err(Reason::BodyHashMismatch)
            }
        }
        None if message::is_form(request) || request.body.is_empty() => Ok(()),
        None => Err(Reason::UnauthenticatedBody),
    }
}

/// Mailgun's signature stands in the body and covers the time and a token, nothing else. What a
/// subaccount sends is signed with the key of the account above it as well.
fn mailgun<'a>(
    keys: &[SigningKey],
    request: &ReceivedRequest<'a>,
) -> Result<(Sent<'a>, Proved), Reason> {
    /// A member that stands twice is refused: readers differ in which of them counts.
    #[derive(Deserialize)]
    struct Body {
        signature: Option<Signature>,
    }
    #[derive(Deserialize)]
    struct Signature {
        timestamp: Option<Value>,
        token: Option<String>,
        signature: Option<String>,
        #[serde(rename = "parent-signature")]
        parent: Option<String>,
    }
    let body: Body = serde_json::from_slice(request.body).map_err(|error| {
        if error.is_data() { Reason::MalformedHeader } else { Reason::MissingSignature }
    })?;
    let signature = body.signature.ok_or(Reason::MissingSignature)?;
    let own = signature.signature.ok_or(Reason::MissingSignature)?;
    let stamp = match signature.timestamp.ok_or(Reason::MissingTimestamp)? {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        _ => return Err(Reason::MalformedHeader),
    };
    let token = signature.token.ok_or(Reason::MissingSignature)?;
    let message = vec![vec![stamp.clone().into_bytes().into(), token.clone().into_bytes().into()]];
    let method = Method::Hmac(aws_lc_rs::hmac::HMAC_SHA256, TextForm::Hex);
    let texts = [Some(own), signature.parent].into_iter().flatten();
    let candidates: Vec<_> = texts.map(|text| Candidate { text: text.into(), method }).collect();
    let proved = prove(&candidates, &message, keys, None)?;
    Ok((Sent { candidates, timestamp: Some(stamp.into()), id: Some(token.into()) }, proved))
}

/// When a request was sent, if that is not too far from now on either side.
fn check_time(
    freshness: &Freshness,
    settings: &Settings<'_>,
    sent: &Sent<'_>,
    request: &ReceivedRequest<'_>,
) -> Result<i64, Reason> {
    let sent_at_ms = if let Some(pointer) = freshness.pointer {
        let body: Value =
            serde_json::from_slice(request.body).map_err(|_| Reason::MissingTimestamp)?;
        body.pointer(pointer).and_then(Value::as_i64).ok_or(Reason::MissingTimestamp)?
    } else {
        let text = sent.timestamp.as_deref().ok_or(Reason::MissingTimestamp)?;
        millis(freshness.unit, text).ok_or(Reason::MalformedHeader)?
    };
    let tolerance = settings.tolerance_s.unwrap_or(freshness.tolerance_s);
    let most = i64::from(tolerance) * 1_000;
    let age = request.now_ms.saturating_sub(sent_at_ms);
    if age > most {
        Err(Reason::StaleTimestamp)
    } else if age < -most {
        Err(Reason::FutureTimestamp)
    } else {
        Ok(sent_at_ms)
    }
}

/// A time in milliseconds. Digits only, so that there is one way to write it.
fn millis(unit: TimeUnit, text: &str) -> Option<i64> {
    /// The 3rd of March 1973 in milliseconds, and the year 5138 in seconds.
    const FIRST_IN_MILLIS: i64 = 100_000_000_000;
    if unit == TimeUnit::Rfc3339 {
        return text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond);
    }
    if text.is_empty() || text.len() > 15 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = text.parse::<i64>().ok()?;
    let in_millis = match unit {
        TimeUnit::Seconds | TimeUnit::Rfc3339 => false,
        TimeUnit::Millis => true,
        TimeUnit::SecondsOrMillis => number >= FIRST_IN_MILLIS,
    };
    if in_millis { Some(number) } else { number.checked_mul(1_000) }
}

/// The id of an event, and what no other request may have: first of all what was proved, however it was
/// written, and besides the id, where that is signed or somebody said that it counts.
fn identify(
    scheme: &Scheme,
    settings: &Settings<'_>,
    sent: &Sent<'_>,
    request: &ReceivedRequest<'_>,
    body: &LazyBody<'_>,
    mark: [u8; 32],
) -> Result<(Option<String>, Vec<[u8; 32]>), Reason> {
    let mut event_id = None;
    let mut keys = vec![mark];
    if let Some(place) = settings.event_id {
        event_id = text_at(place, request, body);
        keys.extend(event_id.as_ref().map(|id| digest_of(b"configured", &[id.as_bytes()])));
    }
    for identity in scheme.identity.iter() {
        let named = named(identity, sent, request, body)?;
        let Some(id) = named else { continue };
        if !matches!(identity, Identity::UnsignedHeader(_)) {
            keys.push(digest_of(b"id", &[id.as_bytes()]));
        }
        event_id.get_or_insert(id);
        break;
    }
    Ok((event_id, keys))
}

fn named(
    identity: &Identity,
    sent: &Sent<'_>,
    request: &ReceivedRequest<'_>,
    body: &LazyBody<'_>,
) -> Result<Option<String>, Reason> {
    Ok(match identity {
        Identity::SignedId => sent.id.as_deref().map(str::to_owned),
        Identity::Member(pointer) => body.member(pointer),
        Identity::Fields(names) => {
            if !message::is_form(request) {
                return Ok(None);
            }
            let fields = form::fields(request.body)?;
            let value = |name: &str| fields.iter().find(|(found, _)| found == name);
            match names.iter().map(|name| value(name)).collect::<Option<Vec<_>>>() {
                Some(found) => {
                    let values: Vec<&str> = found.iter().map(|(_, value)| value.as_str()).collect();
                    Some(values.join(":"))
                }
                None => None,
            }
        }
        Identity::UnsignedHeader(name) => request.header(name)?.map(str::to_owned),
    })
}

/// What stands at a configured place.
fn text_at(place: &str, request: &ReceivedRequest<'_>, body: &LazyBody<'_>) -> Option<String> {
    if let Some(header) = place.strip_prefix("header:") {
        return request.header(header).ok().flatten().map(str::to_owned);
    }
    let pointer = if place.starts_with('/') {
        place.to_owned()
    } else {
        format!("/{}", place.replace('.', "/"))
    };
    body.member(&pointer).or_else(|| form::query_field(request.query(), place)).or_else(|| {
        let fields =
            message::is_form(request).then(|| form::fields(request.body).ok()).flatten()?;
        fields.into_iter().find(|(name, _)| name == place).map(|(_, value)| value)
    })
}

/// A digest of these parts, of which none can be taken for another's end.
fn digest_of(kind: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(kind);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    finished(context)
}

fn finished(context: digest::Context) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// The ids that the provider may have signed, each of which makes another reading; of most, none, which is
/// one reading.
fn webhook_ids<'k>(message: &[Part], keys: &'k [SigningKey]) -> Result<Vec<&'k str>, Reason> {
    if !message.contains(&Part::WebhookId) {
        return Ok(vec![""]);
    }
    let ids = keys.iter().filter_map(|SigningKey(key)| match key {
        KeyMaterial::WebhookId(id) if !id.is_empty() => Some(id.as_str()),
        _ => None,
    });
    let ids: Vec<&str> = ids.collect();
    if ids.is_empty() { Err(Reason::ConfigError) } else { Ok(ids) }
}

/// A body that is read as JSON once, and only if anybody asks.
pub(super) struct LazyBody<'a> {
    bytes: &'a [u8],
    value: std::cell::OnceCell<Option<Value>>,
}

impl<'a> LazyBody<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, value: std::cell::OnceCell::new() }
    }

    pub(super) fn json(&self) -> Option<&Value> {
        self.value.get_or_init(|| serde_json::from_slice(self.bytes).ok()).as_ref()
    }

    /// A member that is text or a number.
    pub(super) fn member(&self, pointer: &str) -> Option<String> {
        match self.json()?.pointer(pointer)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}
