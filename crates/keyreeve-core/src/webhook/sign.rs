//! Makes requests as a provider would, for testing one's own receiver and for handing events on.

use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    ReceivedRequest, Scheme, SigningKey,
    key::{KeyMaterial, mac},
    message::{self, BODY_SHA256, messages},
    named,
    request::HeaderLine,
    scheme::{HeaderProof, Identity, Method, Proof, SignatureList, TextForm, TimeUnit},
    sent::Sent,
    token::TokenPlace,
    verify::written,
};
use crate::{Invalid, Secret, encoding::hex};

/// What is to be signed.
#[derive(Clone, Copy)]
pub struct Signing<'a> {
    /// In capitals.
    pub method: &'a str,
    /// Where it goes.
    pub url: &'a str,
    /// What the body is.
    pub content_type: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// Names the event, where the scheme has a header for that.
    pub id: &'a str,
    /// When it is sent, in milliseconds of Unix time.
    pub now_ms: i64,
}

/// A request that was signed. Cannot be printed: of senders that sign nothing it holds the token.
pub struct SignedHeaders {
    /// Headers to add.
    pub headers: Vec<(String, String)>,
    /// Where it goes: of Twilio, with the hash of the body; of a token in the address, with that.
    pub url: String,
    /// The body, which of Mailgun holds the signature.
    pub body: Vec<u8>,
}

/// Signs a request as the provider would.
///
/// Fails where only the provider can: with public keys and certificates there is nothing here to sign
/// with.
pub fn sign(
    scheme: &Scheme,
    key: &SigningKey,
    secret: &Secret<String>,
    signing: &Signing<'_>,
) -> Result<SignedHeaders, Invalid> {
    let mut signed = SignedHeaders {
        headers: Vec::new(),
        url: signing.url.to_owned(),
        body: signing.body.to_vec(),
    };
    match (&scheme.proof, &key.0) {
        (Proof::Token(place), _) => show_token(place, secret, &mut signed),
        (Proof::Mailgun, KeyMaterial::Shared(key)) => mailgun(key, signing, &mut signed)?,
        (Proof::Headers(proof), KeyMaterial::Shared(key)) => {
            headers(scheme, proof, key, signing, &mut signed)?;
        }
        _ => {
            return Err(Invalid::new(
                "must be a scheme with a shared secret: with a public key only the provider can sign",
            ));
        }
    }
    Ok(signed)
}

/// The headers of Standard Webhooks with a secret in its form.
pub fn sign_standard(
    secret: &Secret<String>,
    signing: &Signing<'_>,
) -> Result<Vec<(String, String)>, Invalid> {
    let scheme =
        named("standard-webhooks").ok_or_else(|| Invalid::new("must be a known scheme"))?;
    // EXPOSE: read as a key, which does not print.
    let key = scheme.key(secret.expose())?;
    Ok(sign(&scheme, &key, secret, signing)?.headers)
}

