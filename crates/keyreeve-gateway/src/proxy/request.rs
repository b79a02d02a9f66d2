//! What a client asks: which connection, which path behind it, with which credential.

use std::ops::Deref;

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use keyreeve_engine::{RequestMeta, connections::ProxyCall};
use zeroize::Zeroizing;

use super::{PREFIX, Refusal, RefusalKind, headers};

/// Carries a key where the service's own client fills every usual slot.
pub(crate) const OWN_SLOT: HeaderName = HeaderName::from_static("x-keyreeve-key");
/// The slots that clients of services fill, which may hold a key of ours instead of the service's.
const API_KEY: [HeaderName; 2] =
    [HeaderName::from_static("x-api-key"), HeaderName::from_static("x-goog-api-key")];

/// A credential that was shown: as it stands in the request, or decoded.
enum Shown<'r> {
    Plain(&'r str),
    Decoded(Zeroizing<String>),
}

impl Deref for Shown<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Decoded(text) => text,
        }
    }
}

/// A request to the proxy, taken apart.
pub(crate) struct Asked<'r> {
    pub(crate) connection: &'r str,
    origin: Option<&'r str>,
    rest: &'r str,
    credential: Shown<'r>,
    /// Where the credential stood.
    slot: HeaderName,
}

impl<'r> Asked<'r> {
    pub(crate) fn read(parts: &'r Parts) -> Result<Self, Refusal> {
        let path = parts.uri.path();
        let behind = path.strip_prefix(PREFIX).unwrap_or_default();
        let (connection, rest) = behind.split_at(behind.find('/').unwrap_or(behind.len()));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if connection.is_empty() || !connection.bytes().all(is_name) {
            return Err(Refusal::saying(
                RefusalKind::Invalid,
                "the path must be /proxy/, the name of a connection, and the service's own path",
            ));
        }
        check_host(parts)?;
        let origin = single(parts, &header::ORIGIN)?;
        let (credential, slot) = credential(parts)?;
        Ok(Self { connection, origin, rest, credential, slot })
    }

    /// The headers that hold the credential, all of which are taken out.
    pub(super) fn holders(self, headers: &HeaderMap) -> headers::Holders {
        headers::that_hold(headers, &self.credential, self.slot)
    }

    /// As the engine is asked.
    pub(crate) fn call<'a>(&'a self, parts: &'a Parts, meta: RequestMeta) -> ProxyCall<'a> {
        let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
        ProxyCall {
            connection: self.connection,
            credential: &self.credential,
            meta,
            method: parts.method.as_str(),
            host: parts.uri.host().or_else(|| text(header::HOST)),
            origin: self.origin,
            path: parts.uri.path(),
            rest: self.rest,
            query: parts.uri.query(),
            user_agent: text(header::USER_AGENT),
        }
    }
}

/// Whether the request names one host, in one way (RFC 9112 §3.2): somebody before us may have looked
/// at another.
fn check_host(parts: &Parts) -> Result<(), Refusal> {
    let refuse = |words: &str| Err(Refusal::saying(RefusalKind::Invalid, words));
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return refuse("the header host must stand once");
    }
    let host = host.map(HeaderValue::to_str).transpose();
    let Ok(host) = host else { return refuse("the header host must be a host") };
    let is_host = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
    };
    if host.is_some_and(|host| !is_host(host)) {
        return refuse("the header host must be a host, and perhaps a port");
    }
    match (parts.uri.authority(), host) {
        (Some(authority), _) if !is_host(authority.as_str()) => {
            refuse("the address must name a host, and no user")
        }
        (Some(authority), Some(host)) if !authority.as_str().eq_ignore_ascii_case(host) => {
            refuse("the address and the header host must name the same host")
        }
        (None, None) if parts.version == http::Version::HTTP_11 => {
            refuse("the header host must be there")
        }
        _ => Ok(()),
    }
}

/// The connection that a path names, if it can be one.
pub(super) fn connection_of(path: &str) -> Option<&str> {
    path.strip_prefix(PREFIX)?.split('/').next().filter(|name| !name.is_empty())
}

/// A header's one value; two are an error.
fn single<'r>(parts: &'r Parts, name: &HeaderName) -> Result<Option<&'r str>, Refusal> {
    let mut values = parts.headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        let detail = format!("the header {name} must stand once");
        return Err(Refusal::saying(RefusalKind::TwoCredentials, detail));
    }
    let text = first.map(HeaderValue::to_str).transpose();
    text.map_err(|_| {
        Refusal::saying(RefusalKind::Invalid, format!("the header {name} must be visible ASCII"))
    })
}

/// The credential: in a slot of our own, or in the one that a client of the service fills with what it
/// takes for the service's key. Where it stands in our own, the others are of no interest.
fn credential(parts: &Parts) -> Result<(Shown<'_>, HeaderName), Refusal> {
    if let Some(own) = single(parts, &OWN_SLOT)? {
        return Ok((Shown::Plain(own), OWN_SLOT));
    }
    let mut found: Option<(Shown<'_>, HeaderName)> = None;
    let mut take = |credential, name| {
        if found.is_some() {
            return Err(Refusal::saying(
                RefusalKind::TwoCredentials,
                "send the key in one header: X-Keyreeve-Key, Authorization or X-API-Key",
            ));
        }
        found = Some((credential, name));
        Ok(())
    };
    if let Some(value) = single(parts, &header::AUTHORIZATION)? {
        let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
        let rest = rest.trim_matches(' ');
        if scheme.eq_ignore_ascii_case("bearer") {
            take(Shown::Plain(rest), header::AUTHORIZATION)?;
        } else if scheme.eq_ignore_ascii_case("basic") {
            take(Shown::Decoded(from_basic(rest)?), header::AUTHORIZATION)?;
        }
    }
    for name in API_KEY {
        if let Some(value) = single(parts, &name)? {
            take(Shown::Plain(value), name)?;
        }
    }
    found.ok_or_else(|| Refusal::new(RefusalKind::Unauthenticated))
}

/// The password, or the user where there is no password: clients of services use either.
fn from_basic(text: &str) -> Result<Zeroizing<String>, Refusal> {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let bad = || Refusal::saying(RefusalKind::Invalid, "the header authorization is no Basic");
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(text).map_err(|_| bad())?);
    let pair = std::str::from_utf8(&bytes).map_err(|_| bad())?;
    let (user, password) = pair.split_once(':').ok_or_else(bad)?;
    Ok(Zeroizing::new(if password.is_empty() { user } else { password }.to_owned()))
}
