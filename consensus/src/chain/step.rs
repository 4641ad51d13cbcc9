//! Moving the connected tip, one block at a time, toward the best candidate.
//!
//! Invariant: each step is one atomic change of the store; a step that finds a block invalid
//! changes no coins, marks the branch and lets the next step choose again, so that a branch of more
//! work with a bad block costs its own connection and leaves the old tip in place.
//!
//! Rule: `spec/06-proof-of-work.md#fork-choice`.

use std::sync::Arc;

use cairn_protocol::block::Block;
use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::{
    BlockStore, CheckedBlock, ConnectError, Connected, Fault, connect_block, disconnect_block,
};
use cairn_protocol::rules::Violation;
use cairn_protocol::signature::SignatureCheck;

use super::{Chain, ChainEvent, ConnectedBlock, DisconnectedBlock, InvalidBlock, TipChange};
use crate::nakamoto::Index;
use crate::switch::is_sealed;

impl<S: BlockStore> Chain<S> {
    /// Moves the tip until it is the best valid branch with all bodies. If a block was connected or
    /// disconnected, the last event is `TipChanged`, also when the moves led back to where they
    /// began.
    ///
    /// # Errors
    /// A fault of the store; `events` holds what happened before it.
    pub fn advance(
        &mut self,
        signatures: &mut dyn SignatureCheck,
        events: &mut Vec<ChainEvent>,
    ) -> Result<(), Fault> {
        let (start, first) = (self.connected.tip(), events.len());
        while self.step(signatures, events)? {}
        let is_move = |event: &ChainEvent| !matches!(event, ChainEvent::Invalid(_));
        if events[first..].iter().any(is_move) {
            let fork = self
                .tree
                .entry(self.tree.fork_point(start, self.connected.tip()));
            let (start, tip) = (
                self.tree.entry(start),
                self.tree.entry(self.connected.tip()),
            );
            events.push(ChainEvent::TipChanged(TipChange {
                from: start.id,
                to: tip.id,
                height: tip.height,
                fork: fork.id,
                depth: start.height - fork.height,
            }));
        }
        Ok(())
    }

    /// Takes one step: disconnects the tip, or connects or condemns the block after it. `false` if
    /// the tip is the best.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn step(
        &mut self,
        signatures: &mut dyn SignatureCheck,
        events: &mut Vec<ChainEvent>,
    ) -> Result<bool, Fault> {
        let (tip, goal) = (self.connected.tip(), self.tree.best_candidate());
        if tip == goal {
            return Ok(false);
        }
        if !self.tree.is_ancestor(tip, goal) {
            events.push(ChainEvent::Disconnected(self.disconnect(tip)?));
            return Ok(true);
        }
        let next = self
            .tree
            .ancestor(goal, self.connected.height() + 1)
            .expect("the goal is above the tip");
        let block = self.checked_body(next)?;
        let state = self.store.state();
        let connected = match self.proposals.take(&block.id()) {
            Some(connected) => Ok(connected),
            None => connect_block(&self.params, state, &block, &self.store, signatures),
        };
        let event = match connected {
            Ok(connected) => ChainEvent::Connected(self.connect(next, block, connected)?),
            Err(ConnectError::Invalid(violation)) => {
                ChainEvent::Invalid(self.condemn(next, violation)?)
            }
            Err(ConnectError::Fault(fault)) => return Err(fault),
        };
        events.push(event);
        Ok(true)
    }

    fn connect(
        &mut self,
        index: Index,
        block: Arc<CheckedBlock>,
        connected: Connected,
    ) -> Result<ConnectedBlock, Fault> {
        let (fees, subsidy) = (connected.fees.clone(), connected.subsidy);
        self.store.connect(&block, connected)?;
        self.tree.connected(index);
        self.connected.set_tip(&self.tree, index);
        if is_sealed(&self.tree, index) {
            // A sealed block is final. The store need not be told: at a start the highest sealed
            // block of the connected chain is the floor again.
            let moved = self.tree.set_floor(index);
            assert_eq!(moved, Ok(true), "the tip descends from the floor");
        }
        self.raise_to_anchor();
        let (id, height) = (block.id(), self.connected.height());
        let source = self.senders.remove(&index);
        Ok(ConnectedBlock {
            id,
            height,
            block,
            fees,
            subsidy,
            source,
        })
    }

    fn disconnect(&mut self, tip: Index) -> Result<DisconnectedBlock, Fault> {
        let entry = self.tree.entry(tip);
        let (id, height) = (entry.id, entry.height);
        assert!(
            tip != self.tree.floor(),
            "the floor {id} at height {height} is never disconnected"
        );
        let block = self
            .store
            .block(&id)?
            .ok_or_else(|| missing("block", &id))?;
        let undo = self
            .store
            .undo(&id)?
            .ok_or_else(|| missing("undo data of block", &id))?;
        let disconnected = disconnect_block(self.store.state(), &block, &undo)?;
        self.store.disconnect(&block, disconnected)?;
        let parent = self
            .tree
            .parent(tip)
            .expect("the floor is genesis at least");
        self.connected.set_tip(&self.tree, parent);
        Ok(DisconnectedBlock { id, height, block })
    }

    fn condemn(&mut self, index: Index, violation: Violation) -> Result<InvalidBlock, Fault> {
        let (id, height) = (self.tree.entry(index).id, self.tree.entry(index).height);
        self.store.mark_invalid(&id, &violation)?;
        let mut descendants = self.tree.mark_invalid(index);
        descendants.remove(0);
        let source = self.senders.remove(&index);
        Ok(InvalidBlock {
            id,
            height,
            violation,
            source,
            descendants,
        })
    }

    fn checked_body(&mut self, index: Index) -> Result<Arc<CheckedBlock>, Fault> {
        if let Some(block) = self.bodies.take(index) {
            return Ok(block);
        }
        let id = self.tree.entry(index).id;
        let block = self
            .store
            .block(&id)?
            .ok_or_else(|| missing("block", &id))?;
        let checked = CheckedBlock::new(Block::clone(&block), self.params.limits());
        let checked = checked
            .map_err(|violation| Fault(format!("stored block {id} is damaged: {violation}")))?;
        Ok(Arc::new(checked))
    }
}

fn missing(what: &str, id: &BlockId) -> Fault {
    Fault(format!("{what} {id} is missing from the store"))
}
