//! The leader's part: its own value in round 0, a justified one later.
//!
//! Invariant: a validator proposes at most once a round. In a later round it is free only if it knows
//! no certificate; else it proposes the value of the highest, which no VIEW-CHANGE's is above.
//! Rules: `spec/09-bft.md#proposing`, `#new-view`.

use super::core::{Accepted, Building, PbftCore};
use super::effect::Effect;
use super::votes::{Voter, quorum};
use cairn_protocol::bft::{Ballot, Bitmap, Body, Justification, Round, ViewChangeVote};
use cairn_protocol::hash::{BlockId, Hash};

impl PbftCore {
    /// Spec: `spec/09-bft.md#proposing`. The leader of round 0 needs no reason.
    pub(super) fn begin_round_0(&mut self, effects: &mut Vec<Effect>) {
        if self.is_voting() && self.record.round == 0 && self.setup.leads(0) {
            let justification = None;
            self.building = Some(Building { justification });
            effects.push(Effect::Propose { round: 0 });
        }
    }

    /// Spec: `spec/09-bft.md#proposing`. The value that we asked for; we made it, so it is valid.
    pub(super) fn on_own_value(&mut self, round: Round, id: BlockId, effects: &mut Vec<Effect>) {
        if round != self.record.round || id == BlockId::ZERO || !self.is_voting() {
            return;
        }
        if let Some(building) = self.building.take() {
            let valid = true;
            self.propose(id, building.justification, valid, effects);
            self.try_commit(effects);
        }
    }

    /// Spec: `spec/09-bft.md#new-view`. With a quorum of VIEW-CHANGEs the leader proposes: the value
    /// of the highest certificate that it knows, or one of its own if it knows none.
    pub(super) fn try_new_view(&mut self, effects: &mut Vec<Effect>) {
        let round = self.record.round;
        let idle = self.accepted.is_none() && self.building.is_none();
        if round == 0 || !idle || !self.is_voting() || !self.setup.leads(round) {
            return;
        }
        let Some(justification) = self.justify(round) else {
            return;
        };
        match &justification.certificate {
            Some(certificate) => {
                let (id, valid) = (certificate.ballot.id, false);
                self.propose(id, Some(justification), valid, effects);
            }
            None => {
                let justification = Some(justification);
                self.building = Some(Building { justification });
                effects.push(Effect::Propose { round });
            }
        }
    }

    /// The quorum of VIEW-CHANGEs to `round`, with the highest certificate that we know. It may be
    /// above all claims: a faulty validator that kept it back cannot hold up the leader by showing it
    /// late.
    fn justify(&self, round: Round) -> Option<Justification> {
        let highest = self.highest.as_ref();
        if highest.is_some_and(|known| known.round >= round) {
            // Honest validators have prepared beyond this round: they are about to take us along.
            return None;
        }
        let usable = |voter: &Voter| {
            let vote = voter.view_changes.at(round)?;
            // Two certificates of one round: more than a third is faulty. Ours is the one we hold.
            let other = vote.what.zip(highest).is_some_and(|(claim, ours)| {
                claim.round == ours.round && claim.id != ours.ballot.id
            });
            (!other).then_some(vote.signature)
        };
        let signatures = quorum(&self.voters, &self.setup.set, usable)?;
        let claim = |index: u16| {
            let vote = self.voters[usize::from(index)].view_changes.at(round);
            vote.and_then(|vote| vote.what)
        };
        let view_changes: Vec<_> = signatures
            .iter()
            .map(|(index, signature)| ViewChangeVote {
                prepared: claim(*index),
                signature: *signature,
            })
            .collect();
        // Every claim came with its certificate, so the one that we hold is not below any of them.
        Some(Justification {
            bitmap: Bitmap::of(
                self.voters.len(),
                signatures.iter().map(|(index, _)| *index),
            ),
            view_changes,
            certificate: highest.cloned(),
        })
    }

    /// Records the proposal, says it, and prepares it at once if it is known to be valid: one write
    /// for both.
    fn propose(
        &mut self,
        id: BlockId,
        justification: Option<Justification>,
        valid: bool,
        effects: &mut Vec<Effect>,
    ) {
        let round = self.record.round;
        let ballot = match &justification {
            Some(justification) => justification.ballot(round, id),
            None => Ballot {
                id,
                justification: Hash::ZERO,
            },
        };
        self.accepted = Some(Accepted { ballot, valid });
        self.record.proposed = Some(ballot);
        if valid {
            self.record.prepare = Some(ballot);
        }
        self.persist(effects);
        let body = match justification.clone() {
            Some(justification) => Body::NewView {
                round,
                id,
                justification,
            },
            None => Body::PrePrepare { id },
        };
        self.justified = justification;
        self.send(body, effects);
        if valid {
            self.send(Body::Prepare { round, ballot }, effects);
        } else {
            effects.push(Effect::Validate { round, id });
        }
    }
}
