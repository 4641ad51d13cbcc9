//! Durable state of a node: block and undo segments, coins, indexes, snapshots.
//!
//! ```text
//!            blocks, undo                      coins, indexes, tip
//!   ┌───────────────────────────┐     ┌──────────────────────────────────┐
//!   │ segment: append-only logs │     │ chain: layers in memory over     │
//!   │ synced before anything is │ ──> │ table: one redb file, flushed in │
//!   │ announced                 │     │ one sorted transaction           │
//!   └───────────────────────────┘     └──────────────────────────────────┘
//!                  both on disk: a trait, real or simulated
//! ```
//!
//! Storage makes no decisions: it neither chooses a chain nor judges a block beyond applying the
//! protocol's own `connect_block`. Invariant: what it said to be durable is there after a power cut,
//! and damage is told, with the name of the record, and never served.

pub mod chain;
pub mod directory;
pub mod disk;
pub mod error;
pub mod kv_file;
pub mod safety;
pub mod segment;
pub mod table;

pub use chain::{ChainReader, ChainSnapshot, ChainStore, StoreOptions};
pub use directory::DataDirectory;
pub use error::{Result, StorageError};