fn headers(
    scheme: &Scheme,
    proof: &HeaderProof,
    key: &Secret<Vec<u8>>,
    signing: &Signing<'_>,
    signed: &mut SignedHeaders,
) -> Result<(), Invalid> {
    let (algorithm, form) = match proof.method {
        Method::Hmac(algorithm, form) => (algorithm, form),
        Method::TwilioHmac => {
            let content_type =
                [HeaderLine { name: "content-type", value: signing.content_type.as_bytes() }];
            if !message::is_form(&received(signing, &signed.url, &content_type))
                && !signing.body.is_empty()
            {
                let hash = hex(digest::digest(&digest::SHA256, signing.body).as_ref());
                let separator = if signed.url.contains('?') { '&' } else { '?' };
                signed.url = format!("{}{separator}{BODY_SHA256}={hash}", signed.url);
            }
            (hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, TextForm::Base64)
        }
        Method::Ed25519(_) | Method::P256 | Method::Certificate { .. } => {
            return Err(Invalid::new("must be a scheme with a shared secret"));
        }
    };
    let family = proof.families.first().ok_or_else(|| Invalid::new("must name a header"))?;
    let unit = scheme.freshness.as_ref().map_or(TimeUnit::Seconds, |freshness| freshness.unit);
    let stamp = timestamp(unit, signing.now_ms);
    let sent = Sent {
        candidates: Vec::new(),
        timestamp: Some(stamp.as_str().into()),
        id: Some(signing.id.into()),
    };
    let lines = [HeaderLine { name: "content-type", value: signing.content_type.as_bytes() }];
    let url = signed.url.clone();
    let request = received(signing, &url, &lines);
    let messages = messages(&proof.message, &request, &sent, "").map_err(|reason| {
        Invalid::new(format!("must be a request that can be signed ({reason})"))
    })?;
    let parts: Vec<&[u8]> = messages[0].iter().map(|part| &**part).collect();
    let signature = written(form, mac(algorithm, key, &parts).as_ref());
    let (name, value) = match &proof.list {
        SignatureList::One { prefix } | SignatureList::Several { prefix, .. } => {
            (family.signature.to_string(), format!("{prefix}{signature}"))
        }
        SignatureList::Pairs { separator, signature: name, timestamp } => {
            let time = timestamp.as_ref().map(|name| format!("{name}={stamp}{separator}"));
            let value = format!("{}{name}={signature}", time.unwrap_or_default());
            (family.signature.to_string(), value)
        }
        SignatureList::Versions => (family.signature.to_string(), format!("v1,{signature}")),
        SignatureList::Numbered => (format!("{}1", family.signature), signature),
    };
    if let Some(header) = &family.id {
        signed.headers.push((header.to_string(), signing.id.to_owned()));
    }
    if let Some(header) = &family.timestamp {
        signed.headers.push((header.to_string(), stamp));
    }
    for identity in scheme.identity.iter() {
        if let Identity::UnsignedHeader(header) = identity {
            signed.headers.push((header.to_string(), signing.id.to_owned()));
            break;
        }
    }
    signed.headers.push((name, value));
    Ok(())
}

fn received<'a>(
    signing: &Signing<'a>,
    url: &'a str,
    headers: &'a [HeaderLine<'a>],
) -> ReceivedRequest<'a> {
    ReceivedRequest {
        method: signing.method,
        url,
        headers,
        body: signing.body,
        remote_ip: None,
        now_ms: signing.now_ms,
    }
}

fn timestamp(unit: TimeUnit, now_ms: i64) -> String {
    match unit {
        TimeUnit::Seconds => now_ms.div_euclid(1_000).to_string(),
        TimeUnit::Millis | TimeUnit::SecondsOrMillis => now_ms.to_string(),
        TimeUnit::Rfc3339 => {
            Timestamp::from_millisecond(now_ms).map_or_else(|_| String::new(), |at| at.to_string())
        }
    }
}

fn mailgun(
    key: &Secret<Vec<u8>>,
    signing: &Signing<'_>,
    signed: &mut SignedHeaders,
) -> Result<(), Invalid> {
    let rule = || Invalid::new("must have a body that is a JSON object");
    let mut body: Value = serde_json::from_slice(signing.body).map_err(|_| rule())?;
    let stamp = timestamp(TimeUnit::Seconds, signing.now_ms);
    let tag = mac(hmac::HMAC_SHA256, key, &[stamp.as_bytes(), signing.id.as_bytes()]);
    let members = body.as_object_mut().ok_or_else(rule)?;
    members.insert(
        "signature".to_owned(),
        json!({ "timestamp": stamp, "token": signing.id, "signature": hex(tag.as_ref()) }),
    );
    signed.body = body.to_string().into_bytes();
    Ok(())
}

fn show_token(place: &TokenPlace, token: &Secret<String>, signed: &mut SignedHeaders) {
    // EXPOSE: the sender shows the token; that is all it does.
    let token = token.expose();
    match place {
        TokenPlace::Header(name) => signed.headers.push((name.to_string(), token.clone())),
        TokenPlace::QueryField(name) => {
            let separator = if signed.url.contains('?') { '&' } else { '?' };
            signed.url.push(separator);
            signed.url.push_str(name);
            signed.url.push('=');
            crate::encoding::push_percent_encoded(&mut signed.url, token.as_bytes());
        }
        TokenPlace::Path => {
            if !signed.url.ends_with('/') {
                signed.url.push('/');
            }
            signed.url.push_str(token);
        }
        TokenPlace::Basic => {
            let value = format!("Basic {}", STANDARD.encode(token));
            signed.headers.push(("Authorization".to_owned(), value));
        }
    }
}
