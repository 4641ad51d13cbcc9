//! Values of an instance: made, judged and appended by the ledger thread.
//!
//! Invariant: an answer of the ledger counts only in the instance that asked for it.
//! Rules: `spec/09-bft.md#proposing`, `spec/09-bft.md#decision`.

use super::task::Task;
use crate::runtime::clock::monotonic_ms;
use crate::runtime::ledger::{Appended, Proposal, Verdict};
use cairn_consensus::pbft::Input;
use cairn_consensus::sealed::is_timely;
use cairn_protocol::bft::{Evidence, Instance, Round, Seal};
use cairn_protocol::block::Block;
use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::CheckedBlock;
use std::sync::Arc;
use std::time::Duration;

/// Seals of the last instances, for peers that still vote in them.
const SEALS_MAX: usize = 8;
/// Evidence that waits for a block.
const EVIDENCE_MAX: usize = 64;
/// A proposal from a moment ahead of our clock is judged again after this time.
const JUDGE_AGAIN: Duration = Duration::from_millis(100);

/// What came back from the ledger.
pub(super) enum Outcome {
    Proposed {
        instance: Instance,
        round: Round,
        proposal: Result<Arc<CheckedBlock>, String>,
    },
    Judged {
        instance: Instance,
        round: Round,
        id: BlockId,
        verdict: Verdict,
    },
    JudgeAgain,
    Appended {
        instance: Instance,
    },
    NotAppended {
        instance: Instance,
        id: BlockId,
        reason: String,
    },
    LedgerStopped,
}

impl Task {
    pub(super) fn propose(&mut self, round: Round) {
        let Some(running) = &self.running else { return };
        let instance = running.number;
        let proposal = Proposal {
            round,
            reward: self.config.reward.clone(),
            evidence: self.evidence.clone(),
        };
        let ledger = self.config.ledger.clone();
        self.pending.push(Box::pin(async move {
            match ledger.propose(proposal).await {
                Ok(proposal) => Outcome::Proposed {
                    instance,
                    round,
                    proposal,
                },
                Err(_) => Outcome::LedgerStopped,
            }
        }));
    }

    /// Has the wanted value judged once its block is here.
    pub(super) fn judge_wanted(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        if let Some((id, _)) = &self.sealed
            && let Some(block) = self.bodies.get(id).cloned()
        {
            return self.append(block);
        }
        let Some((round, id)) = running.wanted else {
            return;
        };
        let Some(block) = self.bodies.get(&id).cloned() else {
            // Whoever proposed it has it; its block is on its way behind the message.
            let proposer = running.fresh.values().find(|(fresh, _)| *fresh == id);
            if let Some((_, peer)) = proposer {
                self.bodies.want(monotonic_ms(), id, *peer);
            }
            for peer in &self.peers {
                self.bodies.want(monotonic_ms(), id, *peer);
            }
            return;
        };
        running.wanted = None;
        let (instance, proposed) = (running.number, block.extension.proposed_round);
        // A value that was proposed as new in this round names it; one that is certified is older.
        let is_new = running
            .fresh
            .get(&round)
            .is_some_and(|(fresh, _)| *fresh == id);
        let is_timely = is_timely(proposed, round, is_new);
        let ledger = self.config.ledger.clone();
        self.pending.push(Box::pin(async move {
            if !is_timely {
                let reason = format!("proposed round {proposed} in a proposal of round {round}");
                let verdict = Verdict::Invalid {
                    reason,
                    is_mutation: false,
                };
                return Outcome::Judged {
                    instance,
                    round,
                    id,
                    verdict,
                };
            }
            match ledger.judge(block).await {
                Ok(verdict) => Outcome::Judged {
                    instance,
                    round,
                    id,
                    verdict,
                },
                Err(_) => Outcome::LedgerStopped,
            }
        }));
    }

    pub(super) fn on_outcome(&mut self, outcome: Outcome) -> Option<()> {
        let number = self.running.as_ref().map(|running| running.number);
        match outcome {
            Outcome::Proposed {
                instance,
                round,
                proposal,
            } if number == Some(instance) => match proposal {
                Ok(checked) => {
                    let id = checked.id();
                    self.bodies.add_own(id, checked.block().clone());
                    self.step(Input::Proposal { round, id });
                }
                Err(reason) => tracing::warn!(instance, round, reason, "no proposal was made"),
            },
            Outcome::Judged {
                instance,
                round,
                id,
                verdict,
            } if number == Some(instance) => self.on_verdict(round, id, verdict),
            Outcome::JudgeAgain => self.judge_wanted(),
            Outcome::Appended { instance } => {
                if number == Some(instance) {
                    let decided = self.sealed.as_ref().map(|(id, _)| *id);
                    self.end_instance(decided);
                }
            }
            Outcome::NotAppended {
                instance,
                id,
                reason,
            } => {
                // Wrong bytes for the right id: the seal stands, the block is asked for again.
                tracing::error!(instance, %id, reason, "the decided block is not what came");
                self.seals.retain(|(number, ..)| *number != instance);
                if number == Some(instance) {
                    self.bodies.forget(&id);
                    for peer in &self.peers {
                        self.bodies.want(monotonic_ms(), id, *peer);
                    }
                }
            }
            Outcome::LedgerStopped => return None,
            Outcome::Proposed { .. } | Outcome::Judged { .. } => {}
        }
        Some(())
    }

