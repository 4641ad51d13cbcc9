//! Proposals: made, judged, decided; what no validator votes for.

use cairn_consensus::chain::BlockOutcome;
use cairn_consensus::template::TemplateError;
use cairn_fixtures::chain::{seal_body, seal_root};
use cairn_fixtures::seal::{RATE, leader, pbft_file, seal_by};
use cairn_fixtures::{Payment, TestKey};
use cairn_protocol::block::Block;
use cairn_protocol::ledger::{BlockStore, ConnectError};
use cairn_protocol::pow::Bits;
use cairn_protocol::rules::Violation;
use cairn_protocol::units::Amount;

use crate::world::Node;

/// The rule that keeps a validator from voting.
fn refused(node: &mut Node, block: &Block) -> &'static str {
    match node
        .chain
        .check_proposal(node.now, block.clone(), &mut node.signatures)
    {
        Ok(()) => "none",
        Err(ConnectError::Invalid(violation)) => violation.id(),
        Err(ConnectError::Fault(fault)) => panic!("{fault}"),
    }
}

#[test]
fn a_chain_of_decided_proposals_is_final_block_by_block() {
    let mut node = Node::new(pbft_file(4, 1));
    let before = node.chain.state().engine.issued;
    for height in 1..=12 {
        let block = node.decide();
        assert_eq!(block.extension.height, height);
        assert_eq!(block.extension.proposer, (height % 4) as u16);
        assert_eq!(node.chain.floor().id, block.id(), "sealed is final");
        assert_eq!(
            block.attachments.parent_seal.as_slice().is_empty(),
            height == 1
        );
    }
    // By the second: 10,002 s to height 1, then two a block.
    let seconds = 10_000 + 2 * 12;
    let issued = node.chain.state().engine.issued.0 - before.0;
    assert_eq!(issued, RATE * seconds);
    assert_eq!(node.chain.tip().work, cairn_protocol::pow::Work::ZERO);
}

#[test]
fn transactions_see_the_time_of_the_parent() {
    let mut node = Node::new(pbft_file(4, 1));
    node.grow(5);
    let state = node.chain.state();
    let (last, median) = (state.engine.last_time(), state.engine.median_time());
    assert!(median < last);
    assert_eq!(state.lock_time(node.params()), last);
    assert_eq!(node.chain.lock_time(), last);
}

#[test]
fn a_payment_is_judged_and_connected_once() {
    let mut node = Node::new(pbft_file(4, 1));
    let (outpoint, coin) = node.params().genesis_coins()[0].clone();
    let payment = Payment::new()
        .spend(outpoint, &coin, &TestKey::new(0))
        .pay_key(&TestKey::new(5), coin.output.value.0 - 70);
    let transaction = payment.sign(node.params().chain_id());
    let ids = transaction.ids();
    let chosen = [cairn_consensus::template::Chosen {
        transaction: &transaction,
        ids: &ids,
        fee: Amount(70),
    }];
    let lock = TestKey::new(3).lock();
    let block = node.chain.propose(node.now, 0, &lock, &chosen, Vec::new());
    let block = node.decide_this(block.expect("a proposal"));
    let claimed = block.coinbase.outputs[0].value.0;
    assert_eq!(claimed, RATE * 10_000 + 70);
    // A node that never saw the proposal ends at the same state.
    let mut other = Node::new(node.params().file().clone());
    let seal = node.seal(&block, 0);
    other.give(&block, Some(&seal));
    other.advance();
    assert_eq!(other.chain.state(), node.chain.state());
    assert_eq!(other.chain.store().coins(), node.chain.store().coins());
}

