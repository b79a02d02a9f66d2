//! AWS Signature Version 4:
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.
//!
//! For every service but S3, which wants its paths neither tidied nor encoded twice.

use std::{collections::BTreeMap, fmt::Write as _};

use aws_lc_rs::{digest, hmac};
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::Secret;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: &str = "x-amz-date";
const TOKEN: &str = "x-amz-security-token";
/// The headers that the signer itself answers for.
const OWN_HEADERS: [&str; 4] = ["authorization", "host", DATE, TOKEN];
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
    /// The service's name in signatures, such as `secretsmanager`.
    pub service: &'a str,
}

/// A request that is to be signed. Cannot be printed: its body may be a secret.
#[derive(Clone, Copy)]
pub struct UnsignedRequest<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The `host` header as it will be sent, with the port if that is not the usual one.
    pub host: &'a str,
    /// The path as it will be sent.
    pub path: &'a str,
    /// Names and values of the query, before any encoding, in any order.
    pub query: &'a [(&'a str, &'a str)],
    /// The other headers that are to be signed, in any order. What the signer itself answers for
    /// (`host`, `x-amz-date`, `x-amz-security-token`, `authorization`) is passed over here.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

/// Headers by name in lower case, each with its values in the order they stood in.
type Headers = BTreeMap<String, Vec<Zeroizing<String>>>;

impl Signer<'_> {
    /// The headers that the request needs on top of its own: `x-amz-date`, `authorization`, and
    /// `x-amz-security-token` if there is a session token.
    pub fn sign(
        &self,
        request: &UnsignedRequest<'_>,
        at: Timestamp,
    ) -> Vec<(&'static str, Secret<String>)> {
        let time = at.strftime("%Y%m%dT%H%M%SZ").to_string();
        let date = at.strftime("%Y%m%d").to_string();
        let headers = self.canonical_headers(request, &time);
        let names: Vec<&str> = headers.keys().map(String::as_str).collect();
        let names = names.join(";");
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let digest = canonical_digest(request, &headers, &names);
        let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{digest}");
        let signature = hmac_sha256(self.key(&date).as_slice(), &to_sign);
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={}",
            self.access_key_id,
            hex(signature.as_slice()),
        );
        let mut added =
            vec![(DATE, Secret::new(time)), ("authorization", Secret::new(authorization))];
        if let Some(token) = self.session_token {
            // EXPOSE: becomes a header.
            added.push((TOKEN, Secret::new(token.expose().clone())));
        }
        added
    }

    /// Everything that is signed as a header.
    fn canonical_headers(&self, request: &UnsignedRequest<'_>, time: &str) -> Headers {
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

/// A `ClientRequestToken` for an attempt: 64 hexadecimal digits, the same ones for the same attempt.
pub fn request_token(attempt: &str) -> String {
    hex(digest::digest(&digest::SHA256, attempt.as_bytes()).as_ref())
}

/// SHA-256 of the canonical request, in hexadecimal.
fn canonical_digest(request: &UnsignedRequest<'_>, headers: &Headers, names: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut add = |piece: &str| context.update(piece.as_bytes());
    let path = canonical_path(request.path);
    let query = canonical_query(request.query);
    for line in [request.method, path.as_str(), query.as_str()] {
        add(line);
        add("\n");
    }
    for (name, values) in headers {
        add(name);
        let mut mark = ":";
        for value in values {
            add(mark);
            add(value);
            mark = ",";
        }
        add("\n");
    }
    add("\n");
    add(names);
    add("\n");
    add(&hex(digest::digest(&digest::SHA256, request.body).as_ref()));
    hex(context.finish().as_ref())
}

/// A path without empty segments and dots, each segment encoded, whether it already was or not.
fn canonical_path(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(encoded(segment)),
        }
    }
    let end = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

/// A query, encoded and then sorted by name and value.
fn canonical_query(query: &[(&str, &str)]) -> String {
    let mut pairs: Vec<_> =
        query.iter().map(|(name, value)| (encoded(name), encoded(value))).collect();
    pairs.sort_unstable();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// Every byte but RFC 3986's unreserved ones as `%XX`.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// A header's value without spaces around it, and with one where more stood in a row.
fn folded(value: &str) -> Zeroizing<String> {
    // The room is made at once: growing would leave a copy of a session token behind.
    let mut folded = Zeroizing::new(String::with_capacity(value.len()));
    for word in value.split_ascii_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.push_str(word);
    }
    folded
}

