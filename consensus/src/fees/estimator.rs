//! From blocks and the mempool to fee rates by target.
//!
//! *History.* A block that had room asked for nothing but the relay minimum; a full one asked for its
//! entry rate. A payment at rate r is mined within t blocks if one of them asks for no more than r, so
//! a window of t blocks in a row needs the lowest entry rate in it. The answer for t is what was enough
//! in nine of ten windows of the recent past.
//!
//! *Mempool.* Whoever wants to be within t blocks must pay more than the chunk that stands t blocks
//! deep in the queue.
//!
//! Invariants: a shorter target never costs less than a longer one; the answer is a function of the
//! last [`BLOCKS_MAX`] blocks and the pool. Rule: `spec/11-mempool.md#fees`.

use std::collections::VecDeque;

use cairn_protocol::codec;
use cairn_protocol::units::{FeeRate, Height, Weight};
use serde::{Deserialize, Serialize};

use super::block_fees::BlockFees;
use crate::mempool::Mempool;

/// The targets that are answered, in blocks.
pub const TARGETS: [u32; 7] = [1, 2, 3, 6, 12, 24, 144];

/// Blocks remembered: four windows of the longest target.
pub const BLOCKS_MAX: usize = 576;

/// The recent past of target t is this many times t, at least [`PAST_MIN`] blocks: a short target
/// follows a change of demand within hours, a long one averages over it.
const PAST_WINDOWS: usize = 4;
const PAST_MIN: usize = 24;

/// A block is full from this share of its weight on, in percent: miners stop before the last gap.
const FULL_PERCENT: u64 = 95;

/// Windows in which the answer must have been enough, in percent.
const ENOUGH_PERCENT: usize = 90;

/// Encoded bytes of a history: 576 entries of at most 60 bytes.
const HISTORY_BYTES_MAX: usize = 64 * 1024;
const HISTORY_VERSION: u8 = 1;

/// What an answer rests on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Basis {
    /// Nothing is in the way: the lowest rate that is relayed.
    Minimum,
    /// What recent blocks asked for.
    Blocks,
    /// What is queued ahead in the mempool.
    Mempool,
}

impl Basis {
    /// The word in API answers.
    pub fn name(self) -> &'static str {
        match self {
            Basis::Minimum => "minimum",
            Basis::Blocks => "blocks",
            Basis::Mempool => "mempool",
        }
    }
}

/// The answer for one target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Estimate {
    /// Blocks within which the transaction should be mined.
    pub target: u32,
    /// The rate to pay.
    pub fee_rate: FeeRate,
    /// What the rate rests on.
    pub basis: Basis,
    /// In how many of a hundred windows of the recent past the rate would have been enough; 0 if
    /// fewer blocks than the target are known.
    pub confidence_percent: u8,
    /// Blocks looked at.
    pub blocks: u32,
}

