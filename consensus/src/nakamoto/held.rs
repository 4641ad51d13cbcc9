//! Blocks from the future: valid but for our clock, kept until it comes.
//!
//! Invariant: bounded by number and per source; what is held longest into the future goes first
//! when room is needed.
//!
//! Rule: HDR-08, `spec/06-proof-of-work.md#time`; attack row H04.

use std::collections::{BTreeMap, BTreeSet};

use cairn_protocol::block::Block;
use cairn_protocol::hash::BlockId;

use crate::chain::Source;
use crate::limits::{HELD_BLOCKS_MAX, HELD_PER_SOURCE_MAX};

/// The blocks, by the time at which they may be taken.
#[derive(Clone, Debug, Default)]
pub struct HeldBlocks {
    blocks: BTreeMap<(u32, BlockId), (Block, Source)>,
    ids: BTreeSet<BlockId>,
}

impl HeldBlocks {
    /// Holds a block until `from`, the first time at which it is not too far ahead. Returns whether
    /// it was kept.
    pub fn insert(&mut self, from: u32, id: BlockId, block: Block, source: Source) -> bool {
        let of_source = self
            .blocks
            .values()
            .filter(|(_, held)| *held == source)
            .count();
        if of_source >= HELD_PER_SOURCE_MAX || !self.ids.insert(id) {
            return false;
        }
        self.blocks.insert((from, id), (block, source));
        if self.blocks.len() > HELD_BLOCKS_MAX {
            let ((_, dropped), _) = self.blocks.pop_last().expect("more than the bound");
            self.ids.remove(&dropped);
        }
        self.ids.contains(&id)
    }

    /// Takes out the blocks whose time has come, the earliest first.
    pub fn release(&mut self, now: u32) -> Vec<(Block, Source)> {
        let mut due = Vec::new();
        while let Some(first) = self.blocks.first_entry() {
            let (from, id) = *first.key();
            if from > now {
                break;
            }
            due.push(first.remove());
            self.ids.remove(&id);
        }
        due
    }

    /// Whether this block is held.
    #[must_use]
    pub fn contains(&self, id: &BlockId) -> bool {
        self.ids.contains(id)
    }

    /// Number of blocks held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}
