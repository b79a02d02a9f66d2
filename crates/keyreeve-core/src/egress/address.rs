//! Which addresses a request with a credential may go to.
//!
//! A name that somebody else controls can point anywhere: at the machine itself, at its network,
//! or at the service of a cloud that hands out the machine's own credentials. What decides is
//! therefore the address that is dialled, in every form an IPv4 address takes inside IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// Who has to agree before an address is dialled. The later, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// On the public Internet: nobody.
    Public,
    /// On this machine, in its networks, or nowhere in particular: the operator, for a connection.
    Internal,
    /// The metadata service of a cloud, or no address of one host at all: no one can allow it.
    Forbidden,
}

/// How far away an address is, judged by the special-purpose registries of IANA (RFC 6890) and by
/// what clouds document of their metadata services.
///
/// An IPv6 address that holds an IPv4 address is as bad as the worse of the two, because a
/// translator or a tunnel may deliver to the inner one. Known are IPv4-mapped, IPv4-compatible and
/// IPv4-translated addresses, both prefixes of NAT64, 6to4, Teredo and ISATAP. A NAT64 or 6rd
/// prefix that a network chose for itself looks like any other address and is not found out.
///
/// IPv6 outside of `2000::/3`, which is all that was given out as global unicast so far, is
/// [`Reach::Internal`] at best.
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

/// Services that tell whoever asks from inside of a cloud its credentials or its set-up.
const METADATA_V4: [Ipv4Addr; 9] = [
    // Amazon, Google, Azure, Oracle, DigitalOcean, Hetzner, OpenStack and others.
    Ipv4Addr::new(169, 254, 169, 254),
    // Amazon: credentials of ECS tasks, and of EKS pods.
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    // Tencent Cloud.
    Ipv4Addr::new(169, 254, 0, 23),
    Ipv4Addr::new(169, 254, 10, 10),
    // Scaleway.
    Ipv4Addr::new(169, 254, 42, 42),
    // Alibaba Cloud, in the range for carriers.
    Ipv4Addr::new(100, 100, 100, 200),
    // Azure's WireServer, which looks public.
    Ipv4Addr::new(168, 63, 129, 16),
    // Oracle Cloud Classic.
    Ipv4Addr::new(192, 0, 0, 192),
];

/// The same over IPv6.
const METADATA_V6: [Ipv6Addr; 8] = [
    // Amazon: instances, and credentials of EKS pods.
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    // Google Cloud.
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    // Oracle Cloud.
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    // OpenStack, and Akamai (Linode).
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1),
    // Scaleway.
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
    // Alibaba Cloud.
    Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200),
];

/// What is not public in IPv4. The ranges do not overlap.
static RANGES_V4: [(Ipv4Net, Reach); 15] = [
    // "This network": never a destination, and this machine to many a system (RFC 791 §3.2).
    v4([0, 0, 0, 0], 8, Reach::Forbidden),
    // Private use (RFC 1918).
    v4([10, 0, 0, 0], 8, Reach::Internal),
    // Shared address space of carriers (RFC 6598).
    v4([100, 64, 0, 0], 10, Reach::Internal),
    // Loopback (RFC 1122 §3.2.1.3).
    v4([127, 0, 0, 0], 8, Reach::Internal),
    // Link-local (RFC 3927).
    v4([169, 254, 0, 0], 16, Reach::Internal),
    // Private use (RFC 1918).
    v4([172, 16, 0, 0], 12, Reach::Internal),
    // IETF protocol assignments (RFC 6890 §2.1).
    v4([192, 0, 0, 0], 24, Reach::Internal),
    // Documentation (RFC 5737).
    v4([192, 0, 2, 0], 24, Reach::Internal),
    // Relays of 6to4, given up (RFC 7526).
    v4([192, 88, 99, 0], 24, Reach::Internal),
    // Private use (RFC 1918).
    v4([192, 168, 0, 0], 16, Reach::Internal),
    // Benchmarks of networks (RFC 2544).
    v4([198, 18, 0, 0], 15, Reach::Internal),
    // Documentation (RFC 5737).
    v4([198, 51, 100, 0], 24, Reach::Internal),
    v4([203, 0, 113, 0], 24, Reach::Internal),
    // Multicast (RFC 5771).
    v4([224, 0, 0, 0], 4, Reach::Forbidden),
    // Reserved (RFC 1112 §4), and limited broadcast within it (RFC 919 §7).
    v4([240, 0, 0, 0], 4, Reach::Forbidden),
];

