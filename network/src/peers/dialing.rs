//! Whom to dial now: outbound slots are filled by this node only, and spread over subnets.
//!
//! Invariant: at most one outbound peer per subnet (unless private addresses are exempt), so that
//! one operator cannot hold all outbound slots; anchors first, then known peers and strangers in
//! a 60:40 mix; every failure doubles the wait, with jitter, so that a restart of many nodes does
//! not turn into a storm. Source: `spec/07-p2p.md#discovery`.

use std::collections::BTreeSet;

use libp2p::PeerId;

use super::{
    book::{Book, Entry},
    groups::{Subnet, ip_of, is_global},
};

/// Anchors that are redialled before anyone else.
pub const ANCHORS_MAX: usize = 2;
/// Of ten free slots, this many go to peers that answered before.
const KNOWN_OF_TEN: usize = 6;

/// What the choice depends on besides the book.
#[derive(Debug)]
pub struct Slots<'a> {
    /// Free outbound slots.
    pub free: usize,
    /// Peers that are connected, being dialled, banned or ourselves.
    pub taken: &'a BTreeSet<PeerId>,
    /// Subnets that outbound connections use already.
    pub subnets: &'a BTreeSet<Subnet>,
    /// Private and loopback addresses count as one subnet each unless this is set.
    pub private_exempt: bool,
    /// Random bits that break ties.
    pub salt: u64,
}

/// The delay before the next dial after `failures` failures: doubled, bounded, and spread over
/// half of itself by `salt`.
pub fn redial_delay_ms(failures: u32, ms_min: u64, ms_max: u64, salt: u64) -> u64 {
    let doubled = ms_min
        .saturating_mul(1 << failures.min(20))
        .min(ms_max)
        .max(1);
    doubled / 2 + salt % (doubled / 2 + 1)
}

/// The subnet that a peer would occupy; `None` if it is exempt or unknown.
pub fn subnet_of(entry: &Entry, private_exempt: bool) -> Option<Subnet> {
    let ip = entry.addresses.iter().find_map(ip_of)?;
    (!private_exempt || is_global(ip)).then(|| Subnet::of(ip))
}

/// Chooses up to `slots.free` peers.
pub fn choose(now_ms: u64, book: &Book, slots: &Slots<'_>) -> Vec<PeerId> {
    let mut ready: Vec<(&PeerId, &Entry)> = book
        .iter()
        .filter(|(peer, entry)| {
            !slots.taken.contains(peer)
                && entry.next_dial_ms <= now_ms
                && !entry.addresses.is_empty()
        })
        .collect();
    ready.sort_by_key(|(peer, _)| mix(peer, slots.salt));

    let mut chosen = Chosen {
        peers: Vec::new(),
        subnets: slots.subnets.clone(),
        slots,
    };
    let is_anchor = |entry: &Entry| entry.is_anchor;
    let is_known = |entry: &Entry| entry.last_ok_ms > 0 || entry.is_pinned;
    chosen.add(&ready, ANCHORS_MAX, is_anchor);
    let known_max = (slots.free * KNOWN_OF_TEN).div_ceil(10);
    chosen.add(&ready, known_max, is_known);
    chosen.add(&ready, slots.free, |entry| !is_known(entry));
    // Whatever kind is missing leaves its slots to the other.
    chosen.add(&ready, slots.free, |_| true);
    chosen.peers
}

struct Chosen<'a> {
    peers: Vec<PeerId>,
    subnets: BTreeSet<Subnet>,
    slots: &'a Slots<'a>,
}

impl Chosen<'_> {
    /// Adds peers of one kind until `total` peers are chosen.
    fn add(&mut self, ready: &[(&PeerId, &Entry)], total: usize, is_kind: impl Fn(&Entry) -> bool) {
        for (peer, entry) in ready {
            if self.peers.len() >= total.min(self.slots.free) {
                return;
            }
            if self.peers.contains(peer) || !is_kind(entry) {
                continue;
            }
            match subnet_of(entry, self.slots.private_exempt) {
                Some(subnet) if !self.subnets.insert(subnet) => continue,
                _ => self.peers.push(**peer),
            }
        }
    }
}

