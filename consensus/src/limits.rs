//! Bounds of what consensus keeps in memory on behalf of strangers.
//!
//! None of these is a rule of the chain: two nodes with different values follow the same chain.

use cairn_protocol::limits::{BFT_MESSAGE_BYTES_MAX, BLOCK_BYTES_MAX, BLOCKS_REQUEST_MAX};
use cairn_protocol::units::Height;

/// Bytes of blocks whose parent is unknown: four of the largest.
pub const ORPHAN_BYTES_MAX: usize = 4 * BLOCK_BYTES_MAX;

/// Orphan blocks from one source: more than a short burst of blocks seen out of order.
pub const ORPHANS_PER_SOURCE_MAX: usize = 8;

/// Seconds until an orphan is forgotten: its parent would have come, or its branch is not ours.
pub const ORPHAN_TTL_S: u32 = 20 * 60;

/// Blocks from the future held in all: a healthy network has none.
pub const HELD_BLOCKS_MAX: usize = 16;

/// Blocks from the future held from one source.
pub const HELD_PER_SOURCE_MAX: usize = 2;

/// How far bodies may be stored ahead of the connected tip: twice the sync window of 16 batches.
pub const BODIES_AHEAD_MAX: Height = 32 * BLOCKS_REQUEST_MAX as Height;

/// How deep below the tip a body off the best header chain is still stored: a day of 5-minute
/// blocks.
pub const SIDE_BODY_DEPTH_MAX: Height = 288;

/// How far headers may lead the connected tip: 26 MB of tree entries; sync continues as bodies
/// connect.
pub const HEADERS_AHEAD_MAX: Height = 200_000;

/// Header-only and dead entries off the best header chain: 13 MB. Above it the weakest half is
/// forgotten.
pub const SIDE_HEADERS_MAX: usize = 100_000;

/// Bytes of checked blocks kept until they connect: enough for a sync that keeps up, or four of the
/// largest.
pub const CHECKED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Senders of stored blocks remembered until their blocks are judged: more than bodies ever wait.
pub const SENDERS_MAX: usize = 2 * BODIES_AHEAD_MAX as usize;

/// Invalid blocks that stay remembered when side branches are forgotten.
pub const INVALID_IDS_MAX: usize = 1_000;

/// Rounds of each kind of vote that the PBFT core keeps of one validator: an honest one is in one
/// round at a time, and its last rounds are enough to decide late and to see a contradiction. 512
/// validators fill 1.2 MB.
pub const ROUNDS_KEPT_PER_VALIDATOR: usize = 4;

/// The longest timeout of a round, in milliseconds. (A doubling without a cap has reached 4,096 s
/// elsewhere.)
pub const ROUND_TIMEOUT_MAX_MS: u64 = 30_000;

/// The shortest, in milliseconds: below it a pause of the scheduler looks like a dead leader.
pub const ROUND_TIMEOUT_MIN_MS: u64 = 20;

/// Instances after the current one whose messages wait: a peer is rarely more than one ahead, and
/// who is farther behind catches up by sync.
pub const FUTURE_INSTANCES_MAX: u64 = 16;

/// Bytes of waiting messages from one peer: two of the largest, or a thousand votes.
pub const FUTURE_BYTES_PER_PEER_MAX: usize = 2 * BFT_MESSAGE_BYTES_MAX;

/// Bytes of verified seals of headers whose bodies are not stored yet: 40,000 heights of a hundred
/// validators' seals would be 260 MB, so header sync waits for bodies from a quarter of that on.
pub const SEALS_AHEAD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Judged proposals kept on one tip: the one that was prepared, the newest, and one between.
pub const PROPOSALS_MAX: usize = 3;