/// IPv4-mapped: what a socket for both families shows an IPv4 address as (RFC 4291 §2.5.5.2).
const MAPPED: Ipv6Net = v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96);
/// IPv4-compatible, given up (RFC 4291 §2.5.5.1).
const COMPATIBLE: Ipv6Net = v6([0; 8], 96);
/// IPv4-translated, of the first stateless translation (RFC 2765 §2.1).
const TRANSLATED: Ipv6Net = v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96);
/// NAT64, the well-known prefix (RFC 6052 §2.1).
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
/// NAT64, for prefixes that a network chooses (RFC 8215).
const LOCAL_NAT64: Ipv6Net = v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48);
/// Automatic tunnels between IPv6 sites (RFC 3056 §2).
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);
/// Tunnels through NAT (RFC 4380 §4).
const TEREDO: Ipv6Net = v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32);

/// What an IPv6 address is by itself. The first range that holds it decides; what none holds is
/// internal.
static RANGES_V6: [(Ipv6Net, Reach); 11] = [
    // The IPv4 address in these is all there is to judge.
    (MAPPED, Reach::Public),
    (NAT64, Reach::Public),
    // Multicast (RFC 4291 §2.7).
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), Reach::Forbidden),
    // Unique local (RFC 4193).
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), Reach::Internal),
    // Link-local (RFC 4291 §2.5.6).
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), Reach::Internal),
    // Site-local, given up and still in use (RFC 3879).
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), Reach::Internal),
    // Documentation (RFC 3849, RFC 9637).
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), Reach::Internal),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), Reach::Internal),
    (TEREDO, Reach::Public),
    // IETF protocol assignments: benchmarks, identifiers that are not routed, anycast that the
    // nearest router answers (RFC 2928).
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), Reach::Internal),
    // Global unicast, as far as IANA has given it out (RFC 4291 §2.4, RFC 3587 §2).
    (v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3), Reach::Public),
];

const fn v4(octets: [u8; 4], bits: u8, reach: Reach) -> (Ipv4Net, Reach) {
    let [a, b, c, d] = octets;
    (Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), bits), reach)
}

const fn v6(segments: [u16; 8], bits: u8) -> Ipv6Net {
    let [s0, s1, s2, s3, s4, s5, s6, s7] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(s0, s1, s2, s3, s4, s5, s6, s7), bits)
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    if METADATA_V4.contains(&address) {
        return Reach::Forbidden;
    }
    let range = RANGES_V4.iter().find(|(range, _)| range.contains(&address));
    range.map_or(Reach::Public, |(_, reach)| *reach)
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    // Loopback would be taken for the IPv4-compatible form of 0.0.0.1, which is forbidden.
    if address == Ipv6Addr::LOCALHOST {
        return Reach::Internal;
    }
    if METADATA_V6.contains(&address) || hides_metadata(address) {
        return Reach::Forbidden;
    }
    let range = RANGES_V6.iter().find(|(range, _)| range.contains(&address));
    let own = range.map_or(Reach::Internal, |(_, reach)| *reach);
    let [_, second, third, fourth, .., seventh, eighth] = address.segments();
    let in_the_end = [MAPPED, COMPATIBLE, TRANSLATED, NAT64, LOCAL_NAT64];
    let in_the_end = in_the_end.iter().any(|range| range.contains(&address)) || is_isatap(address);
    let tunnelled = TEREDO.contains(&address);
    // `::` itself is forbidden here, as the compatible form of 0.0.0.0.
    let held = [
        (in_the_end, joined(seventh, eighth)),
        (SIX_TO_FOUR.contains(&address), joined(second, third)),
        // The server, and the client's own address with all bits inverted.
        (tunnelled, joined(third, fourth)),
        (tunnelled, joined(!seventh, !eighth)),
    ];
    let held = held.into_iter().filter(|(holds, _)| *holds);
    held.map(|(_, inner)| reach_v4(inner)).fold(own, Ord::max)
}

