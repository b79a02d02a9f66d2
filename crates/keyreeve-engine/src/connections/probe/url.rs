//! Addresses with a password in them, as databases have them (RFC 3986, with the password that its §3.2.1
//! advises against).

use std::collections::BTreeMap;

use keyreeve_core::encoding::percent_decoded;
use zeroize::Zeroizing;

/// An address taken apart.
pub(super) struct ServiceUrl {
    pub(super) scheme: String,
    pub(super) user: Option<Zeroizing<String>>,
    pub(super) password: Option<Zeroizing<String>>,
    /// The first host, where there are several.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) path: String,
    pub(super) query: BTreeMap<String, Zeroizing<String>>,
}

impl ServiceUrl {
    /// Reads an address; `None` if it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once("://")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority),
        };
        // A slash or a question mark in a password cuts it in two: the rest would be taken for a host.
        if user.is_none() && (path.contains('@') || query.contains('@')) {
            return None;
        }
        let (user, password) = match user.map(|it| it.split_once(':').unwrap_or((it, ""))) {
            Some((user, password)) => (filled(user)?, filled(password)?),
            None => (None, None),
        };
        let first = hosts.split(',').next()?;
        let (host, port) = match first.rsplit_once(':') {
            // A colon within brackets is one of an address.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (first, None),
        };
        let mut members = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            members.insert(name.to_owned(), decoded(value)?);
        }
        let path = decoded(path)?.to_string();
        let scheme = scheme.split('+').next()?.to_ascii_lowercase();
        let host = host.to_owned();
        Some(Self { scheme, user, password, host, port, path, query: members })
    }
}

fn decoded(text: &str) -> Option<Zeroizing<String>> {
    String::from_utf8(percent_decoded(text)).ok().map(Zeroizing::new)
}

/// A text that may be left out; `None` outside if it is none.
#[expect(
    clippy::option_option,
    reason = "what is not there is something else than what is no text"
)]
fn filled(text: &str) -> Option<Option<Zeroizing<String>>> {
    decoded(text).map(|text| Some(text).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let url = ServiceUrl::parse(
            "postgresql+psycopg://app:EX%40MPLE@db1.example.com:5433,db2.example.com/shop?sslmode=require",
        )
        .unwrap();
        assert_eq!((url.scheme.as_str(), url.host.as_str()), ("postgresql", "db1.example.com"));
        assert_eq!((url.port, url.path.as_str()), (Some(5433), "shop"));
        assert_eq!(url.user.as_deref().map(String::as_str), Some("app"));
        assert_eq!(url.password.as_deref().map(String::as_str), Some("EX@MPLE"));
        assert_eq!(url.query["sslmode"].as_str(), "require");
        let url = ServiceUrl::parse("redis://:EXAMPLE@[::1]:6380/0").unwrap();
        assert_eq!((url.user.is_none(), url.host.as_str(), url.port), (true, "[::1]", Some(6380)));
        let url = ServiceUrl::parse("redis://[::1]").unwrap();
        assert_eq!((url.host.as_str(), url.port), ("[::1]", None));
        for bad in ["redis://tok/en@host", "postgres://app:12/34@db/x", "redis://a:b?c@host"] {
            assert!(ServiceUrl::parse(bad).is_none(), "{bad}");
        }
        for bad in ["", "db.example.com", "redis://host:port", "redis://host:99999"] {
            assert!(ServiceUrl::parse(bad).is_none(), "{bad}");
        }
    }
}
