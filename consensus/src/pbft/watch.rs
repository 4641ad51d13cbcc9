//! Who contradicts himself, others and we.
//!
//! Invariant: evidence names only validators whose two signed statements no honest one makes, once
//! per instance; a statement of our own key that our record does not imply ends our vote.
//! Rules: `spec/09-bft.md#evidence`, `#durability`.

use super::core::PbftCore;
use super::effect::{Effect, ObserveReason};
use super::votes::Heard;
use cairn_protocol::bft::{Ballot, Evidence, Justification, Round, SignedStatement, Statement};
use cairn_protocol::signature::Signature;

impl PbftCore {
    /// Notes what a validator said; answers whether it is new and may count.
    pub(super) fn watch(
        &mut self,
        signer: u16,
        statement: &Statement,
        signature: Signature,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if self.setup.me == Some(signer) && !self.remembers(statement) {
            // Spec: spec/09-bft.md#durability: an older record, or a second process.
            self.observe(ObserveReason::ForgottenVote, effects);
        }
        let voter = &mut self.voters[usize::from(signer)];
        let heard = voter.note(statement, signature);
        let before = match heard {
            Heard::Contradicts(before) => Some(before),
            // Spec: spec/09-bft.md#evidence: amnesia is between two kinds.
            Heard::New => voter.forgotten(statement),
            Heard::Old => None,
        };
        if let Some(before) = before {
            let now = SignedStatement {
                statement: *statement,
                signature,
            };
            self.accuse(signer, before, now, effects);
        }
        heard == Heard::New
    }

    /// Notes the VIEW-CHANGEs inside a NEW-VIEW: their signers said them, whoever carries them.
    pub(super) fn watch_justification(
        &mut self,
        round: Round,
        justification: &Justification,
        effects: &mut Vec<Effect>,
    ) {
        for (signer, vote) in justification.votes() {
            let prepared = vote.prepared;
            let statement = Statement::ViewChange { round, prepared };
            self.watch(signer, &statement, vote.signature, effects);
        }
    }

    fn accuse(
        &mut self,
        signer: u16,
        before: SignedStatement,
        now: SignedStatement,
        effects: &mut Vec<Effect>,
    ) {
        if self.setup.me == Some(signer) {
            return self.observe(ObserveReason::ForgottenVote, effects);
        }
        let Some(validator) = self.setup.set.get(signer) else {
            return;
        };
        let evidence = Evidence::between(&self.setup.scope, validator.key, before, now);
        if let Some(evidence) = evidence
            && self.guilty.insert(signer)
        {
            effects.push(Effect::Evidence(evidence));
        }
    }

    /// Whether our record implies that we said this. What it no longer tells (lower rounds) is taken
    /// for remembered; a contradiction there is still seen by the log of votes.
    fn remembers(&self, statement: &Statement) -> bool {
        let record = &self.record;
        if statement.round() != record.round {
            return statement.round() < record.round;
        }
        match *statement {
            Statement::PrePrepare { id } => record.proposed.is_some_and(|ballot| ballot.id == id),
            Statement::NewView {
                id, justification, ..
            } => record.proposed == Some(Ballot { id, justification }),
            Statement::Prepare {
                id, justification, ..
            } => record.prepare == Some(Ballot { id, justification }),
            Statement::Commit { id, .. } => {
                let prepared = record.prepared.as_ref();
                prepared.is_some_and(|c| c.round == record.round && c.ballot.id == id)
            }
            // Our round says that we asked for it, or that a NEW-VIEW brought us here.
            Statement::ViewChange { .. } => true,
        }
    }
}
