//! What the benchmarks of whole processes share.
#![allow(
    dead_code,
    reason = "each benchmark is a crate of its own and uses a part"
)]

pub mod payments;
pub mod process;
