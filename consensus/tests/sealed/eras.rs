//! PBFT to other validators, and to proof of work with the last certificate as its floor.

use cairn_consensus::chain::BlockOutcome;
use cairn_fixtures::TestChain;
use cairn_fixtures::seal::eras_file;
use cairn_protocol::hash::Hash;
use cairn_protocol::ledger::BlockStore;
use cairn_protocol::spec::ChainParams;

use crate::world::Node;

#[test]
fn sets_and_engines_change_where_the_schedule_says() {
    let mut node = Node::new(eras_file(12, 24));
    let blocks = node.grow(30);
    let params = node.params().clone();
    let (first, second) = (params.set_hash(1), params.set_hash(12));
    assert_ne!(first, second);
    for block in &blocks {
        let extension = &block.extension;
        let expected = match extension.height {
            1 => (first, Hash::ZERO),
            2..12 => (first, second),
            // The entry that follows has no validators.
            12..24 => (second, Hash::ZERO),
            _ => (Hash::ZERO, Hash::ZERO),
        };
        assert_eq!((extension.set_hash, extension.next_set_hash), expected);
        let carries = !block.attachments.parent_seal.as_slice().is_empty();
        assert_eq!(
            carries,
            (2..=24).contains(&extension.height),
            "the first block of work carries the last seal"
        );
    }
    let engine = &node.chain.state().engine;
    assert_eq!((engine.switch.entry, engine.switch.since), (2, 24));
    assert_eq!(
        (engine.era.height, engine.era.parent_time),
        (24, blocks[22].header.time)
    );
    assert!(engine.current_set.is_empty());
    assert_eq!(node.chain.floor().height, 23);
    let restarted = node.restarted();
    assert_eq!(restarted.chain.floor().height, 23);
    assert_eq!(restarted.chain.tip(), node.chain.tip());
}

/// More work above the floor is followed, below it never.
#[test]
fn the_last_certificate_is_the_floor_of_the_work_above_it() {
    let mut node = Node::new(eras_file(4, 8));
    let blocks = node.grow(7);
    let mut other = node.restarted();
    other.now += 5;
    node.grow(10);
    let longer = other.grow(13);
    for block in &longer {
        node.give(block, None);
    }
    node.advance();
    assert_eq!(
        node.chain.tip(),
        other.chain.tip(),
        "the heavier branch above the floor"
    );
    assert_eq!(node.chain.floor().id, blocks[6].id());
    // A branch of work that leaves below the floor is of another chain than the certified one.
    let mut leaving = longer[0].clone();
    leaving.header.parent = blocks[5].id();
    let function = node.params().timing().pow_function;
    cairn_fixtures::mine(function, &mut leaving.header);
    let BlockOutcome::Invalid(violation) = node.give(&leaving, None) else {
        panic!("a branch below the floor was taken");
    };
    assert_eq!(violation.id(), "HDR-10");
}

/// Over all eras, taking blocks off and connecting them again gives every state from before.
#[test]
fn states_of_all_eras_are_undone_exactly() {
    let params = ChainParams::new(eras_file(3, 6)).unwrap();
    let mut chain = TestChain::new(params);
    let mut history = Vec::new();
    for _ in 0..9 {
        history.push((chain.state().clone(), chain.coins().clone()));
        chain.extend(Vec::new());
    }
    let end = (chain.state().clone(), chain.coins().clone());
    let mut blocks = Vec::new();
    while let Some((state, coins)) = history.pop() {
        blocks.push(chain.disconnect().expect("a block"));
        assert_eq!((chain.state(), chain.coins()), (&state, &coins));
    }
    for block in blocks.into_iter().rev() {
        chain.connect(block.into_block());
    }
    assert_eq!((chain.state(), chain.coins()), (&end.0, &end.1));
}

#[test]
fn a_node_syncs_over_all_eras() {
    let mut node = Node::new(eras_file(4, 8));
    let blocks = node.grow(12);
    let mut other = Node::new(eras_file(4, 8));
    other.now = node.now;
    let outcome = other
        .chain
        .accept_headers(other.now, &node.records(1))
        .unwrap();
    assert_eq!((outcome.added, outcome.violation), (12, None));
    for block in blocks.iter().rev() {
        other.give(block, None);
    }
    other.advance();
    assert_eq!(other.chain.state(), node.chain.state());
    let record = other
        .chain
        .store()
        .header(&blocks[6].id())
        .unwrap()
        .unwrap();
    assert!(record.seal.is_some());
}
