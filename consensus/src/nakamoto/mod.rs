//! Proof of work: which chain is best, and which headers may be part of it.
//!
//! ```text
//!   header record ──> rules ──> tree ──────────> best header chain ──> bodies to ask for
//!                      │         └── bodies ───> best candidate ─────> what the tip moves toward
//!                      └── held (future), orphans (parent unknown): bounded, apart from the tree
//! ```
//!
//! Nothing here reads a body, a coin or a clock; `crate::chain` drives it with a store.
//!
//! Rules: `spec/06-proof-of-work.md`.

mod held;
mod locator;
mod orphans;
mod path;
mod rules;
mod shed;
mod switches;
#[cfg(test)]
mod tests;
mod tree;

pub use held::HeldBlocks;
pub use locator::{locator, range_after};
pub use orphans::{Kept, Orphan, OrphanLimits, OrphanPool};
pub use path::Path;
pub use rules::{
    check_clock, check_context, check_extension, check_record, check_work, expected_bits,
};
pub use shed::Remap;
pub use tree::{Entry, HeaderTree, Index, Score, Status, WorkOverflow};
