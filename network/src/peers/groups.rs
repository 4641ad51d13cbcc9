//! Address groups: the units in which connections are counted and spread.
//!
//! Invariant: whoever holds one home connection (an IPv4 address, an IPv6 /64) or one small
//! allocation (/24, /48) counts once. Source: `spec/07-p2p.md#limits`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::{Multiaddr, multiaddr::Protocol};

/// One subscriber: an IPv4 address or an IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(IpAddr);

/// One small allocation: an IPv4 /24 or an IPv6 /48.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet(IpAddr);

/// The address as IPv4 if it is one in IPv6 clothes.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

impl Host {
    /// The host of an address.
    pub fn of(ip: IpAddr) -> Self {
        match canonical(ip) {
            IpAddr::V6(ip) => Self(IpAddr::V6(masked(ip, 64))),
            v4 => Self(v4),
        }
    }
}

impl Subnet {
    /// The subnet of an address.
    pub fn of(ip: IpAddr) -> Self {
        match canonical(ip) {
            IpAddr::V4(ip) => Self(IpAddr::V4(Ipv4Addr::from(u32::from(ip) & 0xffff_ff00))),
            IpAddr::V6(ip) => Self(IpAddr::V6(masked(ip, 48))),
        }
    }
}

fn masked(ip: Ipv6Addr, bits: u32) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(ip) & (u128::MAX << (128 - bits)))
}

/// The first component of an address, if it is an IP.
pub fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

/// Whether an address can be reached from the public Internet.
pub fn is_global(ip: IpAddr) -> bool {
    match canonical(ip) {
        IpAddr::V4(ip) => is_global_v4(ip),
        IpAddr::V6(ip) => is_global_v6(ip),
    }
}

/// IANA special-purpose registry for IPv4, without the anycast exceptions.
fn is_global_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_benchmark = a == 198 && (b == 18 || b == 19);
    let is_protocol = a == 192 && b == 0 && c == 0;
    !(a == 0
        || a >= 240
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip.is_multicast()
        || is_shared
        || is_benchmark
        || is_protocol)
}

/// Only 2000::/3 is assigned for global unicast; documentation and discard ranges are not.
fn is_global_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    let is_documentation = a == 0x2001 && b == 0x0db8 || a == 0x3fff && b < 0x1000;
    a & 0xe000 == 0x2000 && !is_documentation
}

/// Whether peers may be told or dialled at this address: an IP that is global (or any, when
/// private addresses are allowed) and not unspecified, or a DNS name.
pub fn is_dialable(address: &Multiaddr, private_allowed: bool) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(_) | Protocol::Ip6(_)) => ip_of(address).is_some_and(|ip| {
            !ip.is_unspecified() && !ip.is_multicast() && (private_allowed || is_global(ip))
        }),
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_)) => {
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn groups_have_the_documented_size() {
        assert_ne!(Host::of(ip("10.1.2.3")), Host::of(ip("10.1.2.4")));
        assert_eq!(Subnet::of(ip("10.1.2.3")), Subnet::of(ip("10.1.2.250")));
        assert_ne!(Subnet::of(ip("10.1.2.3")), Subnet::of(ip("10.1.3.3")));
        assert_eq!(
            Host::of(ip("2001:db8:1:2::1")),
            Host::of(ip("2001:db8:1:2:ffff::1"))
        );
        assert_ne!(
            Host::of(ip("2001:db8:1:2::1")),
            Host::of(ip("2001:db8:1:3::1"))
        );
        assert_eq!(
            Subnet::of(ip("2001:db8:1:2::1")),
            Subnet::of(ip("2001:db8:1:ffff::1"))
        );
        assert_ne!(
            Subnet::of(ip("2001:db8:1::1")),
            Subnet::of(ip("2001:db8:2::1"))
        );
        assert_eq!(Host::of(ip("::ffff:10.1.2.3")), Host::of(ip("10.1.2.3")));
    }

    #[test]
    fn special_addresses_are_not_global() {
        for text in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "2001:db8::1",
            "3fff::1",
            "::ffff:192.168.0.1",
            "ff02::1",
        ] {
            assert!(!is_global(ip(text)), "{text}");
        }
        for text in [
            "1.1.1.1",
            "100.128.0.1",
            "193.0.0.1",
            "2a00:1450::1",
            "2606:4700::1111",
        ] {
            assert!(is_global(ip(text)), "{text}");
        }
    }

    #[test]
    fn only_reachable_addresses_are_dialled() {
        let dialable = |text: &str, private| is_dialable(&text.parse().unwrap(), private);
        assert!(dialable("/ip4/1.1.1.1/tcp/1", false));
        assert!(!dialable("/ip4/192.168.0.1/tcp/1", false));
        assert!(dialable("/ip4/192.168.0.1/tcp/1", true));
        assert!(!dialable("/ip4/0.0.0.0/tcp/1", true));
        assert!(dialable("/dns/example.org/tcp/1", false));
        assert!(!dialable("/memory/7", true));
    }
}
