//! The transactions that a compact block names and the mempool lacks: whom to ask for them.
//!
//! ```text
//!   announced ─▶ ask the sender ──2 s──▶ ask another announcer ──2 s──▶ ask for the full block
//! ```
//! Announcers may send different short ids for one block, of which one version at most is right. So
//! each is asked for what its own version lacks, the one that lacks least first, and nobody is asked
//! for the whole block before a second announcer had a moment to show its version.
//!
//! Invariant: bounded in blocks and announcers; every announcer is asked for each thing at most
//! once; a block that nobody brings is given up, and sync finds it later. A version that does not
//! fit leads to the next one or to the full block. Source: `spec/08-sync.md#compact-blocks`.

use std::collections::BTreeMap;

use cairn_protocol::{hash::BlockId, limits::COMPACT_INDEXES_MAX};

use crate::peers::score::Offence;

/// Blocks under way; more than one only while branches compete.
pub const BLOCKS_MAX: usize = 16;
/// Announcers remembered for one block.
pub const ANNOUNCERS_MAX: usize = 8;
/// Announcers asked for transactions before the whole block is asked for.
const ASKED_MAX: usize = 3;
/// Time for one question.
pub const PATIENCE_MS: u64 = 2_000;
/// Time that a second announcer gets before the only one is asked for the whole block: it costs a
/// hundred times the bytes.
pub const GRACE_MS: u64 = 100;

/// Names one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayRequest(pub u64);

/// What happens to a compact block.
#[derive(Clone, Debug)]
pub enum RelayInput<P> {
    /// A compact block came and these transactions are missing: the first of its id, or another
    /// peer's version of it.
    Announced {
        /// Who sent it.
        peer: P,
        /// Its id.
        block: BlockId,
        /// Indexes of what is missing, ascending.
        missing: Vec<u32>,
    },
    /// A question was answered, and the answer fits its number; the block may now be complete.
    Answered(RelayRequest),
    /// A question was answered with something else.
    WrongAnswer(RelayRequest),
    /// A question failed: refused, lost or late.
    Failed(RelayRequest),
    /// The block was put together by a peer's short ids and does not fit its root: they are wrong,
    /// or two transactions share one.
    Collision {
        /// Whose version.
        peer: P,
        /// Which block.
        block: BlockId,
    },
    /// The block is here, or known to be invalid: nothing more to ask.
    Done(BlockId),
    /// A peer left.
    PeerGone(P),
    /// Time has passed.
    Tick,
}

/// What the node shall do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayEffect<P> {
    /// Ask for transactions of a block.
    AskTransactions {
        /// Whom.
        peer: P,
        /// Names the question.
        request: RelayRequest,
        /// Which block.
        block: BlockId,
        /// Which of its transactions.
        indexes: Vec<u32>,
    },
    /// Ask for the whole block.
    AskBlock {
        /// Whom.
        peer: P,
        /// Names the question.
        request: RelayRequest,
        /// Which block.
        block: BlockId,
    },
    /// Nobody brings it: forget the half-built block and leave it to sync.
    GiveUp(BlockId),
    /// Report an offence.
    Punish {
        /// Whose.
        peer: P,
        /// Which.
        offence: Offence,
    },
}

#[derive(Clone, Debug)]
struct Pending<P> {
    /// In the order in which they announced.
    announcers: Vec<Announcer<P>>,
    /// Open questions.
    open: BTreeMap<RelayRequest, P>,
    /// The fewest transactions that were asked for at once.
    least_asked: usize,
    /// When the next peer is asked although a question is open.
    impatient_ms: u64,
    /// Until then a single announcer is not asked for the whole block.
    grace_until_ms: u64,
}

#[derive(Clone, Debug)]
struct Announcer<P> {
    peer: P,
    /// What its version lacks; `None` if that is too much to ask for, or its version is wrong.
    missing: Option<Vec<u32>>,
    asked_transactions: bool,
    asked_block: bool,
}

/// All compact blocks that lack something.
#[derive(Clone, Debug)]
pub struct CompactRelay<P> {
    blocks: BTreeMap<BlockId, Pending<P>>,
    next_request: u64,
}

impl<P> Default for CompactRelay<P> {
    fn default() -> Self {
        Self {
            blocks: BTreeMap::new(),
            next_request: 0,
        }
    }
}

impl<P: Ord + Copy> CompactRelay<P> {
    /// Whether something of this block is being fetched.
    pub fn is_pending(&self, block: &BlockId) -> bool {
        self.blocks.contains_key(block)
    }

