//! The switch from proof of work to PBFT over the chain driver: the whole way there and back, slips
//! and lapses, reorganisations around the crossing, certificates that come early, late or for another
//! branch. Rules: `spec/12-switching.md#from-proof-of-work-to-bft`.

use std::sync::Arc;

use cairn_consensus::chain::{
    AnchorOutcome, BlockOutcome, Chain, MemoryStore, Source, TerminalVote,
};
use cairn_consensus::sealed::HeaderVerifier;
use cairn_consensus::switch::AnchorVote;
use cairn_fixtures::TestKey;
use cairn_fixtures::seal::{anchor_cert, seal_by_all, switch_file};
use cairn_protocol::block::Block;
use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::BlockStore;
use cairn_protocol::signature::{CachedCheck, Ed25519, SignatureCache};
use cairn_protocol::spec::ChainParams;
use cairn_protocol::units::Height;

#[derive(Clone)]
struct Made {
    block: Block,
    seal: Option<cairn_protocol::block::SealBytes>,
}

struct Node {
    chain: Chain<MemoryStore>,
    signatures: CachedCheck<Ed25519>,
    now: u32,
    payee: u64,
}

impl Node {
    fn new(payee: u64) -> Node {
        let params = Arc::new(ChainParams::new(switch_file()).expect("a valid file"));
        let store = MemoryStore::new(&params);
        Node::over(params, store, payee)
    }

    fn over(params: Arc<ChainParams>, store: MemoryStore, payee: u64) -> Node {
        Node {
            now: params.genesis().header.time + 10_000,
            chain: Chain::open(params, store, [9; 32]).expect("a store of this chain"),
            signatures: CachedCheck::new(Ed25519, SignatureCache::new(1_000, (1, 2))),
            payee,
        }
    }

    fn restarted(&self, payee: u64) -> Node {
        let mut node = Node::over(
            self.chain.params().clone(),
            self.chain.store().clone(),
            payee,
        );
        node.now = self.now;
        node
    }

    fn height(&self) -> Height {
        self.chain.tip().height
    }

    fn advance(&mut self) {
        let mut events = Vec::new();
        self.chain
            .advance(&mut self.signatures, &mut events)
            .expect("memory does not fail");
    }

    fn give(&mut self, made: &Made) -> BlockOutcome {
        let outcome = self
            .chain
            .accept_sealed_block(self.now, made.block.clone(), made.seal.as_ref(), Source(7))
            .expect("memory does not fail");
        self.advance();
        outcome
    }

    /// Makes the next block by whatever engine the branch has, and connects it.
    fn make(&mut self) -> Made {
        self.now += 2;
        let lock = TestKey::new(self.payee).lock();
        let made = if self.chain.rules().is_bft() {
            let block = self
                .chain
                .propose(self.now, 0, &lock, &[], Vec::new())
                .expect("a proposal");
            let seal = seal_by_all(&self.chain.rules(), block.id(), 0);
            Made {
                block,
                seal: Some(seal),
            }
        } else {
            let template = self.chain.template(self.now, &lock, &[]).expect("work");
            let mut block = template.solved([0; 16], 0);
            let function = self.chain.params().timing().pow_function;
            cairn_fixtures::mine(function, &mut block.header);
            Made { block, seal: None }
        };
        let outcome = self.give(&made);
        assert_eq!(outcome, BlockOutcome::Stored { orphans: 0 });
        assert_eq!(self.chain.tip().id, made.block.id());
        made
    }

    fn grow(&mut self, height: Height) -> Vec<Made> {
        let mut blocks = Vec::new();
        while self.height() < height {
            blocks.push(self.make());
        }
        blocks
    }

    /// Lets the validators of `entry` decide this node's choice.
    fn decide_anchor(&mut self, entry: usize) -> BlockId {
        let id = self.chain.anchor_choice(entry).expect("a buried anchor");
        assert_eq!(self.chain.anchor_vote(entry, id), AnchorVote::Yes);
        let cert = anchor_cert(
            self.chain.params(),
            entry,
            id,
            [0, 1, 2, 3, 4][..3 + 2 * (entry / 3)].to_vec(),
        );
        assert_eq!(
            self.chain.accept_anchor(entry, id, &cert),
            AnchorOutcome::New
        );
        self.advance();
        id
    }

    fn verify_headers(&self) -> cairn_consensus::sealed::VerifiedHeaders {
        let mut verifier = HeaderVerifier::new(self.chain.params().clone());
        for height in 1..=self.height() {
            let id = self.chain.connected_at(height).expect("connected").id;
            let record = self.chain.store().header(&id).expect("memory");
            verifier
                .push(&record.expect("stored"), &Ed25519)
                .unwrap_or_else(|violation| panic!("header {height}: {violation}"));
        }
        verifier.found()
    }
}

