//! The words and the laws of Cairn: types, canonical bytes, hashes, ledger rules, wire messages and
//! every limit.
//!
//! Invariant: everything here is a pure function of its arguments. There is no clock, no I/O, no
//! randomness, no thread and no order of a hash map. `spec/` is the authority for bytes; every item
//! names its section.

pub mod address;
pub mod bft;
pub mod block;
pub mod codec;
pub mod coinbase;
pub mod extension;
pub mod hash;
pub mod header;
pub mod ledger;
pub mod limits;
pub mod lock;
pub mod lthash;
pub mod merkle;
pub mod pow;
pub mod rules;
pub mod signature;
pub mod spec;
pub mod state;
pub mod transaction;
pub mod units;
pub mod wire;
