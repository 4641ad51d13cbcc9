//! Addresses that are shut out for a while.
//!
//! An IPv6 client has a whole /64 and counts as one. `127.0.0.1` and `::1` are never shut out as a
//! whole: all miners of the machine, and those behind a proxy or a tunnel, come from there; a bad
//! client of theirs loses its connection only. Invariants: at most [`BANS_MAX`] addresses are held;
//! time is an input.

use super::limits::{BAN_MS, BANS_MAX};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses that are shut out, and until when.
#[derive(Debug, Default)]
pub struct Bans {
    until_ms: BTreeMap<IpAddr, u64>,
}

impl Bans {
    /// The address that a client counts as.
    pub fn group(address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V6(v6) if !v6.is_loopback() => {
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64))
            }
            other => other,
        }
    }

    /// Whether an address is one that many clients of this machine share.
    pub fn is_shared(address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => v4 == Ipv4Addr::LOCALHOST,
            IpAddr::V6(v6) => v6 == Ipv6Addr::LOCALHOST,
        }
    }

    /// Shuts an address out from now on. Whether it is: one that is shared is not.
    pub fn ban(&mut self, now_ms: u64, address: IpAddr) -> bool {
        if Bans::is_shared(address) {
            return false;
        }
        self.until_ms.retain(|_, until| *until > now_ms);
        if self.until_ms.len() >= BANS_MAX {
            let first = self.until_ms.iter().min_by_key(|(_, until)| **until);
            if let Some(address) = first.map(|(address, _)| *address) {
                self.until_ms.remove(&address);
            }
        }
        self.until_ms.insert(Bans::group(address), now_ms + BAN_MS);
        true
    }

    /// Milliseconds that an address is still shut out; none if it is not.
    pub fn remaining_ms(&self, now_ms: u64, address: IpAddr) -> Option<u64> {
        let until = self.until_ms.get(&Bans::group(address))?;
        until.checked_sub(now_ms).filter(|left| *left > 0)
    }

    /// Addresses that are shut out.
    pub fn count(&self, now_ms: u64) -> usize {
        self.until_ms
            .values()
            .filter(|until| **until > now_ms)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_ban_ends() {
        let mut bans = Bans::default();
        assert!(bans.ban(1_000, ip("192.0.2.7")));
        assert_eq!(bans.remaining_ms(1_000, ip("192.0.2.7")), Some(BAN_MS));
        assert_eq!(
            bans.remaining_ms(1_000, ip("::ffff:192.0.2.7")),
            Some(BAN_MS)
        );
        assert_eq!(bans.remaining_ms(1_000, ip("192.0.2.8")), None);
        assert_eq!(bans.remaining_ms(1_000 + BAN_MS, ip("192.0.2.7")), None);
        assert_eq!((bans.count(1_000), bans.count(1_000 + BAN_MS)), (1, 0));
    }

    #[test]
    fn a_whole_ipv6_network_is_one_client() {
        let mut bans = Bans::default();
        assert!(bans.ban(0, ip("2001:db8::1")));
        assert!(bans.remaining_ms(0, ip("2001:db8::ffff:2")).is_some());
        assert!(bans.remaining_ms(0, ip("2001:db8:0:1::1")).is_none());
    }

    #[test]
    fn the_machines_own_address_is_not_shut_out() {
        let mut bans = Bans::default();
        for shared in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(!bans.ban(0, ip(shared)), "{shared}");
        }
        assert!(bans.ban(0, ip("127.0.0.2")));
    }

    #[test]
    fn memory_is_bounded() {
        let mut bans = Bans::default();
        for i in 0..BANS_MAX as u32 + 10 {
            bans.ban(
                u64::from(i),
                IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + i)),
            );
        }
        assert_eq!(bans.until_ms.len(), BANS_MAX);
        assert!(
            bans.remaining_ms(0, ip("10.0.0.0")).is_none(),
            "the oldest made room"
        );
    }
}
