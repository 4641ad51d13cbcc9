//! Blocks, the header record that light clients follow, and the two-step root.
//!
//! Invariant: the branch above the coinbase always has two elements, so any Stratum miner can
//! rebuild the root from coinbase halves.
//! Rules: `spec/05-blocks-and-state.md#block`.

use crate::codec::{self, BoundedBytes, DecodeError, bounded};
use crate::coinbase::Coinbase;
use crate::extension::Extension;
use crate::hash::{self, BlockId, Hash, TxId, h2};
use crate::header::Header;
use crate::limits::{
    BLOCK_BYTES_MAX, BLOCK_TRANSACTIONS_MAX, EVIDENCE_BYTES_MAX, EVIDENCE_MAX, SEAL_BYTES_MAX,
};
use crate::transaction::Transaction;
use serde::{Deserialize, Serialize};

/// Bytes of a certificate; the PBFT core defines what they say.
pub type SealBytes = BoundedBytes<SEAL_BYTES_MAX>;

/// Bytes of one piece of evidence.
pub type EvidenceBytes = BoundedBytes<EVIDENCE_BYTES_MAX>;

/// What a block carries besides transactions; all empty under proof of work so far.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug, Serialize, Deserialize)]
pub struct Attachments {
    /// Seal of the parent; empty unless the parent is a BFT block.
    pub parent_seal: SealBytes,
    /// Certificate of an anchor; empty unless this block includes it.
    pub anchor_cert: SealBytes,
    /// Evidence of offences.
    #[serde(deserialize_with = "bounded::<_, _, EVIDENCE_MAX>")]
    pub evidence: Vec<EvidenceBytes>,
}

impl Attachments {
    /// `attachments_hash`: over the encoding, in which every part has its length.
    pub fn hash(&self) -> Hash {
        Hash(hash::ATTACHMENTS.hash(&[&codec::encode(self)]))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parent_seal.is_empty() && self.anchor_cert.is_empty() && self.evidence.is_empty()
    }
}

/// A block. The encoding is its fields in this order.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Block {
    /// The 80 bytes.
    pub header: Header,
    /// The extension.
    pub extension: Extension,
    /// The coinbase.
    pub coinbase: Coinbase,
    /// Seals, certificates, evidence.
    pub attachments: Attachments,
    /// Transactions in order; one may spend outputs of those before it.
    #[serde(deserialize_with = "bounded::<_, _, BLOCK_TRANSACTIONS_MAX>")]
    pub transactions: Vec<Transaction>,
}

impl Block {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads canonical bytes within the block limit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Block, DecodeError> {
        codec::decode(bytes, BLOCK_BYTES_MAX)
    }

    /// The block id.
    pub fn id(&self) -> BlockId {
        self.header.id()
    }
}

/// The header's root: `H2(H2(coinbase_id || extension_hash) || tx_root)`.
pub fn block_root(coinbase_id: &TxId, extension_hash: &Hash, tx_root: &Hash) -> Hash {
    let join = |left: &[u8; 32], right: &[u8; 32]| {
        let mut both = [0; 64];
        both[..32].copy_from_slice(left);
        both[32..].copy_from_slice(right);
        h2(&both)
    };
    let inner = join(coinbase_id.as_bytes(), extension_hash.as_bytes());
    Hash(join(&inner, tx_root.as_bytes()))
}

/// All that header sync, light clients and the headers API carry.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct HeaderRecord {
    /// The 80 bytes.
    pub header: Header,
    /// Id of the coinbase.
    pub coinbase_id: TxId,
    /// Root over the transactions.
    pub tx_root: Hash,
    /// The extension.
    pub extension: Extension,
    /// Seal of the parent, if it is a BFT block.
    pub parent_seal: Option<SealBytes>,
    /// Certificate of an anchor, if this block includes it.
    pub anchor_cert: Option<SealBytes>,
    /// The block's own seal, known only while it is the tip.
    pub seal: Option<SealBytes>,
}

impl HeaderRecord {
    /// Whether the header's root commits to the other parts.
    pub fn root_matches(&self) -> bool {
        let root = block_root(&self.coinbase_id, &self.extension.hash(), &self.tx_root);
        self.header.root == root
    }
}
