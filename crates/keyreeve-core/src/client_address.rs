//! Who sent a request that came through proxies.
//!
//! Each proxy adds the address it was called from at the right end of `X-Forwarded-For`. What
//! stands left of the first address that no trusted proxy vouches for was written by the client
//! and may be made up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    Invalid,
    restriction::{IpNetwork, normal},
};

/// How many entries are read at most, from the right.
const MOST_ENTRIES: usize = 50;

/// The proxies whose word on where a request came from is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNetwork>);

impl TrustedProxies {
    /// Trusts every address in these networks.
    pub fn new(networks: Vec<IpNetwork>) -> Self {
        Self(networks)
    }

    /// Whether the address is a trusted proxy's.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(ip))
    }
}

/// The address of the client behind `peer`.
///
/// A peer that is not trusted is the client itself, whatever it claims. Behind a trusted peer the
/// entries of all `X-Forwarded-For` headers, which come in the order they were received, are read
/// from the right: the first one that is no trusted proxy is the client. If all are, the leftmost
/// is; without any, the peer. An IPv4-mapped address is given as the IPv4 address it holds.
///
/// Fails if an entry that has to be read is no IP address (with or without a port), or if more
/// than 50 would have to be read. Then the client is not known and the caller decides.
pub fn client_address<'h>(
    peer: IpAddr,
    peer_is_trusted: bool,
    forwarded_for: impl DoubleEndedIterator<Item = &'h str>,
    trusted: &TrustedProxies,
) -> Result<IpAddr, Invalid> {
    let mut client = normal(peer);
    if !peer_is_trusted {
        return Ok(client);
    }
    let entries = forwarded_for.rev().flat_map(|line| line.rsplit(','));
    for (index, entry) in entries.enumerate() {
        if index == MOST_ENTRIES {
            return Err(Invalid::new(format!(
                "must not name more than {MOST_ENTRIES} trusted proxies"
            )));
        }
        // An empty entry is refused too: skipping it would take the client's own word instead.
        client = address(entry.trim_matches([' ', '\t']))
            .ok_or_else(|| Invalid::new("must hold IP addresses separated by commas"))?;
        if !trusted.contains(client) {
            break;
        }
    }
    Ok(client)
}