/// An interface identifier that says which IPv4 address it belongs to, whatever the prefix
/// (RFC 5214 §6.1). The bits for "universal" and "group" do not count.
fn is_isatap(address: Ipv6Addr) -> bool {
    let [_, _, _, _, fifth, sixth, ..] = address.segments();
    fifth & !0x0300 == 0 && sixth == 0x5efe
}

/// Whether a local NAT64 prefix shorter than 96 bits would make a metadata address of this one
/// (RFC 6052 §2.2: the octet after the first 64 bits is left out).
///
/// How long the prefix is only its network knows. Were every reading judged in full, the zeros of
/// one would be a forbidden 0.0.0.0 in another; a metadata address does not come about by chance.
fn hides_metadata(address: Ipv6Addr) -> bool {
    let [_, _, _, _, _, _, o6, o7, _, o9, o10, o11, o12, ..] = address.octets();
    let readings = [[o6, o7, o9, o10], [o7, o9, o10, o11], [o9, o10, o11, o12]];
    LOCAL_NAT64.contains(&address)
        && readings.into_iter().any(|octets| METADATA_V4.contains(&Ipv4Addr::from(octets)))
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all_are(expected: Reach, addresses: &[&str]) {
        for text in addresses {
            assert_eq!(reach(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn public_addresses_stand_beside_every_range() {
        all_are(
            Reach::Public,
            &[
                "1.0.0.0",
                "8.8.8.8",
                "9.255.255.255",
                "11.0.0.0",
                "100.63.255.255",
                "100.128.0.0",
                "126.255.255.255",
                "128.0.0.0",
                "168.63.129.15",
                "168.63.129.17",
                "169.253.255.255",
                "169.255.0.0",
                "172.15.255.255",
                "172.32.0.0",
                "192.0.1.0",
                "192.0.3.0",
                "192.88.98.255",
                "192.167.255.255",
                "192.169.0.0",
                "198.17.255.255",
                "198.20.0.0",
                "198.51.101.0",
                "203.0.114.0",
                "223.255.255.255",
                "2000::1",
                "2001:200::1",
                "2001:4860:4860::8888",
                "2606:4700:4700::1111",
                "3ffe::1",
                "3fff:1000::1",
            ],
        );
    }

    #[test]
    fn internal_addresses_need_the_operator() {
        all_are(
            Reach::Internal,
            &[
                "10.0.0.0",
                "10.255.255.255",
                "100.64.0.0",
                "100.127.255.255",
                "127.0.0.1",
                "127.255.255.255",
                "169.254.0.0",
                "169.254.169.253",
                "172.16.0.0",
                "172.31.255.255",
                "192.0.0.1",
                "192.0.2.1",
                "192.88.99.1",
                "192.168.0.0",
                "192.168.255.255",
                "198.18.0.0",
                "198.19.255.255",
                "198.51.100.1",
                "203.0.113.255",
                "::1",
                "100::1",
                "2001:1::1",
                "2001:2::1",
                "2001:20::1",
                "2001:db8::1",
                "3fff::1",
                "3fff:fff::1",
                "4000::1",
                "5f00::1",
                "64:ff9b:2::1",
                "fc00::1",
                "fdff::1",
                "fe80::1",
                "febf::1",
                "fec0::1",
                "feff::1",
            ],
        );
    }

    #[test]
    fn forbidden_addresses_stay_so() {
        all_are(
            Reach::Forbidden,
            &[
                "0.0.0.0",
                "0.255.255.255",
                "100.100.100.200",
                "168.63.129.16",
                "169.254.0.23",
                "169.254.42.42",
                "169.254.169.254",
                "169.254.170.2",
                "169.254.170.23",
                "192.0.0.192",
                "224.0.0.1",
                "239.255.255.255",
                "240.0.0.0",
                "255.255.255.255",
                "::",
                "fd00:42::42",
                "fd00:c1::a9fe:a9fe",
                "fd00:ec2::23",
                "fd00:ec2::254",
                "fd20:ce::254",
                "fe80::a9fe:a9fe",
                "ff00::",
                "ff02::1",
            ],
        );
    }

    #[test]
    fn an_inner_address_counts_too() {
        all_are(
            Reach::Public,
            &[
                "::ffff:8.8.8.8",
                "64:ff9b::8.8.8.8",
                "2002:808:808::1",
                "2001:0:808:808::f7f7:f7f7",
                "2606:4700::5efe:8.8.8.8",
                "2606:4700::200:5efe:8.8.8.8",
            ],
        );
        all_are(
            Reach::Internal,
            &[
                "::8.8.8.8",
                "::ffff:0:8.8.8.8",
                "::ffff:127.0.0.1",
                "::127.0.0.1",
                "::ffff:0:10.0.0.1",
                "64:ff9b::10.0.0.1",
                "64:ff9b:1::8.8.8.8",
                "64:ff9b:1:ffff:ffff:ffff:8.8.8.8",
                "2002:a00:1::1",
                "2002:7f00:1::1",
                // The server, then the client.
                "2001:0:a00:1::f7f7:f7f7",
                "2001:0:808:808::f5ff:fffe",
                "2606:4700::5efe:10.0.0.1",
                "fe80::5efe:8.8.8.8",
            ],
        );
        all_are(
            Reach::Forbidden,
            &[
                "::ffff:169.254.169.254",
                "::ffff:0.0.0.0",
                "::169.254.169.254",
                "::ffff:0:169.254.169.254",
                "64:ff9b::169.254.169.254",
                "64:ff9b::168.63.129.16",
                "64:ff9b:1::169.254.169.254",
                "64:ff9b:1:2:3:4:169.254.169.254",
                // After 48, 56 and 64 bits.
                "64:ff9b:1:a9fe:a9:fe00:808:808",
                "64:ff9b:1:a9:fe:a9fe:808:808",
                "64:ff9b:1:0:a9:fea9:fe08:808",
                "2002:a9fe:a9fe::1",
                "2001:0:a9fe:a9fe::f7f7:f7f7",
                "2001:0:808:808::5601:5601",
                "2606:4700::5efe:169.254.169.254",
                "2606:4700::300:5efe:169.254.169.254",
                "fe80::5efe:169.254.169.254",
                "fe80::200:5efe:169.254.169.254",
            ],
        );
    }

    /// Any IPv4 address, and the special ones far more often than chance would have them.
    fn any_v4() -> impl Strategy<Value = Ipv4Addr> {
        let networks = RANGES_V4.iter().map(|(range, _)| range.network());
        let special: Vec<_> = METADATA_V4.into_iter().chain(networks).collect();
        prop_oneof![any::<u32>().prop_map(Ipv4Addr::from_bits), prop::sample::select(special)]
    }

    proptest! {
        #[test]
        fn no_guise_makes_an_address_more_reachable(
            inner in any_v4(),
            prefix in any::<[u16; 4]>(),
            other in any::<[u16; 2]>(),
        ) {
            let [.., high, low] = inner.to_ipv6_mapped().segments();
            let [p0, p1, p2, p3] = prefix;
            let [q0, q1] = other;
            for outer in [
                Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low),
                Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 1, p0, p1, p2, high, low),
                Ipv6Addr::new(0x2002, high, low, p0, p1, p2, q0, q1),
                Ipv6Addr::new(0x2001, 0, high, low, p0, p1, q0, q1),
                Ipv6Addr::new(0x2001, 0, q0, q1, p0, p1, !high, !low),
                Ipv6Addr::new(p0, p1, p2, p3, 0, 0x5efe, high, low),
                Ipv6Addr::new(p0, p1, p2, p3, 0x0200, 0x5efe, high, low),
            ] {
                // The one address that looks like a compatible one and is none.
                if outer != Ipv6Addr::LOCALHOST {
                    prop_assert!(reach(outer.into()) >= reach(inner.into()), "{outer}");
                }
            }
        }

        #[test]
        fn only_given_out_and_translated_addresses_are_public(bits in any::<u128>()) {
            let address = Ipv6Addr::from_bits(bits);
            if reach(address.into()) == Reach::Public {
                let [first, ..] = address.segments();
                let known = MAPPED.contains(&address) || NAT64.contains(&address);
                prop_assert!(first >> 13 == 1 || known, "{address}");
            }
        }
    }
}
