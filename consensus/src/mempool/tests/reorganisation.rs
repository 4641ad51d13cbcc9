//! The pool follows the chain: blocks confirm, conflict, come off and come back.

use super::super::{Removal, TipReport};
use super::kit::*;
use cairn_protocol::hash::TxId;
use cairn_protocol::lock::{After, At, HashLock, InnerLock, Lock, Witness};

fn reasons(report: &TipReport) -> Vec<(TxId, &'static str)> {
    report
        .removed
        .iter()
        .map(|removed| (removed.ids.txid, removed.why.name()))
        .collect()
}

#[test]
fn a_block_confirms_and_children_stay() {
    let mut world = World::new(1);
    let parent = spend(coin(0), COIN, 1_000);
    let son = child(&parent, 0, 1_000);
    world.accept(&parent);
    world.accept(&son);
    let report = world.mine(std::slice::from_ref(&parent));
    assert_eq!(reasons(&report), vec![(parent.txid(), "confirmed")]);
    assert!(world.has(&son));
    assert_eq!(world.pool.select(4_000_000).transactions.len(), 1);
}

#[test]
fn a_conflicting_block_evicts_with_descendants() {
    let mut world = World::new(1);
    let loser = spend(coin(0), COIN, 1_000);
    let son = child(&loser, 0, 1_000);
    world.accept(&loser);
    world.accept(&son);
    let report = world.mine(&[spend(coin(0), COIN, 2_000)]);
    assert_eq!(report.removed.len(), 2);
    let height = world.height;
    assert!(
        report
            .removed
            .iter()
            .all(|r| r.why == Removal::Conflicted { height })
    );
    assert!(world.pool.is_empty());
}

#[test]
fn disconnected_transactions_return_and_link_to_waiting_descendants() {
    let mut world = World::new(1);
    let parent = spend(coin(0), COIN, 1_000);
    let son = child(&parent, 0, 1_000);
    let grandson = child(&son, 0, 1_000);
    world.mine(&[parent.clone(), son.clone()]);
    world.accept(&grandson);
    world.disconnect();
    assert!(
        world.pool.select(4_000_000).transactions.is_empty(),
        "unsettled"
    );
    world.connect(&[]);
    world.connect(&[]);
    let report = world.announce();
    assert_eq!(report.resurrected, vec![parent.txid(), son.txid()]);
    assert!(report.removed.is_empty());
    let order: Vec<TxId> = world
        .pool
        .select(4_000_000)
        .transactions
        .iter()
        .map(|s| s.ids.txid)
        .collect();
    assert_eq!(order, vec![parent.txid(), son.txid(), grandson.txid()]);
}

#[test]
fn a_transaction_in_both_branches_stays_confirmed() {
    let mut world = World::new(2);
    let (a, b) = (spend(coin(0), COIN, 1_000), spend(coin(1), COIN, 1_000));
    let after_a = child(&a, 0, 1_000);
    world.mine(&[a.clone(), b.clone()]);
    world.accept(&after_a);
    world.disconnect();
    world.connect(&[]);
    world.connect(std::slice::from_ref(&a));
    let report = world.announce();
    assert_eq!(report.resurrected, vec![b.txid()]);
    assert!(world.has(&after_a) && world.has(&b) && !world.has(&a));
}

/// A heavier branch whose second block is invalid: its first one was connected and is taken off again.
#[test]
fn a_branch_that_was_tried_and_left_gives_back_everything() {
    let mut world = World::new(3);
    let both = spend(coin(0), COIN, 1_000);
    let tried = spend(coin(1), COIN, 1_000);
    let after_both = child(&both, 0, 1_000);
    world.mine(std::slice::from_ref(&both));
    world.disconnect();
    world.connect(&[both.clone(), tried.clone(), after_both.clone()]);
    world.disconnect();
    let report = world.announce();
    assert!(report.removed.is_empty());
    assert_eq!(report.resurrected.len(), 3);
    assert!(world.has(&both) && world.has(&tried) && world.has(&after_both));
}

#[test]
fn a_double_spend_in_the_new_branch_ends_the_old_line() {
    let mut world = World::new(1);
    let old = spend(coin(0), COIN, 1_000);
    let son = child(&old, 0, 1_000);
    world.mine(std::slice::from_ref(&old));
    world.accept(&son);
    world.disconnect();
    world.connect(&[spend(coin(0), COIN, 5_000)]);
    let report = world.announce();
    assert!(report.resurrected.is_empty());
    assert_eq!(reasons(&report), vec![(son.txid(), "not_returned")]);
    assert!(world.pool.is_empty());
}

/// Resurrection that would make a cluster too large keeps the older part of it.
#[test]
fn limits_hold_after_resurrection() {
    let mut world = World::new(1);
    let root = pay(&[coin(0)], COIN, 2, 1_000);
    world.mine(std::slice::from_ref(&root));
    for branch in 0..2 {
        let mut tip = child(&root, branch, 1_000);
        world.accept(&tip);
        for _ in 0..39 {
            tip = child(&tip, 0, 1_000);
            world.accept(&tip);
        }
    }
    assert_eq!(world.pool.len(), 80);
    world.disconnect();
    let report = world.announce();
    assert_eq!(report.resurrected, vec![root.txid()]);
    assert_eq!(world.pool.len(), 64);
    assert_eq!(report.removed.len(), 17);
}

