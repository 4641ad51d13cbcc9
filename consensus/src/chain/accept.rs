//! Taking in headers and blocks: everything that can be judged without coins.
//!
//! Invariants: one hash shows the work before anything else is done or kept; headers live in
//! bounded memory until their body comes; a body that does not belong to its header is its sender's
//! fault and marks nothing.

use std::sync::Arc;

use cairn_protocol::block::{Block, HeaderRecord, SealBytes};
use cairn_protocol::hash::{BlockId, Hash};
use cairn_protocol::header::Header;
use cairn_protocol::ledger::{BlockStore, CheckedBlock, Fault};
use cairn_protocol::pow::Work;
use cairn_protocol::rules::{SealFault, Violation};
use cairn_protocol::spec::ChainParams;
use cairn_protocol::units::Height;

use super::seals::{Sealed, seal_in};
use super::{Chain, Source};
use crate::limits::{
    BODIES_AHEAD_MAX, HEADERS_AHEAD_MAX, SENDERS_MAX, SIDE_BODY_DEPTH_MAX, SIDE_HEADERS_MAX,
};
use crate::nakamoto::{Index, Kept, Status, check_clock, check_record, check_work};
use crate::sealed::{check_header, check_seal, claims_work};
use crate::switch::{rules_after, switch_after};

/// Why something was not taken in though nobody is at fault. Ask again later, or not at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The block's branch shows less work than the specification asks of a chain.
    LowWork {
        /// Work of the branch.
        shown: Work,
        /// Work that is asked for.
        minimum: Work,
    },
    /// Headers lead the connected tip by the most that is kept: connect bodies first.
    HeadersAhead {
        /// Height of the refused header.
        height: Height,
        /// The highest that is taken now.
        max: Height,
    },
    /// The body is too far above the connected tip.
    BodyAhead {
        /// Height of the block.
        height: Height,
        /// The highest that is taken now.
        max: Height,
    },
    /// The body is deep below the tip and off the best header chain.
    DeepSideBranch {
        /// Height of the block.
        height: Height,
        /// The lowest that is taken now.
        min: Height,
    },
    /// The source has its quota of blocks with unknown parents, or of blocks from the future.
    Quota,
    /// There was no room, and this block lost the draw.
    NoRoom,
}

/// What became of a batch of headers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeadersOutcome {
    /// Headers that are new in the tree.
    pub added: usize,
    /// Headers that were known.
    pub known: usize,
    /// The last header of the batch that is in the tree: after a full batch ask on from here, also
    /// if all of it was known, because our own best header may lie on another branch.
    pub last: Option<BlockId>,
    /// The rule that stopped the batch: the sender's fault unless `is_temporary`.
    pub violation: Option<Violation>,
    /// The bound that stopped the batch.
    pub refusal: Option<Refusal>,
}

/// A block on its way in. One that was put together from transactions whose ids are known comes
/// checked, so that nothing is hashed twice.
#[derive(Clone, Debug)]
pub enum Body {
    /// As it came.
    Plain(Block),
    /// Checked by whoever put it together, with this chain's limits.
    Checked(CheckedBlock),
}

impl From<Block> for Body {
    fn from(block: Block) -> Body {
        Body::Plain(block)
    }
}

impl From<CheckedBlock> for Body {
    fn from(block: CheckedBlock) -> Body {
        Body::Checked(block)
    }
}

impl Body {
    /// The block's id.
    #[must_use]
    pub fn id(&self) -> BlockId {
        match self {
            Body::Plain(block) => block.id(),
            Body::Checked(block) => block.id(),
        }
    }

    /// The block.
    #[must_use]
    pub fn block(&self) -> &Block {
        match self {
            Body::Plain(block) => block,
            Body::Checked(block) => block.block(),
        }
    }

    fn into_block(self) -> Block {
        match self {
            Body::Plain(block) => block,
            Body::Checked(block) => block.into_block(),
        }
    }

    fn check(self, params: &ChainParams) -> Result<CheckedBlock, Violation> {
        let checked = match self {
            Body::Plain(block) => CheckedBlock::new(block, params.limits())?,
            Body::Checked(block) => block,
        };
        checked.check_engine(params)?;
        Ok(checked)
    }
}

