//! The address book: which peers exist, where, and how well they answered.
//!
//! Invariant: bounded in peers and in addresses per peer; a peer that answered is never displaced
//! by one that was only heard of. Source: `spec/07-p2p.md#discovery`.

use std::collections::BTreeMap;

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use serde::{Deserialize, Serialize};

use crate::limits::PEER_ADDRESSES_MAX;

/// Who opened the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// The peer dialled us.
    Inbound,
    /// We dialled the peer.
    Outbound,
}

/// One peer of the book.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where it may be reached, best first.
    pub addresses: Vec<Multiaddr>,
    /// When its status was last accepted, Unix milliseconds; 0 = never.
    pub last_ok_ms: u64,
    /// Direction of that connection.
    pub direction: Direction,
    /// Failed dials since then.
    pub failures: u32,
    /// Not dialled before this time.
    pub next_dial_ms: u64,
    /// Was an outbound peer when the node last stopped: redialled first.
    pub is_anchor: bool,
    /// Given by the operator or the chain specification: never forgotten.
    pub is_pinned: bool,
}

impl Entry {
    fn new() -> Self {
        Self {
            addresses: Vec::new(),
            last_ok_ms: 0,
            direction: Direction::Outbound,
            failures: 0,
            next_dial_ms: 0,
            is_anchor: false,
            is_pinned: false,
        }
    }

    fn learn(&mut self, address: Multiaddr) {
        if !self.addresses.contains(&address) {
            self.addresses.push(address);
            self.addresses.truncate(PEER_ADDRESSES_MAX);
        }
    }
}

/// The book.
#[derive(Debug)]
pub struct Book {
    entries: BTreeMap<PeerId, Entry>,
    peers_max: usize,
}

/// The address without a trailing `/p2p/<id>`, and that id.
pub fn split_peer(mut address: Multiaddr) -> (Multiaddr, Option<PeerId>) {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => {
            address.pop();
            (address, Some(peer))
        }
        _ => (address, None),
    }
}