#[test]
fn what_is_not_yet_valid_again_falls_out() {
    let mut world = World::new(4);
    world.mine(&[]);
    let mut by_height = spend(coin(0), COIN, 1_000);
    by_height.valid_from = At::Height(world.height + 1);
    let mut by_time = spend(coin(1), COIN, 1_000);
    by_time.valid_from = At::Time(world.time);
    world.coins.get_mut(&coin(2)).expect("exists").is_coinbase = true;
    world.coins.get_mut(&coin(2)).expect("exists").height = world.height - 9;
    let before = &mut world.blocks[0].1;
    before.get_mut(&coin(2)).expect("exists").is_coinbase = true;
    before.get_mut(&coin(2)).expect("exists").height = world.height - 9;
    let by_maturity = spend(coin(2), COIN, 1_000);
    let son = child(&by_maturity, 0, 1_000);
    let always = spend(coin(3), COIN, 1_000);
    for transaction in [&by_height, &by_time, &by_maturity, &son, &always] {
        world.accept(transaction);
    }
    world.disconnect();
    let report = world.announce();
    assert_eq!(report.removed.len(), 4);
    assert!(
        report
            .removed
            .iter()
            .all(|removed| matches!(removed.why, Removal::Invalid(_)))
    );
    assert_eq!(world.pool.len(), 1);
    assert!(world.has(&always));
}

/// The same for locks: one that opened with the block now gone, and a refund that it allowed.
#[test]
fn locks_that_close_again_push_out_their_spenders() {
    let mut world = World::new(3);
    let (height, time) = (world.height + 2, world.time + 10);
    let after = After {
        at: At::Height(height),
        lock: InnerLock::Key(owner(0)),
    };
    let hash_lock = HashLock {
        digest: [1; 32],
        claim: owner(1),
        refund: owner(0),
        refund_at: At::Time(time),
    };
    let locks = [
        Lock::After(Box::new(after)),
        Lock::HashLock(Box::new(hash_lock)),
    ];
    for (n, lock) in (0..).zip(locks) {
        world.coins.get_mut(&coin(n)).expect("exists").output.lock = lock;
    }
    let mut refund = spend(coin(1), COIN, 1_000);
    let Witness::Key { key, signature } = refund.witnesses[0].clone() else {
        panic!("the kit signs with keys");
    };
    refund.witnesses[0] = Witness::Refund { key, signature };
    let (opened, always) = (spend(coin(0), COIN, 1_000), spend(coin(2), COIN, 1_000));
    for early in [&opened, &refund] {
        assert!(world.submit(early).is_err());
    }
    world.mine(&[]);
    for transaction in [&opened, &refund, &always] {
        world.accept(transaction);
    }
    world.disconnect();
    let mut left: Vec<_> = reasons(&world.announce());
    left.sort_unstable();
    let mut expected = [(opened.txid(), "invalid"), (refund.txid(), "invalid")];
    expected.sort_unstable();
    assert_eq!(left, expected);
    assert!(world.has(&always));
}

#[test]
fn resurrection_is_bounded_and_keeps_the_older_blocks() {
    let policy = super::super::Policy {
        resurrection_bytes_max: 400,
        ..Default::default()
    };
    let mut world = World::with_policy(4, policy);
    let blocks: Vec<_> = (0..4).map(|n| spend(coin(n), COIN, 1_000)).collect();
    assert!((130..200).contains(&blocks[0].ids().bytes));
    for transaction in &blocks {
        world.mine(std::slice::from_ref(transaction));
    }
    for _ in 0..4 {
        world.disconnect();
    }
    let report = world.announce();
    assert_eq!(report.resurrected, vec![blocks[0].txid(), blocks[1].txid()]);
}

/// What comes back counts: the pool is within its size at the new tip, and the worst went.
#[test]
fn a_pool_that_overflows_by_resurrection_evicts() {
    let policy = super::super::Policy {
        usage_bytes_max: 20_000,
        ..Default::default()
    };
    let mut world = World::with_policy(40, policy);
    let mined: Vec<_> = (0..10).map(|n| spend(coin(n), COIN, 5_000)).collect();
    world.mine(&mined);
    let mut n = 10;
    while world.pool.stats(0).usage_bytes < 18_000 {
        world.accept(&spend(coin(n), COIN, 1_000));
        n += 1;
    }
    world.disconnect();
    let report = world.announce();
    assert_eq!(report.resurrected.len(), 10);
    assert!(world.pool.stats(0).usage_bytes <= 20_000);
    assert!(
        report
            .removed
            .iter()
            .all(|r| r.why == Removal::Evicted && r.fee.0 == 1_000)
    );
    assert!(mined.iter().all(|transaction| world.has(transaction)));
    assert!(world.pool.fee_rate_min(world.now).0 > 250);
}
