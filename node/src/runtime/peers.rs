//! Numbers for peers: the pure crates know a sender by a number, the swarm by its peer id.
//!
//! Invariant: a number is given once in a run and is never 0, which is this node itself.

use cairn_consensus::chain::Source;
use cairn_network::PeerId;
use parking_lot::Mutex;
use std::collections::BTreeMap;

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
    /// The number of a peer, a new one if it has none.
    pub fn source(&self, peer: PeerId) -> Source {
        let mut inner = self.inner.lock();
        if let Some(number) = inner.numbers.get(&peer) {
            return Source(*number);
        }
        inner.last += 1;
        let number = inner.last;
        inner.numbers.insert(peer, number);
        inner.peers.insert(number, peer);
        Source(number)
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
