//! Topics and the gossip message id.
//!
//! Invariant: two chains never share a topic, and one message has one id however often it is sent.
//! Source: `spec/07-p2p.md#names`, `#gossip`.

pub use cairn_protocol::wire::Names;
use cairn_protocol::wire::topic;
use sha2::{Digest, Sha256};

use crate::limits::{COMPACT_BLOCK_BYTES_MAX, TX_BATCH_BYTES_MAX};

/// Separates gossip message ids from every other SHA-256 of the protocol.
pub const MESSAGE_ID_DOMAIN: [u8; 4] = *b"CGM1";
/// Bytes of a gossip message id.
pub const MESSAGE_ID_BYTES: usize = 20;

/// What is gossiped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Compact blocks.
    Block,
    /// Batches of transactions.
    Transactions,
}

impl Topic {
    /// All topics, in the order of their priority.
    pub const ALL: [Topic; 2] = [Topic::Block, Topic::Transactions];

    /// The last part of the topic's name.
    pub const fn name(self) -> &'static str {
        match self {
            Topic::Block => topic::BLOCK,
            Topic::Transactions => topic::TX,
        }
    }

    /// The full name on a chain.
    pub fn of(self, names: &Names) -> String {
        names.of(self.name())
    }

    /// The largest payload.
    pub const fn bytes_max(self) -> usize {
        match self {
            Topic::Block => COMPACT_BLOCK_BYTES_MAX,
            Topic::Transactions => TX_BATCH_BYTES_MAX,
        }
    }
}

/// SHA-256(domain, little-endian length of the topic, topic, data), first 20 bytes.
pub fn message_id(topic: &str, data: &[u8]) -> [u8; MESSAGE_ID_BYTES] {
    let mut hash = Sha256::new();
    hash.update(MESSAGE_ID_DOMAIN);
    hash.update((topic.len() as u64).to_le_bytes());
    hash.update(topic.as_bytes());
    hash.update(data);
    let mut id = [0; MESSAGE_ID_BYTES];
    id.copy_from_slice(&hash.finalize()[..MESSAGE_ID_BYTES]);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_id_binds_topic_and_data_unambiguously() {
        assert_ne!(message_id("ab", b"c"), message_id("a", b"bc"));
        assert_ne!(message_id("a", b"b"), message_id("a", b"c"));
        assert_eq!(message_id("a", b"b"), message_id("a", b"b"));
    }
}
