//! The durable chain: headers, blocks, the coins at the tip, indexes, and views of them.
//!
//! ```text
//!   connect/disconnect            every reader
//!          │                          │
//!          ▼                          ▼
//!    [ active layer ]  <──  ChainSnapshot { state, layers up to a change, base, log }
//!    [ frozen layer ]  <──        (as long as a flush of it runs)
//!    [ tables, redb ]  <──  one sorted transaction per flush
//!          ▲
//!    [ log: headers, blocks, undo, steps ]   appended first, replayed from the flushed place
//! ```
//!
//! The log is the truth and the tables are its fold: a record of the log says each thing that ever
//! happened (a header came, a body came, a block was connected with this undo data, taken off, found
//! invalid), and the tables hold the outcome up to one position of the log. Losing the tables costs a
//! replay.
//!
//! Invariants:
//! * a table row is never newer than the log record that caused it, and that record was synced before;
//! * a published [`ChainSnapshot`] answers the same for ever (until its reader's age cap);
//! * a coin, its rows by address and the commitment in the state change in one step.

mod address;
mod base;
mod block_store;
mod change;
mod coin_cache;
mod file;
mod flush;
mod index;
mod layer;
mod open;
mod options;
mod prefetch;
mod record;
mod rows;
mod snapshot;
mod store;
mod upkeep;
mod verify;

pub use address::{AddressCoin, AddressSummary, AddressTransaction};
pub use file::{ChainFileReader, ChainFileWriter, Progress, export_chain};
pub use options::{StoreOptions, StoreStats};
pub use rows::{HeaderRow, TxPlace};
pub use snapshot::{ChainReader, ChainSnapshot, HeaderMeta};
pub use store::ChainStore;
pub use verify::{Verified, verify};
