//! Evidence in blocks: proven, in scope, once per key and height, in blocks of every engine.

use cairn_fixtures::seal::{double_prepare, double_prepare_in, eras_file, pbft_file, scope};
use cairn_protocol::bft::Scope;
use cairn_protocol::block::EvidenceBytes;
use cairn_protocol::codec::BoundedBytes;
use cairn_protocol::hash::Hash;
use cairn_protocol::ledger::ConnectError;

use crate::world::Node;

fn rule(node: &mut Node, evidence: Vec<EvidenceBytes>) -> &'static str {
    let block = node.propose_with(0, evidence);
    match node
        .chain
        .check_proposal(node.now, block, &mut node.signatures)
    {
        Ok(()) => "none",
        Err(ConnectError::Invalid(violation)) => violation.id(),
        Err(ConnectError::Fault(fault)) => panic!("{fault}"),
    }
}

#[test]
fn each_rule_of_evidence_in_a_block() {
    let mut node = Node::new(pbft_file(4, 0));
    node.grow(5);
    let params = node.params().clone();
    let proof = |height, who| double_prepare(&params, height, who).to_bytes();
    assert_eq!(rule(&mut node, vec![proof(3, 1)]), "none");
    assert_eq!(
        rule(&mut node, vec![proof(6, 1)]),
        "none",
        "of the block's own height"
    );
    assert_eq!(
        rule(&mut node, vec![proof(7, 1)]),
        "BLK-16",
        "of a height to come"
    );
    assert_eq!(rule(&mut node, vec![proof(3, 1), proof(3, 1)]), "BLK-17");
    assert_eq!(
        rule(&mut node, vec![proof(3, 1), proof(3, 2), proof(4, 1)]),
        "none"
    );
    let junk = BoundedBytes::new(vec![1, 2, 3]).expect("short");
    assert_eq!(rule(&mut node, vec![junk]), "BLK-15");
    let mut forged = double_prepare(&params, 3, 1);
    forged.second.signature.0[0] ^= 1;
    assert_eq!(rule(&mut node, vec![forged.to_bytes()]), "BLK-15");
    let mut harmless = double_prepare(&params, 3, 1);
    harmless.second = harmless.first;
    assert_eq!(rule(&mut node, vec![harmless.to_bytes()]), "BLK-15");
    let mut foreign = double_prepare(&params, 3, 1);
    foreign.key.0[0] ^= 1;
    assert_eq!(
        rule(&mut node, vec![foreign.to_bytes()]),
        "BLK-16",
        "no validator"
    );
    let other_rules = Scope {
        ruleset_id: Hash([5; 32]),
        ..scope(&params, 3)
    };
    let other = double_prepare_in(&params, other_rules, (3, 1));
    assert_eq!(rule(&mut node, vec![other.to_bytes()]), "BLK-16");
    let switch = Scope {
        instance: 1 << 63,
        ..scope(&params, 3)
    };
    let of_switch = double_prepare_in(&params, switch, (3, 1));
    assert_eq!(rule(&mut node, vec![of_switch.to_bytes()]), "BLK-16");
    let genesis = Scope {
        instance: 0,
        ..scope(&params, 3)
    };
    let of_genesis = double_prepare_in(&params, genesis, (3, 1));
    assert_eq!(rule(&mut node, vec![of_genesis.to_bytes()]), "BLK-16");
}

#[test]
fn an_offence_is_written_once_and_undone_with_its_block() {
    let mut node = Node::new(pbft_file(4, 0));
    node.grow(3);
    let params = node.params().clone();
    let proof = double_prepare(&params, 2, 3);
    let block = node.propose_with(0, vec![proof.to_bytes()]);
    node.decide_this(block);
    let offences = &node.chain.state().engine.offences;
    assert_eq!(offences.len(), 1);
    assert_eq!((offences[0].key, offences[0].height), (proof.key, 2));
    node.now += 2;
    assert_eq!(
        rule(&mut node, vec![proof.to_bytes()]),
        "BLK-17",
        "also when new"
    );
    let next = double_prepare(&params, 3, 3).to_bytes();
    assert_eq!(rule(&mut node, vec![next]), "none", "another height");
    let restarted = node.restarted();
    assert_eq!(restarted.chain.state(), node.chain.state());
}

/// Evidence of an era is taken in the next one until its window ends, also in blocks of work.
#[test]
fn evidence_outlives_its_era_until_the_window_ends() {
    let mut file = eras_file(4, 8);
    file.schedule[1].evidence_window_s = 6;
    let mut node = Node::new(file);
    node.grow(5);
    let params = node.params().clone();
    let of_first = double_prepare(&params, 2, 1).to_bytes();
    assert_eq!(
        rule(&mut node, vec![of_first.clone()]),
        "none",
        "one era later"
    );
    node.grow(8);
    let of_second = double_prepare(&params, 5, 1).to_bytes();
    // Work is under way: such a block is made by hand.
    let with = |node: &Node, evidence: &EvidenceBytes| {
        let lock = cairn_fixtures::TestKey::new(3).lock();
        let template = node.chain.template(node.now + 2, &lock, &[]).unwrap();
        let mut block = template.solved([7; 16], 0);
        block.attachments.evidence = vec![evidence.clone()];
        cairn_fixtures::seal_body(&mut block);
        cairn_fixtures::mine(params.timing().pow_function, &mut block.header);
        block
    };
    let judge = |node: &mut Node, evidence: &EvidenceBytes| {
        let block = with(node, evidence);
        node.give(&block, None);
        let events = node.advance();
        let invalid = events.iter().find_map(|event| match event {
            cairn_consensus::chain::ChainEvent::Invalid(invalid) => Some(invalid.violation.id()),
            _ => None,
        });
        invalid.unwrap_or("none")
    };
    assert_eq!(judge(&mut node.restarted(), &of_second), "none");
    assert_eq!(
        judge(&mut node.restarted(), &of_first),
        "BLK-16",
        "two eras later"
    );
    // The last sealed block is at height 7; each block takes two seconds, the parent's time counts.
    node.grow(10);
    assert_eq!(
        judge(&mut node.restarted(), &of_second),
        "none",
        "six seconds later"
    );
    node.grow(11);
    assert_eq!(
        judge(&mut node.restarted(), &of_second),
        "BLK-16",
        "eight seconds later"
    );
}