/// Work, PBFT, work, PBFT: supply and coins equal a replay, and headers alone show every crossing.
#[test]
fn a_round_trip_keeps_supply_and_equals_a_replay() {
    let mut node = Node::new(3);
    let mut blocks = node.grow(10);
    assert_eq!(node.chain.floor().height, 0);
    let anchor = node.decide_anchor(1);
    assert_eq!(
        node.chain.floor().id,
        anchor,
        "a floor before any block has it"
    );
    blocks.extend(node.grow(38));
    let second = node.decide_anchor(3);
    blocks.extend(node.grow(50));
    let sealed: Vec<_> = blocks.iter().map(|made| made.seal.is_some()).collect();
    let expected = |height: u64| (14..26).contains(&height) || height >= 42;
    assert_eq!(sealed, (1..=50).map(expected).collect::<Vec<_>>());
    assert_eq!(node.chain.anchor(3).map(|known| known.id), Some(second));
    let found = node.verify_headers();
    assert_eq!((found.height, found.certified_height), (50, 50));
    assert_eq!((found.anchors, found.switches), (2, 3));
    let coins: u64 = node
        .chain
        .store()
        .coins()
        .values()
        .map(|c| c.output.value.0)
        .sum();
    assert_eq!(coins, node.chain.state().engine.supply().0);
    let mut replay = Node::new(3);
    replay.now = node.now;
    for made in &blocks {
        assert_eq!(replay.give(made), BlockOutcome::Stored { orphans: 0 });
    }
    assert_eq!(replay.chain.state(), node.chain.state());
    assert_eq!(replay.chain.store().coins(), node.chain.store().coins());
    let again = node.restarted(3);
    assert_eq!(again.chain.floor().id, node.chain.floor().id);
    assert_eq!(again.chain.rules().entry_index(), 3);
}

#[test]
fn a_late_certificate_slips_and_none_lapses() {
    for (known_at, first) in [(12, 14), (13, 18), (16, 18), (17, 22), (20, 22)] {
        let mut node = Node::new(3);
        node.grow(known_at);
        node.decide_anchor(1);
        node.grow(known_at + 1);
        let last = node.grow(27);
        let sealed = last.iter().find(|made| made.seal.is_some());
        let height = sealed.map(|made| made.block.extension.height);
        assert_eq!(height, Some(first), "known at {known_at}");
        node.verify_headers();
    }
    // 22 is the last try: after block 21 without a certificate the entry has lapsed.
    let mut node = Node::new(3);
    node.grow(21);
    assert_eq!(node.chain.anchor_choice(1), None);
    assert!(node.grow(30).iter().all(|made| made.seal.is_none()));
    node.verify_headers();
}

/// A certificate moves a node to the anchor's branch whatever the work; a branch that leaves below it
/// is dead from then on.
#[test]
fn a_certificate_outranks_work_and_is_a_floor_however_it_arrives() {
    let mut ours = Node::new(3);
    let common = ours.grow(7);
    let mut other = Node::new(4);
    other.now = ours.now;
    for made in &common {
        other.give(made);
    }
    let branch = ours.grow(10);
    let heavier = other.grow(13);
    let mut third = ours.restarted(5);
    third.now = other.now;
    for made in &heavier {
        third.give(made);
    }
    assert_eq!(
        third.chain.tip().id,
        other.chain.tip().id,
        "work decides at first"
    );
    let id = branch[0].block.id();
    assert_eq!(
        third.chain.anchor_vote(1, id),
        AnchorVote::No,
        "not on its own chain"
    );
    let cert = anchor_cert(third.chain.params(), 1, id, [0, 1, 2]);
    assert_eq!(third.chain.accept_anchor(1, id, &cert), AnchorOutcome::New);
    third.advance();
    assert_eq!(third.chain.tip().id, ours.chain.tip().id);
    assert_eq!(third.chain.floor().id, id);
    let two = anchor_cert(third.chain.params(), 1, heavier[0].block.id(), [0, 1, 2]);
    let conflict = third.chain.accept_anchor(1, heavier[0].block.id(), &two);
    assert_eq!(conflict, AnchorOutcome::Conflict { first: id });
    let weak = anchor_cert(third.chain.params(), 1, id, [0, 1]);
    assert!(matches!(
        ours.chain.accept_anchor(1, id, &weak),
        AnchorOutcome::Bad(_)
    ));
}

/// Two tips at the switch height: each validator judges the block on either parent, and the decision
/// moves all of them to it. A parent that forks deeper than K/2 gets no vote.
#[test]
fn terminal_decides_between_two_tips() {
    let mut ours = Node::new(3);
    ours.grow(10);
    ours.decide_anchor(1);
    ours.grow(11);
    let mut near = ours.restarted(4);
    let mut far = ours.restarted(5);
    for (node, payee) in [(&mut near, 4), (&mut far, 5)] {
        node.payee = payee;
        node.now += 1;
    }
    let mut shared = ours.grow(12);
    near.give(&shared[0]);
    shared.extend(ours.grow(13));
    let theirs = near.grow(13);
    let deep = far.grow(13);
    // K/2 is 2: tips that fork at 12 and at 11 are near, each other way too.
    for made in theirs.iter().chain(&deep) {
        ours.give(made);
    }
    assert!(ours.chain.rules().is_terminal());
    let lock = TestKey::new(9).lock();
    for node in [&near, &far] {
        let block = node
            .chain
            .propose(node.now, 0, &lock, &[], Vec::new())
            .expect("a proposal");
        let now = ours.now.max(node.now);
        let vote = ours.chain.check_terminal(now, block, &mut ours.signatures);
        assert_eq!(vote, Ok(TerminalVote::Yes));
    }
    let made = far.make();
    assert_eq!(ours.give(&made), BlockOutcome::Stored { orphans: 0 });
    assert_eq!(
        ours.chain.tip().id,
        made.block.id(),
        "decided on another tip"
    );
    assert_eq!(ours.chain.floor().id, made.block.id());
    // The block of another tip has no place any more.
    let lost = near.make();
    assert!(matches!(ours.give(&lost), BlockOutcome::Invalid(_)));
}
