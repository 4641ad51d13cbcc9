//! Blocks and headers with seals, bad seals and none; the floor; a restart after each step.

use cairn_consensus::chain::BlockOutcome;
use cairn_fixtures::chain::seal_root;
use cairn_fixtures::seal::{pbft_file, seal_by};
use cairn_protocol::block::{Block, SealBytes};
use cairn_protocol::codec::BoundedBytes;
use cairn_protocol::ledger::BlockStore;
use cairn_protocol::units::Height;

use crate::world::Node;

fn rule(outcome: &BlockOutcome) -> &'static str {
    match outcome {
        BlockOutcome::Invalid(violation) => violation.id(),
        BlockOutcome::Stored { .. } => "stored",
        BlockOutcome::Known => "known",
        BlockOutcome::Orphan { .. } => "orphan",
        BlockOutcome::Held { .. } | BlockOutcome::Refused(_) => "refused",
    }
}

/// A node with a chain of `height`, and its next block, not appended.
fn at(height: Height) -> (Node, Block) {
    let mut node = Node::new(pbft_file(4, 0));
    node.grow(height);
    node.now += 2;
    let block = node.propose(0);
    (node, block)
}

#[test]
fn a_bad_seal_marks_nothing_and_none_is_refused() {
    let (mut node, block) = at(3);
    let place = (4, block.id(), 0);
    let good = node.seal(&block, 0);
    let mut flipped = good.as_slice().to_vec();
    *flipped.last_mut().expect("a signature") ^= 1;
    let bytes = |bytes: Vec<u8>| BoundedBytes::new(bytes).expect("short");
    let bad: Vec<(&str, SealBytes)> = vec![
        ("two of four", seal_by(node.params(), place, [0, 1])),
        ("two that say three", {
            let mut three = seal_by(node.params(), place, [0, 1, 2]).as_slice().to_vec();
            three.truncate(three.len() - 64);
            bytes(three)
        }),
        ("another block's", node.chain.tip_seal().unwrap().unwrap()),
        (
            "another height's",
            seal_by(node.params(), (5, block.id(), 0), [0, 1, 2]),
        ),
        ("a flipped bit", bytes(flipped)),
        ("trailing bytes", bytes([good.as_slice(), &[0]].concat())),
        ("empty", bytes(Vec::new())),
    ];
    for (what, seal) in &bad {
        let outcome = node.give(&block, Some(seal));
        assert_eq!(rule(&outcome), "HDR-17", "{what}");
        assert_eq!(
            node.chain.status(&block.id()),
            None,
            "{what} leaves no trace"
        );
    }
    let outcome = node.give(&block, None);
    let BlockOutcome::Invalid(violation) = &outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(violation.id(), "HDR-18");
    assert!(violation.is_temporary(), "nobody is at fault");
    assert_eq!(rule(&node.give(&block, Some(&good))), "stored");
    node.advance();
    assert_eq!(node.chain.tip().id, block.id());
    assert_eq!(rule(&node.give(&block, Some(&bad[0].1))), "known");
}

#[test]
fn three_of_four_are_enough_and_weights_count() {
    let (mut node, block) = at(2);
    let place = (3, block.id(), 0);
    let seal = seal_by(node.params(), place, [1, 2, 3]);
    assert_eq!(rule(&node.give(&block, Some(&seal))), "stored");
    // Powers 1, 1, 4: the heavy one alone is exactly two thirds, which is not more.
    let mut file = pbft_file(3, 0);
    for (validator, power) in file.schedule[0].validators.iter_mut().zip([1, 1, 4]) {
        validator.power = power;
    }
    let mut node = Node::new(file);
    let block = node.propose(0);
    let set = node.params().validator_set(1).unwrap().clone();
    let heavy = (0..3).find(|at| set.power(*at) == 4).unwrap();
    let light = (0..3).find(|at| set.power(*at) == 1).unwrap();
    let place = (1, block.id(), 0);
    let alone = seal_by(node.params(), place, [heavy]);
    assert_eq!(rule(&node.give(&block, Some(&alone))), "HDR-17");
    let mut two = [heavy, light];
    two.sort_unstable();
    let both = seal_by(node.params(), place, two);
    assert_eq!(rule(&node.give(&block, Some(&both))), "stored");
}

#[test]
fn a_block_without_its_parent_is_not_kept() {
    let mut node = Node::new(pbft_file(4, 0));
    let blocks = node.grow(3);
    let mut other = Node::new(pbft_file(4, 0));
    let seal = node.chain.tip_seal().unwrap();
    let outcome = other.give(&blocks[2], seal.as_ref());
    assert_eq!(rule(&outcome), "orphan");
    assert!(other.chain.orphans().is_empty());
    let outcome = other
        .chain
        .accept_headers(other.now, &node.records(3))
        .unwrap();
    assert_eq!(outcome.added, 0);
    assert_eq!(outcome.violation.map(|v| v.id()), Some("HDR-02"));
}