    /// Blocks under way.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Handles one input.
    pub fn handle(&mut self, now_ms: u64, input: RelayInput<P>, effects: &mut Vec<RelayEffect<P>>) {
        match input {
            RelayInput::Announced {
                peer,
                block,
                missing,
            } => {
                self.announced(now_ms, peer, block, missing, effects);
            }
            RelayInput::Answered(request) => {
                self.close(request);
            }
            RelayInput::WrongAnswer(request) => {
                if let Some((block, peer)) = self.close(request) {
                    effects.push(RelayEffect::Punish {
                        peer,
                        offence: Offence::WrongAnswer,
                    });
                    self.ask_next(now_ms, block, effects);
                }
            }
            RelayInput::Failed(request) => {
                if let Some((block, _)) = self.close(request) {
                    self.ask_next(now_ms, block, effects);
                }
            }
            RelayInput::Collision { peer, block } => {
                if self.begin(now_ms, block, effects) {
                    self.collision(now_ms, peer, block, effects);
                }
            }
            RelayInput::Done(block) => {
                self.blocks.remove(&block);
            }
            RelayInput::PeerGone(peer) => self.peer_gone(now_ms, peer, effects),
            RelayInput::Tick => {
                let impatient: Vec<_> = self
                    .blocks
                    .iter()
                    .filter(|(_, pending)| pending.impatient_ms <= now_ms)
                    .map(|(block, _)| *block)
                    .collect();
                for block in impatient {
                    self.ask_next(now_ms, block, effects);
                }
            }
        }
    }

    fn announced(
        &mut self,
        now_ms: u64,
        peer: P,
        block: BlockId,
        missing: Vec<u32>,
        effects: &mut Vec<RelayEffect<P>>,
    ) {
        let lacks = missing.len();
        if !self.begin(now_ms, block, effects) {
            return;
        }
        let Some(pending) = self.blocks.get_mut(&block) else {
            return;
        };
        pending.add(peer, Some(missing));
        // Of two versions the one that lacks much less is the likelier one: it is asked at once.
        let is_better = lacks.saturating_mul(2) <= pending.least_asked;
        if pending.open.is_empty() || is_better {
            self.ask_next(now_ms, block, effects);
        }
    }

    /// Makes room for a block; `false` if there is none.
    fn begin(&mut self, now_ms: u64, block: BlockId, effects: &mut Vec<RelayEffect<P>>) -> bool {
        if self.blocks.contains_key(&block) {
            return true;
        }
        if self.blocks.len() >= BLOCKS_MAX {
            effects.push(RelayEffect::GiveUp(block));
            return false;
        }
        let pending = Pending {
            announcers: Vec::new(),
            open: BTreeMap::new(),
            least_asked: usize::MAX,
            impatient_ms: now_ms,
            grace_until_ms: now_ms + GRACE_MS,
        };
        self.blocks.insert(block, pending);
        true
    }

    fn collision(
        &mut self,
        now_ms: u64,
        peer: P,
        block: BlockId,
        effects: &mut Vec<RelayEffect<P>>,
    ) {
        let Some(pending) = self.blocks.get_mut(&block) else {
            return;
        };
        pending.add(peer, None);
        pending.least_asked = usize::MAX;
        let version = pending.announcers.iter_mut().find(|a| a.peer == peer);
        if let Some(version) = version {
            version.missing = None;
        }
        if pending.open.is_empty() {
            self.ask_next(now_ms, block, effects);
        }
    }

    /// Closes a question; `None` if it is no longer of interest.
    fn close(&mut self, request: RelayRequest) -> Option<(BlockId, P)> {
        self.blocks
            .iter_mut()
            .find_map(|(block, pending)| pending.open.remove(&request).map(|peer| (*block, peer)))
    }

    fn peer_gone(&mut self, now_ms: u64, peer: P, effects: &mut Vec<RelayEffect<P>>) {
        let mut orphaned = Vec::new();
        for (block, pending) in &mut self.blocks {
            pending
                .announcers
                .retain(|announcer| announcer.peer != peer);
            let before = pending.open.len();
            pending.open.retain(|_, asked| *asked != peer);
            if pending.open.len() < before {
                orphaned.push(*block);
            }
        }
        for block in orphaned {
            self.ask_next(now_ms, block, effects);
        }
    }

