//! What is true in a world: its validators, its scheme, which values are valid.
//!
//! Invariant: a value's name is a hash of all that matters for its validity.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_consensus::pbft::{Setup, Timeouts};
use cairn_protocol::bft::{Instance, LeaderRule, Round, Scope, SetRule, ValidatorSet};
use cairn_protocol::hash::{BlockId, Hash};
use cairn_protocol::state::Validator;
use cairn_sim::keys::{Scheme, Signer};

/// A value as a block would be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Value {
    /// Its instance.
    pub instance: Instance,
    /// What it builds on.
    pub parent: BlockId,
    /// The round that it names.
    pub round: Round,
    /// Whether its content is good.
    pub good: bool,
}

/// Facts that every node of a world shares.
#[derive(Clone, Debug)]
pub struct Book {
    /// How signatures are checked.
    pub scheme: Scheme,
    /// Everyone's key, by place in the set.
    pub signers: Vec<Signer>,
    /// The set.
    pub set: ValidatorSet,
    /// Values by name: the bodies of this world.
    pub values: BTreeMap<BlockId, Value>,
}

impl Book {
    /// A set with these powers.
    #[must_use]
    pub fn new(scheme: Scheme, powers: &[u64]) -> Book {
        let signer = |place: usize| Signer::new(scheme, [place as u8 + 1; 32]);
        let mut signers: Vec<Signer> = (0..powers.len()).map(signer).collect();
        signers.sort_by_key(Signer::public);
        let validators = signers
            .iter()
            .zip(powers)
            .map(|(signer, power)| Validator {
                key: signer.public(),
                power: *power,
            })
            .collect();
        Book {
            scheme,
            signers,
            set: ValidatorSet::new(SetRule::Pbft, validators).expect("a valid set"),
            values: BTreeMap::new(),
        }
    }

    /// What votes of an instance are bound to.
    #[must_use]
    pub fn scope(&self, instance: Instance) -> Scope {
        Scope {
            chain_id: BlockId([1; 32]),
            ruleset_id: Hash([2; 32]),
            instance,
        }
    }

    /// The setup of one validator.
    #[must_use]
    pub fn setup(&self, instance: Instance, me: Option<u16>, base_ms: u64) -> Arc<Setup> {
        Arc::new(Setup {
            scope: self.scope(instance),
            set: self.set.clone(),
            leaders: LeaderRule::Rotation,
            me,
            timeouts: Timeouts { base_ms },
        })
    }

    /// Makes a value.
    pub fn value(&mut self, value: Value, salt: u64) -> BlockId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&value.instance.to_le_bytes());
        hasher.update(value.parent.as_bytes());
        hasher.update(&value.round.to_le_bytes());
        hasher.update(&[u8::from(value.good)]);
        hasher.update(&salt.to_le_bytes());
        let id = BlockId(*hasher.finalize().as_bytes());
        self.values.insert(id, value);
        id
    }

    /// Whether a value may be prepared on `parent` in `round`.
    #[must_use]
    pub fn is_valid(
        &self,
        id: &BlockId,
        instance: Instance,
        parent: BlockId,
        round: Round,
    ) -> bool {
        self.values.get(id).is_some_and(|value| {
            value.good
                && value.instance == instance
                && value.parent == parent
                && value.round <= round
        })
    }
}
