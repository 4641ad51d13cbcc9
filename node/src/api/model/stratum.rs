//! Foreign miners, as `/v1/miner` shows them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The Stratum listener of a node that has one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StratumStatus {
    /// Where it listens: address and port.
    pub listen: String,
    /// Open connections.
    pub connections: u64,
    /// Hash rate of all workers, by their shares of the last minutes.
    pub hashes_per_second: f64,
    /// Workers that are known; the list below ends at a thousand.
    pub workers_total: u64,
    /// The workers, the fastest first.
    pub workers: Vec<StratumWorker>,
}

/// One worker: an address and the name of a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StratumWorker {
    /// The address that is paid for its blocks.
    pub address: String,
    /// The name that it authorized with after the address; may be empty.
    pub worker: String,
    /// Its open connections.
    pub connections: u64,
    /// Shares that count.
    pub accepted: u64,
    /// Shares for an unknown job or an old tip.
    pub stale: u64,
    /// Shares sent before.
    pub duplicate: u64,
    /// Shares that miss their target.
    pub low_difficulty: u64,
    /// Shares with a field out of bounds.
    pub invalid: u64,
    /// Blocks of the chain that it found.
    pub blocks_found: u64,
    /// Difficulty of its last accepted share; 0 before the first.
    pub difficulty: f64,
    /// Its hash rate, by its shares of the last minutes.
    pub hashes_per_second: f64,
    /// Seconds since its last accepted share.
    pub last_share_seconds: Option<u64>,
}
