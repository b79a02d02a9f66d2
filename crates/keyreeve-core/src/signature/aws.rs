//! AWS Signature Version 4:
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.
//!
//! S3 has rules of its own: paths are neither tidied nor encoded twice, and the digest of the body
//! is a header, too.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.

mod canonical;
mod chunks;
mod host;
#[cfg(test)]
mod tests;

use aws_lc_rs::{digest, hmac};
use jiff::Timestamp;
use zeroize::Zeroizing;

use self::canonical::{Headers, canonical_digest, folded};
pub use self::{
    chunks::{CHUNK_BYTES, ChunkSigner, chunked_length},
    host::{ServiceAt, service_of},
};
use crate::{Secret, encoding::hex};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const CONTENT: &str = "x-amz-content-sha256";
const DATE: &str = "x-amz-date";
const TOKEN: &str = "x-amz-security-token";
/// The headers that the signer itself answers for.
const OWN_HEADERS: [&str; 5] = ["authorization", "host", CONTENT, DATE, TOKEN];
/// The names in signatures of the services that follow the rules of S3.
const S3_NAMES: [&str; 4] = ["s3", "s3-object-lambda", "s3-outposts", "s3express"];
/// The bytes of a SHA-256.
const HASH: usize = 32;

/// Who signs, and for which service.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    /// The name of the access key.
    pub access_key_id: &'a str,
    /// The access key.
    pub secret_access_key: &'a Secret<String>,
    /// What goes with an access key that is good for a while only.
    pub session_token: Option<&'a Secret<String>>,
    /// The region, such as `eu-central-1`.
    pub region: &'a str,
    /// The service's name in signatures, such as `secretsmanager`. `s3` and its kin are signed by
    /// the rules of S3.
    pub service: &'a str,
}

/// A request that is to be signed. Cannot be printed: its body may be a secret.
#[derive(Clone, Copy)]
pub struct UnsignedRequest<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The `host` header as it will be sent, with the port if that is not the usual one.
    pub host: &'a str,
    /// The path as it will be sent, without the query.
    pub path: &'a str,
    /// The query.
    pub query: Query<'a>,
    /// The other headers that are to be signed, in any order. AWS wants every `x-amz-…` header
    /// that is sent to be among them. What the signer itself answers for (`host`, `x-amz-date`,
    /// `x-amz-content-sha256`, `x-amz-security-token`, `authorization`) is passed over here.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub payload: Payload<'a>,
}

