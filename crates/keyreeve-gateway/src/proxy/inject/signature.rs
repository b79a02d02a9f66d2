//! Requests that are signed on the way through.

use aws_lc_rs::{digest, hmac as keyed};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{
    HeaderName, HeaderValue,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};
use jiff::Timestamp;
use keyreeve_catalog::{HmacHash, HmacMethod, Part, SignatureEncoding, Template};
use keyreeve_core::{
    Secret,
    encoding::hex,
    signature::aws::{
        ChunkSigner, Payload, Query, Signer, UnsignedRequest, chunked_length, is_s3, service_of,
    },
};
use keyreeve_engine::connections::Injection;
use zeroize::Zeroizing;

use super::{Outgoing, Refusal, RefusalKind, sensitive, unusable};

/// What stands in the headers of a body that is signed piece by piece.
const DECODED_LENGTH: HeaderName = HeaderName::from_static("x-amz-decoded-content-length");

/// Whether a body of this injection can be signed piece by piece: S3 takes that, others do not.
pub(super) fn signs_pieces(injection: &Injection, host: &str) -> bool {
    let Injection::AwsSigV4 { service, .. } = injection else { return false };
    let service = service.as_deref().or(service_of(host).map(|known| known.service));
    service.is_some_and(is_s3)
}

/// AWS Signature Version 4, in the place of whatever the client signed with.
pub(super) fn aws(
    outgoing: &mut Outgoing<'_>,
    injection: &Injection,
    body: &[u8],
    at: Timestamp,
) -> Result<(), Refusal> {
    refuse_cut_body(outgoing)?;
    sign_for_aws(outgoing, injection, Payload::Bytes(body), at).map(drop)
}

/// The same for a body of so many bytes that is signed piece by piece while it is sent.
pub(super) fn aws_pieces(
    outgoing: &mut Outgoing<'_>,
    injection: &Injection,
    length: u64,
    at: Timestamp,
) -> Result<ChunkSigner, Refusal> {
    refuse_cut_body(outgoing)?;
    let headers = &mut outgoing.headers;
    headers.insert(CONTENT_LENGTH, HeaderValue::from(chunked_length(length)));
    headers.insert(DECODED_LENGTH, HeaderValue::from(length));
    let coding = match headers.get(CONTENT_ENCODING) {
        Some(coding) => [b"aws-chunked,", coding.as_bytes()].concat(),
        None => b"aws-chunked".to_vec(),
    };
    let coding = HeaderValue::from_bytes(&coding).map_err(|_| unusable())?;
    headers.insert(CONTENT_ENCODING, coding);
    let signer = sign_for_aws(outgoing, injection, Payload::Chunks, at)?;
    signer.ok_or_else(unusable)
}

/// A body that the client has cut into pieces with signatures of its own cannot be signed anew.
fn refuse_cut_body(outgoing: &Outgoing<'_>) -> Result<(), Refusal> {
    let coding = outgoing.headers.get(CONTENT_ENCODING).and_then(|it| it.to_str().ok());
    let is_cut = coding.is_some_and(|it| it.to_ascii_lowercase().contains("aws-chunked"));
    if !is_cut {
        return Ok(());
    }
    let words = "send the body as it is, not as aws-chunked: it is signed here";
    Err(Refusal::saying(RefusalKind::Invalid, words))
}

fn sign_for_aws(
    outgoing: &mut Outgoing<'_>,
    injection: &Injection,
    payload: Payload<'_>,
    at: Timestamp,
) -> Result<Option<ChunkSigner>, Refusal> {
    let Injection::AwsSigV4 { access_key_id, secret_access_key, session_token, region, service } =
        injection
    else {
        return Ok(None);
    };
    let host = outgoing.origin.host().as_str().to_owned();
    let known = service_of(&host);
    let region = region.as_deref().or(known.map(|known| known.region));
    let service = service.as_deref().or(known.map(|known| known.service));
    let (Some(region), Some(service)) = (region, service) else {
        let words = "region and service must be given: the host's name does not tell them";
        return Err(Refusal::saying(RefusalKind::NoCredential, words));
    };
    without_presigned(&mut outgoing.path);
    outgoing.headers.remove("x-amz-security-token");
    let (path, query) = outgoing.path.split_once('?').unwrap_or((&outgoing.path, ""));
    // Signed is what decides on the meaning of a request; what others on the way may change is not.
    let is_coding = |name: &HeaderName| {
        matches!(payload, Payload::Chunks) && (*name == CONTENT_ENCODING || *name == CONTENT_LENGTH)
    };
    let signed: Vec<(&str, &str)> = outgoing
        .headers
        .iter()
        .filter(|(name, _)| {
            name.as_str().starts_with("x-amz-") || **name == CONTENT_TYPE || is_coding(name)
        })
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect();
    let signer = Signer {
        // EXPOSE: names the key in the signature.
        access_key_id: access_key_id.expose(),
        secret_access_key,
        session_token: session_token.as_ref(),
        region,
        service,
    };
    let authority = outgoing.origin.authority();
    let request = UnsignedRequest {
        method: outgoing.method.as_str(),
        host: authority,
        path,
        query: Query::Raw(query),
        headers: &signed,
        payload,
    };
    let (added, chunks) = signer.sign_stream(&request, at);
    for (name, value) in added {
        outgoing.headers.insert(HeaderName::from_static(name), sensitive(&value)?);
    }
    Ok(Some(chunks))
}

