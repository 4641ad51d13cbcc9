//! A chain that is opened again over its store goes on as if it had never stopped.

use std::sync::Arc;

use cairn_consensus::chain::{BlockOutcome, Chain};
use cairn_protocol::ledger::BlockStore;

use crate::world::{Node, rebind, short};

fn reopen(mut node: Node) -> Node {
    let params = Arc::clone(node.chain.params());
    let store = node.chain.store().clone();
    node.chain = Chain::open(params, store, [1; 32]).expect("a sound store");
    node
}

#[test]
fn tip_floor_verdicts_and_waiting_bodies_survive() {
    let (mut a, mut b) = (Node::new(), Node::new());
    let shared = a.mine(4);
    b.take(&shared);
    a.chain.finalize(&shared[1].id()).unwrap();
    let mut bad = a.next_block(&[]);
    bad.coinbase.outputs[0].value.0 += 1;
    let bad = rebind(a.chain.params(), bad);
    a.give(bad.clone());
    a.advance();
    // A side branch whose first body is missing: its later bodies are in the store already.
    let theirs = b.mine(4);
    let records = b.records(5);
    a.chain.accept_headers(a.now, &records).unwrap();
    for block in &theirs[1..] {
        assert_eq!(a.give(block.clone()), BlockOutcome::Stored { orphans: 0 });
    }
    a.advance();
    let (tip, state) = (a.chain.tip(), a.chain.state().clone());
    let mut a = reopen(a);
    assert_eq!((a.chain.tip(), a.chain.state()), (tip, &state));
    assert_eq!(a.chain.floor().height, 2);
    assert_eq!(
        short(&a.advance()),
        "",
        "the invalid block is not tried again"
    );
    assert!(matches!(a.give(bad), BlockOutcome::Invalid(_)));
    // Headers come again, and only the missing body has to be fetched.
    assert_eq!(a.chain.accept_headers(a.now, &records).unwrap().added, 4);
    assert_eq!(a.chain.missing_bodies(10), [(5, theirs[0].id())]);
    assert_eq!(short(&a.take(&theirs[..1])), "+5 +6 +7 +8 =0");
    assert_eq!(a.chain.state(), b.chain.state());
}

#[test]
fn of_equal_branches_the_one_that_was_connected_stays() {
    let (mut a, mut b) = (Node::new(), Node::new());
    let first = a.mine(3);
    let second = b.mine(3);
    a.take(&second);
    assert_eq!(a.chain.tip().id, first[2].id());
    for _ in 0..3 {
        a = reopen(a);
        assert_eq!(short(&a.advance()), "");
        assert_eq!(a.chain.tip().id, first[2].id());
    }
}

/// A crash after any step of a reorganisation: the store reopens at that tip, and the rest of the
/// way is taken.
#[test]
fn a_stop_after_any_step_of_a_reorganisation_loses_nothing() {
    let (mut a, mut b) = (Node::new(), Node::new());
    a.mine(5);
    let theirs = b.mine(7);
    for block in theirs {
        a.give(block);
    }
    let (mut events, mut stops) = (Vec::new(), 0);
    while a.chain.step(&mut a.signatures, &mut events).unwrap() {
        a = reopen(a);
        stops += 1;
    }
    assert_eq!(stops, 5 + 7);
    assert_eq!(a.chain.state(), b.chain.state());
    assert_eq!(a.chain.store().coins(), b.chain.store().coins());
}

#[test]
fn a_store_of_another_chain_is_refused() {
    let mut file = crate::world::spec();
    file.seed = cairn_protocol::hash::Hash([3; 32]);
    let other = Node::with(file);
    let params = Arc::clone(Node::new().chain.params());
    let error = Chain::open(params, other.chain.into_store(), [0; 32]).expect_err("refused");
    assert!(error.to_string().contains("genesis"), "{error}");
}

#[test]
fn the_store_never_hears_of_headers_without_bodies() {
    let (mut a, mut b) = (Node::new(), Node::new());
    a.mine(50);
    b.chain.accept_headers(b.now, &a.records(1)).unwrap();
    let mut stored = 0;
    b.chain.store().headers(&mut |_| stored += 1).unwrap();
    assert_eq!((b.chain.best_header().height, stored), (50, 1));
}
