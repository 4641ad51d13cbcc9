//! The few numbers about the chain that everyone asks for, published with each move of the tip.

use cairn_protocol::hash::BlockId;
use cairn_protocol::pow::Work;
use cairn_protocol::units::Height;

/// Tip, best header and floor at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainView {
    /// Height of the tip.
    pub height: Height,
    /// The tip.
    pub tip: BlockId,
    /// Time of the tip, in seconds since 1970.
    pub tip_time: u32,
    /// Total work of the tip.
    pub work: Work,
    /// Height of the best header; above `height` while bodies are missing.
    pub header_height: Height,
    /// The best header.
    pub best_header: BlockId,
    /// Its total work.
    pub header_work: Work,
    /// Ids from the best header down, for peers.
    pub locator: Vec<BlockId>,
    /// Height below which nothing is reorganised: certified or anchored blocks, 0 under PoW.
    pub finalized_height: Height,
    /// That block.
    pub finalized: BlockId,
}
