//! Proposals of BFT engines on the connected tip: made, judged before a vote, appended when decided.
//!
//! ```text
//!   propose ──> block ──> check_proposal ──> (votes) ──> accept_decided ──> step
//!                              └── keeps the block checked and its connection computed
//! ```
//!
//! Invariants: what `propose` makes, `check_proposal` accepts on the same tip; a proposal that was
//! judged and then decided is neither hashed nor connected a second time, and its connection was
//! computed on the very state that it is applied to, because the parent's id names that state.
//!
//! Rules: `spec/06-proof-of-work.md#headers`, `spec/05-blocks-and-state.md#connect`.

use std::sync::Arc;

use cairn_protocol::block::{Attachments, Block, EvidenceBytes, SealBytes};
use cairn_protocol::hash::{BlockId, Hash};
use cairn_protocol::ledger::{
    BlockStore, CheckedBlock, ConnectError, Connected, Fault, connect_block,
};
use cairn_protocol::limits::EVIDENCE_MAX;
use cairn_protocol::lock::Lock;
use cairn_protocol::pow::Bits;
use cairn_protocol::rules::Violation;
use cairn_protocol::signature::SignatureCheck;

use super::{BlockOutcome, Chain, Source};
use crate::limits::PROPOSALS_MAX;
use crate::nakamoto::{Index, check_clock, check_record};
use crate::sealed::check_header;
use crate::switch::is_sealed;
use crate::template::{Chosen, Parts, TemplateError, block_of, expect_engine};

/// A proposal that may be voted for.
#[derive(Debug)]
pub(super) struct Judged {
    /// The block.
    pub block: Arc<CheckedBlock>,
    /// What connecting it gives.
    pub connected: Connected,
}

/// The judged proposals on the present tip, newest last.
#[derive(Debug, Default)]
pub(super) struct Proposals(Vec<Judged>);

impl Proposals {
    fn keep(&mut self, judged: Judged) {
        let id = judged.block.id();
        self.0.retain(|other| other.block.id() != id);
        if self.0.len() == PROPOSALS_MAX {
            self.0.remove(0);
        }
        self.0.push(judged);
    }

    fn block(&self, id: &BlockId) -> Option<&Arc<CheckedBlock>> {
        let judged = self.0.iter().find(|judged| judged.block.id() == *id)?;
        Some(&judged.block)
    }

    /// Takes the connection of a block and forgets the other proposals, which stand on a tip that
    /// passes.
    pub fn take(&mut self, id: &BlockId) -> Option<Connected> {
        let all = std::mem::take(&mut self.0);
        let judged = all.into_iter().find(|judged| judged.block.id() == *id)?;
        Some(judged.connected)
    }
}

