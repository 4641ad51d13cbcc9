//! Relay: what is missing of a compact block is fetched, and transactions leave in batches.
//!
//! Both are pure: time and random delays are inputs, the node runs the effects.
//! Source: `spec/08-sync.md#compact-blocks`, `spec/07-p2p.md#gossip`.

mod batches;
mod compact;

pub use batches::Batches;
pub use compact::{CompactRelay, RelayEffect, RelayInput, RelayRequest};