/// Reads `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (ip, port) = bracketed.split_once(']')?;
        let good = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        let ip: Ipv6Addr = if good { ip.parse().ok()? } else { return None };
        return Some(normal(ip.into()));
    }
    if let Ok(ip) = text.parse() {
        return Some(normal(ip));
    }
    let (ip, port) = text.split_once(':')?;
    let ip: Ipv4Addr = ip.parse().ok()?;
    is_port(port).then_some(ip.into())
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn proxies() -> TrustedProxies {
        TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
    }

    fn client(peer: &str, lines: &[&str]) -> Result<String, Invalid> {
        let peer: IpAddr = peer.parse().unwrap();
        let trusted = proxies();
        client_address(peer, trusted.contains(peer), lines.iter().copied(), &trusted)
            .map(|ip| ip.to_string())
    }

    #[test]
    fn the_first_from_the_right_that_no_proxy_vouches_for() {
        for (peer, lines, expected) in [
            ("203.0.113.9", &[][..], "203.0.113.9"),
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("203.0.113.9", &["not an address"], "203.0.113.9"),
            ("::ffff:203.0.113.9", &[], "203.0.113.9"),
            (PROXY, &[], PROXY),
            (PROXY, &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            (PROXY, &["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            (PROXY, &["198.51.100.1,10.0.0.2 ,\t10.0.0.3"], "198.51.100.1"),
            (PROXY, &["198.51.100.1", "10.0.0.2"], "198.51.100.1"),
            (PROXY, &["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
            // Made up on the left.
            (PROXY, &["192.0.2.66, 198.51.100.1"], "198.51.100.1"),
            (PROXY, &["192.0.2.66", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            (PROXY, &["10.0.0.9, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            (PROXY, &["garbage, unknown,, 198.51.100.1"], "198.51.100.1"),
            // Proxies all the way.
            (PROXY, &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (PROXY, &["10.0.0.4", "10.0.0.3, 10.0.0.2"], "10.0.0.4"),
            // Other ways to write an address.
            (PROXY, &["198.51.100.1:4711"], "198.51.100.1"),
            (PROXY, &["198.51.100.1, 10.0.0.2:80"], "198.51.100.1"),
            (PROXY, &["2001:db8::1, fd00::2"], "2001:db8::1"),
            (PROXY, &["[2001:db8::1]:80, [fd00::2]"], "2001:db8::1"),
            (PROXY, &["::ffff:198.51.100.1, ::ffff:10.0.0.2"], "198.51.100.1"),
            (PROXY, &["[::ffff:198.51.100.1]:80"], "198.51.100.1"),
        ] {
            assert_eq!(client(peer, lines).as_deref(), Ok(expected), "{peer} {lines:?}");
        }
    }

    #[test]
    fn what_is_no_address_leaves_the_client_unknown() {
        for line in [
            "",
            " ",
            ",",
            "198.51.100.1,",
            "198.51.100.1, unknown",
            "198.51.100.1, _hidden",
            "198.51.100.1, , 10.0.0.2",
            "unknown, 10.0.0.2",
            "198.51.100",
            "198.51.100.1:",
            "198.51.100.1:http",
            "198.51.100.1:+80",
            "198.51.100.1:65536",
            "198.51.100.1:80:80",
            "[198.51.100.1]",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]80",
            "[2001:db8::1]:",
            "[fe80::1%eth0]",
            "\"198.51.100.1\"",
            "for=198.51.100.1",
            "198.51.100.1/32",
            "198.51.100.1 10.0.0.2",
        ] {
            let rule = "must hold IP addresses separated by commas";
            assert_eq!(client(PROXY, &[line]), Err(Invalid::new(rule)), "{line}");
        }
        assert!(client(PROXY, &["198.51.100.1", ""]).is_err());
    }

    #[test]
    fn a_peer_can_be_trusted_by_other_means() {
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let lines = ["192.0.2.66, 198.51.100.1"];
        let found = client_address(peer, true, lines.into_iter(), &TrustedProxies::default());
        assert_eq!(found, Ok("198.51.100.1".parse().unwrap()));
    }

    #[test]
    fn fifty_entries_are_read() {
        let chain = |proxies: usize| {
            let mut entries = vec!["198.51.100.1"];
            entries.resize(proxies + 1, "10.0.0.2");
            entries.join(", ")
        };
        assert_eq!(client(PROXY, &[&chain(49)]).as_deref(), Ok("198.51.100.1"));
        let rule = "must not name more than 50 trusted proxies";
        assert_eq!(client(PROXY, &[&chain(50)]), Err(Invalid::new(rule)));
    }

    proptest! {
        #[test]
        fn what_the_client_writes_changes_nothing(
            made_up in prop::collection::vec("\\PC{0,30}|[0-9a-f:.,]{0,30}", 0..4),
            proxies in prop::collection::vec("10\\.0\\.0\\.[1-9]", 0..4),
        ) {
            let mut honest = vec!["198.51.100.1".to_owned()];
            honest.extend(proxies);
            let honest = honest.join(",");
            let mut lines: Vec<_> = made_up.iter().map(String::as_str).collect();
            lines.push(&honest);
            prop_assert_eq!(client(PROXY, &lines), Ok("198.51.100.1".to_owned()));
            let one_line = lines.join(",");
            prop_assert_eq!(client(PROXY, &[&one_line]), Ok("198.51.100.1".to_owned()));
        }

        #[test]
        fn never_panics(
            lines in prop::collection::vec("\\PC{0,30}|[0-9a-f:.,\\[\\] ]{0,40}", 0..4),
        ) {
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let _ = client(PROXY, &lines);
        }
    }
}
