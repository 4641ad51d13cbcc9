//! Blocks that wait: parents unknown, or times not come. Memory is bounded, nobody is framed,
//! honest blocks get through.

use cairn_consensus::chain::{BlockOutcome, Refusal, Source};
use cairn_consensus::limits::{
    HELD_BLOCKS_MAX, ORPHAN_BYTES_MAX, ORPHAN_TTL_S, ORPHANS_PER_SOURCE_MAX,
};
use cairn_protocol::block::Block;
use cairn_protocol::codec::BoundedBytes;
use cairn_protocol::hash::BlockId;

use crate::world::{Node, PEER, rebind, short, solve};

#[test]
fn orphans_are_taken_when_their_parent_comes() {
    let mut a = Node::new();
    let blocks = a.mine(5);
    let mut b = Node::new();
    for at in [4, 2, 1, 3] {
        let parent = blocks[at - 1].id();
        assert_eq!(b.give(blocks[at].clone()), BlockOutcome::Orphan { parent });
        assert_eq!(b.give(blocks[at].clone()), BlockOutcome::Known);
    }
    assert_eq!(b.chain.orphans().missing_parents(), [blocks[0].id()]);
    assert_eq!(
        b.give(blocks[0].clone()),
        BlockOutcome::Stored { orphans: 4 }
    );
    assert_eq!(short(&b.advance()), "+1 +2 +3 +4 +5 =0");
    assert!(b.chain.orphans().is_empty());
}

/// A block of about `bytes` whose parent nobody knows, with its work done.
fn stranger(node: &mut Node, number: u64, bytes: usize) -> Block {
    let mut block = node.next_block(&[]);
    let mut parent = [0; 32];
    parent[..8].copy_from_slice(&number.to_le_bytes());
    block.header.parent = BlockId(parent);
    let output = cairn_protocol::transaction::Output {
        value: cairn_protocol::units::Amount(0),
        lock: cairn_protocol::lock::Lock::Data(
            BoundedBytes::new(vec![0; 250]).expect("within the bound"),
        ),
    };
    let transaction = cairn_protocol::transaction::Transaction {
        version: 1,
        inputs: Vec::new(),
        outputs: vec![output; bytes / 250],
        valid_from: cairn_protocol::lock::At::Height(0),
        witnesses: Vec::new(),
    };
    block.transactions = vec![transaction];
    solve(node.chain.params(), block)
}

/// H05: 10,000 orphans, each from another peer, against the bound of bytes; then an honest orphan
/// is resolved.
#[test]
fn ten_thousand_orphans_stay_within_the_bound() {
    let mut a = Node::new();
    let mut maker = Node::new();
    let (mut waiting, mut refused) = (0, 0);
    for number in 0..10_000 {
        let block = stranger(&mut maker, number + 1, 5_000);
        match a.give_from(block, Source(number + 1)) {
            BlockOutcome::Orphan { .. } => waiting += 1,
            BlockOutcome::Refused(Refusal::NoRoom) => refused += 1,
            other => panic!("{other:?}"),
        }
        assert!(a.chain.orphans().bytes() <= ORPHAN_BYTES_MAX);
    }
    println!(
        "10,000 orphans of 5 kB: {waiting} waited, {refused} refused, {} evicted, {} held in {} bytes",
        a.chain.orphans().evicted(),
        a.chain.orphans().len(),
        a.chain.orphans().bytes()
    );
    assert!(a.chain.orphans().evicted() > 5_000, "the bound was reached");
    assert_eq!(a.chain.tree().len(), 1, "the tree holds genesis alone");
    // The honest parent and child: whatever became of the orphan, headers and bodies lead to the
    // tip.
    let honest = maker.mine(2);
    a.give(honest[1].clone());
    a.give(honest[0].clone());
    a.give(honest[1].clone());
    a.advance();
    assert_eq!(a.chain.tip().id, honest[1].id());
    a.now += ORPHAN_TTL_S;
    a.chain.release_held(a.now).unwrap();
    assert_eq!(
        (a.chain.orphans().len(), a.chain.orphans().bytes()),
        (0, 0),
        "all expired"
    );
}

#[test]
fn a_source_has_its_quota_of_orphans_and_evictions_repeat() {
    let mut a = Node::new();
    let mut maker = Node::new();
    for number in 0..ORPHANS_PER_SOURCE_MAX as u64 {
        let block = stranger(&mut maker, number + 1, 300);
        assert!(matches!(a.give(block), BlockOutcome::Orphan { .. }));
    }
    let block = stranger(&mut maker, 99, 300);
    assert_eq!(a.give(block.clone()), BlockOutcome::Refused(Refusal::Quota));
    assert!(matches!(
        a.give_from(block, Source(8)),
        BlockOutcome::Orphan { .. }
    ));
    a.chain.forget_source(PEER);
    assert_eq!(a.chain.orphans().len(), 1);
    // An orphan without work is never kept.
    let mut lazy = stranger(&mut maker, 100, 300);
    lazy.header.bits = cairn_protocol::pow::Bits(0x1d00_ffff);
    assert!(matches!(a.give(lazy), BlockOutcome::Invalid(_)));
}

/// H04: a block from the future waits and is taken when its time comes; our clock stays ours; the
/// quota holds.
#[test]
fn blocks_from_the_future_are_held_and_taken_later() {
    let mut a = Node::new();
    let bound = a.chain.params().timing().max_future_s;
    let early = a.next_block_at(a.now + bound, &[]);
    assert_eq!(a.give(early), BlockOutcome::Stored { orphans: 0 });
    let future = a.next_block_at(a.now + bound + 10, &[]);
    assert_eq!(
        a.give(future.clone()),
        BlockOutcome::Held { from: a.now + 10 }
    );
    let outcome = a.chain.accept_headers(a.now, &[future.record()]).unwrap();
    assert!(outcome.violation.expect("stopped").is_temporary());
    assert_eq!(a.chain.status(&future.id()), None);
    // From one source two wait; in all a few.
    for number in 0..40 {
        let block = a.next_block_at(a.now + bound + 100 + number, &[]);
        a.give_from(block, Source(100 + u64::from(number) / 4));
    }
    assert!(a.chain.release_held(a.now + 9).unwrap().is_empty());
    a.now += 10;
    let released = a.chain.release_held(a.now).unwrap();
    assert_eq!(
        released,
        [(future.id(), PEER, BlockOutcome::Stored { orphans: 0 })]
    );
    a.advance();
    let rest = a.chain.release_held(u32::MAX).unwrap();
    assert!(
        rest.len() < HELD_BLOCKS_MAX && rest.len() >= 10,
        "{} were held",
        rest.len()
    );
}

/// H04, the other side: not after the median of the last eleven.
#[test]
fn times_not_after_the_median_are_invalid() {
    let mut a = Node::new();
    a.mine(11);
    let median = a.chain.median_time_past();
    let mut block = a.next_block(&[]);
    block.header.time = median;
    let block = rebind(a.chain.params(), block);
    let outcome = a.give(block.clone());
    assert!(matches!(outcome, BlockOutcome::Invalid(v) if v.id() == "HDR-07"));
    let mut block = block;
    block.header.time = median + 1;
    let block = rebind(a.chain.params(), block);
    assert_eq!(a.give(block), BlockOutcome::Stored { orphans: 0 });
}
