//! Bodies from many peers: a window of batches over the blocks that are needed.
//!
//! Blocks are needed along the best header chain, and along the branches of other peers' tips. A peer
//! whose tip ends such a branch is asked for that branch, everybody else for the best.
//!
//! Invariant: every needed block is in exactly one of three places: queued, under way, or arrived
//! and not connected yet; at most [`WINDOW_BATCHES`] batches' worth are in the last two, and at most
//! [`SIDE_BLOCKS_MAX`] of them lie off the best header chain.

use std::collections::{BTreeMap, BTreeSet};

use cairn_protocol::{hash::BlockId, units::Height};

use super::{BLOCKS_PER_BATCH, RequestId, SIDE_BLOCKS_MAX, WINDOW_BATCHES};

/// A block that arrived and is still missed by the node after this time is asked again.
const ARRIVED_MS_MAX: u64 = 60_000;
/// A block off the best header chain counts against its part of the window for this time after it
/// was stored: it may never be connected.
const SIDE_ARRIVED_MS_MAX: u64 = 2_000;
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

/// A block that came and is in the node's hands.
#[derive(Clone, Copy, Debug)]
struct Arrival<P> {
    peer: P,
    at_ms: u64,
    is_side: bool,
}

/// All needed blocks.
#[derive(Clone, Debug)]
pub struct Bodies<P> {
    queued: BTreeSet<(Height, BlockId)>,
    batches: BTreeMap<RequestId, Batch<P>>,
    /// Arrived, not connected: who brought it, and when.
    arrived: BTreeMap<(Height, BlockId), Arrival<P>>,
    /// Needed blocks along the branches of other tips than the best header.
    others: BTreeMap<BlockId, BTreeSet<BlockId>>,
    /// Needed blocks that are on such a branch only.
    side: BTreeSet<BlockId>,
}

impl<P: Ord + Copy> Bodies<P> {
    pub fn new() -> Self {
        Self {
            queued: BTreeSet::new(),
            batches: BTreeMap::new(),
            arrived: BTreeMap::new(),
            others: BTreeMap::new(),
            side: BTreeSet::new(),
        }
    }

    /// Replaces what is needed, at any height: a branch that wins may leave ours far below the
    /// connected tip. What is under way stays under way, and what has just arrived is
    /// in the node's hands.
    pub fn need(
        &mut self,
        now_ms: u64,
        best: Vec<(Height, BlockId)>,
        others: Vec<(BlockId, Vec<(Height, BlockId)>)>,
    ) {
        let under_way: BTreeSet<_> = self
            .batches
            .values()
            .flat_map(|batch| batch.blocks.iter().copied())
            .collect();
        let mut needed: BTreeSet<_> = best.into_iter().collect();
        let on_best: BTreeSet<BlockId> = needed.iter().map(|(_, id)| *id).collect();
        self.others.clear();
        self.side.clear();
        for (tip, blocks) in others {
            let ids = || blocks.iter().map(|(_, id)| *id);
            self.side.extend(ids().filter(|id| !on_best.contains(id)));
            self.others.insert(tip, ids().collect());
            needed.extend(blocks);
        }
        self.arrived.retain(|block, arrival| {
            let age_max = match (needed.contains(block), arrival.is_side) {
                (true, _) => ARRIVED_MS_MAX,
                (false, true) => SIDE_ARRIVED_MS_MAX,
                (false, false) => return true,
            };
            now_ms < arrival.at_ms + age_max
        });
        self.queued = needed
            .into_iter()
            .filter(|block| !under_way.contains(block) && !self.arrived.contains_key(block))
            .collect();
    }

    /// Whether a block leads to this tip of a peer, as far as it was said to be needed for it.
    pub fn leads_to(&self, block: &BlockId, tip: &BlockId) -> bool {
        self.others.get(tip).is_some_and(|ids| ids.contains(block))
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

    /// The next batch of at most `blocks_max` for a peer at `tip` that serves `lowest` and above;
    /// `None` if nothing fits or the window is full. The lowest block that is missing always fits the
    /// window.
    pub fn next_batch(
        &self,
        tip: (Height, BlockId),
        lowest: Height,
        blocks_max: usize,
    ) -> Option<Vec<(Height, BlockId)>> {
        let under_way: usize = self.batches.values().map(|batch| batch.blocks.len()).sum();
        let room = WINDOW_BLOCKS.saturating_sub(under_way + self.arrived.len());
        let lowest_queued = self.queued.first().map(|(height, _)| *height);
        let lowest_arrived = self.arrived.keys().next().map(|(height, _)| *height);
        let blocks_all = lowest_arrived.is_some() && lowest_queued < lowest_arrived;
        let room = if blocks_all { room.max(1) } else { room };
        let own = self.others.get(&tip.1);
        let mut side_room = self.side_room();
        let mut fits = |(height, id): &&(Height, BlockId)| {
            if !(lowest..=tip.0).contains(height) {
                return false;
            }
            if !self.side.contains(id) {
                return own.is_none_or(|own| own.contains(id));
            }
            let is_own = own.is_some_and(|own| own.contains(id)) && side_room > 0;
            side_room -= usize::from(is_own);
            is_own
        };
        let blocks: Vec<_> = self
            .queued
            .iter()
            .filter(&mut fits)
            .take(room.min(blocks_max))
            .copied()
            .collect();
        (!blocks.is_empty()).then_some(blocks)
    }

    /// How many more blocks may be under way off the best header chain.
    fn side_room(&self) -> usize {
        let under_way = self.batches.values().flat_map(|batch| &batch.blocks);
        let under_way = under_way.filter(|(_, id)| self.side.contains(id)).count();
        let arrived = self.arrived.values().filter(|arrival| arrival.is_side);
        SIDE_BLOCKS_MAX.saturating_sub(under_way + arrived.count())
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
        let arrival = Arrival {
            peer,
            at_ms: now_ms,
            is_side: self.side.contains(&block.1),
        };
        self.arrived.insert(block, arrival);
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
        self.arrived.remove(&block).map(|arrival| arrival.peer)
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
