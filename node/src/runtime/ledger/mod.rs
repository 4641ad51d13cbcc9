//! The ledger task: one thread that owns the chain and moves it, and a handle for everyone else.
//!
//! ```text
//!  relay, sync, miner, API ──commands──> [ thread: Chain + store + signature cache ]
//!                          <──replies──          │ publishes        │ emits
//!                                          ChainSnapshot        LedgerEvent
//! ```
//!
//! Invariants: the chain moves in one thread; a reply comes after what it says is durable (but for
//! bodies far below the best header, see `batch.rs`); readers
//! use published snapshots and never wait for the thread. The mempool is behind a lock that the
//! thread holds only while it changes it.

mod batch;
mod bft;
mod command;
mod event;
mod submit;
mod worker;

pub use bft::{Appended, Proposal, Verdict};
pub use command::{BlockReply, LedgerHandle, LedgerStopped};
pub use event::LedgerEvent;
pub use submit::SubmitError;
pub use worker::{LedgerConfig, panic_text, start};

#[cfg(test)]
pub(super) mod tests;
