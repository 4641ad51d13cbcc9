//! Messages of instances that have not begun here: a peer may be a decision or two ahead.
//!
//! Invariant: bounded by peer, so a flood pushes out only the flooder's own messages. Nothing in
//! here was verified: who sent it over the wire is known, who signed it is not.
//! Rules: `spec/09-bft.md#bounds`.

use crate::limits::{FUTURE_BYTES_PER_PEER_MAX, FUTURE_INSTANCES_MAX};
use cairn_protocol::bft::{Instance, Message};
use std::collections::BTreeMap;

/// One waiting message.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Waiting {
    message: Message,
    bytes: usize,
}

/// Messages by the peer `P` that delivered them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FutureBuffer<P> {
    peers: BTreeMap<P, Vec<Waiting>>,
}

impl<P> Default for FutureBuffer<P> {
    fn default() -> FutureBuffer<P> {
        FutureBuffer {
            peers: BTreeMap::new(),
        }
    }
}

impl<P: Ord + Clone> FutureBuffer<P> {
    /// Keeps a message of `bytes` bytes for later; answers whether it did. An instance that is not
    /// one of the next sixteen after `current` is not kept. When the peer's room is full, its messages
    /// of the farthest instance go first.
    pub fn push(&mut self, current: Instance, peer: P, message: Message, bytes: usize) -> bool {
        let ahead = message.instance.checked_sub(current);
        let near = ahead.is_some_and(|ahead| (1..=FUTURE_INSTANCES_MAX).contains(&ahead));
        if !near || bytes > FUTURE_BYTES_PER_PEER_MAX {
            return false;
        }
        let waiting = self.peers.entry(peer).or_default();
        waiting.push(Waiting { message, bytes });
        let mut total: usize = waiting.iter().map(|waiting| waiting.bytes).sum();
        let mut kept = true;
        while total > FUTURE_BYTES_PER_PEER_MAX {
            // The last one of the farthest instance: of one instance the first ones are as good.
            let farthest = (0..waiting.len()).max_by_key(|at| (waiting[*at].message.instance, *at));
            let Some(at) = farthest else {
                break;
            };
            let gone = waiting.remove(at);
            total -= gone.bytes;
            // The new message is always the last one.
            kept &= at != waiting.len();
        }
        kept
    }

    /// The messages of an instance that begins now, by peer in the order in which they came. Those
    /// of earlier instances are forgotten.
    pub fn take(&mut self, instance: Instance) -> Vec<(P, Message)> {
        let mut taken = Vec::new();
        for (peer, waiting) in &mut self.peers {
            waiting.retain(|waiting| waiting.message.instance >= instance);
            let now = |waiting: &mut Waiting| waiting.message.instance == instance;
            let due = waiting.extract_if(.., now);
            taken.extend(due.map(|waiting| (peer.clone(), waiting.message)));
        }
        self.peers.retain(|_, waiting| !waiting.is_empty());
        taken
    }

    /// A peer is gone: so is what it sent.
    pub fn forget(&mut self, peer: &P) {
        self.peers.remove(peer);
    }

    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.peers.values().map(Vec::len).sum()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_protocol::bft::Body;
    use cairn_protocol::hash::{BlockId, Hash};
    use cairn_protocol::signature::Signature;

    fn message(instance: Instance, signer: u16) -> Message {
        Message {
            ruleset_id: Hash::ZERO,
            instance,
            signer,
            body: Body::PrePrepare {
                id: BlockId([1; 32]),
            },
            signature: Signature([0; 64]),
        }
    }

    #[test]
    fn only_the_next_instances_wait() {
        let mut buffer = FutureBuffer::default();
        for (instance, kept) in [
            (9, false),
            (10, false),
            (11, true),
            (10 + FUTURE_INSTANCES_MAX, true),
            (11 + FUTURE_INSTANCES_MAX, false),
            (u64::MAX, false),
        ] {
            let found = buffer.push(10, "peer", message(instance, 0), 100);
            assert_eq!(found, kept, "{instance}");
        }
        assert_eq!(buffer.take(11), [("peer", message(11, 0))]);
        assert_eq!(buffer.len(), 1);
        assert!(buffer.take(10 + FUTURE_INSTANCES_MAX + 1).is_empty());
        assert!(buffer.is_empty());
    }

    /// C07: a peer that floods loses its own farthest messages, and nobody else loses any.
    #[test]
    fn a_flood_costs_its_sender_only() {
        let mut buffer = FutureBuffer::default();
        assert!(buffer.push(0, "honest", message(1, 0), 100));
        assert!(buffer.push(0, "flood", message(1, 1), 100));
        let size = FUTURE_BYTES_PER_PEER_MAX / 8;
        for signer in 0..1_000 {
            buffer.push(0, "flood", message(2, signer), size);
        }
        assert!(!buffer.push(0, "flood", message(3, 0), size));
        assert_eq!(buffer.len(), 2 + 7);
        let first: Vec<_> = buffer.take(1);
        assert_eq!(first, [("flood", message(1, 1)), ("honest", message(1, 0))]);
        let second: Vec<_> = buffer.take(2).into_iter().map(|(_, m)| m.signer).collect();
        assert_eq!(second, [0, 1, 2, 3, 4, 5, 6]);
        buffer.push(2, "flood", message(3, 0), FUTURE_BYTES_PER_PEER_MAX + 1);
        assert!(buffer.is_empty());
    }
}
