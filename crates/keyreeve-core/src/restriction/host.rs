//! Host names and addresses as they stand in an origin, a Host header or a pattern.

use std::{fmt, net::Ipv4Addr, net::Ipv6Addr, str::FromStr};

use crate::Invalid;

/// The longest host name: 253 characters (RFC 1035 §3.1, without the closing dot).
const LONGEST_NAME: usize = 253;
/// The longest label of a host name: 63 characters (RFC 1035 §2.3.4).
const LONGEST_LABEL: usize = 63;

/// A host, or all hosts below a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostPattern {
    /// This name, or this IPv4 address. Lower-case.
    Name(Box<str>),
    /// Every name one or more labels below this one, never the name itself. Lower-case.
    Below(Box<str>),
    /// This address, written in brackets.
    V6(Ipv6Addr),
}

impl HostPattern {
    /// Whether the pattern covers `host`: a name, an IPv4 address or an IPv6 address in brackets,
    /// without a port. Case does not matter. What is no host is never covered.
    pub(super) fn covers(&self, host: &str) -> bool {
        match self {
            Self::Name(name) => host.eq_ignore_ascii_case(name),
            Self::Below(base) => is_name(host) && is_below(host, base),
            Self::V6(address) => bracketed(host) == Some(*address),
        }
    }
}

/// Whether a good name is longer than `base` by one or more labels.
fn is_below(name: &str, base: &str) -> bool {
    let split = name.len().checked_sub(base.len()).and_then(|at| name.split_at_checked(at));
    split.is_some_and(|(labels, end)| labels.ends_with('.') && end.eq_ignore_ascii_case(base))
}

/// Takes `host[:port]` apart. Nothing if the port is not a number of 1 to 65535 without leading
/// zeros. The host itself is not checked.
pub(super) fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    // Only a colon behind the bracket of an IPv6 address begins a port.
    let from = authority.find(']').unwrap_or(0);
    let Some(colon) = authority[from..].find(':').map(|at| from + at) else {
        return Some((authority, None));
    };
    let digits = &authority[colon + 1..];
    let good = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    let port = if good { digits.parse().ok()? } else { return None };
    Some((&authority[..colon], Some(port)))
}

/// Whether the text is a host: a name, an IPv4 address or an IPv6 address in brackets.
pub(super) fn is_host(text: &str) -> bool {
    is_name(text) || bracketed(text).is_some()
}

fn bracketed(text: &str) -> Option<Ipv6Addr> {
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Whether the text is a host name or an IPv4 address. A name whose last label is a number is read
/// as an IPv4 address by browsers (WHATWG URL §3.5), so it must be one.
fn is_name(text: &str) -> bool {
    let good_label = |label: &str| {
        !label.is_empty()
            && label.len() <= LONGEST_LABEL
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    text.len() <= LONGEST_NAME
        && text.split('.').all(good_label)
        && (!ends_in_a_number(text) || text.parse::<Ipv4Addr>().is_ok())
}

fn ends_in_a_number(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()))
}

impl FromStr for HostPattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: &str = "must name a host such as app.example.com, *.example.com, 192.0.2.1 \
                            or [2001:db8::1]; a name outside ASCII in its xn-- form";
        if let Some(address) = bracketed(text) {
            return Ok(Self::V6(address));
        }
        let lower = |name: &str| name.to_ascii_lowercase().into_boxed_str();
        match text.strip_prefix("*.") {
            Some(base) if is_name(base) && !ends_in_a_number(base) => Ok(Self::Below(lower(base))),
            None if is_name(text) => Ok(Self::Name(lower(text))),
            _ => Err(Invalid::new(RULE)),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Below(base) => write!(f, "*.{base}"),
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_hosts() {
        for (text, canonical) in [
            ("App.Example.COM", "app.example.com"),
            ("localhost", "localhost"),
            ("*.Example.com", "*.example.com"),
            ("a_b.xn--bcher-kva.example", "a_b.xn--bcher-kva.example"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:DB8:0::1]", "[2001:db8::1]"),
        ] {
            assert_eq!(text.parse::<HostPattern>().unwrap().to_string(), canonical, "{text}");
        }
        let long_label = "x".repeat(64);
        let long_name = "x.".repeat(127);
        for bad in [
            "",
            ".",
            "*",
            "*.",
            "a..b",
            ".a",
            "a.",
            "a.*.b",
            "*a.b",
            "*.*.b",
            "a b",
            "a/b",
            "a:1",
            "bücher.example",
            "1.2.3",
            "1.2.3.4.5",
            "01.2.3.4",
            "*.0.0.1",
            "*.192.0.2.1",
            "::1",
            "[::1",
            "[::1]x",
            "[fe80::1%eth0]",
            &long_label,
            &long_name,
        ] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn covers_names_below_never_the_bare_one() {
        for (pattern, host, expected) in [
            ("app.example.com", "APP.example.com", true),
            ("app.example.com", "app.example.com.", false),
            ("app.example.com", "xapp.example.com", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "A.b.EXAMPLE.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "..example.com", false),
            ("*.example.com", "xexample.com", false),
            ("*.example.com", "evil.com/.example.com", false),
            ("*.example.com", "evil.com#.example.com", false),
            ("*.example.com", "a.example.com.evil.com", false),
            ("*.example.com", "ü.example.com", false),
            ("[::1]", "[0:0::1]", true),
            ("[::1]", "::1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.1", false),
        ] {
            let pattern: HostPattern = pattern.parse().unwrap();
            assert_eq!(pattern.covers(host), expected, "{pattern} {host}");
        }
    }

    #[test]
    fn takes_the_port_off() {
        for (text, expected) in [
            ("a", Some(("a", None))),
            ("a:80", Some(("a", Some(80)))),
            ("a:65535", Some(("a", Some(65_535)))),
            ("[::1]", Some(("[::1]", None))),
            ("[::1]:8080", Some(("[::1]", Some(8080)))),
            ("a:", None),
            ("a:0", None),
            ("a:080", None),
            ("a:+80", None),
            ("a:65536", None),
            ("a:1:2", None),
            ("::1", None),
        ] {
            assert_eq!(split_port(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_host_is_read_back(text in "(\\*\\.)?[a-zA-Z0-9_-]{1,5}(\\.[a-z0-9]{1,4}){0,3}") {
            if let Ok(host) = text.parse::<HostPattern>() {
                prop_assert_eq!(host.to_string().parse::<HostPattern>(), Ok(host));
            }
        }

        #[test]
        fn never_panics(text in "\\PC{0,20}", host in "\\PC{0,20}|[ü.a]{0,9}") {
            let _ = text.parse::<HostPattern>();
            let _ = (split_port(&host), is_host(&host));
            let below: HostPattern = "*.a.aa".parse().unwrap();
            let _ = below.covers(&host);
        }
    }
}
