//! Deterministic state machines that decide: which chain (engines), which transactions (mempool).
//!
//! Nothing here reads a clock, a disk, a socket, a random source or the order of a hash map: time
//! and secrets are inputs, and the same inputs give the same outputs on every machine.
pub mod asert;
pub mod chain;
pub mod fees;
pub mod limits;
pub mod mempool;
pub mod nakamoto;
pub mod pbft;
pub mod sealed;
pub mod switch;
pub mod template;
pub mod time;
