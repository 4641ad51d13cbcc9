//! Messages of instances that have not begun here yet.
//!
//! Invariant: bounded per peer and in heights. A peer that fills its share loses its own messages;
//! whoever is further behind than the window fetches sealed blocks instead.
//! Rules: `spec/09-bft.md#messages`.

use cairn_network::PeerId;
use cairn_protocol::bft::{Instance, Message};
use std::collections::{BTreeMap, BTreeSet};

/// Instances ahead that are kept.
pub const WINDOW: u64 = 4;
/// Messages of one peer for one instance: two of each kind and some rounds.
pub const PER_PEER_MAX: usize = 16;

/// The messages, by instance.
#[derive(Debug, Default)]
pub struct Early {
    instances: BTreeMap<Instance, BTreeMap<PeerId, Vec<Message>>>,
}

impl Early {
    /// Keeps a message for later; `false` if it does not fit.
    pub fn keep(&mut self, current: Instance, from: PeerId, message: Message) -> bool {
        let instance = message.instance;
        if instance <= current || instance - current > WINDOW {
            return false;
        }
        let messages = self
            .instances
            .entry(instance)
            .or_default()
            .entry(from)
            .or_default();
        let fits = messages.len() < PER_PEER_MAX;
        if fits {
            messages.push(message);
        }
        fits
    }

    /// The messages of an instance that begins; those of earlier ones are forgotten.
    pub fn take(&mut self, instance: Instance) -> Vec<(PeerId, Message)> {
        let later = self.instances.split_off(&(instance + 1));
        let mut gone = std::mem::replace(&mut self.instances, later);
        let ours = gone.remove(&instance).unwrap_or_default();
        let flat = |(peer, messages): (PeerId, Vec<Message>)| {
            messages.into_iter().map(move |message| (peer, message))
        };
        ours.into_iter().flat_map(flat).collect()
    }

    /// Places of the set from which somebody claims to speak of this instance: each peer counts
    /// once, so one validator on one link cannot stand for many.
    pub fn speakers(&self, instance: Instance) -> usize {
        let peers = self.instances.get(&instance);
        let signers = peers.into_iter().flat_map(BTreeMap::values);
        let signers: BTreeSet<u16> = signers
            .filter_map(|messages| messages.first().map(|message| message.signer))
            .collect();
        signers.len()
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
            ruleset_id: Hash([0; 32]),
            instance,
            signer,
            body: Body::PrePrepare {
                id: BlockId([1; 32]),
            },
            signature: Signature([0; 64]),
        }
    }

    #[test]
    fn the_past_and_the_far_future_are_not_kept() {
        let (mut early, peer) = (Early::default(), PeerId::random());
        for (instance, kept) in [(4, false), (5, false), (6, true), (9, true), (10, false)] {
            let fits = early.keep(5, peer, message(instance, 0));
            assert_eq!(fits, kept, "instance {instance}");
        }
        assert_eq!((early.speakers(6), early.speakers(7)), (1, 0));
        assert_eq!(early.take(7), []);
        assert_eq!(early.speakers(6), 0, "the past is forgotten");
        assert_eq!(early.take(9), [(peer, message(9, 0))]);
    }

    #[test]
    fn a_peer_fills_its_own_share_only() {
        let mut early = Early::default();
        let (loud, quiet) = (PeerId::random(), PeerId::random());
        let kept = (0..100).filter(|signer| early.keep(0, loud, message(1, *signer)));
        assert_eq!(kept.count(), PER_PEER_MAX);
        assert_eq!(early.speakers(1), 1, "who names many places is one speaker");
        assert!(early.keep(0, quiet, message(1, 7)));
        assert_eq!(early.speakers(1), 2);
        assert_eq!(early.take(1).len(), PER_PEER_MAX + 1);
    }
}
