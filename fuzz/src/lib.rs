//! Fuzz targets: every decoder that reads bytes of strangers or of a damaged disk.
//!
//! A target is a function over bytes that must not panic, abort or take more memory than its input
//! allows; most check a property besides. [`TARGETS`] names them all; each has a binary of the same
//! name under `bin/` for libFuzzer, and `tests/seeds.rs` runs every seed through every target
//! without it.
//!
//! Invariant: no target touches the network, the clock or a file.

pub mod ledger;
pub mod seeds;
pub mod store;
pub mod text;
pub mod wire;

// Files of crates that link libp2p or an HTTP server, which would make an instrumented build dear:
// they are compiled in here as they are.
#[allow(dead_code, missing_docs, unused_imports)]
#[path = "../../node/src/config/mod.rs"]
pub mod config;
#[allow(dead_code, missing_docs, unused_imports)]
#[path = "../../network/src/frame.rs"]
pub mod frame;
#[allow(dead_code, missing_docs, unused_imports)]
#[path = "../../node/src/keystore/mod.rs"]
pub mod keystore;
#[allow(dead_code, missing_docs, unused_imports)]
#[path = "../../network/src/limits.rs"]
pub mod limits;

/// A target's name and function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("transaction", ledger::transaction),
    ("block", ledger::block),
    ("header_record", ledger::header_record),
    ("coinbase", ledger::coinbase),
    ("proof", ledger::proof),
    ("signatures", ledger::signatures),
    ("bits", ledger::bits),
    ("retarget", ledger::retarget),
    ("status", wire::status),
    ("goodbye", wire::goodbye),
    ("sync_request", wire::sync_request),
    ("sync_response", wire::sync_response),
    ("tx_batch", wire::tx_batch),
    ("compact_block", wire::compact_block),
    ("frame", wire::frame),
    ("chain_file", store::chain_file),
    ("segment_log", store::segment_log),
    ("chain_rows", store::chain_rows),
    ("address", text::address),
    ("chain_spec", text::chain_spec),
    ("node_config", text::node_config),
    ("keystore_file", text::keystore_file),
    ("size", text::size),
];
