//! Hosts a credential may be sent to, in one spelling only.
//!
//! Readers differ in what they make of `127.1`, `0x7f000001`, `a.example.` or `user@host`. A host
//! is parsed once into a value with a single reading; that value is compared, resolved, dialled,
//! named in TLS and written into the request.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

use super::{PathRules, Target};
use crate::Invalid;

/// The longest name in bytes (RFC 1035 §3.1, without the closing dot).
const LONGEST_NAME: usize = 253;
/// The longest label in bytes (RFC 1035 §2.3.4).
const LONGEST_LABEL: usize = 63;
/// The longest base URL in bytes.
const LONGEST_URL: usize = 2048;

const PORT_RULE: &str = "must have a port of 1 to 65535, without leading zeros, or none";

/// A DNS name or an address, without a port.
///
/// Names are lower-case and have no closing dot. IPv4 addresses are written as four decimal numbers
/// and IPv6 addresses in brackets, in the form of RFC 5952.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(Box<str>);

impl HostName {
    /// Reads a host in any case, with or without a closing dot.
    ///
    /// Labels are of letters, digits, hyphens and underscores, and begin and end in a letter or a
    /// digit (RFC 952, RFC 1123 §2.1; underscores are in use although no standard has them). A name
    /// whose last label is a number is an IPv4 address to some readers (WHATWG URL §3.5), so it
    /// must be a canonical one. IPv6 must be in brackets (RFC 3986 §3.2.2), without a zone.
    ///
    /// Fails with the rule that is broken. The text is never part of it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if !text.is_ascii() {
            let rule = "must be ASCII: write an international name in punycode, as xn--…";
            return Err(Invalid::new(rule));
        }
        if let Some(rest) = text.strip_prefix('[') {
            let address = rest.strip_suffix(']').and_then(|it| it.parse::<Ipv6Addr>().ok());
            let rule = "must have nothing but an IPv6 address without a zone in its brackets";
            let address = address.ok_or_else(|| Invalid::new(rule))?;
            return Ok(Self(format!("[{address}]").into()));
        }
        if text.contains(':') {
            let rule = "must be a host without a port, an IPv6 address in brackets: [2001:db8::1]";
            return Err(Invalid::new(rule));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() > LONGEST_NAME || !name.split('.').all(is_label) {
            return Err(Invalid::new(
                "must be a host name of at most 253 bytes: labels of 1 to 63 letters, digits, '-' \
                 and '_', which begin and end in a letter or a digit, with dots between them",
            ));
        }
        let name = name.to_ascii_lowercase();
        if could_be_a_number(&name) && name.parse::<Ipv4Addr>().is_err() {
            return Err(Invalid::new(
                "must not end in a number, unless it is an IPv4 address as four decimal numbers \
                 without leading zeros",
            ));
        }
        Ok(Self(name.into()))
    }

    /// The host as text, an IPv6 address with its brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, if the host is one and needs no resolving. An IPv4-mapped IPv6 address is given
    /// as it is.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.0.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
            None => self.0.parse().ok().map(IpAddr::V4),
        }
    }
}

fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    let good_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= LONGEST_LABEL
        && good_end(bytes.first())
        && good_end(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Whether some reader takes a lower-case name for an IPv4 address because of its last label.
fn could_be_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    last.starts_with("0x") || last.bytes().all(|b| b.is_ascii_digit())
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(HostName);

/// Takes `host[:port]` apart. Neither port 0 nor an empty port is one.
fn split_port(authority: &str) -> Result<(HostName, Option<u16>), Invalid> {
    match authority.rsplit_once(':') {
        // A colon within brackets belongs to the address.
        Some((host, port)) if !port.ends_with(']') => {
            let host = HostName::parse(host)?;
            let good = !port.starts_with('0') && port.bytes().all(|b| b.is_ascii_digit());
            let port = port.parse().ok().filter(|_| good);
            Ok((host, Some(port.ok_or_else(|| Invalid::new(PORT_RULE))?)))
        }
        _ => Ok((HostName::parse(authority)?, None)),
    }
}

/// How a service is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// In clear text. A credential goes this way only if the operator said so.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The scheme as it stands before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that is meant where none is written (RFC 9110 §4.2).
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// Schemes have no case (RFC 3986 §3.1).
    fn of(text: &str) -> Option<Self> {
        [Self::Http, Self::Https].into_iter().find(|it| text.eq_ignore_ascii_case(it.as_str()))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a service is: scheme, host and port (RFC 6454 §4).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: HostName,
    port: u16,
    /// Made of the others once, for it is in every request.
    authority: Box<str>,
}

impl Origin {
    /// An origin, with the scheme's own port if none is given. Fails for port 0.
    pub fn new(scheme: Scheme, host: HostName, port: Option<u16>) -> Result<Self, Invalid> {
        let port = port.unwrap_or(scheme.default_port());
        if port == 0 {
            return Err(Invalid::new(PORT_RULE));
        }
        let authority =
            if port == scheme.default_port() { host.to_string() } else { format!("{host}:{port}") };
        Ok(Self { scheme, host, port, authority: authority.into() })
    }

    /// How the service is spoken to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// What is resolved and dialled, and named in TLS.
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// The TCP port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the `Host` header says (RFC 9110 §7.2): the host, and the port unless it is the
    /// scheme's own.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority())
    }
}

