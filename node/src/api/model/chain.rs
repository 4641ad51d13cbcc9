//! The chain as a whole: status, supply, schedule, validators.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::amount::Pebbles;
use super::hash::Hash32;

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The chain's name.
    pub chain: String,
    /// Id of its first block.
    pub genesis: Hash32,
    /// The program's version.
    pub version: String,
    /// This node's id on the swarm.
    pub peer_id: String,
    /// The tip's engine: pow, pbft, pos or dpos.
    pub consensus: String,
    /// Height of the tip.
    pub height: u64,
    /// Id of the tip.
    pub tip: Hash32,
    /// Highest height that is certified or anchored; 0 in pure proof of work.
    pub finalized_height: u64,
    /// Whether blocks that peers have are still missing here.
    pub syncing: bool,
    /// Connected peers.
    pub peers: u64,
    /// Transactions that wait for a block.
    pub mempool_transactions: u64,
    /// Headers that this node's miner hashed per second, over the last 10 seconds.
    pub hashes_per_second: u64,
}

/// `GET /v1/supply`, at the tip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Supply {
    /// Height of the tip.
    pub height: u64,
    /// Everything ever made: funded accounts and subsidies.
    pub issued: Pebbles,
    /// Everything destroyed.
    pub burned: Pebbles,
    /// `issued` without `burned`: the sum of all coins.
    pub supply: Pebbles,
    /// What `issued` can never exceed.
    pub cap: Pebbles,
    /// What the next block's producer may make.
    pub next_subsidy: Pebbles,
}

/// One entry of the engine schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleEntry {
    /// Position in the schedule.
    pub entry: u32,
    /// Height from which nodes must know it.
    pub announce: u64,
    /// First height at which it may begin.
    pub start: u64,
    /// Its engine: pow, pbft, pos or dpos.
    pub engine: String,
    /// Whether it rules the tip.
    pub active: bool,
    /// Id of its rules.
    pub ruleset_id: Hash32,
    /// The engine's parameters.
    pub parameters: serde_json::Value,
}

/// `GET /v1/schedule`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Schedule {
    /// Hash over the entries announced at the tip.
    pub schedule_hash: Hash32,
    /// The entries in order.
    pub entries: Vec<ScheduleEntry>,
}

/// One validator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Validator {
    /// Its public key.
    pub key: Hash32,
    /// Its voting power.
    pub power: u64,
    /// Whether it is jailed.
    pub jailed: bool,
}

/// `GET /v1/validators`: empty under proof of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Validators {
    /// The tip's engine.
    pub engine: String,
    /// Hash of the set; zero under proof of work.
    pub set_hash: Hash32,
    /// The set in its order.
    pub validators: Vec<Validator>,
}

/// `GET /readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether this node should be given work.
    pub ready: bool,
    /// Why not, in words; empty when ready.
    pub reasons: Vec<String>,
}
