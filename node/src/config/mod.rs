//! The settings of `cairn node`: command line over environment over TOML file.
//!
//! ```text
//!   flags ──┐
//!   CAIRN_… ├─▶ Layer ──▶ Settings (first layer that has the key) ──▶ NodeConfig
//!   file  ──┘
//! ```
//! Invariant: one table (`key::KEYS`) names every setting; the flag `--data-dir`, the variable
//! `CAIRN_DATA_DIR` and the file's key `data_dir` are the same row, parsed by the same code, so the
//! three sources cannot drift apart. A file's unknown key is refused by its name.

mod error;
mod key;
mod layer;
mod node;
mod size;
mod value;

#[cfg(test)]
mod tests;

pub use error::ConfigError;
pub use layer::{Layer, Source};
pub use node::{ChainChoice, LogFormat, NodeConfig, Role};
pub use size::parse_size;
pub use value::Raw;

/// A configuration file larger than this is refused before it is parsed: all settings together fit
/// a few hundred bytes, and a thousand bootnodes fit 128 KiB.
pub const CONFIG_FILE_BYTES_MAX: u64 = 256 * 1024;
/// Most search threads a miner may be given; above any machine this was run on.
pub const THREADS_MAX: usize = 1024;
/// Most `p2p` or `bootnode` addresses; a longer list is a mistake, not a network.
pub const ADDRESSES_MAX: usize = 256;
/// The least `max_memory`: below it the caches cannot hold one block of the largest kind.
pub const MEMORY_BYTES_MIN: u64 = 32 * 1024 * 1024;
