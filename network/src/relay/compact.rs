//! The transactions that a compact block names and the mempool lacks: whom to ask for them.
//!
//! ```text
//!   announced ─▶ ask the sender ──2 s──▶ ask the second announcer ──2 s──▶ ask for the full block
//! ```
//! Invariant: bounded in blocks and announcers; every announcer is asked for each thing at most
//! once; a block that nobody brings is given up, and sync finds it later. A short-id collision goes
//! straight to the full block and blames nobody. Source: `spec/08-sync.md#compact-blocks`.

use std::collections::BTreeMap;

use cairn_protocol::hash::BlockId;

use crate::peers::score::Offence;

/// Blocks under way; more than one only while branches compete.
pub const BLOCKS_MAX: usize = 16;
/// Announcers remembered for one block.
pub const ANNOUNCERS_MAX: usize = 8;
/// Time for one question.
pub const PATIENCE_MS: u64 = 2_000;

/// Names one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayRequest(pub u64);

/// What happens to a compact block.
#[derive(Clone, Debug)]
pub enum RelayInput<P> {
    /// A compact block came and these transactions are missing.
    Announced {
        /// Who sent it.
        peer: P,
        /// Its id.
        block: BlockId,
        /// Indexes of what is missing, ascending.
        missing: Vec<u32>,
    },
    /// Another peer sent the same block.
    AnnouncedAgain {
        /// Who.
        peer: P,
        /// Which.
        block: BlockId,
    },
    /// A question was answered, and the answer fits its number; the block may now be complete.
    Answered(RelayRequest),
    /// A question was answered with something else.
    WrongAnswer(RelayRequest),
    /// A question failed: refused, lost or late.
    Failed(RelayRequest),
    /// The block was put together and does not fit its root: two transactions share a short id.
    Collision(BlockId),
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
    missing: Vec<u32>,
    /// In the order in which they announced; who was asked for transactions, for the block.
    announcers: Vec<Announcer<P>>,
    wants_block: bool,
    /// Open questions.
    open: BTreeMap<RelayRequest, P>,
    /// When the next peer is asked although a question is open.
    impatient_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Announcer<P> {
    peer: P,
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
            RelayInput::AnnouncedAgain { peer, block } => {
                if let Some(pending) = self.blocks.get_mut(&block) {
                    pending.add(peer);
                    if pending.open.is_empty() {
                        self.ask_next(now_ms, block, effects);
                    }
                }
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
            RelayInput::Collision(block) => {
                if let Some(pending) = self.blocks.get_mut(&block) {
                    pending.wants_block = true;
                    self.ask_next(now_ms, block, effects);
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
        if let Some(pending) = self.blocks.get_mut(&block) {
            pending.add(peer);
            return;
        }
        if self.blocks.len() >= BLOCKS_MAX {
            effects.push(RelayEffect::GiveUp(block));
            return;
        }
        let mut pending = Pending {
            missing,
            announcers: Vec::new(),
            wants_block: false,
            open: BTreeMap::new(),
            impatient_ms: now_ms,
        };
        pending.add(peer);
        self.blocks.insert(block, pending);
        self.ask_next(now_ms, block, effects);
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

    /// The next step of the ladder: two announcers for the transactions, then each once for the
    /// block, then nothing.
    fn ask_next(&mut self, now_ms: u64, block: BlockId, effects: &mut Vec<RelayEffect<P>>) {
        let Some(pending) = self.blocks.get_mut(&block) else {
            return;
        };
        let asked = pending
            .announcers
            .iter()
            .filter(|a| a.asked_transactions)
            .count();
        pending.wants_block |= asked >= 2;
        let request = RelayRequest(self.next_request + 1);
        let effect = pending.next_question(request, block).or_else(|| {
            // Nobody is left for the transactions: the block from whoever announced it.
            pending.wants_block = true;
            pending.next_question(request, block)
        });
        match effect {
            Some(effect) => {
                self.next_request += 1;
                pending.impatient_ms = now_ms + PATIENCE_MS;
                effects.push(effect);
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
    fn add(&mut self, peer: P) {
        let is_known = self
            .announcers
            .iter()
            .any(|announcer| announcer.peer == peer);
        if !is_known && self.announcers.len() < ANNOUNCERS_MAX {
            self.announcers.push(Announcer {
                peer,
                asked_transactions: false,
                asked_block: false,
            });
        }
    }

    fn next_question(&mut self, request: RelayRequest, block: BlockId) -> Option<RelayEffect<P>> {
        if self.wants_block {
            let announcer = self.announcers.iter_mut().find(|a| !a.asked_block)?;
            announcer.asked_block = true;
            self.open.insert(request, announcer.peer);
            return Some(RelayEffect::AskBlock {
                peer: announcer.peer,
                request,
                block,
            });
        }
        let announcer = self.announcers.iter_mut().find(|a| !a.asked_transactions)?;
        announcer.asked_transactions = true;
        self.open.insert(request, announcer.peer);
        let indexes = self.missing.clone();
        Some(RelayEffect::AskTransactions {
            peer: announcer.peer,
            request,
            block,
            indexes,
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

    #[test]
    fn the_ladder_sender_second_block() {
        let mut relay = CompactRelay::default();
        assert_eq!(run(&mut relay, 0, announced(1)), [transactions(1, 1)]);
        let again = RelayInput::AnnouncedAgain {
            peer: 2,
            block: BLOCK,
        };
        assert!(run(&mut relay, 500, again).is_empty());
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
        let next = run(&mut relay, 10, RelayInput::Failed(RelayRequest(1)));
        assert_eq!(next, [whole(1, 2)]);
        assert!(run(&mut relay, 20, RelayInput::Done(BLOCK)).is_empty());
        assert!(relay.is_empty());
    }

    #[test]
    fn a_collision_goes_straight_to_the_block_and_blames_nobody() {
        let mut relay = CompactRelay::default();
        run(&mut relay, 0, announced(1));
        run(&mut relay, 5, RelayInput::Answered(RelayRequest(1)));
        assert_eq!(
            run(&mut relay, 5, RelayInput::Collision(BLOCK)),
            [whole(1, 2)]
        );
    }

    #[test]
    fn a_wrong_answer_is_punished_and_the_next_peer_asked() {
        let mut relay = CompactRelay::default();
        run(&mut relay, 0, announced(1));
        run(
            &mut relay,
            0,
            RelayInput::AnnouncedAgain {
                peer: 2,
                block: BLOCK,
            },
        );
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
        run(
            &mut relay,
            0,
            RelayInput::AnnouncedAgain {
                peer: 2,
                block: BLOCK,
            },
        );
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
            let block = BlockId([name; 32]);
            run(
                &mut relay,
                0,
                RelayInput::Announced {
                    peer: 1,
                    block,
                    missing: vec![0],
                },
            );
            for peer in 0..50 {
                run(&mut relay, 0, RelayInput::AnnouncedAgain { peer, block });
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
