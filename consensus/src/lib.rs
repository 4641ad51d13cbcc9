//! Deterministic state machines that decide: which chain (engines), which transactions (mempool).
pub mod asert;
pub mod mempool;
pub mod time;
