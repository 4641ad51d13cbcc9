//! Compact blocks: a block as its header record, coinbase and six bytes a transaction.
//!
//! Invariant: a reconstructed block is bound to its header by `CheckedBlock`, so a short id that two
//! transactions share costs a round trip and never a wrong block.
//! Rules: `spec/08-sync.md#compact-blocks`.

use crate::block::{Attachments, Block, HeaderRecord, SealBytes, block_root};
use crate::codec::{array, bounded};
use crate::coinbase::Coinbase;
use crate::extension::Extension;
use crate::hash::{BlockId, Hash, Wtxid};
use crate::header::Header;
use crate::ledger::{CheckedBlock, check_engine_frame, check_frame};
use crate::limits::BLOCK_TRANSACTIONS_MAX;
use crate::rules::Violation;
use crate::spec::ChainParams;
use crate::transaction::{Transaction, TransactionIds};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;
use std::hash::Hasher;
use std::sync::Arc;

/// Bytes of a short id.
pub const SHORT_ID_BYTES: usize = 6;

/// A block in gossip.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CompactBlock {
    /// The 80 bytes.
    pub header: Header,
    /// Root over the transactions.
    pub tx_root: Hash,
    /// The extension.
    pub extension: Extension,
    /// The coinbase.
    pub coinbase: Coinbase,
    /// Seals, certificates, evidence.
    pub attachments: Attachments,
    /// The block's own seal; empty under proof of work.
    pub seal: SealBytes,
    /// Short ids of the transactions, in block order.
    #[serde(deserialize_with = "bounded::<_, _, BLOCK_TRANSACTIONS_MAX>")]
    pub short_ids: Vec<ShortId>,
}

/// The first six bytes of a keyed hash of a wtxid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShortId(#[serde(with = "array")] pub [u8; SHORT_ID_BYTES]);

/// Key of the short ids of one block: the first sixteen bytes of its id.
pub fn short_id_key(block: &BlockId) -> (u64, u64) {
    let half = |at: usize| {
        u64::from_le_bytes(
            block.as_bytes()[at..at + 8]
                .try_into()
                .expect("eight bytes of 32"),
        )
    };
    (half(0), half(8))
}

/// The short id of a transaction: SipHash-2-4 of its wtxid, the six low bytes, little-endian.
pub fn short_id(key: (u64, u64), wtxid: &Wtxid) -> ShortId {
    let mut hasher = SipHasher24::new_with_keys(key.0, key.1);
    hasher.write(wtxid.as_ref());
    let bytes = hasher.finish().to_le_bytes();
    ShortId(*bytes.first_chunk().expect("six of eight bytes"))
}

/// The short ids of a block's transactions, in order.
pub fn short_ids(block: &BlockId, ids: &[TransactionIds]) -> Vec<ShortId> {
    let key = short_id_key(block);
    ids.iter().map(|ids| short_id(key, &ids.wtxid)).collect()
}

/// A compact block whose transactions are being found.
#[derive(Clone, Debug)]
pub struct Reconstruction {
    compact: CompactBlock,
    slots: Vec<Option<(Arc<Transaction>, TransactionIds)>>,
}

impl CompactBlock {
    /// The compact form of a checked block.
    pub fn new(checked: &CheckedBlock) -> CompactBlock {
        let block = checked.block();
        CompactBlock {
            header: block.header,
            tx_root: checked.tx_root(),
            extension: block.extension.clone(),
            coinbase: block.coinbase.clone(),
            attachments: block.attachments.clone(),
            seal: SealBytes::default(),
            short_ids: short_ids(&checked.id(), checked.transaction_ids()),
        }
    }

    /// The block id.
    pub fn id(&self) -> BlockId {
        self.header.id()
    }

    /// Whether the header commits to coinbase, extension, transaction root, attachments and count.
    pub fn is_bound(&self) -> bool {
        let root = block_root(&self.coinbase.id(), &self.extension.hash(), &self.tx_root);
        self.header.root == root
            && self.extension.attachments_hash == self.attachments.hash()
            && self.extension.tx_count as usize == self.short_ids.len()
    }

