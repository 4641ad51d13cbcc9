//! Messages of `/v1/events`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::block::{BlockSummary, ChainPoint};
use super::mempool::MempoolTransaction;

/// One message. Applied in order, `block` and `reorg` messages are the main chain: a `block`
/// extends the last one, a `reorg` says back to where the chain was undone before `block`s follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A block of the main chain.
    Block(BlockSummary),
    /// Blocks left the main chain; those that replace them follow as `block` messages.
    Reorg(Reorg),
    /// A transaction came into the mempool.
    Transaction(MempoolTransaction),
    /// Everything up to here can no longer be reorganised away.
    Finalized(ChainPoint),
}

/// Blocks that left the main chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reorg {
    /// The last block that both chains have.
    pub fork: ChainPoint,
    /// The last block of the chain that was left.
    pub old_tip: ChainPoint,
    /// The tip now.
    pub new_tip: ChainPoint,
    /// Number of blocks that left.
    pub depth: u64,
}
