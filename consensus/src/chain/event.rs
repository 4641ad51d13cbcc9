//! What a move of the tip tells the rest of the node: mempool, wallet, API, relay, scoring.
//!
//! Invariant: events come in the order of the moves; connected and disconnected blocks alternate
//! with the store's steps, one event each.

use std::sync::Arc;

use cairn_protocol::block::Block;
use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::CheckedBlock;
use cairn_protocol::rules::Violation;
use cairn_protocol::units::{Amount, Height};

use super::Source;

/// One event.
#[derive(Clone, Debug)]
pub enum ChainEvent {
    /// The tip moved up by this block.
    Connected(ConnectedBlock),
    /// The tip moved down: this block is no longer on the chain. Its transactions may go back to
    /// the mempool.
    Disconnected(DisconnectedBlock),
    /// A block broke a rule when it was to be connected.
    Invalid(InvalidBlock),
    /// The moves came to rest; always the last event of a sequence that moved the tip.
    TipChanged(TipChange),
}

/// A connected block.
#[derive(Clone, Debug)]
pub struct ConnectedBlock {
    /// Its id.
    pub id: BlockId,
    /// Its height.
    pub height: Height,
    /// The block with the ids of its transactions.
    pub block: Arc<CheckedBlock>,
    /// The fee of each transaction, in order.
    pub fees: Vec<Amount>,
    /// The subsidy of its height.
    pub subsidy: Amount,
    /// Who sent it, if it was stored in this run.
    pub source: Option<Source>,
}

/// A disconnected block.
#[derive(Clone, Debug)]
pub struct DisconnectedBlock {
    /// Its id.
    pub id: BlockId,
    /// The height it had.
    pub height: Height,
    /// The block.
    pub block: Arc<Block>,
}

/// An invalid block.
#[derive(Clone, Debug)]
pub struct InvalidBlock {
    /// Its id.
    pub id: BlockId,
    /// Its height.
    pub height: Height,
    /// The rule it broke.
    pub violation: Violation,
    /// Whom to blame; `None` if it was stored in an earlier run.
    pub source: Option<Source>,
    /// Known descendants, invalid with it.
    pub descendants: Vec<BlockId>,
}

/// The tip before and after a sequence of moves. Both are equal if a heavier branch turned out to
/// be invalid after blocks had been disconnected for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TipChange {
    /// The tip before.
    pub from: BlockId,
    /// The tip now.
    pub to: BlockId,
    /// Height of the tip now.
    pub height: Height,
    /// The highest block that both chains share.
    pub fork: BlockId,
    /// Blocks that were disconnected: 0 unless it was a reorganisation.
    pub depth: Height,
}