/// What the paths of a connection are appended to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BaseUrl {
    /// The service.
    pub origin: Origin,
    /// The beginning of every path there. Normal by [`PathRules::Strict`], without a slash at its
    /// end; empty for the root.
    pub path: String,
}

impl BaseUrl {
    /// Reads a URL such as `https://api.stripe.com/v1/`, of at most 2048 bytes.
    ///
    /// It has scheme `http` or `https`, a host by [`HostName::parse`], perhaps a port, perhaps a
    /// path by [`PathRules::Strict`], and nothing else: a user name, a query or a fragment would
    /// either be lost or be read as something else by somebody. Fails with the rule that is broken.
    /// The text is never part of it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const SCHEME_RULE: &str = "must begin with https:// or http://";
        if text.len() > LONGEST_URL {
            return Err(Invalid::new(format!("must be at most {LONGEST_URL} bytes")));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Invalid::new("must not have spaces or control characters"));
        }
        if text.contains('\\') {
            return Err(Invalid::new("must not have a backslash"));
        }
        if text.contains(['?', '#']) {
            return Err(Invalid::new("must not have a query or a fragment"));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| Invalid::new(SCHEME_RULE))?;
        let scheme = Scheme::of(scheme).ok_or_else(|| Invalid::new(SCHEME_RULE))?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(Invalid::new("must not have a user name or a password"));
        }
        let (host, port) = split_port(authority)?;
        let origin = Origin::new(scheme, host, port)?;
        let target = Target::parse(path, None, PathRules::Strict)?;
        let path = target.path();
        Ok(Self { origin, path: path.strip_suffix('/').unwrap_or(path).to_owned() })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

