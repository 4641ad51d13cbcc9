//! What the pure chain driver (`consensus::chain`) needs from a store, disk or memory.
//!
//! Invariant: `connect` and `disconnect` move the tip by one block, each as one atomic step; after
//! a crash the store reopens at some tip of the same sequence of steps.

use super::check::CheckedBlock;
use super::coin::{CoinView, Fault};
use super::connect::{BlockUndo, Connected, Disconnected};
use crate::block::{Block, HeaderRecord};
use crate::hash::BlockId;
use crate::header::Header;
use crate::rules::Violation;
use crate::state::LedgerState;
use crate::units::Height;
use std::sync::Arc;

/// What a store knows of one header at start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredHeader {
    /// Its id.
    pub id: BlockId,
    /// Its height.
    pub height: Height,
    /// The 80 bytes.
    pub header: Header,
    /// Whether the body is stored.
    pub has_body: bool,
    /// Whether it was found invalid; descendants need no mark.
    pub invalid: bool,
}

/// A durable (or simulated) chain.
pub trait BlockStore: CoinView {
    /// Every stored header: genesis first, parents before children, else in order of arrival.
    fn headers(&self, visit: &mut dyn FnMut(StoredHeader)) -> Result<(), Fault>;
    /// The state after the connected tip; genesis' state when new.
    fn state(&self) -> &LedgerState;

    /// Stores a header; a second time changes nothing.
    fn put_header(
        &mut self,
        id: &BlockId,
        height: Height,
        record: &HeaderRecord,
    ) -> Result<(), Fault>;
    /// The record of a header.
    fn header(&self, id: &BlockId) -> Result<Option<HeaderRecord>, Fault>;
    /// Stores a body whose header is stored; durable when it returns. A second time changes nothing.
    fn put_block(&mut self, block: &CheckedBlock) -> Result<(), Fault>;
    /// The block of this id, if its body is stored.
    fn block(&self, id: &BlockId) -> Result<Option<Arc<Block>>, Fault>;
    /// Remembers that a block is invalid, so that a restart does not try it again.
    fn mark_invalid(&mut self, id: &BlockId, violation: &Violation) -> Result<(), Fault>;

    /// Connects a block whose parent is the tip.
    fn connect(&mut self, block: &CheckedBlock, connected: Connected) -> Result<(), Fault>;
    /// The undo data of a connected block.
    fn undo(&self, id: &BlockId) -> Result<Option<BlockUndo>, Fault>;
    /// Takes the tip off.
    fn disconnect(&mut self, block: &Block, disconnected: Disconnected) -> Result<(), Fault>;

    /// The block below which nothing is ever reorganised; `None` means genesis.
    fn floor(&self) -> Result<Option<BlockId>, Fault>;
    /// Sets the floor.
    fn set_floor(&mut self, id: &BlockId) -> Result<(), Fault>;
}
