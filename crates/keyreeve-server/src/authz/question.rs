//! What a gateway asks, read without guessing.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv6Addr},
};

use http::{HeaderMap, header, request::Parts};
use keyreeve_core::{
    Invalid,
    client_address::{TrustedProxies, client_address},
    permission::Query,
    restriction::origin_of_referrer,
};

use super::gateway::Gateway;

const FORWARDED_FOR: &str = "x-forwarded-for";
/// Where a gateway's configuration says what a key must grant.
const REQUIRE: &str = "x-keyreeve-require";

/// The request that a gateway asks about, and what its key must grant.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) host: Option<&'a str>,
    /// The client; `None` when the gateway does not tell.
    pub(super) ip: Option<IpAddr>,
    pub(super) origin: Option<&'a str>,
    pub(super) user_agent: Option<&'a str>,
    pub(super) require: Option<Query<'a>>,
}

/// Why a question cannot be answered. The gateway is at fault, not its client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unclear {
    pub(super) field: String,
    pub(super) rule: Cow<'static, str>,
}

impl Unclear {
    pub(super) fn header(name: &str, rule: impl Into<Cow<'static, str>>) -> Self {
        Self { field: format!("header {name}"), rule: rule.into() }
    }
}

impl<'a> Question<'a> {
    /// Reads the question. `peer` is the gateway's own address; it has shown the secret, so what
    /// it adds to `X-Forwarded-For` is believed.
    pub(super) fn read(
        gateway: Gateway,
        parts: &'a Parts,
        peer: Option<IpAddr>,
        trusted: &TrustedProxies,
    ) -> Result<Self, Unclear> {
        let headers = &parts.headers;
        let original = gateway.original(parts)?;
        let require = once(headers, REQUIRE)?
            // An empty one is a mistake in the gateway's configuration, and opens nothing.
            .map(|text| Query::parse(text).map_err(|rule| broken(REQUIRE, &rule)))
            .transpose()?;
        Ok(Self {
            method: original.method,
            path: original.path,
            host: original.host,
            ip: address(headers, peer, trusted)?,
            origin: origin(headers),
            user_agent: headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()),
            require,
        })
    }
}

/// The header's one value; two are an error.
pub(super) fn once<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Unclear> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Unclear::header(name, "must stand once"));
    }
    let text = first.map(http::HeaderValue::to_str).transpose();
    text.map_err(|_| Unclear::header(name, "must be visible ASCII characters"))
}

fn broken(name: &str, rule: &Invalid) -> Unclear {
    Unclear::header(name, rule.rule().to_owned())
}

fn address(
    headers: &HeaderMap,
    peer: Option<IpAddr>,
    trusted: &TrustedProxies,
) -> Result<Option<IpAddr>, Unclear> {
    if !headers.contains_key(FORWARDED_FOR) {
        return Ok(None);
    }
    // On the local socket the peer has no address; as a trusted one it is not looked at.
    let peer = peer.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    // What cannot be read is no address, and refused as such.
    let values = headers.get_all(FORWARDED_FOR).iter();
    let values = values.map(|value| value.to_str().unwrap_or("unreadable"));
    client_address(peer, true, values, trusted)
        .map(Some)
        .map_err(|rule| broken(FORWARDED_FOR, &rule))
}

/// The origin that a browser names. One that cannot be read, or two, match no pattern.
fn origin(headers: &HeaderMap) -> Option<&str> {
    if headers.contains_key(header::ORIGIN) {
        return Some(once(headers, header::ORIGIN.as_str()).ok().flatten().unwrap_or("null"));
    }
    let referrer = once(headers, header::REFERER.as_str()).ok().flatten()?;
    origin_of_referrer(referrer)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/authz/envoy/v1/things").header("host", "a");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn read(parts: &Parts) -> Result<Question<'_>, Unclear> {
        let peer = Some("10.0.0.1".parse().unwrap());
        Question::read(Gateway::Envoy, parts, peer, &TrustedProxies::default())
    }

    #[test]
    fn the_address_is_the_one_the_gateway_added() {
        for (values, expected) in [
            (&[][..], None),
            (&["192.0.2.7"], Some("192.0.2.7")),
            (&["198.51.100.9, 192.0.2.7"], Some("192.0.2.7")),
            (&["198.51.100.9", "192.0.2.7"], Some("192.0.2.7")),
            (&["2001:db8::1"], Some("2001:db8::1")),
        ] {
            let headers: Vec<_> = values.iter().map(|value| (FORWARDED_FOR, *value)).collect();
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(read(&parts(&headers)).unwrap().ip, expected, "{values:?}");
        }
        for value in ["", "unknown", "192.0.2.7, _hidden"] {
            let unclear = read(&parts(&[(FORWARDED_FOR, value)])).unwrap_err();
            assert_eq!(unclear.field, "header x-forwarded-for", "{value}");
        }
    }

    #[test]
    fn the_origin_comes_before_the_referrer() {
        for (headers, expected) in [
            (&[][..], None),
            (&[("origin", "https://a.example")][..], Some("https://a.example")),
            (&[("referer", "https://a.example/page?x")], Some("https://a.example")),
            (
                &[("origin", "https://a.example"), ("referer", "https://b.example/")],
                Some("https://a.example"),
            ),
            (&[("origin", "https://a.example"), ("origin", "https://a.example")], Some("null")),
            (&[("origin", "null"), ("referer", "https://b.example/")], Some("null")),
        ] {
            assert_eq!(read(&parts(headers)).unwrap().origin, expected, "{headers:?}");
        }
    }

    #[test]
    fn a_broken_requirement_is_refused_and_named() {
        assert!(read(&parts(&[])).unwrap().require.is_none());
        assert!(read(&parts(&[(REQUIRE, "documents.read")])).unwrap().require.is_some());
        for headers in [
            &[(REQUIRE, "")][..],
            &[(REQUIRE, "documents.read and and")],
            &[(REQUIRE, "documents.read"), (REQUIRE, "documents.read")],
        ] {
            let unclear = read(&parts(headers)).unwrap_err();
            assert_eq!(unclear.field, "header x-keyreeve-require", "{headers:?}");
            assert!(!unclear.rule.contains("documents"), "{unclear:?}");
        }
    }

    #[test]
    fn the_user_agent_is_told() {
        let parts = parts(&[("user-agent", "curl/8")]);
        let question = read(&parts).unwrap();
        assert_eq!(question.user_agent, Some("curl/8"));
        assert_eq!((question.method, question.path), ("GET", "/v1/things"));
        assert_eq!(question.host, Some("a"));
    }
}