fn hmac_sha256(key: &[u8], text: &str) -> Zeroizing<[u8; HASH]> {
    let mut out = Zeroizing::new([0; HASH]);
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    // Only too little room fails. (Zeros would make a signature that no service takes.)
    let _ = hmac::sign_to_buffer(&key, text.as_bytes(), out.as_mut_slice());
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLANK: UnsignedRequest<'static> = UnsignedRequest {
        method: "GET",
        host: "example.amazonaws.com",
        path: "/",
        query: &[],
        headers: &[],
        body: b"",
    };

    /// What the signer of AWS's published test suite adds to a request.
    fn signed(request: UnsignedRequest<'_>, token: Option<&str>) -> BTreeMap<&'static str, String> {
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned());
        let token = token.map(|token| Secret::new(token.to_owned()));
        let signer = Signer {
            access_key_id: "AKIDEXAMPLE",
            secret_access_key: &secret,
            session_token: token.as_ref(),
            region: "us-east-1",
            service: "service",
        };
        let added = signer.sign(&request, "2015-08-30T12:36:00Z".parse().unwrap());
        added.into_iter().map(|(name, value)| (name, value.expose().clone())).collect()
    }

    #[test]
    fn the_whole_header_is_as_published() {
        let added = signed(BLANK, None);
        assert_eq!(added.len(), 2);
        assert_eq!(added["x-amz-date"], "20150830T123600Z");
        let expected = "AWS4-HMAC-SHA256 \
            Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
            SignedHeaders=host;x-amz-date, \
            Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        assert_eq!(added["authorization"], expected);
    }

    #[test]
    fn the_published_vectors_are_met() {
        const UNRESERVED: &str =
            "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let vectors = [
            (
                "get-vanilla-query-order-key-case",
                UnsignedRequest { query: &[("Param2", "value2"), ("Param1", "value1")], ..BLANK },
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "get-vanilla-query-unreserved",
                UnsignedRequest { query: &[(UNRESERVED, UNRESERVED)], ..BLANK },
                "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
            ),
            (
                "get-utf8",
                UnsignedRequest { path: "/ሴ", ..BLANK },
                "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
            ),
            (
                "get-space",
                UnsignedRequest { path: "/example space/", ..BLANK },
                "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
            ),
            (
                "get-slashes",
                UnsignedRequest { path: "//example//", ..BLANK },
                "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
            ),
            (
                "get-header-key-duplicate",
                UnsignedRequest {
                    headers: &[
                        ("My-Header1", "value2"),
                        ("My-Header1", "value2"),
                        ("My-Header1", "value1"),
                    ],
                    ..BLANK
                },
                "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
            ),
            (
                "get-header-value-trim",
                UnsignedRequest {
                    headers: &[("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")],
                    ..BLANK
                },
                "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ),
            (
                "post-x-www-form-urlencoded",
                UnsignedRequest {
                    method: "POST",
                    headers: &[("Content-Type", "application/x-www-form-urlencoded")],
                    body: b"Param1=value1",
                    ..BLANK
                },
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ];
        for (name, request, signature) in vectors {
            let added = signed(request, None);
            let authorization = &added["authorization"];
            assert!(authorization.ends_with(signature), "{name}: {authorization}");
        }
    }

    #[test]
    fn a_session_token_is_signed_and_sent() {
        // The suite's "post-sts-header-before".
        let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAe\
            MicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsb\
            urEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkU\
            L64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
        let added = signed(UnsignedRequest { method: "POST", ..BLANK }, Some(token));
        assert_eq!(added["x-amz-security-token"], token);
        let authorization = &added["authorization"];
        assert!(authorization.contains("SignedHeaders=host;x-amz-date;x-amz-security-token,"));
        let signature = "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead";
        assert!(authorization.ends_with(signature), "{authorization}");
    }

    #[test]
    fn what_the_signer_answers_for_is_not_taken_from_the_request() {
        let headers = [("Host", "elsewhere"), ("X-Amz-Date", "19700101T000000Z")];
        let given = UnsignedRequest { headers: &headers, ..BLANK };
        assert_eq!(signed(given, None), signed(BLANK, None));
    }

    #[test]
    fn paths_are_tidied_and_encoded() {
        for (path, canonical) in [
            ("", "/"),
            ("//", "/"),
            ("/./", "/"),
            ("/example/..", "/"),
            ("/./example", "/example"),
            ("/../../a/b/../c/", "/a/c/"),
            ("/a%20b", "/a%2520b"),
            ("/a:b", "/a%3Ab"),
        ] {
            assert_eq!(canonical_path(path), canonical, "{path}");
        }
    }

    #[test]
    fn queries_are_encoded_before_they_are_sorted() {
        let query = [("a", "b c"), ("a", "/"), ("-", ""), ("é", "1")];
        assert_eq!(canonical_query(&query), "%C3%A9=1&-=&a=%2F&a=b%20c");
    }

    #[test]
    fn tokens_of_requests_are_the_same_for_the_same_attempt() {
        // FIPS 180-4's example.
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(request_token("abc"), digest);
    }
}
