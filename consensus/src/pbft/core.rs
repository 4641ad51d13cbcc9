//! The state machine of one instance: rounds, votes, the decision.
//!
//! Invariant: within one round a validator sends at most one PREPARE and one COMMIT, the COMMIT only
//! for a value that a quorum prepared in that round; once it asked for a round it says nothing in
//! lower ones. All of that follows from `record`, which is on disk before any of it is said.
//! Rules: `spec/09-bft.md#the-state-machine`; each arm names its section.

use super::effect::{Effect, Input, ObserveReason};
use super::record::{RecordError, SafetyRecord};
use super::setup::{Setup, Shared};
use super::votes::{Voter, quorum, reached};
use cairn_protocol::bft::{
    Ballot, Body, Certificate, Draft, Justification, Message, ROUND_NONE, Round, Seal,
    SignatureSet, Statement,
};
use cairn_protocol::hash::{BlockId, Hash};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Whether this node votes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Standing {
    Voting,
    Observing(ObserveReason),
}

/// The proposal that was accepted in this round.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Accepted {
    pub(super) ballot: Ballot,
    pub(super) valid: bool,
}

/// A value that we asked for: round 0 needs no reason, a later round has its quorum already.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Building {
    pub(super) justification: Option<Justification>,
}

/// One instance of PBFT.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PbftCore {
    pub(super) setup: Shared,
    /// What we promised. Its round is the round that we are in.
    pub(super) record: SafetyRecord,
    pub(super) standing: Standing,
    /// Whether a quorum has reached this round: only then does its timer count.
    ripe: bool,
    pub(super) accepted: Option<Accepted>,
    pub(super) building: Option<Building>,
    /// Why we proposed what we proposed in this round, to say it again.
    pub(super) justified: Option<Justification>,
    /// By place in the set.
    pub(super) voters: Vec<Voter>,
    /// The certificate of the highest round that anybody showed.
    pub(super) highest: Option<Certificate>,
    /// Validators already proven guilty: one proof per instance is enough.
    pub(super) guilty: BTreeSet<u16>,
    decided: Option<BlockId>,
}

