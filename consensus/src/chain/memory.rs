//! A block store in memory: for simulation and tests, and the plainest statement of what a store
//! promises.
//!
//! Invariant: coins are exactly those of the connected chain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cairn_protocol::block::{Block, HeaderRecord};
use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::{
    BlockStore, BlockUndo, CheckedBlock, Coin, CoinChanges, CoinView, Connected, Disconnected,
    Fault, StoredHeader,
};
use cairn_protocol::rules::Violation;
use cairn_protocol::spec::ChainParams;
use cairn_protocol::state::LedgerState;
use cairn_protocol::transaction::OutPoint;
use cairn_protocol::units::Height;

/// The store. A clone is what a crash leaves behind when every write was durable.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    /// In order of arrival.
    headers: Vec<(BlockId, Height)>,
    records: BTreeMap<BlockId, HeaderRecord>,
    blocks: BTreeMap<BlockId, Arc<Block>>,
    undo: BTreeMap<BlockId, BlockUndo>,
    invalid: BTreeSet<BlockId>,
    coins: BTreeMap<OutPoint, Coin>,
    state: LedgerState,
    floor: Option<BlockId>,
    steps: u64,
}

impl MemoryStore {
    /// A new store of this chain at genesis.
    #[must_use]
    pub fn new(params: &ChainParams) -> MemoryStore {
        let (id, genesis) = (params.chain_id(), params.genesis());
        MemoryStore {
            headers: vec![(id, 0)],
            records: BTreeMap::from([(id, genesis.record())]),
            blocks: BTreeMap::from([(id, Arc::new(genesis.clone()))]),
            undo: BTreeMap::new(),
            invalid: BTreeSet::new(),
            coins: params.genesis_coins().iter().cloned().collect(),
            state: params.genesis_state().clone(),
            floor: None,
            steps: 0,
        }
    }

    /// All coins, in order of their outpoints.
    #[must_use]
    pub fn coins(&self) -> &BTreeMap<OutPoint, Coin> {
        &self.coins
    }

    /// Number of connects and disconnects so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Number of stored blocks, genesis included.
    #[must_use]
    pub fn block_count(&self) -> usize {
        self.blocks.len()
    }

    fn apply(&mut self, changes: CoinChanges) -> Result<(), Fault> {
        for (outpoint, _) in changes.removed {
            let coin = self.coins.remove(&outpoint);
            coin.ok_or_else(|| Fault(format!("removed coin {outpoint} does not exist")))?;
        }
        for (outpoint, coin) in changes.created {
            let before = self.coins.insert(outpoint, coin);
            assert!(before.is_none(), "coin {outpoint} created twice");
        }
        self.steps += 1;
        Ok(())
    }
}

impl CoinView for MemoryStore {
    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, Fault> {
        Ok(self.coins.get(outpoint).cloned())
    }
}

impl BlockStore for MemoryStore {
    fn headers(&self, visit: &mut dyn FnMut(StoredHeader)) -> Result<(), Fault> {
        for (id, height) in &self.headers {
            visit(StoredHeader {
                id: *id,
                height: *height,
                header: self.records[id].header,
                has_body: self.blocks.contains_key(id),
                invalid: self.invalid.contains(id),
            });
        }
        Ok(())
    }

    fn state(&self) -> &LedgerState {
        &self.state
    }

    fn put_header(
        &mut self,
        id: &BlockId,
        height: Height,
        record: &HeaderRecord,
    ) -> Result<(), Fault> {
        if self.records.insert(*id, record.clone()).is_none() {
            self.headers.push((*id, height));
        }
        Ok(())
    }

    fn header(&self, id: &BlockId) -> Result<Option<HeaderRecord>, Fault> {
        Ok(self.records.get(id).cloned())
    }

    fn put_block(&mut self, block: &CheckedBlock) -> Result<(), Fault> {
        let id = block.id();
        assert!(
            self.records.contains_key(&id),
            "header of {id} is stored first"
        );
        self.blocks
            .entry(id)
            .or_insert_with(|| Arc::new(block.block().clone()));
        Ok(())
    }

    fn block(&self, id: &BlockId) -> Result<Option<Arc<Block>>, Fault> {
        Ok(self.blocks.get(id).cloned())
    }

    fn mark_invalid(&mut self, id: &BlockId, _: &Violation) -> Result<(), Fault> {
        self.invalid.insert(*id);
        Ok(())
    }

    fn connect(&mut self, block: &CheckedBlock, connected: Connected) -> Result<(), Fault> {
        let parent = block.block().header.parent;
        assert_eq!(parent, self.state.tip, "a block is connected to the tip");
        self.apply(connected.changes)?;
        self.undo.insert(block.id(), connected.undo);
        self.state = connected.state;
        Ok(())
    }

    fn undo(&self, id: &BlockId) -> Result<Option<BlockUndo>, Fault> {
        Ok(self.undo.get(id).cloned())
    }

    fn disconnect(&mut self, block: &Block, disconnected: Disconnected) -> Result<(), Fault> {
        assert_eq!(block.id(), self.state.tip, "only the tip is disconnected");
        self.apply(disconnected.changes)?;
        self.undo.remove(&block.id());
        self.state = disconnected.state;
        Ok(())
    }

    fn floor(&self) -> Result<Option<BlockId>, Fault> {
        Ok(self.floor)
    }

    fn set_floor(&mut self, id: &BlockId) -> Result<(), Fault> {
        self.floor = Some(*id);
        Ok(())
    }
}
