//! What this node is willing to hold and pass on. Policy, not consensus: two nodes may differ.
//!
//! Invariant: every collection of the mempool has a bound here, with its reason.
//! Rules: `spec/11-mempool.md#limits`.

use cairn_protocol::units::{FeeRate, Weight};

use super::members::CLUSTER_COUNT_MAX;

const HOUR_S: u64 = 3600;

/// The limits of a mempool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Memory that resident transactions may take by [`Entry::usage`](super::entry::Entry::usage).
    pub usage_bytes_max: u64,
    /// Transactions of one cluster, at most [`CLUSTER_COUNT_MAX`]. Bounds the cost of every order.
    pub cluster_count_max: usize,
    /// Weight of one cluster: 101 kB at 4 units a byte. Bounds what a pin can cost.
    pub cluster_weight_max: Weight,
    /// The lowest fee rate that is relayed when the pool is empty.
    pub fee_rate_min: FeeRate,
    /// What a replacement pays for its own relay, and how far an eviction lifts the minimum.
    pub fee_rate_step: FeeRate,
    /// Clusters that one replacement may touch. Bounds its cost to so many orders of 64.
    pub replacement_clusters_max: usize,
    /// Seconds a transaction stays without being mined.
    pub expiry_s: u64,
    /// Seconds in which the rolling minimum fee rate halves after a block.
    pub fee_half_life_s: u64,
    /// Wtxids remembered as refused until the next tip.
    pub rejects_max: usize,
    /// Transactions of disconnected blocks held until the reorganisation ends, in bytes.
    pub resurrection_bytes_max: u64,
    /// Bounds of transactions with unknown parents.
    pub orphans: OrphanPolicy,
}

/// Bounds of the orphan pool. Nothing in it has been checked for fees or signatures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OrphanPolicy {
    /// Orphans of all peers together.
    pub count_max: usize,
    /// Encoded bytes of all orphans together.
    pub bytes_max: u64,
    /// Orphans that one peer may have announced.
    pub peer_count_max: usize,
    /// Encoded bytes that one peer may have announced.
    pub peer_bytes_max: u64,
    /// Peers remembered as announcers of one orphan.
    pub announcers_max: usize,
    /// Unknown parents of one orphan: with more it could never fit a cluster.
    pub missing_max: usize,
    /// Seconds an orphan waits.
    pub expiry_s: u64,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            usage_bytes_max: 300_000_000,
            cluster_count_max: CLUSTER_COUNT_MAX,
            cluster_weight_max: 404_000,
            fee_rate_min: FeeRate(250),
            fee_rate_step: FeeRate(250),
            replacement_clusters_max: 100,
            expiry_s: 336 * HOUR_S,
            fee_half_life_s: 12 * HOUR_S,
            rejects_max: 50_000,
            resurrection_bytes_max: 20_000_000,
            orphans: OrphanPolicy::default(),
        }
    }
}

impl Default for OrphanPolicy {
    fn default() -> OrphanPolicy {
        OrphanPolicy {
            count_max: 1_000,
            bytes_max: 8_000_000,
            peer_count_max: 100,
            peer_bytes_max: 800_000,
            announcers_max: 8,
            missing_max: CLUSTER_COUNT_MAX - 1,
            expiry_s: 20 * 60,
        }
    }
}
