//! Web origins a key is bound to.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::host::{HostPattern, is_host, split_port};
use crate::Invalid;

const LONGEST: usize = 300;

/// Which web origin may use a key: `https://app.example.com`, `http://localhost:3000`, or with
/// `https://*.example.com` every host one or more labels below, never the bare domain.
///
/// An origin is scheme, host and port (RFC 6454); schemes of app shells such as `capacitor` are
/// fine. Letters are lower-cased and the default ports of `http` and `https` dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OriginPattern {
    scheme: Box<str>,
    host: HostPattern,
    /// `None` stands for the scheme's default port.
    port: Option<u16>,
}

impl OriginPattern {
    /// Whether the pattern covers the value of an `Origin` header. `null`, a list of origins and
    /// whatever else is not exactly one origin is never covered.
    pub fn matches(&self, origin: &str) -> bool {
        Origin::of(origin).is_some_and(|origin| {
            origin.scheme.eq_ignore_ascii_case(&self.scheme)
                && origin.port == self.port
                && self.host.covers(origin.host)
        })
    }
}

/// The origin part of a `Referer` header, `scheme://host[:port]`, as it stands there.
///
/// Nothing if there is no such part or if it holds user information, which browsers never send.
pub fn origin_of_referrer(referrer: &str) -> Option<&str> {
    let authority = referrer.find("://")? + "://".len();
    let end =
        referrer[authority..].find(['/', '?', '#']).map_or(referrer.len(), |at| authority + at);
    let origin = &referrer[..end];
    Origin::of(origin).map(|_| origin)
}

/// An origin taken apart. The host is a host, the port is not the scheme's default.
struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Origin<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let origin = Self::with_any_host(text)?;
        is_host(origin.host).then_some(origin)
    }

    fn with_any_host(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let (host, port) = split_port(authority)?;
        let port = port.filter(|port| Some(*port) != default_port(scheme));
        is_scheme(scheme).then_some(Self { scheme, host, port })
    }
}

/// RFC 3986 §3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

fn default_port(scheme: &str) -> Option<u16> {
    if scheme.eq_ignore_ascii_case("https") {
        Some(443)
    } else if scheme.eq_ignore_ascii_case("http") {
        Some(80)
    } else {
        None
    }
}

impl FromStr for OriginPattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: &str = "must be a web origin such as https://app.example.com, \
                            http://localhost:3000 or https://*.example.com: scheme, host and port \
                            only";
        if text.len() > LONGEST {
            return Err(Invalid::new(RULE));
        }
        let origin = Origin::with_any_host(text).ok_or_else(|| Invalid::new(RULE))?;
        // A path or user information would otherwise read as a strange host.
        if origin.host.contains(['/', '@', '?', '#']) {
            return Err(Invalid::new(RULE));
        }
        Ok(Self {
            scheme: origin.scheme.to_ascii_lowercase().into(),
            host: origin.host.parse()?,
            port: origin.port,
        })
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

serde_as_text!(OriginPattern);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_origins() {
        for (text, canonical) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.com:443", "https://app.example.com"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://localhost:443", "http://localhost:443"),
            ("https://*.Example.com", "https://*.example.com"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
            ("http://[::1]:80", "http://[::1]"),
        ] {
            assert_eq!(text.parse::<OriginPattern>().unwrap().to_string(), canonical, "{text}");
        }
        for bad in [
            "",
            "null",
            "*",
            "app.example.com",
            "://a",
            "1a://a",
            "https://",
            "https://a/",
            "https://a/b",
            "https://a?b",
            "https://a#b",
            "https://u@a",
            "https://u:p@a",
            "https://a:",
            "https://a:0",
            "https://a:x",
            "https://*",
            "https://*:3000",
            "https://a.*",
            "*://a",
            "https://a b",
            "https://a, https://b",
            "file://",
        ] {
            assert!(bad.parse::<OriginPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn covers_exactly_one_well_formed_origin() {
        for (pattern, origin, expected) in [
            ("https://app.example.com", "https://app.example.com", true),
            ("https://app.example.com", "https://app.example.com:443", true),
            ("https://app.example.com", "HTTPS://APP.example.com", true),
            ("https://app.example.com", "http://app.example.com", false),
            ("https://app.example.com", "https://app.example.com:8443", false),
            ("https://app.example.com", "https://app.example.com.", false),
            ("https://app.example.com", "https://app.example.com/", false),
            ("https://app.example.com", "https://app.example.com.evil.com", false),
            ("https://app.example.com", "https://app.example.com@evil.com", false),
            ("https://app.example.com", "https://app.example.com https://evil.com", false),
            ("https://app.example.com", " https://app.example.com", false),
            ("https://app.example.com", "null", false),
            ("https://app.example.com", "", false),
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://a.b.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://evilexample.com", false),
            ("https://*.example.com", "https://evil.com/.example.com", false),
            ("https://*.example.com", "https://*.example.com", false),
            ("http://localhost:3000", "http://localhost:3000", true),
            ("http://localhost:3000", "http://localhost", false),
            ("http://localhost", "http://localhost:3000", false),
            ("capacitor://localhost", "capacitor://localhost", true),
            ("http://[::1]:3000", "http://[0::1]:3000", true),
        ] {
            let pattern: OriginPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(origin), expected, "{pattern} {origin}");
        }
    }

    #[test]
    fn the_origin_of_a_referrer() {
        for (referrer, origin) in [
            ("https://app.example.com/a/b?c#d", Some("https://app.example.com")),
            ("https://app.example.com", Some("https://app.example.com")),
            ("http://localhost:3000/", Some("http://localhost:3000")),
            ("http://[::1]:3000/x", Some("http://[::1]:3000")),
            ("https://app.example.com?x=https://b/", Some("https://app.example.com")),
            ("https://u:p@app.example.com/", None),
            ("https://evil.com\\.example.com/", None),
            ("https:///a", None),
            ("about:blank", None),
            ("/relative?u=https://app.example.com", None),
            ("null", None),
            ("", None),
        ] {
            assert_eq!(origin_of_referrer(referrer), origin, "{referrer}");
        }
    }

    proptest! {
        #[test]
        fn every_pattern_is_read_back(
            text in "(https?|app)://(\\*\\.)?[a-zA-Z0-9]{1,5}(\\.[a-z]{1,4}){0,3}(:[1-9]{2,4})?",
        ) {
            if let Ok(pattern) = text.parse::<OriginPattern>() {
                prop_assert_eq!(pattern.to_string().parse::<OriginPattern>(), Ok(pattern.clone()));
                let exact = !text.contains('*');
                prop_assert_eq!(pattern.matches(&text), exact);
                let page = format!("{text}/page?q");
                prop_assert_eq!(origin_of_referrer(&page).is_some(), exact);
            }
        }

        #[test]
        fn never_panics(text in "\\PC{0,30}|[a:/.@?#\\[\\]*0-9ü]{0,20}") {
            let _ = text.parse::<OriginPattern>();
            let _ = origin_of_referrer(&text);
            let _ = "https://*.a".parse::<OriginPattern>().unwrap().matches(&text);
        }
    }
}
