//! Rows and index entries on disk: the fold of the log.
//!
//! ```text
//!   write: entries of a batch ──► one redb transaction {cur, hist, meta: applied} ──► Snapshot
//!   read : Arc<Snapshot>, at T
//! ```
//! Most write transactions are not durable: the log is. A durable one (a checkpoint) comes now and
//! then, so that a restart replays little.
//!
//! Invariants: `applied` stands in the same transaction as what was applied, so replay never applies an
//! entry twice and never skips one; a published snapshot is immutable.

mod backend;
mod engine;
mod fold;
mod meta;
mod redb_engine;

pub use engine::{Engine, EngineReader, EngineWriter, Pair, Rows, Tree};
pub use fold::{
    Applied, CATALOG, Derive, Effect, FIRST_STORAGE, Fold, HORIZON, NoIndexes, SEQUENCES, Store,
};
pub use meta::Meta;
pub use redb_engine::RedbEngine;

/// Result of the store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A fault of the store, or a read below its horizon.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine refused.
    #[error("store: cannot {doing}: {cause}")]
    Engine {
        /// What was attempted.
        doing: &'static str,
        /// The engine's answer.
        cause: String,
    },
    /// What is stored makes no sense.
    #[error("damaged store: {0}; run `cairn db verify`")]
    Damaged(String),
    /// The versions asked for may be gone.
    #[error("snapshot too old: timestamp {at} is below the horizon {horizon}")]
    BelowHorizon {
        /// Asked for.
        at: u64,
        /// The lowest readable one.
        horizon: u64,
    },
}

impl StoreError {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        StoreError::Damaged(what.into())
    }
}

#[cfg(test)]
mod tests;
