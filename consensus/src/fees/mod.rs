//! What a transaction should pay to be mined within some number of blocks.
//!
//! Two witnesses are heard: what recent blocks asked of those who came in ([`BlockFees`]), and what
//! is queued in the mempool now. The higher of the two is the answer, never below the lowest rate that
//! would be relayed. On an empty network both are silent and the answer is that lowest rate.
//!
//! Pure and in integers: equal blocks and equal pools give equal answers. Rules: `spec/11-mempool.md#fees`.

mod block_fees;
mod estimator;

pub use block_fees::BlockFees;
pub use estimator::{Basis, Estimate, Estimator, HistoryError, TARGETS};
