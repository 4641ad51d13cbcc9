//! Engines with their parameters, and the entries of a schedule that put them in force.
//!
//! Invariant: the binary tags are 0 `pow`, 1 `pbft`, 2 `pos`, 3 `dpos` and the encoding is the
//! fields in their order; `schedule_hash` and every ruleset id depend on it.
//! Rules: `spec/01-conventions.md#chain-specification`, `spec/12-switching.md#schedule`.

use crate::codec::bounded;
use crate::limits::{SUBSIDY_STEPS_MAX, VALIDATORS_MAX};
use crate::pow::Bits;
use crate::state::Validator;
use crate::units::{Amount, Height};
use serde::{Deserialize, Serialize};

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

/// Parameters of a PBFT era: its validators never change within it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PbftRules {
    /// The validators, strictly ascending by key.
    #[serde(deserialize_with = "bounded::<_, _, VALIDATORS_MAX>")]
    pub validators: Vec<Validator>,
    /// Pebbles created for each second between a block and its parent.
    pub subsidy_per_second: Amount,
    /// Seconds after the era's end in which evidence of its offences is still accepted.
    pub evidence_window_s: u32,
}

/// Parameters of an era whose validators put coins at stake.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StakeRules {
    /// The validators of the first epochs, strictly ascending by key.
    #[serde(deserialize_with = "bounded::<_, _, VALIDATORS_MAX>")]
    pub validators: Vec<Validator>,
    /// Pebbles created for each second between a block and its parent.
    pub subsidy_per_second: Amount,
    /// Blocks that an epoch has at least.
    pub epoch_blocks: u64,
    /// Seconds that an epoch lasts at least.
    pub epoch_seconds: u32,
    /// Seconds that a bond rests after it left the set; also how long evidence is accepted.
    pub unbonding_seconds: u32,
    /// The smallest bond that counts.
    pub bond_min: Amount,
    /// Validators that a set has at most.
    pub validators_max: u16,
}

/// An engine with its parameters.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Engine {
    /// Tag 0: proof of work.
    Pow(PowRules),
    /// Tag 1: votes of the validators that the specification names.
    Pbft(PbftRules),
    /// Tag 2: votes of those who bonded coins, weighed by them.
    Pos(StakeRules),
    /// Tag 3: votes of those to whom most coins were delegated.
    Dpos(StakeRules),
}

impl Engine {
    /// The name in texts.
    pub fn name(&self) -> &'static str {
        match self {
            Engine::Pow(_) => "pow",
            Engine::Pbft(_) => "pbft",
            Engine::Pos(_) => "pos",
            Engine::Dpos(_) => "dpos",
        }
    }

    /// Whether validators seal its blocks.
    pub fn is_bft(&self) -> bool {
        !matches!(self, Engine::Pow(_))
    }

    /// The validators that the specification names; none under proof of work.
    pub fn validators(&self) -> &[Validator] {
        match self {
            Engine::Pow(_) => &[],
            Engine::Pbft(rules) => &rules.validators,
            Engine::Pos(rules) | Engine::Dpos(rules) => &rules.validators,
        }
    }

    /// Pebbles created a second; 0 under proof of work, which creates them by the block.
    pub fn subsidy_per_second(&self) -> Amount {
        match self {
            Engine::Pow(_) => Amount::ZERO,
            Engine::Pbft(rules) => rules.subsidy_per_second,
            Engine::Pos(rules) | Engine::Dpos(rules) => rules.subsidy_per_second,
        }
    }

    /// Seconds after the era's end in which evidence of its offences is accepted.
    pub fn evidence_window_s(&self) -> u32 {
        match self {
            Engine::Pow(_) => 0,
            Engine::Pbft(rules) => rules.evidence_window_s,
            Engine::Pos(rules) | Engine::Dpos(rules) => rules.unbonding_seconds,
        }
    }
}

/// What a ruleset id stands for: what its votes decide.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RulesetKind {
    /// Kind 0: the blocks of an entry.
    Blocks,
    /// Kind 1: the instance that decides the anchor of a switch.
    Anchor,
    /// Kind 2: the instance that decides the first BFT block of a switch.
    Terminal,
}

impl RulesetKind {
    /// Every kind, in order of tags.
    pub const ALL: [RulesetKind; 3] = [
        RulesetKind::Blocks,
        RulesetKind::Anchor,
        RulesetKind::Terminal,
    ];

    /// The byte in the hash.
    pub fn tag(self) -> u8 {
        match self {
            RulesetKind::Blocks => 0,
            RulesetKind::Anchor => 1,
            RulesetKind::Terminal => 2,
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
