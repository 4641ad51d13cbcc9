//! The chain specification: what makes one chain this chain.
//!
//! Invariant: `spec_hash` covers every immutable value and no other; genesis commits to it.
//! Rules: `spec/01-conventions.md#chain-specification`.

mod devnet;
mod engine;
mod file;
mod params;
mod ruleset;
mod schedule;
mod switching;

pub use devnet::{devnet_validator, devnet_validator_seed};
pub use engine::{
    Engine, PbftRules, PowRules, RulesetKind, ScheduleEntry, StakeRules, SubsidyStep,
};
pub use file::{EntryFile, Funded, MiningPolicy, SpecError, SpecFile, ValidatorFile};
pub use params::{ChainParams, builtin};
pub use ruleset::Ruleset;
pub use switching::SWITCH_HEIGHT_MAX;

use crate::address::Network;
use crate::codec::bounded;
use crate::hash::{self, Hash};
use crate::limits::FUNDED_MAX;
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