    /// The next step of the ladder: some announcers for the transactions, then each once for the
    /// block, then nothing.
    fn ask_next(&mut self, now_ms: u64, block: BlockId, effects: &mut Vec<RelayEffect<P>>) {
        let Some(pending) = self.blocks.get_mut(&block) else {
            return;
        };
        let request = RelayRequest(self.next_request + 1);
        let effect = pending.transactions_question(request, block).or_else(|| {
            // Nobody is left for the transactions: the block from whoever announced it.
            let is_early = now_ms < pending.grace_until_ms && pending.announcers.len() == 1;
            if is_early {
                return None;
            }
            pending.block_question(request, block)
        });
        match effect {
            Some(effect) => {
                self.next_request += 1;
                pending.impatient_ms = now_ms + PATIENCE_MS;
                effects.push(effect);
            }
            None if now_ms < pending.grace_until_ms && !pending.announcers.is_empty() => {
                pending.impatient_ms = pending.grace_until_ms;
            }
            None if pending.open.is_empty() => {
                self.blocks.remove(&block);
                effects.push(RelayEffect::GiveUp(block));
            }
            None => pending.impatient_ms = now_ms + PATIENCE_MS,
        }
    }
}

impl<P: Ord + Copy> Pending<P> {
    fn add(&mut self, peer: P, missing: Option<Vec<u32>>) {
        let is_known = self.announcers.iter().any(|a| a.peer == peer);
        if !is_known && self.announcers.len() < ANNOUNCERS_MAX {
            self.announcers.push(Announcer {
                peer,
                missing: missing.filter(|missing| missing.len() <= COMPACT_INDEXES_MAX),
                asked_transactions: false,
                asked_block: false,
            });
        }
    }

    /// Asks the announcer whose version lacks least of those that were not asked.
    fn transactions_question(
        &mut self,
        request: RelayRequest,
        block: BlockId,
    ) -> Option<RelayEffect<P>> {
        let asked = self.announcers.iter().filter(|a| a.asked_transactions);
        if asked.count() >= ASKED_MAX {
            return None;
        }
        let unasked = self.announcers.iter_mut().filter(|a| !a.asked_transactions);
        let (announcer, indexes) = unasked
            .filter_map(|a| a.missing.clone().map(|missing| (a, missing)))
            .min_by_key(|(_, missing)| missing.len())?;
        announcer.asked_transactions = true;
        let peer = announcer.peer;
        self.least_asked = self.least_asked.min(indexes.len());
        self.open.insert(request, peer);
        Some(RelayEffect::AskTransactions {
            peer,
            request,
            block,
            indexes,
        })
    }

