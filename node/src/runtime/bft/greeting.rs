//! The greeting of a link: who opens it holds a validator's key.
//!
//! Rules: `spec/09-bft.md#greeting`.

use arc_swap::ArcSwap;
use cairn_network::PeerId;
use cairn_network::links;
use cairn_protocol::bft::{Greeting, ValidatorSet};
use cairn_protocol::hash::BlockId;
use cairn_protocol::signature::{Ed25519, PublicKey, Signature};
use ed25519_zebra::SigningKey;
use std::sync::Arc;

/// The greeting of one validator.
pub struct KeyGreeting {
    /// The chain.
    pub chain_id: BlockId,
    /// This node on the swarm.
    pub me: PeerId,
    /// The validator's key.
    pub key: SigningKey,
    /// Its public half.
    pub public: PublicKey,
    /// Who votes now.
    pub set: Arc<ArcSwap<ValidatorSet>>,
}

impl links::Greeting for KeyGreeting {
    fn hello(&self, peer: PeerId) -> Vec<u8> {
        let message = Greeting::message(self.chain_id, &self.me.to_bytes(), &peer.to_bytes());
        let greeting = Greeting {
            key: self.public,
            signature: Signature(self.key.sign(&message).into()),
        };
        greeting.to_bytes()
    }

    fn admits(&self, peer: PeerId, hello: &[u8]) -> bool {
        let ends = (peer.to_bytes(), self.me.to_bytes());
        Greeting::from_bytes(hello).is_ok_and(|greeting| {
            let set = self.set.load();
            set.index_of(&greeting.key).is_some()
                && greeting.is_valid(self.chain_id, (&ends.0, &ends.1), &Ed25519)
        })
    }
}
