//! The ledger's state: the coin set's commitment and the engine state.
//!
//! Invariant: `issued - burned` equals the sum of all coins' values.
//! Rules: `spec/05-blocks-and-state.md#state`.

use crate::codec::{self, bounded};
use crate::hash::{self, BlockId, Hash};
use crate::limits::{MEDIAN_TIMES, OFFENCES_MAX, VALIDATORS_MAX};
use crate::lthash::LtHash;
use crate::pow::Bits;
use crate::signature::PublicKey;
use crate::spec::{ChainParams, Engine, Ruleset, ScheduleEntry};
use crate::units::{Amount, Height};
use serde::{Deserialize, Serialize};

/// One validator of a set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Validator {
    /// Its key.
    pub key: PublicKey,
    /// Its voting power.
    pub power: u64,
}

/// A validator kept out of the set for a while.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Jailed {
    /// Its key.
    pub key: PublicKey,
    /// Seconds since 1970 at which it may come back.
    pub until: u32,
}

/// A proven offence: coins liable at `height` are worth `factor` of 2^32 of their value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Offence {
    /// The offender's key.
    pub key: PublicKey,
    /// Height of the offence.
    pub height: Height,
    /// What remains of each liable pebble, in 2^-32.
    pub factor: u32,
}

/// Where the current proof-of-work era's retarget is anchored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Serialize, Deserialize)]
pub struct EraAnchor {
    /// First height of the era.
    pub height: Height,
    /// Its target.
    pub bits: Bits,
    /// Time of the block before it.
    pub parent_time: u32,
}

/// How far a switch of engines has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Serialize, Deserialize)]
pub struct SwitchState {
    /// Schedule entry in force.
    pub entry: u32,
    /// First height of that entry on this branch.
    pub since: Height,
    /// Schedule entry to which a switch from proof of work is under way, until the first block of its
    /// era was made; 0 if none.
    pub pending: u32,
    /// Its anchor block; zero if none was included.
    pub anchor: BlockId,
    /// Height of the block that included the anchor certificate; 0 if none.
    pub included_at: Height,
}

impl SwitchState {
    /// Whether the next block is the first of an era that takes over from proof of work: TERMINAL
    /// decides it.
    pub fn is_crossing(&self) -> bool {
        self.pending != 0 && self.pending == self.entry
    }

    /// Whether a switch is under way whose anchor certificate the branch does not include yet.
    pub fn is_open(&self) -> bool {
        self.pending != 0 && self.included_at == 0
    }
}

/// The part of the state that no coin holds. The encoding is its fields in this order.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug, Serialize, Deserialize)]
pub struct EngineState {
    /// Pebbles ever created: genesis and subsidies.
    pub issued: Amount,
    /// Pebbles ever destroyed: subsidies and fees that a coinbase did not claim, and slashes.
    pub burned: Amount,
    /// Number of the epoch.
    pub epoch: u64,
    /// Its first height.
    pub epoch_height: Height,
    /// Time of its first block.
    pub epoch_time: u32,
    /// Seed of the leader draw.
    pub seed: Hash,
    /// The validator set of this epoch.
    #[serde(deserialize_with = "bounded::<_, _, VALIDATORS_MAX>")]
    pub current_set: Vec<Validator>,
    /// The validator set of the next epoch.
    #[serde(deserialize_with = "bounded::<_, _, VALIDATORS_MAX>")]
    pub next_set: Vec<Validator>,
    /// Jailed validators, in order of keys.
    #[serde(deserialize_with = "bounded::<_, _, VALIDATORS_MAX>")]
    pub jail: Vec<Jailed>,
    /// Proven offences, in order of discovery.
    #[serde(deserialize_with = "bounded::<_, _, OFFENCES_MAX>")]
    pub offences: Vec<Offence>,
    /// The switch.
    pub switch: SwitchState,
    /// Anchor of the retarget.
    pub era: EraAnchor,
    /// Times of the last blocks, oldest first, at most eleven.
    #[serde(deserialize_with = "bounded::<_, _, MEDIAN_TIMES>")]
    pub last_times: Vec<u32>,
}

impl EngineState {
    /// Money in existence.
    pub fn supply(&self) -> Amount {
        self.issued
            .checked_sub(self.burned)
            .expect("burned money was issued before")
    }

    /// Median of the last times: what the next block's time must exceed under proof of work.
    pub fn median_time(&self) -> u32 {
        median(&self.last_times)
    }

    /// Time of the last block.
    pub fn last_time(&self) -> u32 {
        self.last_times.last().copied().unwrap_or(0)
    }

    /// Sets the fields that a schedule entry owns, before its first block at `height`, whose parent
    /// has `parent_time`: the retarget's anchor under proof of work, epoch and set elsewhere. The
    /// entry's place in the schedule is the caller's to set.
    pub fn enter(&mut self, entry: &ScheduleEntry, height: Height, parent_time: u32) {
        let is_bft = entry.engine.is_bft();
        self.epoch = 0;
        self.epoch_height = if is_bft { height } else { 0 };
        self.epoch_time = if is_bft { parent_time } else { 0 };
        self.seed = Hash::ZERO;
        self.current_set = entry.engine.validators().to_vec();
        self.next_set = Vec::new();
        self.era = match &entry.engine {
            Engine::Pow(rules) => EraAnchor {
                height,
                bits: rules.initial_bits,
                parent_time,
            },
            Engine::Pbft(_) | Engine::Pos(_) | Engine::Dpos(_) => EraAnchor::default(),
        };
    }

    /// Appends a block's time and forgets the oldest beyond eleven.
    pub fn push_time(&mut self, time: u32) {
        if self.last_times.len() == MEDIAN_TIMES {
            self.last_times.remove(0);
        }
        self.last_times.push(time);
    }
}

/// The median of times in any order: the upper one of an even number; 0 of none.
pub fn median(times: &[u32]) -> u32 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

/// The state after a block.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LedgerState {
    /// Height of the block.
    pub height: Height,
    /// Its id.
    pub tip: BlockId,
    /// Commitment to the coin set.
    pub coins: LtHash,
    /// The rest.
    pub engine: EngineState,
}

impl LedgerState {
    /// What times in transactions of the next block are compared with: the median time under proof
    /// of work, where a miner may lie, and the time of the last block under BFT.
    pub fn lock_time(&self, params: &ChainParams) -> u32 {
        if self.rules(params).is_bft() {
            self.engine.last_time()
        } else {
            self.engine.median_time()
        }
    }

    /// The rules of the next block.
    pub fn rules<'a>(&self, params: &'a ChainParams) -> Ruleset<'a> {
        params.rules(self.height + 1, &self.engine.switch)
    }

    /// `state_root`, which the next block's extension carries.
    pub fn root(&self) -> Hash {
        let engine = hash::ENGINE_STATE.hash(&[&codec::encode(&self.engine)]);
        Hash(hash::STATE.hash(&[&self.coins.to_bytes(), &engine]))
    }
}
