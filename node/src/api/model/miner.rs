//! The node's own miner.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::stratum::StratumStatus;

/// `GET /v1/miner`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MinerStatus {
    /// Whether this node was started with `--mine`.
    pub enabled: bool,
    /// Whether it was told to pause.
    pub paused: bool,
    /// The proof-of-work function: sha256d or blake3.
    pub algo: String,
    /// The code that searches.
    pub kernel: String,
    /// Search threads.
    pub threads: u64,
    /// Headers hashed per second, lately.
    pub hashes_per_second: f64,
    /// Headers hashed since the start.
    pub hashes: u64,
    /// Blocks found since the start.
    pub blocks_found: u64,
    /// Where rewards go.
    pub address: Option<String>,
    /// Foreign miners; null when this node was started without `--stratum`.
    pub stratum: Option<StratumStatus>,
}

/// The body of `POST /v1/miner`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MinerRequest {
    /// Whether to pause.
    pub paused: bool,
}
