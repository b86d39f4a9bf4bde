//! Addresses that are not of the public internet.
//!
//! From the IANA IPv4 Special-Purpose Address Registry and the IANA IPv6 Special-Purpose Address Registry, with
//! the multicast and reserved blocks of the IANA IPv4 and IPv6 address space registries (all read on 2026-11-23).
//! Ranges that the registries call globally reachable are here, too, when no provider can be in them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 networks: address, prefix length.
const IPV4: [([u8; 4], u8); 20] = [
    ([0, 0, 0, 0], 8),          // "this network", and the unspecified address
    ([10, 0, 0, 0], 8),         // private use
    ([100, 64, 0, 0], 10),      // shared by carriers (CGNAT); a cloud's metadata at 100.100.100.200
    ([127, 0, 0, 0], 8),        // loopback
    ([168, 63, 129, 16], 32),   // a cloud's platform service on a public address; in no registry
    ([169, 254, 0, 0], 16),     // link-local; clouds' metadata at 169.254.169.254
    ([172, 16, 0, 0], 12),      // private use
    ([192, 0, 0, 0], 24),       // IETF protocol assignments
    ([192, 0, 2, 0], 24),       // documentation
    ([192, 31, 196, 0], 24),    // AS112
    ([192, 52, 193, 0], 24),    // AMT
    ([192, 88, 99, 0], 24),     // 6to4 relays
    ([192, 168, 0, 0], 16),     // private use
    ([192, 175, 48, 0], 24),    // AS112
    ([198, 18, 0, 0], 15),      // benchmarking
    ([198, 51, 100, 0], 24),    // documentation
    ([203, 0, 113, 0], 24),     // documentation
    ([224, 0, 0, 0], 4),        // multicast
    ([240, 0, 0, 0], 4),        // reserved
    ([255, 255, 255, 255], 32), // limited broadcast
];

/// IPv6 networks inside the space for global unicast: the first three groups, prefix length.
///
/// Everything outside of 2000::/3 is refused without a list. That covers ::/128 and ::1/128 (unspecified,
/// loopback), ::/96 and ::ffff:0:0/96 (IPv4-compatible and -mapped), 64:ff9b::/96 and 64:ff9b:1::/48 (NAT64),
/// 100::/64 and 100:0:0:1::/64 (discard, dummy), fc00::/7 (unique local; a cloud's metadata at fd00:ec2::254),
/// fe80::/10 (link-local), fec0::/10 (site-local), ff00::/8 (multicast) and 5f00::/16 (segment routing).
const IPV6: [([u16; 3], u8); 5] = [
    ([0x2001, 0, 0], 23), // IETF protocol assignments: Teredo, benchmarking, ORCHID
    ([0x2001, 0xdb8, 0], 32), // documentation
    ([0x2002, 0, 0], 16), // 6to4
    ([0x2620, 0x4f, 0x8000], 48), // AS112
    ([0x3fff, 0, 0], 20), // documentation
];

/// Whether an address is of the public internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !IPV4.iter().any(|(network, prefix)| {
            let differing = u32::from(address) ^ u32::from(Ipv4Addr::from(*network));
            differing.leading_zeros() >= u32::from(*prefix)
        }),
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            let listed = IPV6.iter().any(|([a, b, c], prefix)| {
                let differing = bits ^ u128::from(Ipv6Addr::new(*a, *b, *c, 0, 0, 0, 0, 0));
                differing.leading_zeros() >= u32::from(*prefix)
            });
            bits >> 125 == 0b001 && !listed
        }
    }
}
