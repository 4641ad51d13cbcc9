//! The heaviest valid branch wins, of equals the first seen, never below the floor.

use cairn_consensus::chain::{BlockOutcome, ChainEvent};
use cairn_protocol::rules::Violation;

use crate::world::{Key, Node, short};

#[test]
fn a_heavier_branch_replaces_the_tip_and_its_transactions_come_back() {
    let (mut a, mut b) = (Node::new(), Node::new());
    let shared = a.mine(3);
    b.take(&shared);
    let payment = a.pay(&Key::new(1), a.funded(), &Key::new(3).lock(), 500);
    a.mine_with(2, std::slice::from_ref(&payment));
    let heavier = b.mine(3);
    let events = a.take(&heavier);
    assert_eq!(short(&events), "-5 -4 +4 +5 +6 =2");
    let returned: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            ChainEvent::Disconnected(block) => Some(block.block.transactions.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(returned, [payment]);
    assert_eq!(a.chain.tip(), b.chain.tip());
    assert_eq!(a.chain.state(), b.chain.state());
    assert_eq!(a.chain.store().coins(), b.chain.store().coins());
}

/// H06: branches of equal work that take turns never move the tip, nor the store.
#[test]
fn of_equal_branches_the_first_seen_stays() {
    let (mut a, mut b, mut c) = (Node::new(), Node::new(), Node::new());
    let shared = a.mine(1);
    for node in [&mut b, &mut c] {
        node.take(&shared);
    }
    let first = b.mine(30);
    let second = c.mine(30);
    a.take(&first[..1]);
    let (mut moves, mut steps) = (0, a.chain.store().steps());
    for at in 0..29 {
        // The other branch reaches our height, then ours grows by one: never more than one step
        // each.
        assert_eq!(short(&a.take(&second[at..=at])), "", "equal work at {at}");
        assert_eq!(
            short(&a.take(&first[at + 1..=at + 1])),
            format!("+{} =0", at + 3)
        );
        moves += 1;
    }
    steps = a.chain.store().steps() - steps;
    assert_eq!(
        (moves, steps),
        (29, 29),
        "one step of the store for each block of our branch"
    );
}

#[test]
fn bodies_in_any_order_lead_to_one_tip() {
    let mut a = Node::new();
    let blocks = a.mine(12);
    let mut b = Node::new();
    assert_eq!(
        b.chain.accept_headers(b.now, &a.records(1)).unwrap().added,
        12
    );
    assert_eq!(b.chain.missing_bodies(4).len(), 4);
    for at in [11, 5, 0, 2, 1, 3, 10, 9, 4, 8, 7] {
        assert_eq!(
            b.give(blocks[at].clone()),
            BlockOutcome::Stored { orphans: 0 }
        );
    }
    assert_eq!(b.chain.missing_bodies(100), [(7, blocks[6].id())]);
    b.advance();
    assert_eq!(b.chain.tip().height, 6);
    b.take(&blocks[6..=6]);
    assert_eq!(b.chain.state(), a.chain.state());
    assert_eq!(b.chain.missing_bodies(100), []);
}

/// A peer that shows a heavier branch and keeps its bodies to itself does not stop others: bodies
/// are asked for along the branch that each peer has shown.
#[test]
fn withheld_bodies_of_a_heavier_branch_stop_nobody() {
    let (mut a, mut honest, mut liar) = (Node::new(), Node::new(), Node::new());
    let shared = a.mine(2);
    honest.take(&shared);
    liar.take(&shared);
    let blocks = honest.mine(5);
    liar.mine(9);
    assert_eq!(
        a.chain
            .accept_headers(a.now, &liar.records(3))
            .unwrap()
            .added,
        9
    );
    assert_eq!(
        a.chain
            .accept_headers(a.now, &honest.records(3))
            .unwrap()
            .added,
        5
    );
    assert_eq!(a.chain.best_header().height, 11);
    let shown = honest.chain.tip().id;
    let missing = a.chain.missing_bodies_toward(&shown, 100);
    assert_eq!(missing.len(), 5);
    a.take(&blocks);
    assert_eq!(a.chain.tip(), honest.chain.tip());
    assert_eq!(
        a.chain.missing_bodies_toward(&shown, 100),
        [],
        "nothing is left on that branch"
    );
    assert_eq!(
        a.chain.missing_bodies(100).len(),
        9,
        "the other branch is still wanted"
    );
    assert_eq!(
        a.chain.missing_bodies_toward(&shared[0].id(), 100),
        [],
        "no more work than ours"
    );
}

/// H09: below the floor nothing is reorganised, however much work the other branch has.
#[test]
fn the_floor_holds_against_more_work() {
    let (mut a, mut b) = (Node::new(), Node::new());
    let shared = a.mine(2);
    b.take(&shared);
    let ours = a.mine(2);
    let theirs = b.mine(6);
    a.take(&theirs[..1]);
    assert!(a.chain.finalize(&ours[0].id()).unwrap());
    assert_eq!(a.chain.floor().height, 3);
    // Known entries of the other branch are given up, new ones are refused by rule.
    assert_eq!(
        a.give(theirs[0].clone()),
        BlockOutcome::Invalid(Violation::BelowFloor {
            height: 3,
            floor: 3
        })
    );
    assert!(matches!(
        a.give(theirs[1].clone()),
        BlockOutcome::Invalid(Violation::BelowFloor { .. })
    ));
    let headers = a.chain.accept_headers(a.now, &b.records(1)).unwrap();
    assert!(matches!(
        headers.violation,
        Some(Violation::BelowFloor { .. })
    ));
    assert_eq!(short(&a.advance()), "");
    assert_eq!(a.chain.tip().id, ours[1].id());
    // A branch that was never seen before, from a block below the floor on our own chain.
    let mut late = Node::new();
    late.take(&shared[..1]);
    let fork = late.mine(9);
    let below = BlockOutcome::Invalid(Violation::BelowFloor {
        height: 2,
        floor: 3,
    });
    assert_eq!(a.give(fork[0].clone()), below);
    let headers = a.chain.accept_headers(a.now, &late.records(2)).unwrap();
    assert_eq!(
        headers.violation,
        Some(Violation::BelowFloor {
            height: 2,
            floor: 3
        })
    );
    assert_eq!(a.chain.status(&fork[0].id()), None);
    // Above the floor the choice stays free.
    let mut c = Node::new();
    c.take(&shared);
    c.take(&ours[..1]);
    let above = c.mine(2);
    assert_eq!(short(&a.take(&above)), "-4 +4 +5 =1");
    assert!(
        a.chain.finalize(&ours[1].id()).is_err(),
        "a block off the chain is no floor"
    );
    assert!(
        !a.chain.finalize(&shared[0].id()).unwrap(),
        "a floor never sinks"
    );
}

/// V21: a reorganisation of 1,088 blocks with a payment in conflict with another; state and coins
/// equal a fresh sync.
#[test]
fn a_deep_reorganisation_equals_a_fresh_sync() {
    let (mut a, mut b) = (Node::new(), Node::new());
    let shared = a.mine(1);
    b.take(&shared);
    let mine = a.pay(&Key::new(1), a.funded(), &Key::new(3).lock(), 0);
    let theirs = b.pay(&Key::new(1), b.funded(), &Key::new(4).lock(), 0);
    a.mine_with(1_088, &[mine]);
    b.mine_with(1_089, &[theirs]);
    let headers = b.records(2);
    assert_eq!(
        a.chain.accept_headers(a.now, &headers).unwrap().added,
        1_089
    );
    for block in b.blocks(2) {
        assert_eq!(a.give(block), BlockOutcome::Stored { orphans: 0 });
    }
    let events = a.advance();
    let ChainEvent::TipChanged(change) = events.last().unwrap() else {
        panic!("the tip moved")
    };
    assert_eq!(
        (change.depth, change.height, change.fork),
        (1_088, 1_090, shared[0].id())
    );
    let mut fresh = Node::new();
    fresh.take(&b.blocks(1));
    assert_eq!(a.chain.state().root(), fresh.chain.state().root());
    assert_eq!(a.chain.store().coins(), fresh.chain.store().coins());
    let supply = a.chain.state().engine.supply();
    let coins = a
        .chain
        .store()
        .coins()
        .values()
        .map(|coin| coin.output.value.0)
        .sum::<u64>();
    assert_eq!(supply.0, coins, "supply is the sum of all coins");
}