    /// Checks what needs no transactions (BLK-04 … BLK-09, BLK-12, BLK-14): a bound compact block that
    /// breaks one of these rules stands for an invalid block, and whoever sent it could have known.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self, params: &ChainParams) -> Result<(), Violation> {
        let (extension, coinbase) = (&self.extension, &self.coinbase);
        check_frame(extension, coinbase, &self.attachments, params.limits())?;
        check_engine_frame(extension, coinbase, &self.attachments, params)
    }

    /// The header record.
    pub fn record(&self) -> HeaderRecord {
        let present = |bytes: &SealBytes| (!bytes.is_empty()).then(|| bytes.clone());
        HeaderRecord {
            header: self.header,
            coinbase_id: self.coinbase.id(),
            tx_root: self.tx_root,
            extension: self.extension.clone(),
            parent_seal: present(&self.attachments.parent_seal),
            anchor_cert: present(&self.attachments.anchor_cert),
            seal: present(&self.seal),
        }
    }

    /// Starts to rebuild the block: `find` answers with the transaction of a short id, if it knows
    /// exactly one.
    pub fn reconstruct(
        self,
        mut find: impl FnMut(&ShortId) -> Option<(Arc<Transaction>, TransactionIds)>,
    ) -> Reconstruction {
        let slots = self.short_ids.iter().map(&mut find).collect();
        Reconstruction {
            compact: self,
            slots,
        }
    }
}

impl Reconstruction {
    /// The compact block.
    pub fn compact(&self) -> &CompactBlock {
        &self.compact
    }

    /// Indexes of the transactions that are missing, ascending.
    pub fn missing(&self) -> Vec<u32> {
        let empty = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.is_none());
        empty
            .map(|(i, _)| u32::try_from(i).expect("transactions are bounded"))
            .collect()
    }

    /// Fills the missing ones, in order; `false`, and nothing is filled, if their number or their
    /// short ids are not those that the compact block names. Whoever sent it would know better.
    pub fn fill(&mut self, transactions: Vec<Transaction>) -> bool {
        let key = short_id_key(&self.compact.id());
        let named = self.compact.short_ids.iter();
        let empty: Vec<_> = self
            .slots
            .iter_mut()
            .zip(named)
            .filter(|(slot, _)| slot.is_none())
            .collect();
        if empty.len() != transactions.len() {
            return false;
        }
        let ids: Vec<_> = transactions.iter().map(Transaction::ids).collect();
        let fits = |((_, named), ids): (&(_, &ShortId), &TransactionIds)| {
            short_id(key, &ids.wtxid) == **named
        };
        if !empty.iter().zip(&ids).all(fits) {
            return false;
        }
        for ((slot, _), found) in empty.into_iter().zip(transactions.into_iter().zip(ids)) {
            *slot = Some((Arc::new(found.0), found.1));
        }
        true
    }

    /// Puts a transaction at its index, if that place is empty and its short id is the one named:
    /// whoever sends another would take the place of the true one.
    pub fn place(&mut self, index: u32, transaction: Transaction) -> bool {
        let key = short_id_key(&self.compact.id());
        let (index, ids) = (index as usize, transaction.ids());
        let named = self.compact.short_ids.get(index);
        let fits = named.is_some_and(|named| short_id(key, &ids.wtxid) == *named);
        match self.slots.get_mut(index) {
            Some(slot @ None) if fits => {
                *slot = Some((Arc::new(transaction), ids));
                true
            }
            _ => false,
        }
    }

    /// The block and the ids of its transactions, for [`CheckedBlock::with_ids`]; `None` while
    /// transactions are missing. It is not checked: a wrong guess for a short id shows as a root that
    /// does not fit (BLK-01).
    pub fn block(self) -> Option<(Block, Vec<TransactionIds>)> {
        let CompactBlock {
            header,
            extension,
            coinbase,
            attachments,
            ..
        } = self.compact;
        let found = self.slots.into_iter().collect::<Option<Vec<_>>>()?;
        let owned = |(tx, ids): (Arc<Transaction>, _)| (Arc::unwrap_or_clone(tx), ids);
        let (transactions, ids) = found.into_iter().map(owned).unzip();
        let block = Block {
            header,
            extension,
            coinbase,
            attachments,
            transactions,
        };
        Some((block, ids))
    }
}
