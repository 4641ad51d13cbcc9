//! Checked blocks between their arrival and their connection, so that a body is decoded and hashed
//! once.
//!
//! Invariant: bounded by bytes; what does not fit is read from the store again, so that losing an
//! entry costs time only.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_protocol::ledger::CheckedBlock;

use crate::limits::CHECKED_BYTES_MAX;
use crate::nakamoto::{Index, Remap};

/// The blocks, by their place in the tree.
#[derive(Debug, Default)]
pub(super) struct CheckedBodies {
    blocks: BTreeMap<Index, Arc<CheckedBlock>>,
    bytes: usize,
}

/// A block weighs at least one unit a byte.
fn bytes_of(block: &CheckedBlock) -> usize {
    usize::try_from(block.weight()).unwrap_or(usize::MAX)
}

impl CheckedBodies {
    /// Keeps a block, if there is room.
    pub(super) fn insert(&mut self, index: Index, block: Arc<CheckedBlock>) {
        let bytes = bytes_of(&block);
        if self.bytes.saturating_add(bytes) > CHECKED_BYTES_MAX {
            return;
        }
        if self.blocks.insert(index, block).is_none() {
            self.bytes += bytes;
        }
    }

    /// Takes a block out.
    pub(super) fn take(&mut self, index: Index) -> Option<Arc<CheckedBlock>> {
        let block = self.blocks.remove(&index)?;
        self.bytes -= bytes_of(&block);
        Some(block)
    }

    /// Follows the tree after it forgot entries.
    pub(super) fn remap(&mut self, remap: &Remap) {
        for (index, block) in std::mem::take(self).blocks {
            if let Some(index) = remap.get(index) {
                self.insert(index, block);
            }
        }
    }
}