    pub(super) fn on_verdict(&mut self, round: Round, id: BlockId, verdict: Verdict) {
        match verdict {
            Verdict::Valid => self.step(Input::Validated {
                round,
                id,
                ok: true,
            }),
            Verdict::NotYet => {
                if let Some(running) = &mut self.running
                    && running.wanted.is_none()
                {
                    running.wanted = Some((round, id));
                }
                self.pending.push(Box::pin(async {
                    tokio::time::sleep(JUDGE_AGAIN).await;
                    Outcome::JudgeAgain
                }));
            }
            Verdict::Invalid {
                reason,
                is_mutation,
            } => {
                let peer = self.peers.iter().next().copied();
                if is_mutation
                    && let Some(peer) = peer
                    && let Some(question) = self.bodies.mismatch(monotonic_ms(), id, peer)
                {
                    if let Some(running) = &mut self.running {
                        running.wanted = Some((round, id));
                    }
                    for peer in &self.peers {
                        self.bodies.want(monotonic_ms(), id, *peer);
                    }
                    return self.tell(question);
                }
                tracing::warn!(round, %id, reason, "invalid proposal");
                let ok = false;
                self.step(Input::Validated { round, id, ok });
            }
        }
    }

    pub(super) fn on_decided(&mut self, id: BlockId, seal: &Seal) {
        let Some(running) = &self.running else { return };
        let took_ms = monotonic_ms().saturating_sub(running.round_began_ms);
        self.pace.decided(took_ms);
        self.config.metrics.decided(took_ms);
        let place = running.core.setup().set.index_of(&self.config.key.public);
        if place.is_some_and(|place| !seal.votes.bitmap.contains(place)) {
            self.config.metrics.missed_votes.inc();
        }
        tracing::debug!(instance = running.number, %id, round = seal.round, "decided");
        self.sealed = Some((id, seal.to_bytes()));
        if self.bodies.get(&id).is_none() {
            for peer in &self.peers {
                self.bodies.want(monotonic_ms(), id, *peer);
            }
        }
        self.judge_wanted();
    }

    /// Hands the decided block to the ledger.
    pub(super) fn append(&mut self, block: Block) {
        let (Some(running), Some((id, seal))) = (&mut self.running, self.sealed.clone()) else {
            return;
        };
        let instance = running.number;
        // The instance is over; only the ledger's answer ends it here, so it is asked once.
        running.timer = None;
        running.wanted = None;
        if self
            .seals
            .back()
            .is_some_and(|(number, ..)| *number == instance)
        {
            return;
        }
        self.seals.push_back((instance, id, seal.clone()));
        if self.seals.len() > SEALS_MAX {
            self.seals.pop_front();
        }
        let leads = running.core.setup().leads(block.extension.proposed_round);
        let (ledger, decided) = (self.config.ledger.clone(), self.config.decided.clone());
        self.pending.push(Box::pin(async move {
            match ledger.decided(block, seal.clone()).await {
                Ok(Appended::Connected(checked)) => {
                    if let Some(checked) = checked.filter(|_| leads) {
                        // Whoever misses the announcement learns of it by status.
                        let _ = decided.try_send((checked, seal));
                    }
                    Outcome::Appended { instance }
                }
                Ok(Appended::Refused(reason)) => Outcome::NotAppended {
                    instance,
                    id,
                    reason,
                },
                Err(_) => Outcome::LedgerStopped,
            }
        }));
    }

    pub(super) fn keep_evidence(&mut self, evidence: &Evidence) {
        self.config.metrics.equivocations.inc();
        tracing::error!(?evidence, "a validator contradicts itself");
        let bytes = evidence.to_bytes();
        if !self.evidence.contains(&bytes) {
            // What a block took in already is left out by the ledger; the oldest goes first.
            if self.evidence.len() == EVIDENCE_MAX {
                self.evidence.remove(0);
            }
            self.evidence.push(bytes);
        }
    }
}
