//! Verified seals of BFT headers whose bodies are not stored yet.
//!
//! Invariant: bounded by bytes; a block's seal goes to the store with its body and is read there
//! afterwards.
//!
//! Rule: `spec/12-switching.md#certificates`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use cairn_protocol::block::{HeaderRecord, SealBytes};
use cairn_protocol::hash::BlockId;
use cairn_protocol::signature::SignatureScheme;

use crate::limits::SEALS_AHEAD_BYTES_MAX;
use crate::nakamoto::{Index, Remap};

/// A verified seal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Sealed {
    /// Its bytes.
    pub seal: SealBytes,
    /// The round in which its block was first proposed: no other seal of it is from before.
    pub proposed_round: u32,
}

/// The seals, by the place of their blocks in the tree.
#[derive(Debug, Default)]
pub(super) struct Seals {
    seals: BTreeMap<Index, Sealed>,
    bytes: usize,
}

impl Seals {
    /// Keeps a seal.
    pub fn insert(&mut self, index: Index, sealed: Sealed) {
        self.bytes += sealed.seal.as_slice().len();
        if let Some(before) = self.seals.insert(index, sealed) {
            self.bytes -= before.seal.as_slice().len();
        }
    }

    /// The seal of a block whose body is not stored.
    pub fn get(&self, index: Index) -> Option<&Sealed> {
        self.seals.get(&index)
    }

    /// Forgets a seal.
    pub fn remove(&mut self, index: Index) {
        if let Some(sealed) = self.seals.remove(&index) {
            self.bytes -= sealed.seal.as_slice().len();
        }
    }

    /// Whether no more are kept before bodies come.
    pub fn is_full(&self) -> bool {
        self.bytes >= SEALS_AHEAD_BYTES_MAX
    }

    /// Follows the tree after it forgot entries.
    pub fn remap(&mut self, remap: &Remap) {
        for (index, sealed) in std::mem::take(self).seals {
            if let Some(index) = remap.get(index) {
                self.insert(index, sealed);
            }
        }
    }
}

/// The seal of `record` of block `id` in a batch: its own, or the one that the record after it
/// carries.
pub(super) fn seal_in<'a>(
    id: &BlockId,
    record: &'a HeaderRecord,
    next: Option<&'a HeaderRecord>,
) -> Option<&'a SealBytes> {
    let carried = || {
        next.filter(|next| next.header.parent == *id)?
            .parent_seal
            .as_ref()
    };
    record.seal.as_ref().or_else(carried)
}

/// How the chain checks signatures of seals.
#[derive(Clone)]
pub(super) struct SealScheme(pub Arc<dyn SignatureScheme + Send + Sync>);

impl SealScheme {
    /// The scheme.
    pub fn as_ref(&self) -> &dyn SignatureScheme {
        self.0.as_ref()
    }
}

impl fmt::Debug for SealScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealScheme")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_protocol::limits::SEAL_BYTES_MAX;

    #[test]
    fn bytes_are_counted_and_bounded() {
        let seal = |bytes| Sealed {
            seal: SealBytes::new(vec![0; bytes]).expect("within the bound"),
            proposed_round: 0,
        };
        let mut seals = Seals::default();
        let header = cairn_protocol::spec::builtin::devnet_file();
        let params = cairn_protocol::spec::ChainParams::new(header).expect("valid");
        let header = params.genesis().header;
        let mut tree = crate::nakamoto::HeaderTree::new(params.chain_id(), &header);
        let mut at = Index::GENESIS;
        let mut places = Vec::new();
        for number in 1..2_000u32 {
            let mut id = BlockId::default();
            id.0[..4].copy_from_slice(&number.to_le_bytes());
            at = tree
                .insert(id, &header, cairn_protocol::pow::Work::ZERO, at)
                .expect("no work");
            if seals.is_full() {
                break;
            }
            seals.insert(at, seal(SEAL_BYTES_MAX));
            seals.insert(at, seal(SEAL_BYTES_MAX));
            places.push(at);
        }
        assert_eq!(places.len(), SEALS_AHEAD_BYTES_MAX.div_ceil(SEAL_BYTES_MAX));
        for place in places {
            seals.remove(place);
            seals.remove(place);
        }
        assert_eq!(seals.bytes, 0);
    }
}
