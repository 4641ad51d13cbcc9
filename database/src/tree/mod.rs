//! Append-only hash trees of RFC 6962 with SHA-256.
//!
//! ```text
//!   group tree                                   tree of one entry
//!   leaf i = header of the entry at lsn i        leaf i = salt i || change i
//!            └──────────── holds ─────────────►  root
//! ```
//!
//! The root of a group's tree at size `n` thus fixes the first `n` entries to the last byte, while a
//! proof of one row shows the headers and hashes on its way and no other row: a leaf of the entry's
//! tree is salted, so that nobody can try values against a neighbour's hash.
//!
//! Invariant: leaves are added when their entry is committed and never taken back; the frontier (at
//! most 64 hashes) is enough to go on, the tiles are enough to prove. Bytes and rules:
//! `spec/13-database.md#tree`.

mod frontier;
mod hash;
mod proof;
mod tile;

pub use frontier::{FRONTIER_BYTES_MAX, Frontier};
pub use hash::{EMPTY_ROOT, Hash, leaf_hash, node_hash, root_of};
pub use proof::{
    ProofError, consistency_proof, inclusion_proof, prove_consistency, prove_inclusion,
    verify_consistency, verify_inclusion,
};
pub use tile::{TILE_LEAVES, TileFiles};
