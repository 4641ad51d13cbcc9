//! What the core wants done: promises to the disk, then messages to the others.
//!
//! Invariant: no message leaves before the promise that it makes is synced, and before that the block
//! that it is about. Rules: `spec/09-bft.md#durability`, `spec/09-bft.md#bodies`.

use super::bodies::Outgoing;
use super::status::BftStatus;
use super::task::Task;
use crate::runtime::clock::monotonic_ms;
use crate::runtime::files::write_atomically;
use cairn_consensus::pbft::{Effect, Input, ObserveReason, SafetyRecord};
use cairn_protocol::bft::{Body, Draft, Instance, Round};
use cairn_protocol::block::Block;
use cairn_protocol::codec;
use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::CheckedBlock;
use cairn_protocol::limits::BLOCK_BYTES_MAX;
use cairn_protocol::signature::Signature;
use cairn_protocol::wire::{CompactBlock, LinkMessage};
use std::collections::VecDeque;
use std::sync::Arc;

/// Blocks kept on disk for promises: the value prepared last and the one before.
const KEPT_MAX: usize = 2;

impl Task {
    pub(super) fn run_effects(&mut self, effects: Vec<Effect>) {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            let Some(running) = &mut self.running else {
                return;
            };
            if !matches!(effect, Effect::Timer { .. } | Effect::Observing(_)) {
                running.moved_ms = monotonic_ms();
            }
            match effect {
                Effect::Persist { seq, record } => match self.persist(&record) {
                    Ok(()) => {
                        self.voting.remember(record);
                        if let Some(running) = &mut self.running {
                            let ready = running.outbox.durable(seq);
                            queue.extend(self.send(ready));
                        }
                    }
                    Err(error) => queue.extend(self.promise_lost(&error)),
                },
                Effect::Send { after, draft } => {
                    let ready = running.outbox.push(after, draft);
                    queue.extend(self.send(ready));
                }
                Effect::Propose { round } => self.propose(round),
                Effect::Validate { round, id } => {
                    running.wanted = Some((round, id));
                    self.judge_wanted();
                }
                Effect::Timer { round, at_ms } => {
                    // The leader waits for its block time before it speaks; so does the timer.
                    running.timer = Some((round, at_ms));
                    running.round_began_ms = monotonic_ms();
                    if self.status.load().round != round {
                        self.config.metrics.view_changes.inc();
                    }
                    self.config.metrics.round.set(i64::from(round));
                    self.tell_round(round);
                }
                Effect::Evidence(evidence) => self.keep_evidence(&evidence),
                Effect::Observing(reason) => self.observe(reason),
                Effect::Decided { id, seal } => self.on_decided(id, &seal),
            }
        }
    }

    /// A promise is not on disk: this run votes no more.
    pub(super) fn promise_lost(&mut self, error: &str) -> Vec<Effect> {
        tracing::error!(error, "a promise is not on disk: this node votes no more");
        self.unfit = Some(format!("its safety file failed: {error}"));
        let mut effects = Vec::new();
        if let Some(running) = &mut self.running {
            running.outbox.clear();
            self.voting.give_up(running.number);
            running
                .core
                .handle(monotonic_ms(), Input::PersistFailed, &mut effects);
        }
        effects
    }

    /// Puts a promise on disk, and before it the block that it is about: if everyone stops between
    /// the votes and the append, somebody must still have what was decided.
    pub(super) fn persist(&mut self, record: &SafetyRecord) -> Result<(), String> {
        if let Some(ballot) = &record.prepare
            && self.kept.last() != Some(&ballot.id)
            && let Some(block) = self.bodies.get(&ballot.id)
        {
            let mut blocks: Vec<Block> = self
                .kept
                .last()
                .and_then(|id| self.bodies.get(id))
                .cloned()
                .into_iter()
                .collect();
            blocks.push(block.clone());
            let bytes = codec::encode(&blocks);
            write_atomically(&self.proposal_file, &bytes).map_err(|error| error.to_string())?;
            self.kept.push(ballot.id);
            if self.kept.len() > KEPT_MAX {
                self.kept.remove(0);
            }
        }
        let written = self.safety.write(&record.to_bytes());
        written.map_err(|error| error.to_string())
    }

    /// The blocks that an earlier run promised something about.
    pub(super) fn recall(&mut self, number: Instance) {
        let Ok(bytes) = std::fs::read(&self.proposal_file) else {
            return;
        };
        let Ok(blocks) = codec::decode::<Vec<Block>>(&bytes, KEPT_MAX * BLOCK_BYTES_MAX + 16)
        else {
            return tracing::warn!(file = %self.proposal_file.display(), "damaged: not used");
        };
        for block in blocks {
            if block.extension.height == number {
                self.bodies.add_own(block.id(), block);
            }
        }
    }

    pub(super) fn tell_round(&self, round: Round) {
        let mut status = BftStatus::clone(&self.status.load());
        status.round = round;
        self.status.store(Arc::new(status));
    }

    pub(super) fn observe(&mut self, reason: ObserveReason) {
        let text = match reason {
            ObserveReason::NotValidator => return,
            ObserveReason::WriteFailed => self.unfit.clone().unwrap_or_default(),
            ObserveReason::ForgottenVote => {
                let text = "its key signed what this node does not remember: an older data \
                            directory, or another process with the same key";
                self.unfit = Some(text.to_owned());
                text.to_owned()
            }
        };
        tracing::error!(reason = text, "this node does not vote");
        let mut status = BftStatus::clone(&self.status.load());
        status.silent = Some(text);
        self.status.store(Arc::new(status));
    }

    /// Signs and sends what the disk let go; answers what the core makes of our own messages.
    pub(super) fn send(&mut self, drafts: Vec<Draft>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for draft in drafts {
            let signature: [u8; 64] = self.config.key.signing.sign(&draft.to_sign()).into();
            let verified = draft.signed(Signature(signature));
            let message = verified.message();
            let (body, frame) = (
                message.body.clone(),
                LinkMessage::Message(Box::new(message.clone())),
            );
            self.broadcast(&frame);
            if let Body::PrePrepare { id } | Body::NewView { id, .. } = body
                && self.announced.insert(id)
                && let Some(compact) = self.compact(&id)
            {
                self.broadcast(&LinkMessage::Proposal(Box::new(compact)));
            }
            if let Some(running) = &mut self.running {
                let input = Input::Message(verified);
                running.core.handle(monotonic_ms(), input, &mut effects);
            }
        }
        effects
    }

    pub(super) fn compact(&self, id: &BlockId) -> Option<CompactBlock> {
        let block = self.bodies.get(id)?.clone();
        let checked = CheckedBlock::new(block, self.config.ledger.params().limits()).ok()?;
        Some(CompactBlock::new(&checked))
    }

    pub(super) fn broadcast(&self, message: &LinkMessage) {
        if let Some(links) = self.links.upgrade() {
            links.send_to_all(&Arc::from(message.to_bytes()));
        }
    }

    pub(super) fn tell(&self, (peer, message): Outgoing) {
        if let Some(links) = self.links.upgrade() {
            links.send(&peer, &Arc::from(message.to_bytes()));
        }
    }
}