impl PbftCore {
    /// Starts an instance: from nothing, or from the record that an earlier run left.
    ///
    /// Errors: the record is of another instance or of other rules.
    pub fn start(
        setup: Arc<Setup>,
        record: Option<SafetyRecord>,
        now_ms: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<PbftCore, RecordError> {
        if let Some(record) = &record {
            record.check(&setup.scope)?;
        }
        let record = record.unwrap_or_else(|| SafetyRecord::new(&setup.scope));
        let standing = match setup.me {
            Some(me) if setup.set.get(me).is_some() => Standing::Voting,
            _ => Standing::Observing(ObserveReason::NotValidator),
        };
        // Spec: spec/09-bft.md#restart. What we prepared we had found valid; what we only proposed
        // is judged again.
        let accepted = record.prepare.or(record.proposed).map(|ballot| Accepted {
            ballot,
            valid: record.prepare.is_some(),
        });
        let mut core = PbftCore {
            voters: vec![Voter::default(); setup.set.len()],
            highest: record.prepared.clone(),
            setup: Shared(setup),
            record,
            standing,
            ripe: false,
            accepted,
            building: None,
            justified: None,
            guilty: BTreeSet::new(),
            decided: None,
        };
        core.ripe = core.record.round == 0 || core.accepted.is_some();
        core.start_timer(now_ms, effects);
        core.say_again(effects);
        match core.accepted {
            Some(accepted) if !accepted.valid => effects.push(Effect::Validate {
                round: core.record.round,
                id: accepted.ballot.id,
            }),
            Some(_) => {}
            None => core.begin_round_0(effects),
        }
        Ok(core)
    }

    /// Takes one input and appends what to do about it.
    pub fn handle(&mut self, now_ms: u64, input: Input, effects: &mut Vec<Effect>) {
        if self.decided.is_some() {
            // Spec: spec/09-bft.md#decision. A decision is the end; stragglers get its seal.
            return;
        }
        match input {
            // Spec: spec/09-bft.md#messages.
            Input::Message(verified) => self.on_message(now_ms, verified.into_message(), effects),
            // Spec: spec/09-bft.md#proposing.
            Input::Proposal { round, id } => self.on_own_value(round, id, effects),
            // Spec: spec/09-bft.md#preparing.
            Input::Validated { round, id, ok } => {
                self.on_validated(now_ms, (round, id), ok, effects);
            }
            // Spec: spec/09-bft.md#changing-rounds.
            Input::Timeout { round } => self.on_timeout(now_ms, round, effects),
            // Spec: spec/09-bft.md#durability: a promise may be forgotten, so none is made again.
            Input::PersistFailed => self.observe(ObserveReason::WriteFailed, effects),
            // Spec: spec/09-bft.md#saying-it-again.
            Input::Resend => self.say_again(effects),
        }
    }

    /// What the instance is about.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The round it is in.
    pub fn round(&self) -> Round {
        self.record.round
    }

    /// What it promised so far, on disk or on its way there.
    pub fn record(&self) -> &SafetyRecord {
        &self.record
    }

    /// The decision, once there is one.
    pub fn decided(&self) -> Option<BlockId> {
        self.decided
    }

    /// Why it does not vote; `None` if it does.
    pub fn observing(&self) -> Option<ObserveReason> {
        match self.standing {
            Standing::Voting => None,
            Standing::Observing(reason) => Some(reason),
        }
    }

    fn on_message(&mut self, now_ms: u64, message: Message, effects: &mut Vec<Effect>) {
        let scope = &self.setup.scope;
        let foreign = message.instance != scope.instance || message.ruleset_id != scope.ruleset_id;
        if foreign || usize::from(message.signer) >= self.voters.len() {
            // Spec: spec/09-bft.md#messages (MSG-01, MSG-02). Verified for another instance.
            return;
        }
        let (signer, signature) = (message.signer, message.signature);
        let statement = message.body.statement();
        // Spec: spec/09-bft.md#view-change: every claim that is counted has its proof here, or a
        // higher one.
        match &message.body {
            Body::ViewChange { prepared, .. } => self.learn(prepared.as_ref()),
            Body::NewView { justification, .. } => {
                self.learn(justification.certificate.as_ref());
                self.watch_justification(statement.round(), justification, effects);
            }
            Body::PrePrepare { .. } | Body::Prepare { .. } | Body::Commit { .. } => {}
        }
        if !self.watch(signer, &statement, signature, effects) {
            // Spec: spec/09-bft.md#counting. Heard before, or a contradiction: it never counts.
            return;
        }
        match message.body {
            // Spec: spec/09-bft.md#accepting-a-proposal.
            Body::PrePrepare { .. } | Body::NewView { .. } => {
                if let Some(proposal) = proposal_of(&statement) {
                    self.on_proposal(now_ms, signer, proposal, effects);
                }
            }
            // Spec: spec/09-bft.md#committing.
            Body::Prepare { .. } => self.try_commit(effects),
            // Spec: spec/09-bft.md#decision. Of any round, whatever round we are in.
            Body::Commit { round, id } => self.try_decide(round, id, effects),
            // Spec: spec/09-bft.md#view-change.
            Body::ViewChange { .. } => {}
        }
        if self.decided.is_none() {
            self.try_jump(now_ms, statement.round(), effects);
            self.try_ripen(now_ms, effects);
            self.try_new_view(effects);
        }
    }

    /// Spec: `spec/09-bft.md#changing-rounds`. The round took too long, or too few are in it.
    fn on_timeout(&mut self, now_ms: u64, round: Round, effects: &mut Vec<Effect>) {
        if round != self.record.round || !self.is_voting() {
            return;
        }
        if self.ripe {
            self.leave_for(now_ms, round.saturating_add(1), effects);
        } else {
            // Going on alone would only lead away from those who are behind.
            self.say_again(effects);
            self.start_timer(now_ms, effects);
        }
    }

    /// Spec: `spec/09-bft.md#changing-rounds`. The round's time begins when a quorum has reached it:
    /// all honest validators are then at most one message behind.
    fn try_ripen(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if !self.ripe {
            let round = self.record.round;
            let there = (0..)
                .zip(&self.voters)
                .filter(|(_, voter)| voter.top >= round);
            let power = self.setup.set.power_of(there.map(|(index, _)| index));
            if self.setup.set.is_quorum(power) {
                self.ripe = true;
                self.start_timer(now_ms, effects);
            }
        }
    }

    /// Spec: `spec/09-bft.md#accepting-a-proposal`. The first justified proposal of this round's
    /// leader, or of a higher round's: a NEW-VIEW carries the quorum that asked for its round.
    fn on_proposal(
        &mut self,
        now_ms: u64,
        signer: u16,
        (round, ballot): (Round, Ballot),
        effects: &mut Vec<Effect>,
    ) {
        let current = self.record.round;
        let taken = round == current && self.accepted.is_some();
        if signer != self.setup.leader(round) || round < current || taken {
            return;
        }
        if round > current {
            let ripe = true;
            self.enter(now_ms, round, ripe, effects);
        }
        let valid = false;
        self.accepted = Some(Accepted { ballot, valid });
        self.building = None;
        let id = ballot.id;
        effects.push(Effect::Validate { round, id });
    }

    /// Spec: `spec/09-bft.md#preparing`. One PREPARE a round, for a value that is valid.
    fn on_validated(
        &mut self,
        now_ms: u64,
        (round, id): (Round, BlockId),
        ok: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(accepted) = &mut self.accepted else {
            return;
        };
        if round != self.record.round || id != accepted.ballot.id || accepted.valid {
            return;
        }
        if !ok {
            // Spec: spec/09-bft.md#changing-rounds: it will not become valid by waiting.
            return self.leave_for(now_ms, round.saturating_add(1), effects);
        }
        accepted.valid = true;
        let ballot = accepted.ballot;
        if self.is_voting() && self.record.prepare.is_none() {
            self.record.prepare = Some(ballot);
            self.persist(effects);
            self.send(Body::Prepare { round, ballot }, effects);
            self.try_commit(effects);
        }
    }

    /// Spec: `spec/09-bft.md#committing`. A quorum of PREPAREs of this round for the ballot that we
    /// prepared: keep them as our certificate, then COMMIT.
    pub(super) fn try_commit(&mut self, effects: &mut Vec<Effect>) {
        let (round, ballot) = match (self.is_voting(), self.record.prepare) {
            (true, Some(ballot)) if !self.record.has_committed() => (self.record.round, ballot),
            _ => return,
        };
        let prepared = |voter: &Voter| {
            let vote = voter.prepares.at(round)?;
            (vote.what == ballot).then_some(vote.signature)
        };
        let Some(signatures) = quorum(&self.voters, &self.setup.set, prepared) else {
            return;
        };
        let certificate = Certificate {
            round,
            ballot,
            votes: SignatureSet::new(self.voters.len(), &signatures),
        };
        self.learn(Some(&certificate));
        self.record.prepared = Some(certificate);
        self.persist(effects);
        let id = ballot.id;
        self.send(Body::Commit { round, id }, effects);
    }

    /// Spec: `spec/09-bft.md#decision`. A quorum of COMMITs of one round for one value.
    fn try_decide(&mut self, round: Round, id: BlockId, effects: &mut Vec<Effect>) {
        let committed = |voter: &Voter| {
            let vote = voter.commits.at(round)?;
            (vote.what == id).then_some(vote.signature)
        };
        let Some(signatures) = quorum(&self.voters, &self.setup.set, committed) else {
            return;
        };
        let votes = SignatureSet::new(self.voters.len(), &signatures);
        self.decided = Some(id);
        effects.push(Effect::Decided {
            id,
            seal: Seal { round, votes },
        });
    }

    /// Spec: `spec/09-bft.md#changing-rounds`: f + 1 heads are in a higher round, so one honest
    /// validator is. Called when a message of a higher round came.
    fn try_jump(&mut self, now_ms: u64, heard: Round, effects: &mut Vec<Effect>) {
        if heard > self.record.round {
            let round = reached(&self.voters, &self.setup.set);
            if round > self.record.round {
                self.leave_for(now_ms, round, effects);
            }
        }
    }

    /// Spec: `spec/09-bft.md#view-change`. Asks for `round` and says nothing in lower ones again.
    pub(super) fn leave_for(&mut self, now_ms: u64, round: Round, effects: &mut Vec<Effect>) {
        if !self.is_voting() || round == ROUND_NONE {
            return;
        }
        let ripe = false;
        self.enter(now_ms, round, ripe, effects);
        self.persist(effects);
        let prepared = self.record.prepared.clone();
        self.send(Body::ViewChange { round, prepared }, effects);
    }

    /// A round begins: nothing of the one before stays but the certificate.
    fn enter(&mut self, now_ms: u64, round: Round, ripe: bool, effects: &mut Vec<Effect>) {
        assert!(round > self.record.round, "rounds only rise");
        self.record.round = round;
        self.ripe = ripe;
        self.record.proposed = None;
        self.record.prepare = None;
        self.accepted = None;
        self.building = None;
        self.justified = None;
        self.start_timer(now_ms, effects);
    }

    /// Spec: `spec/09-bft.md#saying-it-again`. All that we said in this round, word for word.
    fn say_again(&mut self, effects: &mut Vec<Effect>) {
        let round = self.record.round;
        if round > 0 && self.record.prepare.is_none() && self.accepted.is_none() {
            let prepared = self.record.prepared.clone();
            self.send(Body::ViewChange { round, prepared }, effects);
        }
        if let Some(Ballot { id, .. }) = self.record.proposed {
            match self.justified.clone() {
                Some(justification) => self.send(
                    Body::NewView {
                        round,
                        id,
                        justification,
                    },
                    effects,
                ),
                None if round == 0 => self.send(Body::PrePrepare { id }, effects),
                // A restart lost the reason; another one would be a second proposal.
                None => {}
            }
        }
        if let Some(ballot) = self.record.prepare {
            self.send(Body::Prepare { round, ballot }, effects);
        }
        match &self.record.prepared {
            Some(certificate) if certificate.round == round => {
                let id = certificate.ballot.id;
                self.send(Body::Commit { round, id }, effects);
            }
            _ => {}
        }
    }

    pub(super) fn is_voting(&self) -> bool {
        self.standing == Standing::Voting
    }

    /// Keeps the certificate of the highest round.
    pub(super) fn learn(&mut self, certificate: Option<&Certificate>) {
        let Some(certificate) = certificate else {
            return;
        };
        let known = self.highest.as_ref().map(|highest| highest.round);
        if known.is_none_or(|known| known < certificate.round) {
            self.highest = Some(certificate.clone());
        }
    }

    /// Spec: `spec/09-bft.md#durability`. From here on this instance hears and never speaks.
    pub(super) fn observe(&mut self, reason: ObserveReason, effects: &mut Vec<Effect>) {
        if self.is_voting() {
            self.standing = Standing::Observing(reason);
            self.building = None;
            effects.push(Effect::Observing(reason));
        }
    }

    pub(super) fn persist(&mut self, effects: &mut Vec<Effect>) {
        effects.push(Effect::Persist {
            seq: self.record.rank(),
            record: self.record.clone(),
        });
    }

    pub(super) fn send(&mut self, body: Body, effects: &mut Vec<Effect>) {
        if let (Standing::Voting, Some(signer)) = (self.standing, self.setup.me) {
            let scope = self.setup.scope;
            effects.push(Effect::Send {
                after: self.record.rank(),
                draft: Draft {
                    scope,
                    signer,
                    body,
                },
            });
        }
    }

    fn start_timer(&self, now_ms: u64, effects: &mut Vec<Effect>) {
        if self.is_voting() {
            let round = self.record.round;
            let at_ms = now_ms.saturating_add(self.setup.timeouts.of(round));
            effects.push(Effect::Timer { round, at_ms });
        }
    }
}

/// The round and the ballot that a proposal stands for.
fn proposal_of(statement: &Statement) -> Option<(Round, Ballot)> {
    match *statement {
        Statement::PrePrepare { id } => {
            let justification = Hash::ZERO;
            Some((0, Ballot { id, justification }))
        }
        Statement::NewView {
            round,
            id,
            justification,
        } => Some((round, Ballot { id, justification })),
        _ => None,
    }
}