/// Why stored bytes are no history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The bytes do not decode.
    #[error("fee history: {0}")]
    Decode(#[from] codec::DecodeError),
    /// Another version of the format.
    #[error("fee history of version {0}: expected 1")]
    Version(u8),
    /// Heights do not follow each other.
    #[error("fee history jumps to height {0}")]
    Heights(Height),
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Estimator {
    block_weight_max: Weight,
    blocks: VecDeque<BlockFees>,
}

#[derive(Serialize, Deserialize)]
struct History {
    version: u8,
    #[serde(deserialize_with = "codec::bounded::<_, _, BLOCKS_MAX>")]
    blocks: Vec<BlockFees>,
}

impl Estimator {
    /// An estimator that has seen no block, for a chain with this block limit.
    pub fn new(block_weight_max: Weight) -> Estimator {
        Estimator {
            block_weight_max,
            blocks: VecDeque::new(),
        }
    }

    /// A block was connected. Blocks of its height and above are forgotten, and all if there is a gap
    /// before it.
    pub fn block_connected(&mut self, fees: BlockFees) {
        self.block_disconnected(fees.height);
        if self.blocks.back().is_some_and(|last| !follows(last, &fees)) {
            self.blocks.clear();
        }
        self.blocks.push_back(fees);
        if self.blocks.len() > BLOCKS_MAX {
            self.blocks.pop_front();
        }
    }

    /// The block of this height, and any above it, was taken off.
    pub fn block_disconnected(&mut self, height: Height) {
        while self.blocks.back().is_some_and(|last| last.height >= height) {
            self.blocks.pop_back();
        }
    }

    /// The blocks remembered, oldest first.
    pub fn blocks(&self) -> impl DoubleEndedIterator<Item = &BlockFees> + ExactSizeIterator {
        self.blocks.iter()
    }

    /// One answer for each of [`TARGETS`], shortest first.
    pub fn estimates(&self, pool: &Mempool, now_s: u64) -> Vec<Estimate> {
        let depths = TARGETS.map(|target| u64::from(target) * self.block_weight_max);
        let queued = pool.fee_rates_at(&depths);
        let floor = pool.fee_rate_min(now_s);
        let mut answers: Vec<Estimate> = Vec::with_capacity(TARGETS.len());
        let mut longer = (floor, Basis::Minimum);
        for (target, queued) in TARGETS.into_iter().zip(queued).rev() {
            let needs = self.needs(target);
            let asked = (enough(&needs), Basis::Blocks);
            // To be ahead of the chunk at that depth means to pay more than it.
            let ahead = queued.map_or(FeeRate(0), |rate| FeeRate(rate.0.saturating_add(1)));
            for answer in [asked, (ahead, Basis::Mempool)] {
                if answer.0 > longer.0 {
                    longer = answer;
                }
            }
            answers.push(self.answer(target, longer, &needs));
        }
        answers.reverse();
        answers
    }

    /// The answer for any target: that of the longest of [`TARGETS`] which is not longer.
    pub fn estimate(&self, target: u32, pool: &Mempool, now_s: u64) -> Estimate {
        let answers = self.estimates(pool, now_s);
        let fitting = answers.iter().rev().find(|answer| answer.target <= target);
        *fitting.unwrap_or(&answers[0])
    }

    fn answer(&self, target: u32, (rate, basis): (FeeRate, Basis), needs: &[FeeRate]) -> Estimate {
        let sufficed = needs.iter().filter(|need| **need <= rate).count();
        let known = self.blocks.len() >= target as usize;
        let percent = if known {
            sufficed * 100 / needs.len().max(1)
        } else {
            0
        };
        Estimate {
            target,
            fee_rate: rate,
            basis,
            confidence_percent: u8::try_from(percent).expect("a share of the windows"),
            blocks: u32::try_from(self.past(target).len()).expect("at most 576 blocks"),
        }
    }

    /// The recent past of a target, oldest first.
    fn past(&self, target: u32) -> Vec<&BlockFees> {
        let length = (target as usize * PAST_WINDOWS)
            .max(PAST_MIN)
            .min(self.blocks.len());
        self.blocks.range(self.blocks.len() - length..).collect()
    }

    /// What each window of the recent past needed, ascending. With fewer blocks than the target there
    /// is one window: all of them.
    fn needs(&self, target: u32) -> Vec<FeeRate> {
        let entries: Vec<FeeRate> = self
            .past(target)
            .into_iter()
            .map(|block| self.entry_rate(block))
            .collect();
        let length = (target as usize).min(entries.len()).max(1);
        let lowest = |window: &[FeeRate]| *window.iter().min().expect("a window has blocks");
        let mut needs: Vec<FeeRate> = entries.windows(length).map(lowest).collect();
        needs.sort_unstable();
        needs
    }

    /// What a block asked of those who came in. Its minimum can be set by its miner at no cost (a free
    /// transaction of its own), its median hardly: the entry is at least half of that.
    fn entry_rate(&self, block: &BlockFees) -> FeeRate {
        if block.weight * 100 < self.block_weight_max * FULL_PERCENT {
            return FeeRate(0);
        }
        block.min.max(FeeRate(block.median.0 / 2))
    }

    /// The history as bytes, for the file that survives a restart.
    pub fn to_bytes(&self) -> Vec<u8> {
        let blocks = self.blocks.iter().copied().collect();
        codec::encode(&History {
            version: HISTORY_VERSION,
            blocks,
        })
    }

    /// Reads what [`to_bytes`](Estimator::to_bytes) wrote.
    pub fn from_bytes(block_weight_max: Weight, bytes: &[u8]) -> Result<Estimator, HistoryError> {
        let History { version, blocks } = codec::decode(bytes, HISTORY_BYTES_MAX)?;
        if version != HISTORY_VERSION {
            return Err(HistoryError::Version(version));
        }
        if let Some(jump) = blocks.windows(2).find(|pair| !follows(&pair[0], &pair[1])) {
            return Err(HistoryError::Heights(jump[1].height));
        }
        Ok(Estimator {
            block_weight_max,
            blocks: blocks.into(),
        })
    }
}

fn follows(last: &BlockFees, next: &BlockFees) -> bool {
    last.height.checked_add(1) == Some(next.height)
}

/// The rate that was enough in nine of ten windows.
fn enough(needs: &[FeeRate]) -> FeeRate {
    let at = (needs.len() * ENOUGH_PERCENT).div_ceil(100);
    at.checked_sub(1).map_or(FeeRate(0), |place| needs[place])
}

#[cfg(test)]
#[path = "estimator_tests.rs"]
mod tests;
