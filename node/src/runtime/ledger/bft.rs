//! What the ledger thread does for a BFT engine: makes proposals, judges them, appends decisions.
//!
//! Invariant: a proposal that was judged is connected only once, when it is decided; nothing is
//! judged against another tip than the connected one. Rules: `spec/09-bft.md#proposing`,
//! `spec/05-blocks-and-state.md#connect`.

use super::command::{Command, LedgerHandle, LedgerStopped};
use super::worker::Worker;
use crate::runtime::clock::now_u32;
use cairn_consensus::chain::Source;
use cairn_consensus::template::Chosen;
use cairn_protocol::block::{Block, EvidenceBytes, SealBytes};
use cairn_protocol::ledger::{CheckedBlock, ConnectError, Fault, check_evidence};
use cairn_protocol::limits::EVIDENCE_MAX;
use cairn_protocol::lock::Lock;
use cairn_protocol::signature::Ed25519;
use std::sync::Arc;
use tokio::sync::oneshot;

/// An order for a proposal on the tip.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The round that asks.
    pub round: u32,
    /// Whom the coinbase pays.
    pub reward: Lock,
    /// Evidence that waits; what cannot go in is left out.
    pub evidence: Vec<EvidenceBytes>,
}

/// What a proposal is worth on the connected tip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be voted for.
    Valid,
    /// Not now: another tip, or a moment ahead of our clock. Nobody is to blame.
    NotYet,
    /// Never.
    Invalid {
        /// The broken rule.
        reason: String,
        /// Whether the same id may arrive valid from somebody else.
        is_mutation: bool,
    },
}

/// Orders of the engine.
pub(super) enum BftCommand {
    Propose {
        proposal: Proposal,
        reply: oneshot::Sender<Result<Arc<CheckedBlock>, String>>,
    },
    Judge {
        block: Box<Block>,
        reply: oneshot::Sender<Verdict>,
    },
    Decided {
        block: Box<Block>,
        seal: SealBytes,
        reply: oneshot::Sender<Appended>,
    },
}

/// What became of a decided block.
#[derive(Clone, Debug)]
pub enum Appended {
    /// It is the chain's now; with the block if it was judged here.
    Connected(Option<Arc<CheckedBlock>>),
    /// These bytes are not the decided block, or the ledger refuses it, for this reason.
    Refused(String),
}

impl Worker {
    /// Runs one order. Whoever asked may have gone; the chain has moved all the same.
    pub(super) fn bft(&mut self, command: BftCommand) -> Result<(), Fault> {
        match command {
            BftCommand::Propose { proposal, reply } => {
                let _ = reply.send(self.propose(proposal)?);
            }
            BftCommand::Judge { block, reply } => {
                let _ = reply.send(self.judge(*block)?);
            }
            BftCommand::Decided { block, seal, reply } => {
                let _ = reply.send(self.decided(*block, &seal)?);
            }
        }
        Ok(())
    }

    /// Our own proposal. One that our own judge refuses (it is too heavy with its seal and evidence,
    /// or the mempool holds what does not connect) is made again with less in it.
    fn propose(&mut self, proposal: Proposal) -> Result<Result<Arc<CheckedBlock>, String>, Fault> {
        let Proposal {
            round,
            reward,
            evidence,
        } = proposal;
        let evidence = self.fitting(evidence);
        let selection = self.select();
        let whole = selection.transactions.len();
        let mut refusal = String::new();
        for (count, evidence) in [(whole, evidence), (whole / 2, Vec::new()), (0, Vec::new())] {
            let chosen: Vec<Chosen<'_>> = selection.transactions[..count]
                .iter()
                .map(|s| Chosen {
                    transaction: &s.transaction,
                    ids: &s.ids,
                    fee: s.fee,
                })
                .collect();
            let made = self
                .chain
                .propose(now_u32(), round, &reward, &chosen, evidence);
            let block = match made {
                Ok(block) => block,
                Err(error) => return Ok(Err(error.to_string())),
            };
            let id = block.id();
            match self.judge(block)? {
                Verdict::Valid => {
                    let kept = self.chain.proposal(&id);
                    return Ok(kept.ok_or_else(|| "the proposal was not kept".to_owned()));
                }
                verdict => {
                    tracing::warn!(count, ?verdict, "our own proposal does not pass");
                    refusal = format!("our own proposal does not pass: {verdict:?}");
                }
            }
        }
        Ok(Err(refusal))
    }

    /// The evidence that a block on the tip may carry.
    fn fitting(&self, evidence: Vec<EvidenceBytes>) -> Vec<EvidenceBytes> {
        let mut fitting = Vec::new();
        let mut before = Vec::new();
        for bytes in evidence {
            let judged =
                check_evidence(&self.params, self.chain.state(), &before, &bytes, &Ed25519);
            if let Ok(offence) = judged {
                before.push(offence);
                fitting.push(bytes);
            }
            if fitting.len() == EVIDENCE_MAX {
                break;
            }
        }
        fitting
    }

    fn judge(&mut self, block: Block) -> Result<Verdict, Fault> {
        match self
            .chain
            .check_proposal(now_u32(), block, &mut self.signatures)
        {
            Ok(()) => Ok(Verdict::Valid),
            Err(ConnectError::Fault(fault)) => Err(fault),
            Err(ConnectError::Invalid(violation)) if violation.is_temporary() => {
                Ok(Verdict::NotYet)
            }
            Err(ConnectError::Invalid(violation)) => Ok(Verdict::Invalid {
                reason: violation.to_string(),
                is_mutation: violation.is_mutation(),
            }),
        }
    }

    fn decided(&mut self, block: Block, seal: &SealBytes) -> Result<Appended, Fault> {
        let (id, now) = (block.id(), now_u32());
        let checked = self.chain.proposal(&id);
        let outcome = match self.chain.accept_decided(now, &id, seal)? {
            Some(outcome) => outcome,
            None => self
                .chain
                .accept_sealed_block(now, block, Some(seal), Source::LOCAL)?,
        };
        self.settle()?;
        if self.chain.is_connected(&id) {
            return Ok(Appended::Connected(checked));
        }
        Ok(Appended::Refused(format!("{outcome:?}")))
    }
}

impl LedgerHandle {
    /// A judged proposal on the tip, or why there is none.
    pub async fn propose(
        &self,
        proposal: Proposal,
    ) -> Result<Result<Arc<CheckedBlock>, String>, LedgerStopped> {
        self.ask(|reply| Command::Bft(BftCommand::Propose { proposal, reply }))
            .await
    }

    /// Judges a proposal on the tip.
    pub async fn judge(&self, block: Block) -> Result<Verdict, LedgerStopped> {
        let block = Box::new(block);
        self.ask(|reply| Command::Bft(BftCommand::Judge { block, reply }))
            .await
    }

    /// Appends a decided block. When it is connected, block and seal are durable and the tip has
    /// moved.
    pub async fn decided(&self, block: Block, seal: SealBytes) -> Result<Appended, LedgerStopped> {
        let block = Box::new(block);
        self.ask(|reply| Command::Bft(BftCommand::Decided { block, seal, reply }))
            .await
    }
}