/// What became of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BlockOutcome {
    /// Stored; call [`Chain::advance`]. With it, this many orphans that waited for it.
    Stored {
        /// Orphans that were stored with it.
        orphans: usize,
    },
    /// Its body was there already.
    Known,
    /// The parent is unknown: it waits in memory; ask the source for the headers before it.
    Orphan {
        /// The parent.
        parent: BlockId,
    },
    /// Its time has not come: it waits in memory until then.
    Held {
        /// First time at which it is taken.
        from: u32,
    },
    /// Not taken, and nobody is at fault.
    Refused(Refusal),
    /// It breaks a rule: the sender's fault unless `is_temporary`.
    Invalid(Violation),
}

impl<S: BlockStore> Chain<S> {
    /// Takes in a batch of records, each the child of the one before. Stops at the first that is
    /// not good; those before it stay.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn accept_headers(
        &mut self,
        now: u32,
        records: &[HeaderRecord],
    ) -> Result<HeadersOutcome, Fault> {
        let mut outcome = HeadersOutcome::default();
        for (at, record) in records.iter().enumerate() {
            let id = record.header.id();
            if let Some(index) = self.tree.find(&id) {
                if let Some(violation) = self.dead(index) {
                    outcome.violation = Some(violation);
                    break;
                }
                outcome.known += 1;
                outcome.last = Some(id);
                continue;
            }
            let max = self.connected.height().saturating_add(HEADERS_AHEAD_MAX);
            let height = record.extension.height;
            if height > max {
                outcome.refusal = Some(Refusal::HeadersAhead { height, max });
                break;
            }
            if self.seals.is_full() {
                let max = height.saturating_sub(1);
                outcome.refusal = Some(Refusal::HeadersAhead { height, max });
                break;
            }
            let seal = seal_in(&id, record, records.get(at + 1));
            if let Err(violation) = self.accept_header(now, id, record, seal)? {
                outcome.violation = Some(violation);
                break;
            }
            outcome.added += 1;
            outcome.last = Some(id);
        }
        self.shed();
        Ok(outcome)
    }

    fn accept_header(
        &mut self,
        now: u32,
        id: BlockId,
        record: &HeaderRecord,
        seal: Option<&SealBytes>,
    ) -> Result<Result<(), Violation>, Fault> {
        let judged = match self.place_header(&record.header) {
            Ok((parent, work)) => self
                .judge_record(now, parent, (&id, record), seal)?
                .map(|seal| (parent, work, seal)),
            Err(violation) => Err(violation),
        };
        let (parent, work, seal) = match judged {
            Ok(place) => place,
            Err(violation) => return Ok(Err(violation)),
        };
        Ok(self.insert(id, record, work, parent).map(|index| {
            if let Some(sealed) = seal {
                self.certify(index, sealed);
            }
        }))
    }

    /// Rules of a record whose header fits its place: its own, its seal's, its parent's seal's, the
    /// clock's under proof of work. Returns the seal of a BFT block.
    fn judge_record(
        &self,
        now: u32,
        parent: Index,
        (id, record): (&BlockId, &HeaderRecord),
        seal: Option<&SealBytes>,
    ) -> Result<Result<Option<Sealed>, Violation>, Fault> {
        if let Err(violation) = check_record(&self.params, &self.tree, parent, record) {
            return Ok(Err(violation));
        }
        if let Err(violation) = self.judge_carried(parent, record)? {
            return Ok(Err(violation));
        }
        let rules = rules_after(&self.params, &self.tree, parent);
        if !rules.is_bft() {
            return Ok(check_clock(&self.params, &record.header, now).map(|()| None));
        }
        let Some(seal) = seal else {
            let height = rules.height();
            return Ok(Err(Violation::Unsealed { height }));
        };
        let proposed_round = record.extension.proposed_round;
        let place = (*id, proposed_round);
        let sealed = Sealed {
            seal: seal.clone(),
            proposed_round,
        };
        let judged = check_seal(&rules, self.scheme.as_ref(), place, seal);
        Ok(judged
            .map(|()| Some(sealed))
            .map_err(|error| Violation::BadSeal { error }))
    }

    /// The certificates that a record carries: its parent's seal (HDR-16) and an anchor's (SWT-04).
    pub(super) fn judge_carried(
        &self,
        parent: Index,
        record: &HeaderRecord,
    ) -> Result<Result<(), Violation>, Fault> {
        if let Some(bytes) = &record.parent_seal
            && let Err(error) = self.judge_parent_seal(parent, bytes)?
        {
            return Ok(Err(Violation::BadParentSeal { error }));
        }
        Ok(self.judge_anchor_cert(parent, record))
    }

    /// Whether `bytes` certify the BFT block at `parent`: the seal that it came with does.
    pub(super) fn judge_parent_seal(
        &self,
        parent: Index,
        bytes: &SealBytes,
    ) -> Result<Result<(), SealFault>, Fault> {
        let entry = self.tree.entry(parent);
        let known = self.sealed(parent)?;
        let known =
            known.ok_or_else(|| Fault(format!("the seal of block {} is missing", entry.id)))?;
        if known.seal == *bytes {
            return Ok(Ok(()));
        }
        let Some(above) = self.tree.parent(parent) else {
            return Ok(Ok(()));
        };
        let rules = rules_after(&self.params, &self.tree, above);
        let place = (entry.id, known.proposed_round);
        Ok(check_seal(&rules, self.scheme.as_ref(), place, bytes))
    }

    /// Takes in a block that `source` sent. Blocks that waited for it are taken in with it.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn accept_block(
        &mut self,
        now: u32,
        block: impl Into<Body>,
        source: Source,
    ) -> Result<BlockOutcome, Fault> {
        self.accept_sealed_block(now, block, None, source)
    }

    /// The same with the block's own seal, which a BFT block needs unless its header is known: its
    /// seal came with the header then. A bad seal is its sender's fault and marks nothing. A BFT
    /// block whose parent is unknown is not kept.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn accept_sealed_block(
        &mut self,
        now: u32,
        block: impl Into<Body>,
        seal: Option<&SealBytes>,
        source: Source,
    ) -> Result<BlockOutcome, Fault> {
        let body = block.into();
        let id = body.id();
        let outcome = self.accept_one(now, id, body, seal, source)?;
        let BlockOutcome::Stored { .. } = outcome else {
            return Ok(outcome);
        };
        let mut orphans = 0;
        let mut parents = vec![id];
        while let Some(parent) = parents.pop() {
            for (id, orphan) in self.orphans.take_children(&parent) {
                if let BlockOutcome::Stored { .. } =
                    self.accept_one(now, id, orphan.block.into(), None, orphan.source)?
                {
                    orphans += 1;
                    parents.push(id);
                }
            }
        }
        self.shed();
        Ok(BlockOutcome::Stored { orphans })
    }

    /// Takes in the held blocks whose time has come; returns how each ended. Call it when the clock
    /// moves on.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn release_held(
        &mut self,
        now: u32,
    ) -> Result<Vec<(BlockId, Source, BlockOutcome)>, Fault> {
        let mut outcomes = Vec::new();
        for (block, source) in self.held.release(now) {
            let id = block.id();
            outcomes.push((id, source, self.accept_block(now, block, source)?));
        }
        self.orphans.expire(now);
        Ok(outcomes)
    }

    /// Forgets what a banned source left waiting.
    pub fn forget_source(&mut self, source: Source) {
        self.orphans.forget_source(source);
    }

    fn accept_one(
        &mut self,
        now: u32,
        id: BlockId,
        body: Body,
        seal: Option<&SealBytes>,
        source: Source,
    ) -> Result<BlockOutcome, Fault> {
        if let Some(index) = self.tree.find(&id) {
            return self.accept_body(index, body, source);
        }
        let header = body.block().header;
        let (parent, work) = match self.place_header(&header) {
            Ok(place) => place,
            Err(Violation::UnknownParent { .. }) if claims_work(&self.params, &header) => {
                return Ok(self.keep_orphan(now, id, body.into_block(), source));
            }
            Err(Violation::UnknownParent { .. }) => {
                let parent = header.parent;
                return Ok(BlockOutcome::Orphan { parent });
            }
            Err(violation) => return Ok(BlockOutcome::Invalid(violation)),
        };
        if let Some(refusal) = self.refuse_new(parent, work, source) {
            return Ok(BlockOutcome::Refused(refusal));
        }
        let checked = match body.check(&self.params) {
            Ok(checked) => checked,
            Err(violation) => return Ok(BlockOutcome::Invalid(violation)),
        };
        self.accept_checked(now, (parent, work), Arc::new(checked), seal, source)
    }

    /// A checked block whose header fits its place.
    pub(super) fn accept_checked(
        &mut self,
        now: u32,
        (parent, work): (Index, Work),
        checked: Arc<CheckedBlock>,
        seal: Option<&SealBytes>,
        source: Source,
    ) -> Result<BlockOutcome, Fault> {
        let (id, header, record) = (checked.id(), checked.block().header, checked.record());
        let sealed = match self.judge_record(now, parent, (&id, &record), seal)? {
            Ok(sealed) => sealed,
            Err(Violation::TimeTooNew { .. }) => {
                let from = header.time - self.params.timing().max_future_s;
                let kept = self.held.insert(from, id, checked.block().clone(), source);
                return Ok(if kept {
                    BlockOutcome::Held { from }
                } else {
                    BlockOutcome::Refused(Refusal::Quota)
                });
            }
            Err(violation) => return Ok(BlockOutcome::Invalid(violation)),
        };
        match self.insert(id, &record, work, parent) {
            Ok(index) => {
                if let Some(sealed) = sealed {
                    self.certify(index, sealed);
                }
                self.store_body(index, checked, source)
            }
            Err(violation) => Ok(BlockOutcome::Invalid(violation)),
        }
    }

    /// A body whose header is in the tree.
    fn accept_body(
        &mut self,
        index: Index,
        body: Body,
        source: Source,
    ) -> Result<BlockOutcome, Fault> {
        if let Some(violation) = self.dead(index) {
            return Ok(BlockOutcome::Invalid(violation));
        }
        let entry = self.tree.entry(index);
        if entry.status != Status::HeaderOnly {
            return Ok(BlockOutcome::Known);
        }
        let on_best_chain = self.tree.on_best_header_chain(entry.height) == Some(index);
        if let Some(refusal) = self.refuse_body(entry.height, on_best_chain) {
            return Ok(BlockOutcome::Refused(refusal));
        }
        let checked = match body.check(&self.params) {
            Ok(checked) => checked,
            Err(violation) => {
                // A mutation says nothing of the block that the header stands for.
                if !violation.is_mutation() {
                    self.tree.mark_invalid(index);
                }
                return Ok(BlockOutcome::Invalid(violation));
            }
        };
        // The header's record may have come with other certificates than those that the block is
        // bound to; what the block itself carries decides, for every node alike.
        let parent = self.tree.parent(index).expect("genesis has its body");
        if let Err(violation) = self.judge_carried(parent, &checked.record())? {
            self.tree.mark_invalid(index);
            return Ok(BlockOutcome::Invalid(violation));
        }
        self.store_body(index, Arc::new(checked), source)
    }

    fn store_body(
        &mut self,
        index: Index,
        checked: Arc<CheckedBlock>,
        source: Source,
    ) -> Result<BlockOutcome, Fault> {
        let (id, height) = (checked.id(), self.tree.entry(index).height);
        let mut record = checked.record();
        // With the body the seal becomes durable: until a child carries it, it exists nowhere else.
        record.seal = self.seals.get(index).map(|sealed| sealed.seal.clone());
        self.store.put_header(&id, height, &record)?;
        self.store.put_block(&checked)?;
        self.seals.remove(index);
        self.tree.body_stored(index);
        self.bodies.insert(index, checked);
        self.senders.insert(index, source);
        while self.senders.len() > SENDERS_MAX {
            self.senders.pop_first();
        }
        Ok(BlockOutcome::Stored { orphans: 0 })
    }

    fn keep_orphan(&mut self, now: u32, id: BlockId, block: Block, source: Source) -> BlockOutcome {
        let parent = block.header.parent;
        let bytes = block.to_bytes().len();
        match self.orphans.insert(now, id, block, bytes, source) {
            Kept::Waiting => BlockOutcome::Orphan { parent },
            Kept::Known => BlockOutcome::Known,
            Kept::OverQuota => BlockOutcome::Refused(Refusal::Quota),
            Kept::Evicted => BlockOutcome::Refused(Refusal::NoRoom),
        }
    }

    /// The parent's place and the header's work, if header and ancestors allow it.
    pub(super) fn place_header(&self, header: &Header) -> Result<(Index, Work), Violation> {
        if claims_work(&self.params, header) {
            check_work(&self.params, header)?;
        }
        let parent = Hash(header.parent.0);
        let index = self
            .tree
            .find(&header.parent)
            .ok_or(Violation::UnknownParent { parent })?;
        if let Some(violation) = self.dead(index) {
            return Err(violation);
        }
        self.check_floor(index)?;
        let work = check_header(&self.params, &self.tree, index, header)?;
        Ok((index, work))
    }

    /// HDR-10: a child of `parent` does not leave the chain below the floor.
    fn check_floor(&self, parent: Index) -> Result<(), Violation> {
        if self.tree.is_ancestor(self.tree.floor(), parent) {
            return Ok(());
        }
        let (height, floor) = (
            self.tree.entry(parent).height + 1,
            self.tree.entry(self.tree.floor()).height,
        );
        Err(Violation::BelowFloor { height, floor })
    }

    /// The violation of everything that builds on a dead entry, or is it.
    fn dead(&self, index: Index) -> Option<Violation> {
        let entry = self.tree.entry(index);
        match entry.status {
            Status::Invalid => Some(Violation::InvalidAncestor {
                ancestor: Hash(entry.id.0),
            }),
            Status::Abandoned => {
                let floor = self.tree.entry(self.tree.floor()).height;
                Some(Violation::BelowFloor {
                    height: entry.height,
                    floor,
                })
            }
            _ => None,
        }
    }

    /// Remembers a header's verified seal and raises its branch.
    fn certify(&mut self, index: Index, sealed: Sealed) {
        self.tree.certify(index);
        self.seals.insert(index, sealed);
    }

    /// The seal of a BFT block and what it was checked with; `None` for blocks without one.
    pub(super) fn sealed(&self, index: Index) -> Result<Option<Sealed>, Fault> {
        if let Some(sealed) = self.seals.get(index) {
            return Ok(Some(sealed.clone()));
        }
        let record = self.store.header(&self.tree.entry(index).id)?;
        Ok(record.and_then(|record| {
            Some(Sealed {
                seal: record.seal?,
                proposed_round: record.extension.proposed_round,
            })
        }))
    }

    fn insert(
        &mut self,
        id: BlockId,
        record: &HeaderRecord,
        work: Work,
        parent: Index,
    ) -> Result<Index, Violation> {
        let switch = switch_after(&self.params, &self.tree, parent, &record.extension);
        let index = self
            .tree
            .insert_with(id, &record.header, work, parent, &switch)
            .map_err(|_| Violation::WorkOverflow {})?;
        self.anchor_included(index, record);
        if self.unattached.remove(&id) {
            self.tree.body_stored(index);
        }
        Ok(index)
    }

    /// Bounds for a block whose header is new.
    fn refuse_new(&self, parent: Index, work: Work, source: Source) -> Option<Refusal> {
        let above = self.tree.entry(parent);
        let shown = above.score.work.saturating_add(work);
        let minimum = self.params.minimum_chain_work();
        if shown < minimum && source != Source::LOCAL {
            return Some(Refusal::LowWork { shown, minimum });
        }
        let becomes_best = rules_after(&self.params, &self.tree, parent).is_bft()
            || shown > self.tree.entry(self.tree.best_header()).score.work;
        self.refuse_body(above.height + 1, becomes_best)
    }

    /// Bounds for a body at `height`.
    fn refuse_body(&self, height: Height, on_best_chain: bool) -> Option<Refusal> {
        let tip = self.connected.height();
        let max = tip.saturating_add(BODIES_AHEAD_MAX);
        let min = tip.saturating_sub(SIDE_BODY_DEPTH_MAX);
        if height > max {
            return Some(Refusal::BodyAhead { height, max });
        }
        (!on_best_chain && height < min).then_some(Refusal::DeepSideBranch { height, min })
    }

    /// Forgets the weakest side branches when there are too many.
    fn shed(&mut self) {
        let Some(remap) = self.tree.shed(SIDE_HEADERS_MAX) else {
            return;
        };
        self.connected.remap(&remap);
        self.bodies.remap(&remap);
        self.seals.remap(&remap);
        let senders = std::mem::take(&mut self.senders);
        self.senders = senders
            .into_iter()
            .filter_map(|(index, source)| Some((remap.get(index)?, source)))
            .collect();
    }
}
