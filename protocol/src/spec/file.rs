//! The specification as people write it: a TOML file.
//!
//! Invariant: unknown keys are refused, so that a typing error never silently means a default.

use super::{Immutable, Limits, NetworkTag, SubsidyStep, Timing, devnet_validator};
use crate::address::{Address, AddressError, Network};
use crate::bft::BftViolation;
use crate::hash::Hash;
use crate::limits::{BLOCK_WEIGHT_CEILING, FUNDED_MAX, TRANSACTION_BYTES_MAX};
use crate::pow::{Bits, BitsError};
use crate::signature::PublicKey;
use crate::transaction::Output;
use crate::units::{Amount, Height};
use serde::{Deserialize, Serialize};

/// Why a specification is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// No TOML, or a key of the wrong name or type.
    #[error("chain specification: {0}")]
    Syntax(String),
    /// A value that breaks a rule of specifications.
    #[error("chain specification: `{key}` is {value}: expected {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// An engine that this program does not have.
    #[error(
        "chain specification: schedule entry {entry} asks for the engine `{engine}`, which this \
         program does not have yet: `pow` and `pbft` are built"
    )]
    MissingEngine {
        /// Index of the entry.
        entry: usize,
        /// The engine's name.
        engine: String,
    },
    /// A funded address of another network or with a typing error.
    #[error("chain specification: {0}")]
    Address(#[from] AddressError),
    /// A key that no validator may have.
    #[error("chain specification: {0}")]
    Validator(#[from] BftViolation),
    /// A target that is none.
    #[error("chain specification: {0}")]
    Bits(#[from] BitsError),
}

/// An account that genesis funds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Funded {
    /// Address of the chain's network.
    pub address: String,
    /// Pebbles.
    pub amount: Amount,
}

/// Genesis.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisFile {
    /// Seconds since 1970.
    pub time: u32,
    /// Target in compact form.
    pub bits: Bits,
}

/// A validator of a schedule's entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidatorFile {
    /// Its public key, 64 hexadecimal digits.
    pub key: PublicKey,
    /// Its voting power.
    #[serde(default = "one")]
    pub power: u64,
}

fn one() -> u64 {
    1
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One entry of the schedule.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryFile {
    /// See [`super::ScheduleEntry::announce`].
    pub announce: Height,
    /// See [`super::ScheduleEntry::start`].
    pub start: Height,
    /// `pow` or `pbft`; later `pos`, `dpos`.
    pub engine: String,
    /// Target of the first block of a proof-of-work era.
    #[serde(default, skip_serializing_if = "is_default")]
    pub initial_bits: Bits,
    /// Subsidy table of a proof-of-work era.
    #[serde(default, skip_serializing_if = "is_default")]
    pub subsidy: Vec<SubsidyStep>,
    /// Pebbles that a BFT era creates for each second between a block and its parent.
    #[serde(default, skip_serializing_if = "is_default")]
    pub subsidy_per_second: Amount,
    /// Seconds after a BFT era's end in which evidence of its offences is accepted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub evidence_window_s: u32,
    /// See [`super::ScheduleEntry::k`].
    #[serde(default)]
    pub k: u64,
    /// See [`super::ScheduleEntry::m`].
    #[serde(default)]
    pub m: u64,
    /// Validators of a BFT era, in any order.
    #[serde(default, skip_serializing_if = "is_default")]
    pub validators: Vec<ValidatorFile>,
}

impl EntryFile {
    /// An entry from genesis on in which the devnet validators `0..validators` vote with power 1.
    pub fn devnet_pbft(validators: u32, subsidy_per_second: Amount) -> EntryFile {
        let validator = |number| ValidatorFile {
            key: devnet_validator(number),
            power: 1,
        };
        EntryFile {
            start: 1,
            engine: "pbft".to_owned(),
            subsidy_per_second,
            evidence_window_s: 86_400,
            validators: (0..validators).map(validator).collect(),
            ..EntryFile::default()
        }
    }
}

/// How this chain's nodes mine. Policy: genesis does not commit to it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MiningPolicy {
    /// Hashes a second that one node's miner searches at most, from height 2 on; 0 is no limit.
    #[serde(default)]
    pub hashes_per_second: u64,
}

/// How nodes find and judge chains of this specification. Genesis does not commit to it.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncPolicy {
    /// Work that a chain must show before memory is spent on its headers, 64 hexadecimal digits.
    #[serde(default)]
    pub minimum_chain_work: Hash,
    /// Multiaddresses of first peers.
    #[serde(default)]
    pub bootnodes: Vec<String>,
}