#[test]
fn headers_first_with_the_seals_of_their_children() {
    let mut node = Node::new(pbft_file(4, 0));
    let blocks = node.grow(20);
    let mut other = Node::new(pbft_file(4, 0));
    let records = node.records(1);
    // Without its own seal the last record of a batch is not taken, and nobody is punished.
    let outcome = other
        .chain
        .accept_headers(other.now, &records[..10])
        .unwrap();
    assert_eq!((outcome.added, other.chain.best_header().height), (9, 9));
    let violation = outcome.violation.expect("unsealed");
    assert_eq!((violation.id(), violation.is_temporary()), ("HDR-18", true));
    let outcome = other.chain.accept_headers(other.now, &records).unwrap();
    assert_eq!(
        (outcome.added, outcome.known, outcome.violation),
        (11, 9, None)
    );
    assert_eq!(other.chain.best_header().id, node.chain.tip().id);
    // Bodies in any order; each becomes the floor when it is connected.
    for at in [3, 2, 1, 0, 5, 4] {
        assert_eq!(rule(&other.give(&blocks[at], None)), "stored");
    }
    other.advance();
    assert_eq!(other.chain.floor().height, 6);
    for block in &blocks[6..] {
        other.give(block, None);
    }
    other.advance();
    assert_eq!(other.chain.state(), node.chain.state());
    for height in 1..=20 {
        let id = blocks[height as usize - 1].id();
        assert_eq!(
            other.chain.seal_of(&id),
            node.chain.seal_of(&id),
            "{height}"
        );
        assert!(other.chain.seal_of(&id).unwrap().is_some());
    }
}

#[test]
fn a_lying_batch_of_headers_stops_at_its_lie() {
    let mut node = Node::new(pbft_file(4, 0));
    node.grow(12);
    let records = node.records(1);
    let mut other = Node::new(pbft_file(4, 0));
    let mut lie = records.clone();
    // The seal of height 5 stands in the record of height 6: the attachments hash is the body's to
    // check, so that the record alone cannot tell whose fault it is.
    let place = (5, records[4].header.id(), 0);
    lie[5].parent_seal = Some(seal_by(other.params(), place, [0, 1]));
    let outcome = other.chain.accept_headers(other.now, &lie).unwrap();
    assert_eq!(outcome.added, 4);
    assert_eq!(outcome.violation.map(|v| v.id()), Some("HDR-17"));
    let mut forged = records.clone();
    forged[7].extension.state_root.0[0] ^= 1;
    let outcome = other.chain.accept_headers(other.now, &forged).unwrap();
    assert_eq!(other.chain.best_header().height, 7);
    assert_eq!(outcome.violation.map(|v| v.id()), Some("HDR-09"));
    let outcome = other.chain.accept_headers(other.now, &records).unwrap();
    assert_eq!(
        (outcome.violation, other.chain.best_header().height),
        (None, 12)
    );
}

/// A sealed sibling of a final block: more than a third of the validators signed twice. This node
/// stays where it is.
#[test]
fn nothing_is_reorganised_below_a_sealed_block() {
    let (mut node, mut sibling) = at(4);
    let mut behind = node.restarted();
    let block = node.decide();
    sibling.header.time += 1;
    seal_root(&mut sibling);
    let seal = node.seal(&sibling, 0);
    assert_eq!(rule(&node.give(&sibling, Some(&seal))), "HDR-10");
    assert_eq!(node.chain.tip().id, block.id());
    assert_eq!(node.chain.floor().id, block.id());
    // A node that saw the sibling first stays there: no rule can choose between two decisions.
    assert_eq!(rule(&behind.give(&sibling, Some(&seal))), "stored");
    behind.advance();
    let seal = node.seal(&block, 0);
    assert_eq!(rule(&behind.give(&block, Some(&seal))), "HDR-10");
    assert_eq!(behind.chain.tip().id, sibling.id());
}

#[test]
fn a_restart_keeps_tip_floor_and_seal() {
    let (mut node, block) = at(5);
    let seal = node.seal(&block, 3);
    assert_eq!(rule(&node.give(&block, Some(&seal))), "stored");
    // Stored and not yet connected.
    let mut between = node.restarted();
    assert_eq!(
        (between.chain.tip().height, between.chain.floor().height),
        (5, 5)
    );
    between.advance();
    node.advance();
    for node in [between, node] {
        let node = node.restarted();
        assert_eq!(node.chain.tip().id, block.id());
        assert_eq!(node.chain.floor().id, block.id());
        assert_eq!(node.chain.tip_seal(), Ok(Some(seal.clone())));
        let next = node.propose(0);
        assert_eq!(next.attachments.parent_seal, seal);
    }
}

/// A child's bytes are the parent's seal for ever, also where another one came first.
#[test]
fn the_child_settles_the_seal_of_its_parent() {
    let (mut node, block) = at(1);
    let place = (2, block.id(), 0);
    let (ours, theirs) = (
        seal_by(node.params(), place, [0, 1, 2]),
        seal_by(node.params(), place, [1, 2, 3]),
    );
    let mut other = node.restarted();
    node.give(&block, Some(&ours));
    other.give(&block, Some(&theirs));
    node.advance();
    other.advance();
    assert_eq!(node.chain.seal_of(&block.id()), Ok(Some(ours.clone())));
    let child = other.decide();
    let seal = other.seal(&child, 0);
    assert_eq!(rule(&node.give(&child, Some(&seal))), "stored");
    node.advance();
    assert_eq!(node.chain.seal_of(&block.id()), Ok(Some(theirs)));
    let record = node.chain.store().header(&block.id()).unwrap().unwrap();
    assert_eq!(
        record.seal,
        Some(ours),
        "the row keeps what came with the block"
    );
}
