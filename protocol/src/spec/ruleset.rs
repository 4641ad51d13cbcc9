//! The rules of one height on one branch.
//!
//! Invariant: a ruleset is a function of the height's ancestors: two branches may have different
//! rules at one height, one branch never has. Whoever judges or makes a block asks here and not the
//! schedule, which knows only what was planned.
//! Rules: `spec/12-switching.md#schedule`.

use super::{ChainParams, Engine, PowRules, RulesetKind, ScheduleEntry};
use crate::bft::{Instance, InstanceKind, LeaderRule, Round, Scope, ValidatorSet};
use crate::extension::{Extension, SwitchRecord};
use crate::hash::Hash;
use crate::state::SwitchState;
use crate::units::{Amount, Height};

/// The rules of one height on one branch.
#[derive(Clone, Copy, Debug)]
pub struct Ruleset<'a> {
    params: &'a ChainParams,
    height: Height,
    before: SwitchState,
}

impl<'a> Ruleset<'a> {
    pub(super) fn new(params: &'a ChainParams, height: Height, before: SwitchState) -> Self {
        Ruleset {
            params,
            height,
            before,
        }
    }

    /// The height.
    pub fn height(&self) -> Height {
        self.height
    }

    /// The switch state after the parent.
    pub fn before(&self) -> &SwitchState {
        &self.before
    }

    /// Index of the entry in force.
    pub fn entry_index(&self) -> usize {
        self.before.entry as usize
    }

    /// The entry in force.
    pub fn entry(&self) -> &'a ScheduleEntry {
        &self.params.schedule()[self.entry_index()]
    }

    /// An entry of the schedule.
    ///
    /// Panics if there is none of this index.
    pub fn entry_at(&self, index: usize) -> &'a ScheduleEntry {
        &self.params.schedule()[index]
    }

    /// The engine in force.
    pub fn engine(&self) -> &'a Engine {
        &self.entry().engine
    }

    /// Whether validators seal the block. Nobody seals genesis.
    pub fn is_bft(&self) -> bool {
        self.height > 0 && self.engine().is_bft()
    }

    /// Whether the block is the one that TERMINAL decides: the first of an era that takes over from
    /// proof of work.
    pub fn is_terminal(&self) -> bool {
        self.before.is_crossing()
    }

    /// First height of the era.
    pub fn since(&self) -> Height {
        self.before.since.max(1)
    }

    /// The validators who seal the block; `None` under proof of work.
    pub fn validator_set(&self) -> Option<&'a ValidatorSet> {
        self.is_bft()
            .then(|| self.params.entry_set(self.entry_index()))
            .flatten()
    }

    /// `set_hash` of the extension: zero under proof of work.
    pub fn set_hash(&self) -> Hash {
        self.validator_set().map_or(Hash::ZERO, ValidatorSet::hash)
    }

    /// `next_set_hash` of the extension: that of the entry to which a switch is under way, or, under
    /// BFT, of the next entry once it is announced.
    pub fn next_set_hash(&self) -> Hash {
        let next = if self.is_bft() {
            let next = self.entry_index() + 1;
            let entry = self.params.schedule().get(next);
            entry
                .filter(|entry| entry.announce <= self.height)
                .map(|_| next)
        } else {
            self.pending()
        };
        next.and_then(|next| self.params.entry_set(next))
            .map_or(Hash::ZERO, ValidatorSet::hash)
    }

    /// Index of the entry to which a switch from proof of work is under way.
    pub fn pending(&self) -> Option<usize> {
        let is_pending = self.before.pending != 0 && !self.is_terminal();
        is_pending.then_some(self.before.pending as usize)
    }

    /// Index of the entry whose anchor certificate this block may include.
    pub fn open_anchor(&self) -> Option<usize> {
        self.pending().filter(|_| self.before.is_open())
    }

    /// The block's ruleset id; zero for genesis, whose id it would depend on.
    pub fn ruleset_id(&self) -> Hash {
        if self.height == 0 {
            return Hash::ZERO;
        }
        let entry = self.entry_index();
        self.params.entry_ruleset_id(entry, RulesetKind::Blocks)
    }

    /// Hash of the schedule's entries announced up to this height.
    pub fn schedule_hash(&self) -> Hash {
        self.params.schedule_hash(self.height)
    }

    /// `switch` of the extension.
    pub fn switch_record(&self) -> SwitchRecord {
        let SwitchState {
            pending,
            anchor,
            included_at,
            ..
        } = self.before;
        let entry = &self.params.schedule()[pending as usize];
        let activation = (included_at != 0).then(|| entry.activation(included_at));
        SwitchRecord {
            entry: pending,
            anchor,
            included_at,
            activation: activation.flatten().unwrap_or(0),
        }
    }

    /// Proof-of-work rules; no target and no subsidy where another engine is.
    pub fn pow_rules(&self) -> &'a PowRules {
        super::params::pow_rules(self.engine())
    }

    /// The subsidy of a block with `time` after a parent with `parent_time`, when `issued` was
    /// created before.
    pub fn subsidy(&self, issued: Amount, parent_time: u32, time: u32) -> Amount {
        let era = self.engine();
        self.params
            .engine_subsidy(era, self.height, issued, parent_time, time)
    }

    /// The instance that decides the block; its height under proof of work, where none does.
    pub fn instance(&self) -> Instance {
        if self.is_terminal() {
            InstanceKind::Terminal(self.before.entry).number()
        } else {
            InstanceKind::Block(self.height).number()
        }
    }

    /// What votes on the block are bound to.
    pub fn scope(&self) -> Scope {
        let kind = match self.is_terminal() {
            true => RulesetKind::Terminal,
            false => RulesetKind::Blocks,
        };
        Scope {
            chain_id: self.params.chain_id(),
            ruleset_id: self.params.entry_ruleset_id(self.entry_index(), kind),
            instance: self.instance(),
        }
    }

    /// Index of the validator that proposes the block in a round; `None` under proof of work.
    pub fn leader(&self, round: Round) -> Option<u16> {
        let set = self.validator_set()?;
        Some(LeaderRule::Rotation.leader(set, self.instance(), round))
    }
}

impl ChainParams {
    /// The rules that an extension claims for its block; `None` if it claims those of no entry. With
    /// the ancestors' verdict (EXT-04, EXT-13) they are the rules; when the era began they do not say.
    pub fn claimed_rules(&self, extension: &Extension) -> Option<Ruleset<'_>> {
        let entry = self.entry_of_ruleset(&extension.ruleset_id)?;
        let claimed = &extension.switch;
        self.schedule().get(claimed.entry as usize)?;
        let before = SwitchState {
            entry: u32::try_from(entry).expect("a schedule is short"),
            since: 0,
            pending: claimed.entry,
            anchor: claimed.anchor,
            included_at: claimed.included_at,
        };
        Some(Ruleset::new(self, extension.height, before))
    }

    /// What votes of ANCHOR of a schedule entry are bound to.
    ///
    /// Panics if there is no entry of this index.
    pub fn anchor_scope(&self, entry: usize) -> Scope {
        let number = u32::try_from(entry).expect("a schedule is short");
        Scope {
            chain_id: self.chain_id(),
            ruleset_id: self.entry_ruleset_id(entry, RulesetKind::Anchor),
            instance: InstanceKind::Anchor(number).number(),
        }
    }
}