impl<S: BlockStore> Chain<S> {
    /// The seal of the connected tip; `None` if it has none.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn tip_seal(&self) -> Result<Option<SealBytes>, Fault> {
        self.seal_of(&self.tip().id)
    }

    /// The seal of a block: the one that its connected child carries, which is its seal for ever,
    /// or the one that it came with. `None` for unknown blocks and those that have none.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn seal_of(&self, id: &BlockId) -> Result<Option<SealBytes>, Fault> {
        let Some(index) = self.tree.find(id) else {
            return Ok(None);
        };
        if !is_sealed(&self.tree, index) {
            return Ok(None);
        }
        if self.connected.contains(&self.tree, index)
            && let Some(child) = self.connected_at(self.tree.entry(index).height + 1)
            && let Some(record) = self.store.header(&child.id)?
            && record.parent_seal.is_some()
        {
            return Ok(record.parent_seal);
        }
        Ok(self.sealed(index)?.map(|sealed| sealed.seal))
    }

    /// A proposal on the connected tip for `round`, in the name of that round's leader, with a time
    /// of `now` or the parent's if that is later. `evidence` are canonical bytes.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn propose(
        &self,
        now: u32,
        round: u32,
        reward_lock: &Lock,
        chosen: &[Chosen<'_>],
        evidence: Vec<EvidenceBytes>,
    ) -> Result<Block, TemplateError> {
        let state = self.state();
        let rules = state.rules(&self.params);
        expect_engine(&rules, true)?;
        if evidence.len() > EVIDENCE_MAX {
            let found = evidence.len();
            return Err(TemplateError::TooMuchEvidence { found });
        }
        let attachments = Attachments {
            parent_seal: self.tip_seal()?.unwrap_or_default(),
            evidence,
            ..Attachments::default()
        };
        let leader = rules.leader(round).expect("a BFT height has validators");
        let parts = Parts {
            time: now.max(state.engine.last_time()),
            bits: Bits(0),
            reward_lock,
            chosen,
            attachments,
            proposer: (leader, round),
            anchor: None,
        };
        block_of(&self.params, state, parts).map(|(block, _)| block)
    }

    /// Judges a proposal on the connected tip before a vote for it: every rule of its header, its
    /// body and its connection, and the bound on the future, which a sealed block is never held to.
    /// Changes nothing that lasts; [`Chain::accept_decided`] appends it when it is decided.
    ///
    /// # Errors
    /// The broken rule, or a fault of the store. `UnknownParent` and `TimeTooNew` are temporary.
    pub fn check_proposal(
        &mut self,
        now: u32,
        block: Block,
        signatures: &mut dyn SignatureCheck,
    ) -> Result<(), ConnectError> {
        let (tip, header) = (self.connected.tip(), block.header);
        if header.parent != self.tree.entry(tip).id {
            let parent = Hash(header.parent.0);
            return Err(Violation::UnknownParent { parent }.into());
        }
        let checked = self.judge_proposal(now, tip, block)?;
        let state = self.store.state();
        let connected = connect_block(&self.params, state, &checked, &self.store, signatures)?;
        self.keep_proposal(checked, connected);
        Ok(())
    }

    /// Every rule of a proposal on `parent` that needs no coin, and the bound on the future.
    pub(super) fn judge_proposal(
        &self,
        now: u32,
        parent: Index,
        block: Block,
    ) -> Result<CheckedBlock, ConnectError> {
        let header = block.header;
        check_header(&self.params, &self.tree, parent, &header)?;
        let checked = CheckedBlock::new(block, self.params.limits())?;
        checked.check_engine(&self.params)?;
        let record = checked.record();
        check_record(&self.params, &self.tree, parent, &record)?;
        self.judge_carried(parent, &record)??;
        check_clock(&self.params, &header, now)?;
        Ok(checked)
    }

    pub(super) fn keep_proposal(&mut self, checked: CheckedBlock, connected: Connected) {
        self.proposals.keep(Judged {
            block: Arc::new(checked),
            connected,
        });
    }

    /// A judged proposal on the connected tip, if it is still kept.
    #[must_use]
    pub fn proposal(&self, id: &BlockId) -> Option<Arc<CheckedBlock>> {
        self.proposals.block(id).cloned()
    }

    /// Takes in a judged proposal with the seal that decided it; `None` if it is not kept, then
    /// [`Chain::accept_sealed_block`] takes the whole block. When it returns, block and seal are
    /// durable; call [`Chain::advance`].
    ///
    /// # Errors
    /// A fault of the store.
    pub fn accept_decided(
        &mut self,
        now: u32,
        id: &BlockId,
        seal: &SealBytes,
    ) -> Result<Option<BlockOutcome>, Fault> {
        let Some(block) = self.proposals.block(id).cloned() else {
            return Ok(None);
        };
        if self.tree.find(id).is_some() {
            let block = block.block().clone();
            return self
                .accept_sealed_block(now, block, Some(seal), Source::LOCAL)
                .map(Some);
        }
        let (parent, work) = match self.place_header(&block.block().header) {
            Ok(place) => place,
            Err(violation) => return Ok(Some(BlockOutcome::Invalid(violation))),
        };
        self.accept_checked(now, (parent, work), block, Some(seal), Source::LOCAL)
            .map(Some)
    }
}
