//! What validators say on their links.
//!
//! Invariant: decoding is bounded by one frame; an answer names what it answers, so none is taken
//! for another's. Rules: `spec/07-p2p.md#links`, `spec/09-bft.md#bodies`.

use crate::bft::{Instance, Message};
use crate::block::SealBytes;
use crate::codec::{self, DecodeError, bounded};
use crate::hash::BlockId;
use crate::limits::{COMPACT_INDEXES_MAX, LINK_FRAME_BYTES_MAX};
use crate::transaction::Transaction;
use crate::wire::CompactBlock;
use serde::{Deserialize, Serialize};

/// A transaction of a block, with its place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Placed {
    /// Its index in the block.
    pub index: u32,
    /// The transaction.
    pub transaction: Transaction,
}

/// One frame. The encoding is the tag (0 to 5) and the fields in this order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LinkMessage {
    /// A signed message of the engine.
    Message(Box<Message>),
    /// The block of a proposal, after the message that proposes it or as an answer.
    Proposal(Box<CompactBlock>),
    /// "Send me this proposal's block."
    GetProposal {
        /// Its id.
        id: BlockId,
    },
    /// "Send me these transactions of it."
    GetTransactions {
        /// The block.
        id: BlockId,
        /// Indexes, ascending.
        #[serde(deserialize_with = "bounded::<_, _, COMPACT_INDEXES_MAX>")]
        indexes: Vec<u32>,
    },
    /// Some of the transactions that were asked for; the rest follows.
    Transactions {
        /// The block.
        id: BlockId,
        /// The transactions.
        #[serde(deserialize_with = "bounded::<_, _, COMPACT_INDEXES_MAX>")]
        transactions: Vec<Placed>,
    },
    /// "This instance is decided", to a peer that still votes in it.
    Decided {
        /// The instance.
        instance: Instance,
        /// The value.
        id: BlockId,
        /// Its seal.
        seal: SealBytes,
    },
}

impl LinkMessage {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads canonical bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<LinkMessage, DecodeError> {
        codec::decode(bytes, LINK_FRAME_BYTES_MAX)
    }
}