/// An order of peers that nobody can predict without the salt.
fn mix(peer: &PeerId, salt: u64) -> u64 {
    let mut state = salt ^ 0x9e37_79b9_7f4a_7c15;
    for chunk in peer.to_bytes().chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        state = (state ^ u64::from_le_bytes(word)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        state ^= state >> 32;
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::book::Direction;

    fn book_of(count: u8, known: u8) -> (Book, Vec<PeerId>) {
        let mut book = Book::new(1_000);
        let peers: Vec<_> = (0..count).map(|_| PeerId::random()).collect();
        for (index, peer) in peers.iter().enumerate() {
            book.heard(*peer, format!("/ip4/1.2.{index}.4/tcp/5").parse().unwrap());
            if index < usize::from(known) {
                book.connected(1, *peer, Direction::Outbound);
            }
        }
        (book, peers)
    }

    fn slots<'a>(
        free: usize,
        taken: &'a BTreeSet<PeerId>,
        subnets: &'a BTreeSet<Subnet>,
    ) -> Slots<'a> {
        Slots {
            free,
            taken,
            subnets,
            private_exempt: false,
            salt: 7,
        }
    }

    #[test]
    fn anchors_lead_and_the_rest_is_mixed() {
        let (mut book, peers) = book_of(40, 20);
        book.set_anchors(&peers[30..31]);
        let none = (BTreeSet::new(), BTreeSet::new());
        let chosen = choose(0, &book, &slots(10, &none.0, &none.1));
        assert_eq!(chosen.len(), 10);
        assert_eq!(chosen[0], peers[30]);
        let known = chosen
            .iter()
            .filter(|peer| peers[..20].contains(peer))
            .count();
        assert_eq!(
            known, 5,
            "six of the first ten with the anchor, four strangers"
        );
    }

    #[test]
    fn missing_kinds_leave_their_slots() {
        let (book, _) = book_of(8, 8);
        let none = (BTreeSet::new(), BTreeSet::new());
        assert_eq!(choose(0, &book, &slots(8, &none.0, &none.1)).len(), 8);
    }

    #[test]
    fn one_outbound_peer_per_subnet() {
        let mut book = Book::new(100);
        for host in 0..50 {
            book.heard(
                PeerId::random(),
                format!("/ip4/9.9.9.{host}/tcp/5").parse().unwrap(),
            );
        }
        let none = (BTreeSet::new(), BTreeSet::new());
        assert_eq!(choose(0, &book, &slots(10, &none.0, &none.1)).len(), 1);
        let used = BTreeSet::from([Subnet::of("9.9.9.200".parse().unwrap())]);
        assert!(choose(0, &book, &slots(10, &none.0, &used)).is_empty());
    }

    #[test]
    fn private_addresses_may_be_exempt() {
        let mut book = Book::new(100);
        for port in 1..=5 {
            book.heard(
                PeerId::random(),
                format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap(),
            );
        }
        let none = (BTreeSet::new(), BTreeSet::new());
        let mut slots = slots(10, &none.0, &none.1);
        assert_eq!(choose(0, &book, &slots).len(), 1);
        slots.private_exempt = true;
        assert_eq!(choose(0, &book, &slots).len(), 5);
    }

    #[test]
    fn taken_and_waiting_peers_are_left_alone() {
        let (mut book, peers) = book_of(3, 3);
        book.hold(&peers[1], 500);
        let taken = BTreeSet::from([peers[0]]);
        let none = BTreeSet::new();
        assert_eq!(choose(499, &book, &slots(9, &taken, &none)), [peers[2]]);
        assert_eq!(choose(500, &book, &slots(9, &taken, &none)).len(), 2);
    }

    #[test]
    fn redial_delays_double_up_to_the_bound() {
        for failures in 0..40 {
            let full = (1_000u64 << failures.min(20)).min(300_000);
            for salt in [0, 1, 12_345, u64::MAX] {
                let delay = redial_delay_ms(failures, 1_000, 300_000, salt);
                assert!(
                    delay >= full / 2 && delay <= full,
                    "{failures} {salt} {delay}"
                );
            }
        }
    }
}
