//! Bodies from many peers: a window of batches over the blocks that are needed.
//!
//! Invariant: every needed block is in exactly one of three places: queued, under way, or arrived
//! and not connected yet; at most [`WINDOW_BATCHES`] batches' worth are in the last two.

use std::collections::{BTreeMap, BTreeSet};

use cairn_protocol::{hash::BlockId, units::Height};

use super::{BLOCKS_PER_BATCH, RequestId, WINDOW_BATCHES};

/// A block that arrived and is still missed by the node after this time is asked again.
const ARRIVED_MS_MAX: u64 = 60_000;
/// Blocks of one window.
const WINDOW_BLOCKS: usize = WINDOW_BATCHES * BLOCKS_PER_BATCH;

/// A batch under way.
#[derive(Clone, Debug)]
pub struct Batch<P> {
    pub peer: P,
    pub blocks: Vec<(Height, BlockId)>,
    pub asked_ms: u64,
    pub deadline_ms: u64,
}

/// All needed blocks.
#[derive(Clone, Debug)]
pub struct Bodies<P> {
    queued: BTreeSet<(Height, BlockId)>,
    batches: BTreeMap<RequestId, Batch<P>>,
    /// Arrived, not connected: who brought it, and when.
    arrived: BTreeMap<(Height, BlockId), (P, u64)>,
}

impl<P: Ord + Copy> Bodies<P> {
    pub fn new() -> Self {
        Self {
            queued: BTreeSet::new(),
            batches: BTreeMap::new(),
            arrived: BTreeMap::new(),
        }
    }

    /// Replaces what is needed, at any height: a branch that wins may leave ours far below the
    /// connected tip. What is under way stays under way, and what has just arrived is
    /// in the node's hands.
    pub fn need(&mut self, now_ms: u64, blocks: Vec<(Height, BlockId)>) {
        let under_way: BTreeSet<_> = self
            .batches
            .values()
            .flat_map(|batch| batch.blocks.iter().copied())
            .collect();
        let needed: BTreeSet<_> = blocks.into_iter().collect();
        self.arrived.retain(|block, (_, at_ms)| {
            !needed.contains(block) || now_ms < *at_ms + ARRIVED_MS_MAX
        });
        self.queued = needed
            .into_iter()
            .filter(|block| !under_way.contains(block) && !self.arrived.contains_key(block))
            .collect();
    }

    /// Blocks up to `height` are connected.
    pub fn connected(&mut self, height: Height) {
        self.queued.retain(|(at, _)| *at > height);
        self.arrived.retain(|(at, _), _| *at > height);
    }

    /// Whether the queue is so short that the node should name more.
    pub fn is_hungry(&self) -> bool {
        self.queued.len() < BLOCKS_PER_BATCH
    }

    /// The next batch of at most `blocks_max` for a peer that serves `lowest..=highest`; `None` if nothing fits or the
    /// window is full. The lowest block that is missing always fits the window.
    pub fn next_batch(
        &self,
        lowest: Height,
        highest: Height,
        blocks_max: usize,
    ) -> Option<Vec<(Height, BlockId)>> {
        let under_way: usize = self.batches.values().map(|batch| batch.blocks.len()).sum();
        let room = WINDOW_BLOCKS.saturating_sub(under_way + self.arrived.len());
        let lowest_queued = self.queued.first().map(|(height, _)| *height);
        let lowest_arrived = self.arrived.keys().next().map(|(height, _)| *height);
        let blocks_all = lowest_arrived.is_some() && lowest_queued < lowest_arrived;
        let room = if blocks_all { room.max(1) } else { room };
        let blocks: Vec<_> = self
            .queued
            .iter()
            .filter(|(height, _)| (lowest..=highest).contains(height))
            .take(room.min(blocks_max))
            .copied()
            .collect();
        (!blocks.is_empty()).then_some(blocks)
    }

    /// A batch was asked.
    pub fn asked(&mut self, request: RequestId, batch: Batch<P>) {
        for block in &batch.blocks {
            self.queued.remove(block);
        }
        self.batches.insert(request, batch);
    }

    /// The request ended; what it did not bring is queued again.
    pub fn finished(&mut self, request: RequestId) -> Option<Batch<P>> {
        let batch = self.batches.remove(&request)?;
        self.queued.extend(batch.blocks.iter().copied());
        Some(batch)
    }

    /// A block of a finished batch is here.
    pub fn arrived(&mut self, now_ms: u64, block: (Height, BlockId), peer: P) {
        self.queued.remove(&block);
        self.arrived.insert(block, (peer, now_ms));
    }

    /// Who brought a block; it is forgotten, and needed again if `is_needed`.
    pub fn take(&mut self, id: &BlockId, is_needed: bool) -> Option<P> {
        let block = self
            .arrived
            .keys()
            .find(|(_, arrived)| arrived == id)
            .copied()?;
        if is_needed {
            self.queued.insert(block);
        }
        self.arrived.remove(&block).map(|(peer, _)| peer)
    }

    /// Requests of one peer.
    pub fn requests_of(&self, peer: P) -> Vec<RequestId> {
        let of_peer = self.batches.iter().filter(|(_, batch)| batch.peer == peer);
        of_peer.map(|(request, _)| *request).collect()
    }

    /// Requests whose deadline has passed.
    pub fn late(&self, now_ms: u64) -> Vec<RequestId> {
        let late = self
            .batches
            .iter()
            .filter(|(_, batch)| batch.deadline_ms <= now_ms);
        late.map(|(request, _)| *request).collect()
    }
}
