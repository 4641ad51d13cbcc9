//! The shell of the PBFT core: its own thread with sockets, clock, key and disk.
//!
//! ```text
//!   links ──frames──▶ early ─▶ core ─▶ safety file ─▶ outbox ─▶ sign ─▶ links
//!                       ▲       │ Propose, Validate, Decided
//!                  bodies ◀─────┴──────▶ ledger thread
//! ```
//! One instance at a time: the height after the tip. It begins when the block time since the last
//! decision is over, or when somebody else has begun.
//!
//! Invariant: a vote leaves only after its promise is synced, in the order in which the core made
//! them; rules and decisions are the core's and the ledger's. Rules: `spec/09-bft.md`.

mod bodies;
mod early;
mod effects;
mod greeting;
mod incoming;
mod instance;
mod metrics;
mod status;
mod task;
mod values;
mod voting;

pub use metrics::BftMetrics;
pub use task::{BftConfig, BftHandle, start};
