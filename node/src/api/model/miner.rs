//! The node's own miner.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::stratum::StratumStatus;

/// `GET /v1/miner`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MinerStatus {
    /// Whether this node was started with `--mine`.
    pub enabled: bool,
    /// Whether it rests, for whatever reason.
    pub paused: bool,
    /// Why it rests: requested, syncing, no_peers, on_battery.
    pub pauses: Vec<String>,
    /// The proof-of-work function: sha256d or blake3.
    pub algo: String,
    /// The code that searches.
    pub kernel: String,
    /// Search threads.
    pub threads: u64,
    /// Headers hashed per second, over the last minute.
    pub hashes_per_second: f64,
    /// What each kernel did that has hashed anything.
    pub rates: Vec<KernelRate>,
    /// Hashes per second of the whole network: the growth of the chain's work over its last blocks.
    pub network_hashes_per_second: f64,
    /// Headers hashed since the start.
    pub hashes: u64,
    /// Blocks found since the start.
    pub blocks_found: u64,
    /// Where rewards go.
    pub address: Option<String>,
    /// Foreign miners; null when this node was started without `--stratum`.
    pub stratum: Option<StratumStatus>,
}

/// What one kernel did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct KernelRate {
    /// The function.
    pub algo: String,
    /// The kernel.
    pub kernel: String,
    /// Headers hashed since the start.
    pub hashes: u64,
    /// Per second, over the last 10 seconds.
    pub hashes_per_second_10s: f64,
    /// Per second, over the last minute.
    pub hashes_per_second_60s: f64,
    /// Per second, over the last 15 minutes.
    pub hashes_per_second_15m: f64,
    /// Per second of processor time, since the start.
    pub hashes_per_cpu_second: f64,
}

/// The body of `POST /v1/miner`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MinerRequest {
    /// Whether to pause.
    pub paused: bool,
}