impl Book {
    /// An empty book for `peers_max` peers.
    pub fn new(peers_max: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            peers_max,
        }
    }

    /// Peers known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All peers in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&PeerId, &Entry)> {
        self.entries.iter()
    }

    /// One peer.
    pub fn get(&self, peer: &PeerId) -> Option<&Entry> {
        self.entries.get(peer)
    }

    /// Takes over an entry from disk.
    pub fn restore(&mut self, peer: PeerId, entry: Entry) {
        if self.entries.len() < self.peers_max || self.entries.contains_key(&peer) {
            self.entries.insert(peer, entry);
        }
    }

    /// Someone says that `peer` is at `address`. Returns whether the book had room.
    pub fn heard(&mut self, peer: PeerId, address: Multiaddr) -> bool {
        if !self.entries.contains_key(&peer) && !self.make_room() {
            return false;
        }
        self.entries
            .entry(peer)
            .or_insert_with(Entry::new)
            .learn(split_peer(address).0);
        true
    }

    /// The operator or the specification says that `peer` is at `address`.
    pub fn pin(&mut self, peer: PeerId, address: Multiaddr) {
        let entry = self.entries.entry(peer).or_insert_with(Entry::new);
        let address = split_peer(address).0;
        entry.addresses.retain(|known| *known != address);
        entry.addresses.insert(0, address);
        entry.addresses.truncate(PEER_ADDRESSES_MAX);
        entry.is_pinned = true;
    }

    /// The peer's status was accepted.
    pub fn connected(&mut self, now_ms: u64, peer: PeerId, direction: Direction) {
        if !self.entries.contains_key(&peer) && !self.make_room() {
            return;
        }
        let entry = self.entries.entry(peer).or_insert_with(Entry::new);
        entry.last_ok_ms = now_ms;
        entry.direction = direction;
        entry.failures = 0;
        entry.next_dial_ms = 0;
    }

    /// The address that worked is tried first from now on.
    pub fn worked(&mut self, peer: &PeerId, address: Multiaddr) {
        if let Some(entry) = self.entries.get_mut(peer) {
            let address = split_peer(address).0;
            entry.addresses.retain(|known| *known != address);
            entry.addresses.insert(0, address);
            entry.addresses.truncate(PEER_ADDRESSES_MAX);
        }
    }

    /// A dial failed; the next one waits `delay_ms`. Strangers that never answer are forgotten.
    pub fn failed(&mut self, peer: &PeerId, next_dial_ms: u64) {
        const FAILURES_MAX_UNSEEN: u32 = 3;
        let Some(entry) = self.entries.get_mut(peer) else {
            return;
        };
        entry.failures = entry.failures.saturating_add(1);
        entry.next_dial_ms = next_dial_ms;
        entry.is_anchor = false;
        if entry.last_ok_ms == 0 && !entry.is_pinned && entry.failures >= FAILURES_MAX_UNSEEN {
            self.entries.remove(peer);
        }
    }

    /// Leaves the peer alone until `until_ms`.
    pub fn hold(&mut self, peer: &PeerId, until_ms: u64) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.next_dial_ms = entry.next_dial_ms.max(until_ms);
        }
    }

    /// Marks the peers that are redialled first after the next start.
    pub fn set_anchors(&mut self, anchors: &[PeerId]) {
        for (peer, entry) in &mut self.entries {
            entry.is_anchor = anchors.contains(peer);
        }
    }

    /// Room for one more: the longest-silent peer that never answered goes first.
    fn make_room(&mut self) -> bool {
        if self.entries.len() < self.peers_max {
            return true;
        }
        let victim = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.last_ok_ms == 0 && !entry.is_pinned)
            .max_by_key(|(_, entry)| (entry.failures, entry.next_dial_ms))
            .map(|(peer, _)| *peer);
        victim.is_some_and(|victim| self.entries.remove(&victim).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/1.2.3.4/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn addresses_per_peer_are_bounded_and_the_working_one_leads() {
        let (mut book, peer) = (Book::new(10), PeerId::random());
        for port in 1..100 {
            book.heard(peer, address(port));
        }
        assert_eq!(book.get(&peer).unwrap().addresses.len(), PEER_ADDRESSES_MAX);
        book.worked(&peer, address(77));
        assert_eq!(book.get(&peer).unwrap().addresses[0], address(77));
        assert_eq!(book.get(&peer).unwrap().addresses.len(), PEER_ADDRESSES_MAX);
    }

    #[test]
    fn rumours_never_displace_peers_that_answered() {
        let mut book = Book::new(4);
        let good: Vec<_> = (0..4).map(|_| PeerId::random()).collect();
        for peer in &good {
            book.heard(*peer, address(1));
            book.connected(1_000, *peer, Direction::Outbound);
        }
        for _ in 0..100 {
            assert!(!book.heard(PeerId::random(), address(2)));
        }
        assert!(good.iter().all(|peer| book.get(peer).is_some()));
    }

    #[test]
    fn strangers_that_never_answer_are_forgotten_and_pinned_peers_are_not() {
        let (mut book, stranger, pinned) = (Book::new(4), PeerId::random(), PeerId::random());
        book.heard(stranger, address(1));
        book.pin(pinned, address(2));
        for _ in 0..10 {
            book.failed(&stranger, 0);
            book.failed(&pinned, 0);
        }
        assert!(book.get(&stranger).is_none());
        assert_eq!(book.get(&pinned).unwrap().failures, 10);
    }

    #[test]
    fn the_peer_id_is_not_part_of_a_kept_address() {
        let peer = PeerId::random();
        let full: Multiaddr = format!("/ip4/1.2.3.4/tcp/5/p2p/{peer}").parse().unwrap();
        assert_eq!(split_peer(full.clone()), (address(5), Some(peer)));
        let mut book = Book::new(1);
        book.heard(peer, full);
        book.heard(peer, address(5));
        assert_eq!(book.get(&peer).unwrap().addresses, [address(5)]);
    }
}
