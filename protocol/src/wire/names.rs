//! Names of protocols and topics of one chain.
//!
//! Rules: `spec/07-p2p.md#names`.

use crate::hash::BlockId;

/// The ordinal that all stream protocols and topics have so far.
pub const PROTOCOL_ORDINAL: u32 = 1;

/// Last parts of topic names.
pub mod topic {
    /// Compact blocks.
    pub const BLOCK: &str = "block";
    /// Batches of transactions.
    pub const TX: &str = "tx";
}

/// Names that depend on the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names {
    tag: String,
}

impl Names {
    /// Names of the chain whose genesis has this id.
    pub fn new(chain_id: &BlockId) -> Names {
        Names {
            tag: hex::encode(&chain_id.as_bytes()[..4]),
        }
    }

    /// The chain tag.
    pub fn chain_tag(&self) -> &str {
        &self.tag
    }

    /// `/cairn/<tag>/<name>/1`: a stream protocol or a topic.
    pub fn of(&self, name: &str) -> String {
        format!("/cairn/{}/{name}/{PROTOCOL_ORDINAL}", self.tag)
    }

    /// Kademlia's protocol.
    pub fn kademlia(&self) -> String {
        self.of("kad")
    }

    /// identify's `protocolVersion`.
    pub fn identify(&self) -> String {
        format!("cairn/{}/{PROTOCOL_ORDINAL}", self.tag)
    }
}