    fn block_question(&mut self, request: RelayRequest, block: BlockId) -> Option<RelayEffect<P>> {
        let announcer = self.announcers.iter_mut().find(|a| !a.asked_block)?;
        announcer.asked_block = true;
        let peer = announcer.peer;
        self.open.insert(request, peer);
        Some(RelayEffect::AskBlock {
            peer,
            request,
            block,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: BlockId = BlockId([4; 32]);

    fn run(
        relay: &mut CompactRelay<u8>,
        now_ms: u64,
        input: RelayInput<u8>,
    ) -> Vec<RelayEffect<u8>> {
        let mut effects = Vec::new();
        relay.handle(now_ms, input, &mut effects);
        effects
    }

    fn announced(peer: u8) -> RelayInput<u8> {
        RelayInput::Announced {
            peer,
            block: BLOCK,
            missing: vec![3, 5],
        }
    }

    fn transactions(peer: u8, request: u64) -> RelayEffect<u8> {
        let request = RelayRequest(request);
        RelayEffect::AskTransactions {
            peer,
            request,
            block: BLOCK,
            indexes: vec![3, 5],
        }
    }

    fn whole(peer: u8, request: u64) -> RelayEffect<u8> {
        RelayEffect::AskBlock {
            peer,
            request: RelayRequest(request),
            block: BLOCK,
        }
    }

    fn again(peer: u8, missing: Vec<u32>) -> RelayInput<u8> {
        RelayInput::Announced {
            peer,
            block: BLOCK,
            missing,
        }
    }

    fn collision(peer: u8) -> RelayInput<u8> {
        RelayInput::Collision { peer, block: BLOCK }
    }

    #[test]
    fn the_ladder_sender_second_block() {
        let mut relay = CompactRelay::default();
        assert_eq!(run(&mut relay, 0, announced(1)), [transactions(1, 1)]);
        assert!(run(&mut relay, 500, announced(2)).is_empty());
        assert!(run(&mut relay, 1_999, RelayInput::Tick).is_empty());
        assert_eq!(
            run(&mut relay, 2_000, RelayInput::Tick),
            [transactions(2, 2)]
        );
        assert_eq!(run(&mut relay, 4_000, RelayInput::Tick), [whole(1, 3)]);
        assert_eq!(run(&mut relay, 6_000, RelayInput::Tick), [whole(2, 4)]);
        assert!(
            run(&mut relay, 8_000, RelayInput::Tick).is_empty(),
            "questions are still open"
        );
        for request in 1..=3 {
            assert!(run(&mut relay, 9_000, RelayInput::Failed(RelayRequest(request))).is_empty());
        }
        let last = run(&mut relay, 9_000, RelayInput::Failed(RelayRequest(4)));
        assert_eq!(last, [RelayEffect::GiveUp(BLOCK)]);
        assert!(relay.is_empty());
    }

    #[test]
    fn a_single_announcer_is_asked_for_the_block_at_last() {
        let mut relay = CompactRelay::default();
        run(&mut relay, 0, announced(1));
        let failed = RelayInput::Failed(RelayRequest(1));
        assert!(run(&mut relay, 10, failed).is_empty());
        assert_eq!(run(&mut relay, GRACE_MS, RelayInput::Tick), [whole(1, 2)]);
        assert!(run(&mut relay, 120, RelayInput::Done(BLOCK)).is_empty());
        assert!(relay.is_empty());
    }

    /// The first relayer's short ids fit nothing: the second one's version is asked for the two
    /// transactions that it lacks, not the first for the whole block.
    #[test]
    fn a_second_version_that_lacks_little_is_asked_at_once() {
        let mut relay = CompactRelay::default();
        let all: Vec<u32> = (0..2_000).collect();
        let first = run(&mut relay, 0, again(1, all));
        assert!(matches!(
            first[..],
            [RelayEffect::AskTransactions { peer: 1, .. }]
        ));
        assert_eq!(run(&mut relay, 30, announced(2)), [transactions(2, 2)]);
        // And one that is too long to ask for waits a moment for the second version.
        let mut relay = CompactRelay::default();
        let too_many: Vec<u32> = (0..=COMPACT_INDEXES_MAX as u32).collect();
        assert!(run(&mut relay, 0, again(1, too_many.clone())).is_empty());
        assert_eq!(run(&mut relay, 30, announced(2)), [transactions(2, 1)]);
        let mut relay = CompactRelay::default();
        run(&mut relay, 0, again(1, too_many));
        assert!(run(&mut relay, GRACE_MS - 1, RelayInput::Tick).is_empty());
        assert_eq!(run(&mut relay, GRACE_MS, RelayInput::Tick), [whole(1, 1)]);
    }

    #[test]
    fn a_version_that_does_not_fit_leads_to_the_next_or_to_the_block_and_blames_nobody() {
        let mut relay = CompactRelay::default();
        run(&mut relay, 0, announced(1));
        run(&mut relay, 5, RelayInput::Answered(RelayRequest(1)));
        assert!(run(&mut relay, 5, collision(1)).is_empty());
        assert_eq!(run(&mut relay, GRACE_MS, RelayInput::Tick), [whole(1, 2)]);

        let mut relay = CompactRelay::default();
        assert!(run(&mut relay, 0, collision(1)).is_empty());
        assert_eq!(run(&mut relay, 5, announced(2)), [transactions(2, 1)]);
        run(&mut relay, 6, RelayInput::Answered(RelayRequest(1)));
        assert_eq!(run(&mut relay, 6, collision(2)), [whole(1, 2)]);
    }

    #[test]
    fn a_wrong_answer_is_punished_and_the_next_peer_asked() {
        let mut relay = CompactRelay::default();
        run(&mut relay, 0, announced(1));
        run(&mut relay, 0, announced(2));
        let effects = run(&mut relay, 5, RelayInput::WrongAnswer(RelayRequest(1)));
        let punish = RelayEffect::Punish {
            peer: 1,
            offence: Offence::WrongAnswer,
        };
        assert_eq!(effects, [punish, transactions(2, 2)]);
    }

    #[test]
    fn a_peer_that_leaves_is_replaced() {
        let mut relay = CompactRelay::default();
        run(&mut relay, 0, announced(1));
        run(&mut relay, 0, announced(2));
        assert_eq!(
            run(&mut relay, 5, RelayInput::PeerGone(1)),
            [transactions(2, 2)]
        );
        assert_eq!(
            run(&mut relay, 6, RelayInput::PeerGone(2)),
            [RelayEffect::GiveUp(BLOCK)]
        );
    }

    #[test]
    fn blocks_and_announcers_are_bounded() {
        let mut relay = CompactRelay::default();
        for name in 0..100 {
            for peer in 0..50 {
                let block = BlockId([name; 32]);
                let missing = vec![0];
                run(
                    &mut relay,
                    0,
                    RelayInput::Announced {
                        peer,
                        block,
                        missing,
                    },
                );
            }
        }
        assert_eq!(relay.len(), BLOCKS_MAX);
        assert!(
            relay
                .blocks
                .values()
                .all(|b| b.announcers.len() == ANNOUNCERS_MAX)
        );
    }
}
