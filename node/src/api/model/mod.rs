//! What crosses the API: plain types with one JSON form each, written and read by the same code.
//!
//! Invariant: amounts in pebbles are decimal strings (a `u64` does not fit JSON's numbers), hashes
//! are lower-case hex in wire order, counts, heights and times are numbers. A field's name here is
//! the column's name in SQL.

pub mod address;
pub mod amount;
pub mod block;
pub mod chain;
pub mod event;
pub mod fees;
pub mod hash;
pub mod mempool;
pub mod miner;
pub mod peer;
pub mod stratum;
pub mod transaction;
