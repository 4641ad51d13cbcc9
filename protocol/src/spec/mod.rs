//! The chain specification: what makes one chain this chain.
//!
//! Invariant: `spec_hash` covers every immutable value and no other; genesis commits to it.
//! Rules: `spec/01-conventions.md#chain-specification`.

mod file;
mod params;

pub use file::{Funded, MiningPolicy, SpecError, SpecFile};
pub use params::{ChainParams, builtin};

use crate::address::Network;
use crate::codec::bounded;
use crate::hash::{self, Hash};
use crate::limits::{FUNDED_MAX, SUBSIDY_STEPS_MAX};
use crate::pow::{Bits, PowFunction};
use crate::transaction::Output;
use crate::units::{Amount, Height, Weight};
use serde::{Deserialize, Serialize};

/// Limits that a chain chooses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Weight of a block.
    pub block_weight_max: Weight,
    /// Weight of a transaction.
    pub transaction_weight_max: Weight,
    /// Blocks that a coinbase coin rests.
    pub coinbase_maturity: Height,
    /// Pebbles that may ever exist.
    pub money_cap: Amount,
}

/// Time and proof of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// Function that miners search.
    pub pow_function: PowFunction,
    /// The easiest target.
    pub limit_bits: Bits,
    /// Time between blocks that the retarget and the devnet's miners aim at, in milliseconds.
    pub block_time_ms: u64,
    /// Half-life of the retarget (τ), in seconds; 0 keeps the target fixed.
    pub half_life_s: u64,
    /// How far a header may be ahead of a node's clock, in seconds.
    pub max_future_s: u32,
}

/// The part of a specification that genesis commits to. The encoding is its fields in this order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Immutable {
    /// Name of the chain.
    pub name: String,
    /// Tag of the network: 0 mainnet, 1 testnet, 2 devnet.
    pub network: NetworkTag,
    /// Whether development keys and commands are allowed.
    pub devnet: bool,
    /// Random bytes that keep two devnets apart; zero elsewhere.
    pub seed: Hash,
    /// Time of genesis.
    pub genesis_time: u32,
    /// Bits of genesis.
    pub genesis_bits: Bits,
    /// Limits.
    pub limits: Limits,
    /// Time and proof of work.
    pub timing: Timing,
    /// Coins that genesis creates, in order.
    #[serde(deserialize_with = "bounded::<_, _, FUNDED_MAX>")]
    pub funded: Vec<Output>,
}

impl Immutable {
    /// `spec_hash`.
    pub fn hash(&self) -> Hash {
        Hash(hash::SPEC.hash(&[&crate::codec::encode(self)]))
    }
}

/// A network as its binary tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NetworkTag {
    /// Tag 0.
    Mainnet,
    /// Tag 1.
    Testnet,
    /// Tag 2.
    Devnet,
}

impl From<Network> for NetworkTag {
    fn from(network: Network) -> NetworkTag {
        match network {
            Network::Mainnet => NetworkTag::Mainnet,
            Network::Testnet => NetworkTag::Testnet,
            Network::Devnet => NetworkTag::Devnet,
        }
    }
}

/// From `height` on, each block creates `subsidy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubsidyStep {
    /// First height.
    pub height: Height,
    /// Pebbles a block.
    pub subsidy: Amount,
}

/// Parameters of a proof-of-work era.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PowRules {
    /// Target of the era's first block.
    pub initial_bits: Bits,
    /// Subsidy by height, ascending; before the first step there is none.
    #[serde(deserialize_with = "bounded::<_, _, SUBSIDY_STEPS_MAX>")]
    pub subsidy: Vec<SubsidyStep>,
}

/// An engine with its parameters. Tags 1, 2 and 3 are reserved for `pbft`, `pos` and `dpos`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Engine {
    /// Tag 0: proof of work.
    Pow(PowRules),
}

impl Engine {
    /// The name in texts.
    pub fn name(&self) -> &'static str {
        match self {
            Engine::Pow(_) => "pow",
        }
    }
}

/// One entry of the schedule. The encoding is its fields in this order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ScheduleEntry {
    /// Height from which `schedule_hash` covers this entry.
    pub announce: Height,
    /// `S0`: the first height at which the entry may take effect.
    pub start: Height,
    /// The engine.
    pub engine: Engine,
    /// `K`: heights between two tries of a switch; 0 in the first entry.
    pub k: u64,
    /// `m`: tries before the entry lapses; 0 in the first entry.
    pub m: u64,
}
