//! Blocks that break rules: what is remembered, whom it costs, and what the tip does.

use cairn_consensus::chain::{BlockOutcome, ChainEvent};
use cairn_consensus::nakamoto::Status;
use cairn_protocol::rules::Violation;
use cairn_protocol::units::Amount;

use crate::world::{Key, Node, PEER, rebind, short};

/// H07: a branch of more work whose headers are good and one body is bad. It is validated,
/// condemned with its descendants, its sender is named, and the tip ends where it was.
#[test]
fn a_heavier_branch_with_a_bad_body_changes_nothing() {
    let (mut a, mut b) = (Node::new(), Node::new());
    let shared = a.mine(3);
    b.take(&shared);
    let ours = a.mine(2);
    b.mine(1);
    // The bad block claims a pebble too many; descendants are built on it as if it were good.
    let mut bad = b.next_block(&[]);
    bad.coinbase.outputs[0].value.0 += 1;
    let bad = rebind(b.chain.params(), bad);
    let mut branch = b.blocks(4);
    branch.push(bad.clone());
    let mut parent = bad.clone();
    for _ in 0..10 {
        let mut child = parent.clone();
        child.header.parent = parent.id();
        child.header.time += 1;
        child.extension.height += 1;
        child.coinbase.height += 1;
        child = rebind(b.chain.params(), child);
        branch.push(child.clone());
        parent = child;
    }
    let before = a.chain.state().clone();
    let records: Vec<_> = branch.iter().map(|block| block.record()).collect();
    assert_eq!(
        a.chain.accept_headers(a.now, &records).unwrap().added,
        12,
        "all headers are good"
    );
    assert_eq!(a.chain.best_header().height, 15);
    for block in &branch {
        assert_eq!(a.give(block.clone()), BlockOutcome::Stored { orphans: 0 });
    }
    let events = a.advance();
    assert_eq!(short(&events), "-5 -4 +4 !5 -4 +4 +5 =0");
    let invalid = events.iter().find_map(|event| match event {
        ChainEvent::Invalid(invalid) => Some(invalid),
        _ => None,
    });
    let invalid = invalid.expect("an invalid block");
    assert_eq!(
        (invalid.id, invalid.height, invalid.source),
        (bad.id(), 5, Some(PEER))
    );
    assert_eq!(invalid.violation.id(), "BLK-10");
    assert_eq!(invalid.descendants.len(), 10);
    assert_eq!(a.chain.state(), &before);
    assert_eq!(
        a.chain.best_header().id,
        ours[1].id(),
        "the best header is one that lives"
    );
    for block in &branch[1..] {
        assert_eq!(a.chain.status(&block.id()), Some(Status::Invalid));
        assert!(matches!(
            a.give(block.clone()),
            BlockOutcome::Invalid(Violation::InvalidAncestor { .. })
        ));
    }
    // A new child is refused by its header alone.
    let mut child = parent.clone();
    child.header.parent = parent.id();
    child.header.time += 1;
    let child = rebind(a.chain.params(), child);
    let outcome = a.chain.accept_headers(a.now, &[child.record()]).unwrap();
    assert!(matches!(
        outcome.violation,
        Some(Violation::InvalidAncestor { .. })
    ));
    assert_eq!(a.chain.status(&child.id()), None, "nothing is kept of it");
}

/// V08 and V11: a body that was changed on the way is its sender's fault. The id is not marked, and
/// the clean body from someone else is taken afterwards.
#[test]
fn a_mutated_body_never_condemns_the_block() {
    let mut a = Node::new();
    let payment = a.pay(&Key::new(1), a.funded(), &Key::new(3).lock(), 0);
    let clean = a.next_block(std::slice::from_ref(&payment));
    let mut doubled_tail = clean.clone();
    doubled_tail.transactions.push(payment);
    let mut other_witness = clean.clone();
    let cairn_protocol::lock::Witness::Key { signature, .. } =
        &mut other_witness.transactions[0].witnesses[0]
    else {
        panic!("a key witness")
    };
    signature.0[0] ^= 1;
    let mut other_coinbase = clean.clone();
    other_coinbase.coinbase.outputs[0].value = Amount(1);
    let mut dropped = clean.clone();
    dropped.transactions.clear();
    let mut attached = clean.clone();
    attached.attachments.evidence.push(Default::default());
    let mut extended = clean.clone();
    extended.extension.state_root.0[0] ^= 1;
    for known_header in [false, true] {
        let mut node = Node::new();
        if known_header {
            assert_eq!(
                node.chain
                    .accept_headers(node.now, &[clean.record()])
                    .unwrap()
                    .added,
                1
            );
        }
        for mutated in [
            &doubled_tail,
            &other_witness,
            &other_coinbase,
            &dropped,
            &attached,
            &extended,
        ] {
            assert_eq!(mutated.id(), clean.id());
            let BlockOutcome::Invalid(violation) = node.give(mutated.clone()) else {
                panic!("taken")
            };
            assert!(violation.is_mutation(), "{violation}");
            assert_ne!(node.chain.status(&clean.id()), Some(Status::Invalid));
        }
        assert_eq!(
            node.give(clean.clone()),
            BlockOutcome::Stored { orphans: 0 }
        );
        assert_eq!(short(&node.advance()), "+1 =0");
    }
}

#[test]
fn a_body_that_breaks_a_rule_by_itself_is_condemned_on_arrival() {
    let mut a = Node::new();
    let mut payment = a.pay(&Key::new(1), a.funded(), &Key::new(3).lock(), 0);
    payment.inputs.push(payment.inputs[0]);
    payment.witnesses.push(payment.witnesses[0].clone());
    let mut bad = a.next_block(&[]);
    bad.transactions.push(payment);
    let bad = rebind(a.chain.params(), bad);
    // Unknown header: nothing is kept. Known header: the id is marked.
    assert!(matches!(
        a.give(bad.clone()),
        BlockOutcome::Invalid(Violation::DuplicateInput { .. })
    ));
    assert_eq!(a.chain.status(&bad.id()), None);
    assert_eq!(
        a.chain
            .accept_headers(a.now, &[bad.record()])
            .unwrap()
            .added,
        1
    );
    assert!(matches!(
        a.give(bad.clone()),
        BlockOutcome::Invalid(Violation::DuplicateInput { .. })
    ));
    assert_eq!(a.chain.status(&bad.id()), Some(Status::Invalid));
    assert_eq!(a.chain.best_header().height, 0);
}

#[test]
fn a_wrong_state_root_is_found_when_the_block_is_connected() {
    let mut a = Node::new();
    a.mine(1);
    let mut bad = a.next_block(&[]);
    bad.extension.state_root.0[5] ^= 1;
    let bad = rebind(a.chain.params(), bad);
    assert_eq!(a.give(bad.clone()), BlockOutcome::Stored { orphans: 0 });
    let events = a.advance();
    assert_eq!(short(&events), "!2");
    let ChainEvent::Invalid(invalid) = &events[0] else {
        panic!()
    };
    assert_eq!(invalid.violation.id(), "BLK-11");
}
