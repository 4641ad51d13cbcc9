//! Blocks of proposals: found in the mempool, asked of those who spoke of them, served to others.
//!
//! Invariant: only blocks that a verified proposal of this instance names are kept, so a validator
//! can make us hold one block a round; every question is repeated to another peer when its time is
//! over. Rules: `spec/09-bft.md#bodies`.

use cairn_network::PeerId;
use cairn_protocol::block::Block;
use cairn_protocol::hash::BlockId;
use cairn_protocol::limits::COMPACT_INDEXES_MAX;
use cairn_protocol::transaction::Transaction;
use cairn_protocol::wire::{CompactBlock, LinkMessage, Placed, Reconstruction, ShortId};
use std::collections::{BTreeMap, VecDeque};

/// Time for an answer before somebody else is asked.
pub const PATIENCE_MS: u64 = 250;
/// Blocks under way in one instance: one a round, and rounds beyond this are long.
const WANTED_MAX: usize = 16;
/// Decided blocks that are still served to those who are a little behind.
const RECENT_MAX: usize = 4;
/// Bytes of transactions in one frame, before the last one.
const CHUNK_BYTES: usize = 512 * 1024;

/// A block that is being found.
#[derive(Debug)]
struct Wanted {
    /// Who spoke of it, in that order: all of them said that they have it.
    sources: VecDeque<PeerId>,
    /// Its shape, and what is known of its transactions.
    shape: Option<Reconstruction>,
    /// When the next question is due.
    due_ms: u64,
    /// Its place in the order of wishes.
    number: u64,
    /// The last transaction that was asked for.
    asked_until: u32,
    /// The mempool's guesses were wrong: ask for everything.
    distrust: bool,
}

/// A question or an answer for one peer.
pub type Outgoing = (PeerId, LinkMessage);

/// The blocks of one instance, and some before it.
#[derive(Debug, Default)]
pub struct Bodies {
    /// Wishes so far.
    wishes: u64,
    wanted: BTreeMap<BlockId, Wanted>,
    whole: BTreeMap<BlockId, Block>,
    recent: VecDeque<(BlockId, Block)>,
}

impl Bodies {
    /// A new instance: what was decided is kept for others, the rest forgotten.
    pub fn next_instance(&mut self, decided: Option<BlockId>) {
        self.wanted.clear();
        let mut whole = std::mem::take(&mut self.whole);
        if let Some((id, block)) = decided.and_then(|id| whole.remove_entry(&id)) {
            self.recent.push_back((id, block));
            if self.recent.len() > RECENT_MAX {
                self.recent.pop_front();
            }
        }
    }

    /// A block of this instance that is whole.
    pub fn get(&self, id: &BlockId) -> Option<&Block> {
        self.whole.get(id)
    }

    /// Forgets a block whose bytes are not what its id stands for.
    pub fn forget(&mut self, id: &BlockId) {
        self.whole.remove(id);
    }

    /// A block that we have: our own proposal, or what we promised in an earlier run.
    pub fn add_own(&mut self, id: BlockId, block: Block) {
        self.whole.insert(id, block);
    }

    /// A verified message of `from` names this block, and we need it.
    pub fn want(&mut self, now_ms: u64, id: BlockId, from: PeerId) {
        if self.whole.contains_key(&id) {
            return;
        }
        if let Some(wanted) = self.wanted.get_mut(&id) {
            if !wanted.sources.contains(&from) {
                wanted.sources.push_back(from);
            }
        } else {
            if self.wanted.len() >= WANTED_MAX {
                // What the core asked for last counts; older wishes were of rounds that passed.
                let oldest = self.wanted.iter().min_by_key(|(_, wanted)| wanted.number);
                if let Some(oldest) = oldest.map(|(id, _)| *id) {
                    self.wanted.remove(&oldest);
                }
            }
            self.wishes += 1;
            let wanted = Wanted {
                sources: VecDeque::from([from]),
                shape: None,
                // The block follows the message that proposes it: nothing to ask yet.
                due_ms: now_ms + PATIENCE_MS,
                number: self.wishes,
                asked_until: 0,
                distrust: false,
            };
            self.wanted.insert(id, wanted);
        }
    }

    /// The shape of a block came. `find` is the mempool. Answers what to ask now.
    pub fn on_proposal(
        &mut self,
        now_ms: u64,
        from: PeerId,
        compact: CompactBlock,
        find: impl FnOnce(CompactBlock) -> Reconstruction,
    ) -> Option<Outgoing> {
        let id = compact.id();
        let wanted = self.wanted.get_mut(&id)?;
        if wanted.shape.is_some() || !compact.is_bound() {
            return None;
        }
        wanted.shape = Some(if wanted.distrust {
            compact.reconstruct(|_: &ShortId| None)
        } else {
            find(compact)
        });
        self.finish(id);
        self.ask(now_ms, id, from)
    }

