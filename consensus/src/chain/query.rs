//! What others ask of a chain: tip, locator, what to fetch, what to serve.

use std::sync::Arc;

use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::{BlockStore, Fault};
use cairn_protocol::pow::{Bits, Work};
use cairn_protocol::spec::ChainParams;
use cairn_protocol::state::{LedgerState, median};
use cairn_protocol::units::Height;

use super::Chain;
use crate::limits::BODIES_AHEAD_MAX;
use crate::nakamoto::{HeaderTree, Index, OrphanPool, Status, expected_bits, locator, range_after};

/// A place on a branch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockPlace {
    /// The block's id.
    pub id: BlockId,
    /// Its height.
    pub height: Height,
    /// Its time.
    pub time: u32,
    /// Total work from genesis to it.
    pub work: Work,
}

impl<S: BlockStore> Chain<S> {
    /// The chain's parameters.
    #[must_use]
    pub fn params(&self) -> &Arc<ChainParams> {
        &self.params
    }

    /// The store, to read.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The store, for upkeep such as a flush. Moving its tip past the chain is a bug that the next
    /// step reports.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Ends the chain and gives the store back.
    #[must_use]
    pub fn into_store(self) -> S {
        self.store
    }

    /// The header tree, to read.
    #[must_use]
    pub fn tree(&self) -> &HeaderTree {
        &self.tree
    }

    /// The orphan pool, to read.
    #[must_use]
    pub fn orphans(&self) -> &OrphanPool {
        &self.orphans
    }

    /// The state after the connected tip.
    #[must_use]
    pub fn state(&self) -> &LedgerState {
        self.store.state()
    }

    /// The connected tip.
    #[must_use]
    pub fn tip(&self) -> BlockPlace {
        self.place_of(self.connected.tip())
    }

    /// The best header, bodies aside: what sync is heading for.
    #[must_use]
    pub fn best_header(&self) -> BlockPlace {
        self.place_of(self.tree.best_header())
    }

    /// The floor, below which nothing is reorganised; genesis if none was set.
    #[must_use]
    pub fn floor(&self) -> BlockPlace {
        self.place_of(self.tree.floor())
    }

    /// What is known of a block id, if its header is in the tree.
    #[must_use]
    pub fn status(&self, id: &BlockId) -> Option<Status> {
        self.tree
            .find(id)
            .map(|index| self.tree.entry(index).status)
    }

    /// The place of a header that is in the tree.
    #[must_use]
    pub fn find(&self, id: &BlockId) -> Option<BlockPlace> {
        self.tree.find(id).map(|index| self.place_of(index))
    }

    /// The block of the connected chain at `height`.
    #[must_use]
    pub fn connected_at(&self, height: Height) -> Option<BlockPlace> {
        self.connected.at(height).map(|index| self.place_of(index))
    }

    /// Whether the connected chain goes through this block.
    #[must_use]
    pub fn is_connected(&self, id: &BlockId) -> bool {
        self.tree
            .find(id)
            .is_some_and(|index| self.connected.contains(&self.tree, index))
    }

    /// Bits of the block after the connected tip.
    #[must_use]
    pub fn next_bits(&self) -> Bits {
        expected_bits(&self.params, &self.tree, self.connected.tip())
    }

    /// Median of the connected tip's last times: the next block's time is greater.
    #[must_use]
    pub fn median_time_past(&self) -> u32 {
        median(&self.tree.recent_times(self.connected.tip()))
    }

    /// What times in transactions of the next block are compared with: see
    /// [`LedgerState::lock_time`].
    #[must_use]
    pub fn lock_time(&self) -> u32 {
        self.store.state().lock_time(&self.params)
    }

    /// Ids from the best header down, for a peer to find where it leaves our chain.
    #[must_use]
    pub fn locator(&self) -> Vec<BlockId> {
        locator(&self.tree, self.tree.best_header())
    }

    /// Ids of the connected chain that follow the first id of `locator` on it: at most `max`, up to
    /// `stop` if it is on the chain (zero: no stop). The records are the store's.
    #[must_use]
    pub fn ids_after(&self, locator: &[BlockId], stop: &BlockId, max: usize) -> Vec<BlockId> {
        let Some((first, last)) = range_after(&self.tree, &self.connected, locator, stop, max)
        else {
            return Vec::new();
        };
        let id_at = |height| {
            self.tree
                .entry(self.connected.at(height).expect("within the path"))
                .id
        };
        (first..=last).map(id_at).collect()
    }

    /// Bodies to ask for: along the best header chain from the lowest missing one, at most `max`,
    /// within reach of the connected tip.
    #[must_use]
    pub fn missing_bodies(&self, max: usize) -> Vec<(Height, BlockId)> {
        self.missing_toward(self.tree.best_header(), max)
    }

    /// The same along the branch of one header, such as the best that a peer has shown: a peer that
    /// keeps the bodies of a heavier branch to itself does not stop the others. Nothing if the
    /// header is unknown, dead or not above the connected tip in work.
    #[must_use]
    pub fn missing_bodies_toward(&self, id: &BlockId, max: usize) -> Vec<(Height, BlockId)> {
        let tip = self.tree.entry(self.connected.tip()).score;
        let is_worth_it = |index: &Index| {
            let entry = self.tree.entry(*index);
            entry.score > tip && !matches!(entry.status, Status::Invalid | Status::Abandoned)
        };
        let goal = self.tree.find(id).filter(is_worth_it);
        goal.map_or_else(Vec::new, |goal| self.missing_toward(goal, max))
    }

    fn missing_toward(&self, goal: Index, max: usize) -> Vec<(Height, BlockId)> {
        let fork = self.tree.fork_point(self.connected.tip(), goal);
        let first = self.tree.entry(fork).height + 1;
        let reach = self.connected.height().saturating_add(BODIES_AHEAD_MAX);
        let last = self.tree.entry(goal).height.min(reach);
        let on_best = goal == self.tree.best_header();
        let at = |height| match on_best {
            true => self.tree.on_best_header_chain(height),
            false => self.tree.ancestor(goal, height),
        };
        (first..=last)
            .filter_map(at)
            .map(|index| self.tree.entry(index))
            .filter(|entry| entry.status == Status::HeaderOnly)
            .take(max)
            .map(|entry| (entry.height, entry.id))
            .collect()
    }

    /// Makes a connected block the floor: it and its ancestors are never reorganised again. Returns
    /// whether it moved.
    ///
    /// # Errors
    /// A fault of the store, or a block that is not on the connected chain above the present floor:
    /// two final histories are beyond what a node may resolve by itself.
    pub fn finalize(&mut self, id: &BlockId) -> Result<bool, Fault> {
        let on_chain = self
            .tree
            .find(id)
            .filter(|&index| self.connected.contains(&self.tree, index));
        let index: Index =
            on_chain.ok_or_else(|| Fault(format!("block {id} is not on the connected chain")))?;
        let floor = self.place_of(self.tree.floor());
        if self.tree.entry(index).height <= floor.height {
            return Ok(false);
        }
        let moved = self.tree.set_floor(index);
        assert_eq!(
            moved,
            Ok(true),
            "a connected block above the floor descends from it"
        );
        self.store.set_floor(id)?;
        Ok(true)
    }

    fn place_of(&self, index: Index) -> BlockPlace {
        let entry = self.tree.entry(index);
        BlockPlace {
            id: entry.id,
            height: entry.height,
            time: entry.time,
            work: entry.score.work,
        }
    }
}