/// The query of a request that is to be signed. Cannot be printed: it may hold a secret.
#[derive(Clone, Copy)]
pub enum Query<'a> {
    /// Names and values before any encoding, in any order.
    Pairs(&'a [(&'a str, &'a str)]),
    /// What will be sent behind the `?`, encoded as it is there. A `+` is a space; a `%` that
    /// begins no escape is itself.
    Raw(&'a str),
}

/// What a signature says of the body of a request. Cannot be printed: the body may be a secret.
#[derive(Clone, Copy)]
pub enum Payload<'a> {
    /// The signature covers these bytes, which are the whole body.
    Bytes(&'a [u8]),
    /// The signature covers the body with this SHA-256, in hexadecimal.
    Sha256(&'a str),
    /// The signature does not cover the body. Only for S3 and the few services that say they take
    /// it, and only over TLS, which is then all that protects the body.
    Unsigned,
    /// The same for a body in AWS's own chunks with a checksum behind them (`aws-chunked`), which
    /// only S3 takes.
    UnsignedWithTrailer,
    /// The signature covers the body in AWS's own chunks, each with a signature of its own, which only
    /// S3 takes. For [`Signer::sign_stream`].
    Chunks,
}

impl Payload<'_> {
    /// What stands for the body in what is signed.
    fn digest(self) -> String {
        match self {
            Self::Bytes(bytes) => hex(digest::digest(&digest::SHA256, bytes).as_ref()),
            Self::Sha256(digest) => digest.to_ascii_lowercase(),
            Self::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
            Self::UnsignedWithTrailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
            Self::Chunks => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
        }
    }
}

impl Signer<'_> {
    /// The headers that the request needs on top of its own: `x-amz-date`, `authorization`,
    /// `x-amz-content-sha256` if the service wants it, the body is not covered or the request has
    /// it, and `x-amz-security-token` if there is a session token. They take the place of headers
    /// of the same name.
    pub fn sign(
        &self,
        request: &UnsignedRequest<'_>,
        at: Timestamp,
    ) -> Vec<(&'static str, Secret<String>)> {
        self.sign_stream(request, at).0
    }

    /// The same for a request whose body is signed piece by piece ([`Payload::Chunks`]), and what signs
    /// the pieces.
    pub fn sign_stream(
        &self,
        request: &UnsignedRequest<'_>,
        at: Timestamp,
    ) -> (Vec<(&'static str, Secret<String>)>, ChunkSigner) {
        let time = at.strftime("%Y%m%dT%H%M%SZ").to_string();
        let date = at.strftime("%Y%m%d").to_string();
        let payload = request.payload.digest();
        let content = self.tells_digest(request).then_some(payload.as_str());
        let headers = self.canonical_headers(request, &time, content);
        let names: Vec<&str> = headers.keys().map(String::as_str).collect();
        let names = names.join(";");
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let digest = canonical_digest(request, self.is_s3(), &headers, &names, &payload);
        let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{digest}");
        let key = self.key(&date);
        let signature = hex(hmac_sha256(key.as_slice(), &to_sign).as_slice());
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.access_key_id,
        );
        let chunks = ChunkSigner { key, time: time.clone(), scope, previous: signature };
        let content = content.map(str::to_owned);
        let mut added =
            vec![(DATE, Secret::new(time)), ("authorization", Secret::new(authorization))];
        added.extend(content.map(|content| (CONTENT, Secret::new(content))));
        if let Some(token) = self.session_token {
            // EXPOSE: becomes a header.
            added.push((TOKEN, Secret::new(token.expose().clone())));
        }
        (added, chunks)
    }

    fn is_s3(&self) -> bool {
        is_s3(self.service)
    }

    /// Whether what stands for the body is told as a header, too.
    fn tells_digest(&self, request: &UnsignedRequest<'_>) -> bool {
        let is_unsigned = matches!(
            request.payload,
            Payload::Unsigned | Payload::UnsignedWithTrailer | Payload::Chunks
        );
        let is_told = |(name, _): &(&str, &str)| name.eq_ignore_ascii_case(CONTENT);
        // One that came with the request may belong to a body that was changed since.
        self.is_s3() || is_unsigned || request.headers.iter().any(is_told)
    }

    /// Everything that is signed as a header.
    fn canonical_headers(
        &self,
        request: &UnsignedRequest<'_>,
        time: &str,
        content: Option<&str>,
    ) -> Headers {
        let mut headers = Headers::new();
        let mut add = |name: &str, value: &str| {
            headers.entry(name.to_ascii_lowercase()).or_default().push(folded(value));
        };
        for (name, value) in request.headers {
            if !OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
                add(name, value);
            }
        }
        add("host", request.host);
        add(DATE, time);
        if let Some(content) = content {
            add(CONTENT, content);
        }
        if let Some(token) = self.session_token {
            // EXPOSE: goes into the digest.
            add(TOKEN, token.expose());
        }
        headers
    }

    /// The key of one day for one service in one region.
    fn key(&self, date: &str) -> Zeroizing<[u8; HASH]> {
        // EXPOSE: the key of the day is made from it.
        let secret = self.secret_access_key.expose();
        let mut first = Zeroizing::new(Vec::with_capacity(4 + secret.len()));
        first.extend_from_slice(b"AWS4");
        first.extend_from_slice(secret.as_bytes());
        let mut key = hmac_sha256(first.as_slice(), date);
        for part in [self.region, self.service, "aws4_request"] {
            key = hmac_sha256(key.as_slice(), part);
        }
        key
    }
}

/// Whether a service, by its name in signatures, follows the rules of S3.
pub fn is_s3(service: &str) -> bool {
    S3_NAMES.contains(&service)
}

/// A `ClientRequestToken` for an attempt: 64 hexadecimal digits, the same ones for the same attempt.
pub fn request_token(attempt: &str) -> String {
    hex(digest::digest(&digest::SHA256, attempt.as_bytes()).as_ref())
}

fn hmac_sha256(key: &[u8], text: &str) -> Zeroizing<[u8; HASH]> {
    let mut out = Zeroizing::new([0; HASH]);
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    // Only too little room fails. (Zeros would make a signature that no service takes.)
    let _ = hmac::sign_to_buffer(&key, text.as_bytes(), out.as_mut_slice());
    out
}
