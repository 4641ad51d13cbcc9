//! What comes over the links: messages of the engine, blocks and questions about them.
//!
//! Invariant: nothing reaches the core before its signatures are checked; only who delivered a bad
//! frame is blamed. Rules: `spec/09-bft.md#messages`, `spec/09-bft.md#bodies`.

use super::task::Task;
use crate::runtime::clock::monotonic_ms;
use crate::runtime::relay::fill_from_mempool;
use cairn_consensus::pbft::Input;
use cairn_network::links::LinkEvent;
use cairn_network::{Offence, PeerId};
use cairn_protocol::bft::{
    Body, Instance, Message, Round, Seal, Verified, verify_messages, verify_seal,
};
use cairn_protocol::block::{Block, SealBytes};
use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::CheckedBlock;
use cairn_protocol::signature::Ed25519;
use cairn_protocol::wire::{CompactBlock, LinkMessage};

/// Rounds ahead of ours whose first proposal is noted.
const ROUNDS_NEAR: Round = 16;

impl Task {
    pub(super) fn on_events(&mut self, events: Vec<LinkEvent>) {
        let mut messages = Vec::new();
        for event in events {
            let (from, payload) = match event {
                LinkEvent::Open(peer) => {
                    self.peers.insert(peer);
                    // What was told over the link that broke may be lost.
                    self.told.remove(&peer);
                    self.step(Input::Resend);
                    continue;
                }
                LinkEvent::Frame { from, payload } => (from, payload),
            };
            let message = match LinkMessage::from_bytes(&payload) {
                Ok(message) => message,
                Err(error) => {
                    tracing::warn!(peer = %from, %error, "bad frame of a validator");
                    self.config.network.report(from, Offence::Undecodable);
                    continue;
                }
            };
            match message {
                LinkMessage::Message(message) => self.sort(from, *message, &mut messages),
                other => {
                    self.judge_messages(std::mem::take(&mut messages));
                    self.on_other(from, other);
                }
            }
        }
        self.judge_messages(messages);
    }

    /// A message of this instance is judged now, one of a later kept, one of an earlier answered.
    pub(super) fn sort(
        &mut self,
        from: PeerId,
        message: Message,
        now: &mut Vec<(PeerId, Message)>,
    ) {
        let tip = self.config.ledger.view().height;
        let current = self.running.as_ref().map_or(tip, |running| running.number);
        if self.running.is_some() && message.instance == current {
            now.push((from, message));
        } else if message.instance > current {
            self.early.keep(current, from, message);
        } else if self.told.get(&from) != Some(&message.instance) {
            let instance = message.instance;
            let known = self.seals.iter().find(|(number, ..)| *number == instance);
            if let Some((_, id, seal)) = known {
                let (id, seal) = (*id, seal.clone());
                self.told.insert(from, instance);
                self.tell((from, LinkMessage::Decided { instance, id, seal }));
            }
        }
    }

    /// Verifies messages of this instance together and gives the good ones to the core.
    pub(super) fn judge_messages(&mut self, messages: Vec<(PeerId, Message)>) {
        let Some(running) = &self.running else {
            return;
        };
        if messages.is_empty() {
            return;
        }
        let setup = running.core.setup();
        let number = running.number;
        let (peers, messages): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
        let judged = verify_messages(messages, &setup.scope, &setup.set, &Ed25519);
        for (from, verdict) in peers.into_iter().zip(judged) {
            match verdict {
                Ok(verified) => {
                    // An earlier one may have ended the instance.
                    if self
                        .running
                        .as_ref()
                        .is_some_and(|running| running.number == number)
                    {
                        self.note(from, &verified);
                        self.step(Input::Message(verified));
                    }
                }
                Err(violation) => {
                    tracing::warn!(peer = %from, %violation, "bad message of a validator");
                    self.config.network.report(from, Offence::WrongAnswer);
                }
            }
        }
    }

    /// What a verified message tells about blocks: who has which, which are new.
    pub(super) fn note(&mut self, from: PeerId, verified: &Verified) {
        let Some(running) = &mut self.running else {
            return;
        };
        let message = verified.message();
        let setup = running.core.setup();
        match &message.body {
            Body::PrePrepare { id } if message.signer == setup.leader(0) => {
                running.fresh.entry(0).or_insert((*id, from));
            }
            Body::NewView {
                round,
                id,
                justification,
            } if message.signer == setup.leader(*round) => {
                let is_near = *round <= running.core.round().saturating_add(ROUNDS_NEAR);
                if justification.certificate.is_none() && is_near {
                    running.fresh.entry(*round).or_insert((*id, from));
                }
            }
            _ => {}
        }
    }

    pub(super) fn on_other(&mut self, from: PeerId, message: LinkMessage) {
        match message {
            LinkMessage::Proposal(compact) => {
                let height = compact.extension.height;
                let tip = self.config.ledger.view().height;
                let current = self.running.as_ref().map_or(tip, |running| running.number);
                if height > current && height - current <= super::early::WINDOW {
                    self.early_blocks.insert(from, (height, *compact));
                } else {
                    self.on_proposal_block(from, *compact);
                }
            }
            LinkMessage::Transactions { id, transactions } => {
                let now_ms = monotonic_ms();
                let question = self.bodies.on_transactions(now_ms, from, id, transactions);
                question
                    .into_iter()
                    .for_each(|question| self.tell(question));
                self.judge_wanted();
            }
            question @ (LinkMessage::GetProposal { .. } | LinkMessage::GetTransactions { .. }) => {
                let limits = *self.config.ledger.params().limits();
                let compact = |block: &Block| {
                    let checked = CheckedBlock::new(block.clone(), &limits).ok()?;
                    Some(CompactBlock::new(&checked))
                };
                for answer in self.bodies.serve(&question, compact) {
                    self.tell((from, answer));
                }
            }
            LinkMessage::Decided { instance, id, seal } => self.on_told(instance, id, seal),
            LinkMessage::Message(_) => unreachable!("sorted before"),
        }
    }

    pub(super) fn on_proposal_block(&mut self, from: PeerId, compact: CompactBlock) {
        let ledger = self.config.ledger.clone();
        let question = self
            .bodies
            .on_proposal(monotonic_ms(), from, compact, |compact| {
                fill_from_mempool(&ledger.mempool().read(), compact)
            });
        question
            .into_iter()
            .for_each(|question| self.tell(question));
        self.judge_wanted();
    }

    /// Somebody says that our instance is decided.
    pub(super) fn on_told(&mut self, instance: Instance, id: BlockId, seal: SealBytes) {
        let Some(running) = &self.running else { return };
        if running.number != instance || self.sealed.is_some() {
            return;
        }
        let setup = running.core.setup();
        let decoded = Seal::from_bytes(seal.as_slice());
        let is_valid = decoded
            .is_ok_and(|seal| verify_seal(&seal, &setup.scope, id, &setup.set, &Ed25519).is_ok());
        if is_valid {
            self.sealed = Some((id, seal));
            for peer in &self.peers {
                self.bodies.want(monotonic_ms(), id, *peer);
            }
            self.judge_wanted();
        }
    }
}
