//! Addresses and networks a key is bound to.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::Invalid;

/// How many bits of an IPv4-mapped IPv6 address stand before the IPv4 address in it.
const MAPPED_BITS: u8 = 96;

/// One address or one CIDR network, IPv4 or IPv6.
///
/// An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) is the IPv4 address it holds. Every other IPv6
/// network speaks of IPv6 alone: `::/0` does not contain any IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IpNetwork(IpNet);

impl IpNetwork {
    /// Whether the network holds `ip`. A mapped address counts as the IPv4 address it holds.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&normal(ip))
    }
}

/// The address itself, or the IPv4 address that an IPv4-mapped IPv6 address holds.
///
/// A socket open to both families shows IPv4 peers in the mapped form, so without this a rule for
/// `192.0.2.1` would miss them.
pub fn normal(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

impl FromStr for IpNetwork {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: &str = "must be an IP address or a network such as 192.0.2.0/24 or \
                            2001:db8::/32";
        let wrong = || Invalid::new(RULE);
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| wrong())?;
        let ip = normal(written);
        let longest = bits(ip);
        let prefix = match prefix {
            None => longest,
            Some(prefix) => {
                let prefix = prefix_length(prefix).ok_or_else(wrong)?;
                if prefix > bits(written) {
                    return Err(wrong());
                }
                // The prefix of a mapped network counts the bits before the IPv4 address too.
                // One shorter than those cuts into the mapping's own bits, which are not zero.
                prefix.checked_sub(bits(written) - longest).ok_or_else(host_bits)?
            }
        };
        let network = IpNet::new(ip, prefix).map_err(|_| wrong())?;
        if network.trunc() == network { Ok(Self(network)) } else { Err(host_bits()) }
    }
}

fn host_bits() -> Invalid {
    Invalid::new(
        "must not have bits set beyond the network's prefix: write 192.0.2.0/24, not 192.0.2.1/24",
    )
}

fn bits(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 128 - MAPPED_BITS,
        IpAddr::V6(_) => 128,
    }
}

/// Digits only, and no leading zero: other readers take `010` for eight.
fn prefix_length(text: &str) -> Option<u8> {
    let good = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if good { text.parse().ok() } else { None }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            self.0.addr().fmt(f)
        } else {
            self.0.fmt(f)
        }
    }
}

serde_as_text!(IpNetwork);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_addresses_and_networks() {
        for (text, canonical) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1/32", "192.0.2.1"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("2001:db8:0:0::1/128", "2001:db8::1"),
            ("::/0", "::/0"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
        ] {
            assert_eq!(text.parse::<IpNetwork>().unwrap().to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_network() {
        for text in [
            "",
            "/",
            "192.0.2.1/",
            "/24",
            "192.0.2.0/33",
            "192.0.2.0/+24",
            "192.0.2.0/024",
            "192.0.2.0/24/24",
            "192.0.2",
            "192.0.02.1",
            "192.0.2.1:80",
            " 192.0.2.1",
            "2001:db8::/129",
            "::ffff:192.0.2.0/129",
            "fe80::1%eth0",
            "[::1]",
            "example.com",
        ] {
            let rule = text.parse::<IpNetwork>().unwrap_err();
            assert!(rule.rule().starts_with("must be an IP address"), "{text}: {rule}");
        }
    }

    #[test]
    fn refuses_host_bits_and_says_so() {
        for text in [
            "192.0.2.1/24",
            "10.0.0.1/8",
            "2001:db8::1/64",
            "::ffff:192.0.2.1/120",
            "::ffff:0:0/95",
            "::ffff:0:0/64",
        ] {
            let rule = text.parse::<IpNetwork>().unwrap_err();
            assert!(rule.rule().starts_with("must not have bits set"), "{text}: {rule}");
        }
    }

    #[test]
    fn holds_what_is_in_it() {
        for (network, ip, expected) in [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.0/24", "::ffff:192.0.2.7", true),
            ("::ffff:192.0.2.0/120", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "192.0.2.1", false),
            ("::/0", "::ffff:192.0.2.1", false),
            ("0.0.0.0/0", "::ffff:192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
        ] {
            let network: IpNetwork = network.parse().unwrap();
            assert_eq!(network.contains(ip.parse().unwrap()), expected, "{network} {ip}");
        }
    }

    #[test]
    fn travels_as_text() {
        let network: IpNetwork = serde_json::from_str(r#""::ffff:10.0.0.0/104""#).unwrap();
        assert_eq!(serde_json::to_string(&network).unwrap(), r#""10.0.0.0/8""#);
        let error = serde_json::from_str::<IpNetwork>(r#""10.9.8.7/8""#).unwrap_err().to_string();
        assert!(error.contains("must not have bits set") && !error.contains("10.9.8.7"), "{error}");
    }

    proptest! {
        #[test]
        fn every_network_is_read_back(ip in any::<IpAddr>(), prefix in 0u8..=128) {
            let ip = normal(ip);
            let network = IpNetwork(IpNet::new(ip, prefix.min(bits(ip))).unwrap().trunc());
            prop_assert_eq!(network.to_string().parse::<IpNetwork>(), Ok(network));
        }

        #[test]
        fn agrees_with_comparing_bits(a in any::<u32>(), b in any::<u32>(), prefix in 1u8..=32) {
            let mask = u32::MAX << (32 - prefix);
            let text = format!("{}/{prefix}", Ipv4Addr::from(a & mask));
            let network: IpNetwork = text.parse().unwrap();
            prop_assert_eq!(network.contains(Ipv4Addr::from(b).into()), a & mask == b & mask);
            prop_assert!(network.contains(Ipv4Addr::from(a).to_ipv6_mapped().into()));
        }

        #[test]
        fn never_panics(text in "\\PC{0,60}|[0-9a-f:./]{0,45}") {
            let _ = text.parse::<IpNetwork>();
        }
    }
}
