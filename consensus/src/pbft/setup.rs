//! What an instance is about: fixed from its start to its decision.
//!
//! Rules: `spec/09-bft.md#instances`, `#leaders`.

use super::pace::Timeouts;
use cairn_protocol::bft::{LeaderRule, Round, Scope, ValidatorSet};
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// One instance's surroundings.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Setup {
    /// Chain, rules, instance.
    pub scope: Scope,
    /// Who votes.
    pub set: ValidatorSet,
    /// Who proposes.
    pub leaders: LeaderRule,
    /// Our place in the set; `None` follows without a vote.
    pub me: Option<u16>,
    /// How long rounds last.
    pub timeouts: Timeouts,
}

impl Setup {
    /// The leader of a round.
    pub fn leader(&self, round: Round) -> u16 {
        self.leaders.leader(&self.set, self.scope.instance, round)
    }

    /// Whether we lead a round.
    pub fn leads(&self, round: Round) -> bool {
        self.me == Some(self.leader(round))
    }
}

/// A setup behind a pointer. Its hash is empty: all states of one instance share it, and a model
/// checker hashes millions of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Shared(pub(super) Arc<Setup>);

impl Deref for Shared {
    type Target = Setup;
    fn deref(&self) -> &Setup {
        &self.0
    }
}

impl Hash for Shared {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
