//! The mempool: transactions that wait to be mined, ordered as a miner would take them.
//!
//! ```text
//!  bytes ── prepare ──▶ Candidate ── signatures, batched by the caller ──▶ VerifiedTx ── insert ──▶ resident
//!              │ MissingInputs                                                            │
//!              ▼                                                                          ▼
//!           orphans ◀── parent_arrived ───────────────────────────────── clusters: graph → linearization → chunks
//!                                                                          best chunk ▲ template
//!                                                                         worst chunk ▼ eviction
//! ```
//!
//! Residents that spend each other's outputs form a *cluster* of at most 64. Each cluster is put in
//! order and cut into *chunks* of falling fee rate; one queue holds the chunks of all clusters. Mining
//! takes from its head, eviction from its tail, and a replacement is allowed if the *diagram* (fee
//! over weight) of the clusters it touches gets better. So what is mined first, what is kept and what
//! may be replaced follow one measure, and no two of them can be played against each other.
//!
//! Pure: time, coins and the place on the chain are arguments; no clock, no I/O, no randomness, no
//! map order that differs between runs. The order of residents depends on which they are and not on
//! how they came. Rules: `spec/11-mempool.md`.
//!
//! What it deliberately lacks: signature checks (the caller batches them), a coin set (a
//! [`CoinView`](cairn_protocol::ledger::CoinView) is passed in), files, peers beyond a number.

pub mod diagram;
pub mod graph;
pub mod linearize;
pub mod members;
pub mod orphans;
pub mod persist;

mod entry;
mod lookup;
mod min_fee;
mod policy;
mod pool;
mod refusal;
mod rejects;
mod removed;
mod reorg;
mod replace;
mod slab;
mod store;
mod template;
mod verified;

#[cfg(test)]
pub(crate) mod tests;

pub use entry::{Entry, UNCONFIRMED};
pub use lookup::{PoolView, Stats};
pub use members::CLUSTER_COUNT_MAX;
pub use orphans::{Orphan, OrphanRefused, PeerKey};
pub use persist::{DumpError, decode_dump, encode_dump};
pub use policy::{OrphanPolicy, Policy};
pub use pool::{Accepted, Mempool};
pub use refusal::{Refusal, Rejection};
pub use removed::{Removal, Removed};
pub use reorg::TipReport;
pub use template::{Selected, Selection};
pub use verified::{Candidate, VerifiedTx};