    /// Transactions came.
    pub fn on_transactions(
        &mut self,
        now_ms: u64,
        from: PeerId,
        id: BlockId,
        transactions: Vec<Placed>,
    ) -> Option<Outgoing> {
        let wanted = self.wanted.get_mut(&id)?;
        let shape = wanted.shape.as_mut()?;
        for Placed { index, transaction } in transactions {
            shape.place(index, transaction);
        }
        wanted.due_ms = now_ms + PATIENCE_MS;
        let first = shape.missing().first().copied();
        let is_answered = first.is_none_or(|first| first > wanted.asked_until);
        self.finish(id);
        // The rest of the answer is on its way, or all of it came and there is more to ask.
        is_answered.then(|| self.ask(now_ms, id, from)).flatten()
    }

    /// A block did not fit its header: a guess of the mempool was wrong. Everything is asked for.
    pub fn mismatch(&mut self, now_ms: u64, id: BlockId, from: PeerId) -> Option<Outgoing> {
        self.whole.remove(&id)?;
        let wanted = Wanted {
            sources: VecDeque::from([from]),
            shape: None,
            due_ms: now_ms + PATIENCE_MS,
            number: self.wishes,
            asked_until: 0,
            distrust: true,
        };
        self.wanted.insert(id, wanted);
        Some((from, LinkMessage::GetProposal { id }))
    }

    /// Questions that are due, to the next peer each.
    pub fn tick(&mut self, now_ms: u64) -> Vec<Outgoing> {
        let due: Vec<BlockId> = self
            .wanted
            .iter()
            .filter(|(_, wanted)| wanted.due_ms <= now_ms)
            .map(|(id, _)| *id)
            .collect();
        let next = |id: BlockId| {
            let wanted = self.wanted.get_mut(&id)?;
            wanted.sources.rotate_left(1);
            let peer = *wanted.sources.front()?;
            self.ask(now_ms, id, peer)
        };
        due.into_iter().filter_map(next).collect()
    }

    /// When [`Bodies::tick`] has something to do.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.wanted.values().map(|wanted| wanted.due_ms).min()
    }

    /// Answers a question of a peer.
    pub fn serve(
        &self,
        question: &LinkMessage,
        compact: impl Fn(&Block) -> Option<CompactBlock>,
    ) -> Vec<LinkMessage> {
        match question {
            LinkMessage::GetProposal { id } => {
                let compact = self.find(id).and_then(compact);
                compact
                    .map(|compact| LinkMessage::Proposal(Box::new(compact)))
                    .into_iter()
                    .collect()
            }
            LinkMessage::GetTransactions { id, indexes } => match self.find(id) {
                Some(block) => chunks(*id, &block.transactions, indexes),
                None => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn find(&self, id: &BlockId) -> Option<&Block> {
        let recent = || self.recent.iter().find(|(known, _)| known == id);
        self.whole
            .get(id)
            .or_else(|| recent().map(|(_, block)| block))
    }

    /// Moves a block that lacks nothing to the whole ones.
    fn finish(&mut self, id: BlockId) {
        let complete = self
            .wanted
            .get(&id)
            .and_then(|wanted| wanted.shape.as_ref());
        if complete.is_some_and(|shape| shape.missing().is_empty()) {
            let shape = self.wanted.remove(&id).and_then(|wanted| wanted.shape);
            if let Some((block, _)) = shape.and_then(Reconstruction::block) {
                self.whole.insert(id, block);
            }
        }
    }

    fn ask(&mut self, now_ms: u64, id: BlockId, peer: PeerId) -> Option<Outgoing> {
        let wanted = self.wanted.get_mut(&id)?;
        wanted.due_ms = now_ms + PATIENCE_MS;
        let question = match &mut wanted.shape {
            None => LinkMessage::GetProposal { id },
            Some(shape) => {
                let mut indexes = shape.missing();
                indexes.truncate(COMPACT_INDEXES_MAX);
                wanted.asked_until = indexes.last().copied().unwrap_or(0);
                LinkMessage::GetTransactions { id, indexes }
            }
        };
        Some((peer, question))
    }
}

/// The transactions at `indexes`, in frames of about [`CHUNK_BYTES`].
fn chunks(id: BlockId, transactions: &[Transaction], indexes: &[u32]) -> Vec<LinkMessage> {
    let mut frames = Vec::new();
    if !indexes.is_sorted_by(|a, b| a < b) {
        // One transaction asked for thousands of times would cost us gigabytes.
        return frames;
    }
    let (mut placed, mut bytes) = (Vec::new(), 0);
    for index in indexes {
        let Some(transaction) = transactions.get(*index as usize) else {
            continue;
        };
        bytes += cairn_protocol::codec::encode(transaction).len();
        placed.push(Placed {
            index: *index,
            transaction: transaction.clone(),
        });
        if bytes >= CHUNK_BYTES {
            let transactions = std::mem::take(&mut placed);
            frames.push(LinkMessage::Transactions { id, transactions });
            bytes = 0;
        }
    }
    if !placed.is_empty() {
        let transactions = placed;
        frames.push(LinkMessage::Transactions { id, transactions });
    }
    frames
}

#[cfg(test)]
#[path = "bodies_tests.rs"]
mod tests;
