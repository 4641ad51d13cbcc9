//! Numbers for peers: the pure crates know a sender by a number, the swarm by its peer id.
//!
//! Invariants: a number is given once in a run, to a peer that is here, and is never 0, which is this
//! node itself; what still comes in the name of a peer that left has the number [`GONE`] and leaves
//! nothing behind here.

use cairn_consensus::chain::Source;
use cairn_network::PeerId;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Whoever is not here any more: one sender, with one quota, whom nobody can punish.
pub const GONE: Source = Source(u64::MAX);

/// Who is who.
#[derive(Debug, Default)]
pub struct PeerNumbers {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    numbers: BTreeMap<PeerId, u64>,
    peers: BTreeMap<u64, PeerId>,
}

impl PeerNumbers {
    /// A peer came: it gets a number.
    pub fn arrived(&self, peer: PeerId) {
        let mut inner = self.inner.lock();
        if inner.numbers.contains_key(&peer) {
            return;
        }
        inner.last += 1;
        let number = inner.last;
        inner.numbers.insert(peer, number);
        inner.peers.insert(number, peer);
    }

    /// The number of a peer; [`GONE`] if it left.
    pub fn source(&self, peer: PeerId) -> Source {
        let inner = self.inner.lock();
        inner
            .numbers
            .get(&peer)
            .map_or(GONE, |number| Source(*number))
    }

    /// The peer of a number, while it is connected.
    pub fn peer(&self, source: Source) -> Option<PeerId> {
        self.inner.lock().peers.get(&source.0).copied()
    }

    /// A peer left; returns the number it had.
    pub fn forget(&self, peer: &PeerId) -> Option<Source> {
        let mut inner = self.inner.lock();
        let number = inner.numbers.remove(peer)?;
        inner.peers.remove(&number);
        Some(Source(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block or a batch of a peer may be judged after it left: ten thousand identities that do so
    /// left ten thousand entries.
    #[test]
    fn a_peer_that_left_leaves_nothing_behind() {
        let numbers = PeerNumbers::default();
        for _ in 0..1_000 {
            let peer = PeerId::random();
            numbers.arrived(peer);
            let source = numbers.source(peer);
            assert_eq!(numbers.peer(source), Some(peer));
            assert_eq!(numbers.forget(&peer), Some(source));
            assert_eq!(numbers.source(peer), GONE);
            assert_eq!(numbers.peer(GONE), None);
        }
        let inner = numbers.inner.lock();
        assert_eq!((inner.numbers.len(), inner.peers.len()), (0, 0));
        assert_eq!(inner.last, 1_000, "a number is given once");
    }
}