#[test]
fn what_no_validator_votes_for() {
    let mut node = Node::new(pbft_file(4, 1));
    node.grow(3);
    node.now += 2;
    let good = node.propose(0);
    let with = |change: &dyn Fn(&mut Block)| {
        let mut block = good.clone();
        change(&mut block);
        seal_root(&mut block);
        block
    };
    let bound = node.params().timing().max_future_s;
    let latest = node.now + bound;
    let parent_time = node.chain.tip().time;
    let cases: Vec<(&str, Block)> = vec![
        ("none", good.clone()),
        ("HDR-02", with(&|b| b.header.parent.0[0] ^= 1)),
        ("HDR-13", with(&|b| b.header.bits = Bits(0x207f_ffff))),
        ("HDR-13", with(&|b| b.header.nonce = 1)),
        ("HDR-13", with(&|b| b.header.version |= 1 << 13)),
        ("HDR-14", with(&|b| b.header.time = parent_time - 1)),
        ("HDR-08", with(&|b| b.header.time = latest + 1)),
        ("EXT-09", with(&|b| b.extension.set_hash.0[0] ^= 1)),
        ("EXT-10", with(&|b| b.extension.next_set_hash.0[0] ^= 1)),
        ("EXT-11", with(&|b| b.extension.proposer ^= 1)),
        ("EXT-11", with(&|b| b.extension.proposed_round += 1)),
        (
            "EXT-12",
            with(&|b| {
                b.extension.seed_reveal =
                    cairn_protocol::codec::BoundedBytes::new(vec![1]).expect("one byte");
            }),
        ),
        ("EXT-08", with(&|b| b.extension.switch.entry = 1)),
        ("BLK-14", with(&|b| b.coinbase.extra_nonce[15] = 1)),
        ("BLK-10", with(&|b| b.coinbase.outputs[0].value.0 += 1)),
        ("BLK-11", with(&|b| b.extension.state_root.0[0] ^= 1)),
        ("HDR-15", {
            let mut block = good.clone();
            block.attachments.parent_seal = Default::default();
            seal_body(&mut block);
            block
        }),
        ("HDR-16", {
            let mut block = good.clone();
            let tip = node.chain.tip();
            let place = (tip.height, tip.id, 0);
            block.attachments.parent_seal = seal_by(node.params(), place, [0, 1]);
            seal_body(&mut block);
            block
        }),
        // Another quorum's seal of the same parent is as good.
        ("none", {
            let mut block = good.clone();
            let tip = node.chain.tip();
            let place = (tip.height, tip.id, 5);
            block.attachments.parent_seal = seal_by(node.params(), place, [0, 2, 3]);
            seal_body(&mut block);
            block
        }),
    ];
    for (at, (rule, block)) in cases.iter().enumerate() {
        assert_eq!(refused(&mut node, block), *rule, "case {at}");
    }
    assert_eq!(node.chain.tip().height, 3, "judging changes nothing");
    assert!(node.chain.proposal(&good.id()).is_some());
    // The latest time that the clock allows, and the parent's own.
    let late = node
        .chain
        .propose(latest, 0, &TestKey::new(3).lock(), &[], Vec::new());
    assert_eq!(refused(&mut node, &late.expect("a proposal")), "none");
    let early = node
        .chain
        .propose(0, 0, &TestKey::new(3).lock(), &[], Vec::new());
    let early = early.expect("a proposal");
    assert_eq!(early.header.time, parent_time);
    assert_eq!(refused(&mut node, &early), "none");
}

#[test]
fn each_round_has_its_leader_and_its_proposal() {
    let mut node = Node::new(pbft_file(4, 0));
    node.grow(2);
    for round in [0, 1, 2, 7, u32::MAX - 1] {
        let block = node.propose(round);
        assert_eq!(block.extension.proposer, leader(node.params(), 3, round));
        assert_eq!(refused(&mut node, &block), "none");
    }
    let block = node.propose(2);
    assert_eq!(refused(&mut node, &block), "none");
    // A block of round 2 is not decided in round 1, whoever signs.
    let early = node.seal(&block, 1);
    let outcome = node.chain.accept_decided(node.now, &block.id(), &early);
    let outcome = outcome.expect("memory").expect("kept");
    assert!(
        matches!(&outcome, BlockOutcome::Invalid(violation @ Violation::BadSeal { .. })
            if violation.is_mutation()),
        "{outcome:?}"
    );
    // In round 2 or any later one it is.
    let seal = node.seal(&block, 9);
    let outcome = node.chain.accept_decided(node.now, &block.id(), &seal);
    assert_eq!(outcome, Ok(Some(BlockOutcome::Stored { orphans: 0 })));
    node.advance();
    assert_eq!(node.chain.tip_seal(), Ok(Some(seal.clone())));
    let record = node.chain.store().header(&block.id()).unwrap().unwrap();
    assert_eq!(record.seal, Some(seal), "durable with the block");
}

#[test]
fn no_template_where_validators_decide_and_no_proposal_where_work_does() {
    let node = Node::new(pbft_file(1, 0));
    let lock = TestKey::new(3).lock();
    let error = node.chain.template(node.now, &lock, &[]).unwrap_err();
    assert!(
        matches!(error, TemplateError::OtherEngine { .. }),
        "{error}"
    );
    let node = Node::new(cairn_fixtures::easy_file(0));
    let error = node.chain.propose(node.now, 0, &lock, &[], Vec::new());
    let text = error.unwrap_err().to_string();
    assert_eq!(
        text,
        "block 1 is made by the engine `pow`: expected a BFT engine"
    );
}