serde_as_text!(BaseUrl);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_have_one_spelling() {
        let longest = format!("{}aa.a", "a1.".repeat(83));
        assert_eq!(longest.len(), LONGEST_NAME);
        for (text, expected, is_address) in [
            ("API.Stripe.COM", "api.stripe.com", false),
            ("api.stripe.com.", "api.stripe.com", false),
            ("localhost", "localhost", false),
            ("a_b.xn--bcher-kva.example", "a_b.xn--bcher-kva.example", false),
            ("1password.example", "1password.example", false),
            ("0x1.example", "0x1.example", false),
            ("127.0.0.1.example", "127.0.0.1.example", false),
            ("x1", "x1", false),
            (longest.as_str(), longest.as_str(), false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1.", "192.0.2.1", true),
            ("[2001:DB8:0::1]", "[2001:db8::1]", true),
            ("[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]", true),
            ("[::ffff:7f00:1]", "[::ffff:127.0.0.1]", true),
        ] {
            let host = HostName::parse(text).unwrap();
            assert_eq!(host.as_str(), expected);
            assert_eq!(host.ip().is_some(), is_address, "{text}");
        }
    }

    #[test]
    fn what_has_other_readings_is_no_host() {
        let long_label = "a".repeat(64);
        let long_name = format!("{}aaa.a", "a1.".repeat(83));
        for text in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a..",
            "-a.b",
            "a-.b",
            "_a.b",
            "a_.b",
            "*.a",
            "a b",
            " a",
            "a/b",
            "a\\b",
            "a%41",
            "a\0",
            "u@a",
            "a?b",
            "a#b",
            "a:1",
            "::1",
            "[::1",
            "::1]",
            "[::1].",
            "[::1]x",
            "[]",
            "[127.0.0.1]",
            "[fe80::1%eth0]",
            "[fe80::1%25eth0]",
            "[v1.x]",
            "0177.0.0.1",
            "0x7f.1",
            "0x7f000001",
            "0X7F.0.0.0x1",
            "127.1",
            "2130706433",
            "1.2.3.4.5",
            "1.2.3.256",
            "1.2.3.04",
            "a.1",
            "a.0x",
            "a.0xg",
            "bücher.example",
            "127。0。0。1",
            "１２７.0.0.1",
            &long_label,
            &long_name,
        ] {
            assert!(HostName::parse(text).is_err(), "{text}");
        }
        let rule = HostName::parse("bücher.example").unwrap_err();
        assert!(rule.rule().contains("xn--"));
    }

    #[test]
    fn origins_show_a_port_that_is_not_usual() {
        for (text, shown, authority, port) in [
            ("https://a.example", "https://a.example", "a.example", 443),
            ("https://a.example:443", "https://a.example", "a.example", 443),
            ("https://a.example:80", "https://a.example:80", "a.example:80", 80),
            ("HTTP://A.example.:80/", "http://a.example", "a.example", 80),
            ("http://[0::1]:8080", "http://[::1]:8080", "[::1]:8080", 8080),
            ("https://[::1]", "https://[::1]", "[::1]", 443),
        ] {
            let origin = BaseUrl::parse(text).unwrap().origin;
            assert_eq!(origin.to_string(), shown);
            assert_eq!(origin.authority(), authority);
            assert_eq!(origin.port(), port);
        }
        let host = HostName::parse("a").unwrap();
        assert!(Origin::new(Scheme::Http, host, Some(0)).is_err());
    }

    #[test]
    fn base_urls_are_normal() {
        for (text, shown, path) in [
            ("https://api.stripe.com/v1/", "https://api.stripe.com/v1", "/v1"),
            ("https://api.stripe.com/", "https://api.stripe.com", ""),
            ("https://api.stripe.com", "https://api.stripe.com", ""),
            ("https://a.example/%7Ea/%c3%a4/@b", "https://a.example/~a/%C3%A4/@b", "/~a/%C3%A4/@b"),
        ] {
            let url = BaseUrl::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), url.path.as_str()), (shown, path));
            let json = serde_json::to_string(&url).unwrap();
            assert_eq!(json, format!("\"{shown}\""));
            assert_eq!(serde_json::from_str::<BaseUrl>(&json).unwrap(), url);
        }
    }

    #[test]
    fn base_urls_with_anything_else_are_refused() {
        let long = format!("https://canary.example/{}", "a".repeat(LONGEST_URL));
        for text in [
            "",
            "canary.example",
            "//canary.example",
            "ftp://canary.example",
            "https:/canary.example",
            "https:canary.example",
            " https://canary.example",
            "https://canary.example\n",
            "https://canary.example/\u{85}",
            "https://",
            "https:///canary",
            "https://user@canary.example",
            "https://user:canary@a.example",
            "https://@canary.example",
            "https://a.example@canary.example/x",
            "https://canary.example\\@a.example",
            "https://canary.example?x",
            "https://canary.example/x?",
            "https://canary.example#x",
            "https://canary.example:",
            "https://canary.example:0",
            "https://canary.example:080",
            "https://canary.example:+80",
            "https://canary.example:65536",
            "https://canary.example:80:80",
            "https://[::1]canary:80",
            "https://127.1/canary",
            "https://*.canary.example",
            "https://canary.example/a/../b",
            "https://canary.example/a//b",
            "https://canary.example/a;b",
            "https://canary.example/a%2fb",
            "https://canary.example/ä",
            &long,
        ] {
            let error = BaseUrl::parse(text).expect_err(text);
            assert!(!error.rule().contains("canary"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(
            text in "[a-zA-Z0-9_.-]{1,12}|\\[[0-9a-f:]{2,12}\\]|[0-9]{1,3}(\\.[0-9]{1,3}){3}",
            port in "(:[0-9]{1,5})?",
            path in "(/[a-z%0-9~.]{0,6}){0,3}",
        ) {
            if let Ok(host) = HostName::parse(&text) {
                prop_assert_eq!(HostName::parse(host.as_str()), Ok(host));
            }
            if let Ok(url) = BaseUrl::parse(&format!("https://{text}{port}{path}")) {
                prop_assert_eq!(BaseUrl::parse(&url.to_string()), Ok(url));
            }
        }

        #[test]
        fn never_panics(text in "\\PC{0,20}|[a:/.@?#\\[\\]*0-9xü\\\\]{0,20}") {
            let _ = HostName::parse(&text);
            let _ = BaseUrl::parse(&text);
            let _ = BaseUrl::parse(&format!("https://{text}"));
        }
    }
}
