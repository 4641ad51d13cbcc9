//! Blocks whose parent is unknown, kept for a short while in bounded memory.
//!
//! Each block showed its own work before it comes here. The pool is bounded by bytes, each source
//! by a number of blocks, each block by a time to live; what is evicted is drawn by a keyed hash of
//! the id, so that a sender who does not know the key cannot choose the victims, and two runs with
//! one key evict the same.
//!
//! Invariant: the three indexes hold the same ids; their bytes are counted exactly.
//!
//! Rule: none, this is policy (`spec/08-sync.md#orphans`); attack row H05.

use std::collections::{BTreeMap, BTreeSet};

use cairn_protocol::block::Block;
use cairn_protocol::hash::BlockId;

use crate::chain::Source;
use crate::limits::{ORPHAN_BYTES_MAX, ORPHAN_TTL_S, ORPHANS_PER_SOURCE_MAX};

/// Bounds of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrphanLimits {
    /// Bytes of all blocks together.
    pub bytes_max: usize,
    /// Blocks from one source.
    pub per_source_max: usize,
    /// Seconds until a block is forgotten.
    pub ttl_s: u32,
}

impl Default for OrphanLimits {
    /// Four of the largest blocks, eight from one peer, 20 minutes.
    fn default() -> OrphanLimits {
        OrphanLimits {
            bytes_max: ORPHAN_BYTES_MAX,
            per_source_max: ORPHANS_PER_SOURCE_MAX,
            ttl_s: ORPHAN_TTL_S,
        }
    }
}

/// A block that waits for its parent.
#[derive(Clone, Debug)]
pub struct Orphan {
    /// The block.
    pub block: Block,
    /// Who sent it.
    pub source: Source,
    bytes: usize,
    expires: u32,
    draw: u64,
}

/// What became of a block offered to the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It waits.
    Waiting,
    /// It was there already.
    Known,
    /// Its source has its quota full.
    OverQuota,
    /// It was drawn for eviction at once, or is larger than the pool.
    Evicted,
}

/// The pool.
#[derive(Clone, Debug)]
pub struct OrphanPool {
    limits: OrphanLimits,
    key: [u8; 32],
    orphans: BTreeMap<BlockId, Orphan>,
    by_parent: BTreeMap<BlockId, BTreeSet<BlockId>>,
    by_draw: BTreeSet<(u64, BlockId)>,
    by_source: BTreeMap<Source, usize>,
    bytes: usize,
    evicted: u64,
}

impl OrphanPool {
    /// An empty pool; `key` decides the draws and is secret.
    #[must_use]
    pub fn new(limits: OrphanLimits, key: [u8; 32]) -> OrphanPool {
        OrphanPool {
            limits,
            key,
            orphans: BTreeMap::new(),
            by_parent: BTreeMap::new(),
            by_draw: BTreeSet::new(),
            by_source: BTreeMap::new(),
            bytes: 0,
            evicted: 0,
        }
    }

    /// Offers a block of `bytes` encoded bytes.
    pub fn insert(
        &mut self,
        now: u32,
        id: BlockId,
        block: Block,
        bytes: usize,
        source: Source,
    ) -> Kept {
        if self.orphans.contains_key(&id) {
            return Kept::Known;
        }
        if self
            .by_source
            .get(&source)
            .is_some_and(|&held| held >= self.limits.per_source_max)
        {
            return Kept::OverQuota;
        }
        let draw = self.draw(&id);
        let expires = now.saturating_add(self.limits.ttl_s);
        self.by_parent
            .entry(block.header.parent)
            .or_default()
            .insert(id);
        self.by_draw.insert((draw, id));
        *self.by_source.entry(source).or_default() += 1;
        self.bytes += bytes;
        self.orphans.insert(
            id,
            Orphan {
                block,
                source,
                bytes,
                expires,
                draw,
            },
        );
        while self.bytes > self.limits.bytes_max {
            let (_, victim) = *self.by_draw.first().expect("bytes are held by blocks");
            self.remove(&victim);
            self.evicted += 1;
        }
        if self.orphans.contains_key(&id) {
            Kept::Waiting
        } else {
            Kept::Evicted
        }
    }

    /// Takes out the blocks that wait for `parent`, in order of their ids.
    pub fn take_children(&mut self, parent: &BlockId) -> Vec<(BlockId, Orphan)> {
        let ids = self.by_parent.get(parent).cloned().unwrap_or_default();
        ids.into_iter()
            .filter_map(|id| Some((id, self.remove(&id)?)))
            .collect()
    }

    /// Whether this block waits here.
    #[must_use]
    pub fn contains(&self, id: &BlockId) -> bool {
        self.orphans.contains_key(id)
    }

    /// The parents that blocks wait for and that are not orphans themselves: what to ask for.
    #[must_use]
    pub fn missing_parents(&self) -> Vec<BlockId> {
        self.by_parent
            .keys()
            .filter(|parent| !self.orphans.contains_key(*parent))
            .copied()
            .collect()
    }

    /// Forgets what waited too long; returns how many.
    pub fn expire(&mut self, now: u32) -> usize {
        let late: Vec<BlockId> = self
            .orphans
            .iter()
            .filter(|(_, orphan)| orphan.expires <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in &late {
            self.remove(id);
        }
        late.len()
    }

    /// Forgets all blocks of a source that was banned.
    pub fn forget_source(&mut self, source: Source) {
        let of_source = self
            .orphans
            .iter()
            .filter(|(_, orphan)| orphan.source == source)
            .map(|(id, _)| *id);
        for id in of_source.collect::<Vec<_>>() {
            self.remove(&id);
        }
    }

    /// Number of blocks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.orphans.len()
    }

    /// Whether no block waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.orphans.is_empty()
    }

    /// Bytes of all blocks.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Blocks evicted for want of room since the start.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    fn remove(&mut self, id: &BlockId) -> Option<Orphan> {
        let orphan = self.orphans.remove(id)?;
        self.bytes -= orphan.bytes;
        self.by_draw.remove(&(orphan.draw, *id));
        let parent = orphan.block.header.parent;
        let siblings = self
            .by_parent
            .get_mut(&parent)
            .expect("indexed by its parent");
        siblings.remove(id);
        if siblings.is_empty() {
            self.by_parent.remove(&parent);
        }
        let held = self
            .by_source
            .get_mut(&orphan.source)
            .expect("counted for its source");
        *held -= 1;
        if *held == 0 {
            self.by_source.remove(&orphan.source);
        }
        Some(orphan)
    }

    fn draw(&self, id: &BlockId) -> u64 {
        let hash = blake3::keyed_hash(&self.key, id.as_bytes());
        u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("8 of 32 bytes"))
    }
}