/// Takes the client's own signature out of a query.
fn without_presigned(path: &mut Zeroizing<String>) {
    let Some((before, query)) = path.split_once('?') else { return };
    let is_signature = |pair: &&str| pair.to_ascii_lowercase().starts_with("x-amz-");
    if !query.split('&').any(|pair| is_signature(&pair)) {
        return;
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_signature(pair)).collect();
    let kept =
        if kept.is_empty() { before.to_owned() } else { format!("{before}?{}", kept.join("&")) };
    *path = Zeroizing::new(kept);
}

/// An HMAC (RFC 2104) over parts of the request, in a header.
pub(super) fn hmac(
    outgoing: &mut Outgoing<'_>,
    method: &HmacMethod,
    key: &Secret<String>,
    body: &[u8],
    at: Timestamp,
) -> Result<(), Refusal> {
    let timestamp = at.as_second().to_string();
    let (path, query) = outgoing.path.split_once('?').unwrap_or((&outgoing.path, ""));
    let mut message = Vec::with_capacity(body.len() + 256);
    for part in method.message.parts() {
        match part {
            Part::Text(text) => message.extend_from_slice(text.as_bytes()),
            Part::Place(name) => match name.as_str() {
                "method" => message.extend_from_slice(outgoing.method.as_str().as_bytes()),
                "path" => message.extend_from_slice(path.as_bytes()),
                "query" => message.extend_from_slice(query.as_bytes()),
                "body" => message.extend_from_slice(body),
                "body_sha256" => {
                    let digest = digest::digest(&digest::SHA256, body);
                    message.extend_from_slice(hex(digest.as_ref()).as_bytes());
                }
                "timestamp" => message.extend_from_slice(timestamp.as_bytes()),
                _ => return Err(unusable()),
            },
        }
    }
    let algorithm = match method.algorithm {
        HmacHash::Sha256 => keyed::HMAC_SHA256,
        HmacHash::Sha512 => keyed::HMAC_SHA512,
        HmacHash::Sha1 => keyed::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
    };
    // EXPOSE: signs.
    let key = keyed::Key::new(algorithm, key.expose().as_bytes());
    let tag = keyed::sign(&key, &message);
    let signature = match method.encoding {
        SignatureEncoding::Hex => hex(tag.as_ref()),
        SignatureEncoding::Base64 => BASE64_STANDARD.encode(tag.as_ref()),
    };
    let value = filled(&method.value, &signature, &timestamp)?;
    set(outgoing, &method.header, &value)?;
    if let Some(header) = &method.timestamp_header {
        set(outgoing, header, &timestamp)?;
    }
    Ok(())
}

fn filled(template: &Template, signature: &str, timestamp: &str) -> Result<String, Refusal> {
    let mut text = String::new();
    for part in template.parts() {
        match part {
            Part::Text(plain) => text.push_str(plain),
            Part::Place(name) if name == "signature" => text.push_str(signature),
            Part::Place(name) if name == "timestamp" => text.push_str(timestamp),
            Part::Place(_) => return Err(unusable()),
        }
    }
    Ok(text)
}

fn set(outgoing: &mut Outgoing<'_>, name: &str, value: &str) -> Result<(), Refusal> {
    let name = HeaderName::try_from(name).map_err(|_| unusable())?;
    let mut value = HeaderValue::from_str(value).map_err(|_| unusable())?;
    value.set_sensitive(true);
    outgoing.headers.insert(name, value);
    Ok(())
}