/// A chain specification file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecFile {
    /// Name of the chain.
    pub name: String,
    /// Network: the prefix of its addresses.
    pub network: Network,
    /// Whether development keys and commands are allowed.
    #[serde(default)]
    pub devnet: bool,
    /// Keeps two devnets apart.
    #[serde(default)]
    pub seed: Hash,
    /// Genesis.
    pub genesis: GenesisFile,
    /// Limits.
    pub limits: Limits,
    /// Time and proof of work.
    pub timing: Timing,
    /// Policy of mining.
    #[serde(default)]
    pub mining: MiningPolicy,
    /// Policy of sync.
    #[serde(default)]
    pub sync: SyncPolicy,
    /// Coins that genesis creates.
    #[serde(default)]
    pub funded: Vec<Funded>,
    /// The schedule; the first entry is in force from height 1.
    pub schedule: Vec<EntryFile>,
}

pub(super) fn value_error(
    key: &'static str,
    value: impl ToString,
    expected: impl ToString,
) -> SpecError {
    SpecError::Value {
        key,
        value: value.to_string(),
        expected: expected.to_string(),
    }
}

impl SpecFile {
    /// Reads a TOML text; the values are checked when parameters are made of it.
    pub fn parse(text: &str) -> Result<SpecFile, SpecError> {
        toml::from_str(text).map_err(|error| SpecError::Syntax(error.to_string()))
    }

    /// The file as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a specification has no value that TOML lacks")
    }

    /// The part that genesis commits to, with every value checked.
    pub(super) fn immutable(&self) -> Result<Immutable, SpecError> {
        self.check_limits()?;
        self.check_timing()?;
        if self.name.is_empty() || self.name.len() > 64 {
            return Err(value_error("name", &self.name, "1 to 64 bytes"));
        }
        if self.devnet != (self.network == Network::Devnet) {
            return Err(value_error(
                "devnet",
                self.devnet,
                "true with network \"devnet\" only",
            ));
        }
        if self.funded.len() > FUNDED_MAX {
            return Err(value_error(
                "funded",
                self.funded.len(),
                format!("at most {FUNDED_MAX}"),
            ));
        }
        let mut funded = Vec::new();
        for Funded { address, amount } in &self.funded {
            if *amount == Amount::ZERO {
                return Err(value_error("funded.amount", amount, "more than 0"));
            }
            let lock = Address::parse(address, self.network)?.lock();
            funded.push(Output {
                value: *amount,
                lock,
            });
        }
        let sum = Amount::checked_sum(funded.iter().map(|output| output.value));
        if sum.is_none_or(|sum| sum > self.limits.money_cap) {
            return Err(value_error(
                "funded",
                "more than the money cap",
                self.limits.money_cap,
            ));
        }
        Ok(Immutable {
            name: self.name.clone(),
            network: NetworkTag::from(self.network),
            devnet: self.devnet,
            seed: self.seed,
            genesis_time: self.genesis.time,
            genesis_bits: self.genesis.bits,
            limits: self.limits,
            timing: self.timing,
            funded,
        })
    }

    fn check_limits(&self) -> Result<(), SpecError> {
        let Limits {
            block_weight_max,
            transaction_weight_max,
            money_cap,
            ..
        } = self.limits;
        if !(100_000..=BLOCK_WEIGHT_CEILING).contains(&block_weight_max) {
            let expected = format!("100000 to {BLOCK_WEIGHT_CEILING}");
            return Err(value_error(
                "limits.block_weight_max",
                block_weight_max,
                expected,
            ));
        }
        let ceiling = (TRANSACTION_BYTES_MAX as u64).min(block_weight_max / 2);
        if !(10_000..=ceiling).contains(&transaction_weight_max) {
            let expected = format!("10000 to {ceiling}");
            return Err(value_error(
                "limits.transaction_weight_max",
                transaction_weight_max,
                expected,
            ));
        }
        // Below 2^63 no sum of two amounts overflows, whatever a rule forgets.
        if money_cap.0 == 0 || money_cap.0 >= 1 << 63 {
            return Err(value_error(
                "limits.money_cap",
                money_cap,
                "1 to 2^63 - 1 pebbles",
            ));
        }
        Ok(())
    }

    fn check_timing(&self) -> Result<(), SpecError> {
        let Timing {
            limit_bits,
            block_time_ms,
            half_life_s,
            max_future_s,
            ..
        } = self.timing;
        let limit = limit_bits.to_target()?;
        if self.genesis.bits.to_target()? > limit {
            return Err(value_error(
                "genesis.bits",
                self.genesis.bits,
                "at most the limit",
            ));
        }
        if !(1..=86_400_000).contains(&block_time_ms) {
            return Err(value_error(
                "timing.block_time_ms",
                block_time_ms,
                "1 to 86400000",
            ));
        }
        if half_life_s > 0 && block_time_ms % 1000 != 0 {
            let expected = "whole seconds where the target is retargeted (half_life_s > 0)";
            return Err(value_error("timing.block_time_ms", block_time_ms, expected));
        }
        if half_life_s > 10 * 365 * 86_400 {
            return Err(value_error(
                "timing.half_life_s",
                half_life_s,
                "at most ten years",
            ));
        }
        if !(1..=86_400).contains(&max_future_s) {
            return Err(value_error(
                "timing.max_future_s",
                max_future_s,
                "1 to 86400",
            ));
        }
        Ok(())
    }
}
