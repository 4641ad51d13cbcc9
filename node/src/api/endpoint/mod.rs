//! One file per noun; each handler reads one thing from the node and documents itself.

pub mod address;
pub mod block;
pub mod chain;
pub mod header;
pub mod health;
pub mod mempool;
pub mod miner;
pub mod node;
pub mod page;
pub mod sql;
pub mod transaction;
