//! Orphans: bounded, charged to who sent them, tried again once per arrival of all parents.

use std::collections::BTreeSet;
use std::sync::Arc;

use cairn_protocol::hash::TxId;
use cairn_protocol::transaction::{OutPoint, Transaction};

use super::super::{OrphanPolicy, OrphanRefused, Policy, Refusal, Rejection};
use super::kit::*;

/// Submits on behalf of a peer: what misses inputs is kept, what becomes ready is tried.
fn relay(world: &mut World, peer: u64, transaction: &Transaction) -> Result<(), OrphanRefused> {
    match world.submit(transaction) {
        Err(Rejection::Refused(Refusal::MissingInputs(missing))) => {
            let transaction = Arc::new(transaction.clone());
            world.pool.add_orphan(world.now, peer, transaction, missing)
        }
        result => {
            result.expect("acceptable");
            Ok(())
        }
    }
}

/// Tries ready orphans until there are none; returns how many were tried.
fn resolve(world: &mut World) -> usize {
    let mut tried = 0;
    loop {
        let ready = world.pool.take_ready_orphans(2);
        if ready.is_empty() {
            return tried;
        }
        for orphan in ready {
            tried += 1;
            relay(world, orphan.announcers[0], &orphan.transaction).expect("room");
        }
    }
}

#[test]
fn a_chain_in_reverse_order_resolves_with_one_try_each() {
    let mut world = World::new(1);
    let family = chain(coin(0), 40, 1_000);
    for transaction in family[1..].iter().rev() {
        relay(&mut world, 7, transaction).expect("room");
    }
    assert_eq!((world.pool.len(), world.pool.stats(0).orphans), (0, 39));
    assert!(world.pool.knows(&family[39].wtxid()));
    world.accept(&family[0]);
    assert_eq!(resolve(&mut world), 39);
    assert_eq!((world.pool.len(), world.pool.stats(0).orphans), (40, 0));
    assert_eq!(world.pool.stats(0).orphan_bytes, 0);
}

#[test]
fn a_parent_in_a_block_makes_orphans_ready() {
    let mut world = World::new(1);
    let family = chain(coin(0), 2, 1_000);
    relay(&mut world, 1, &family[1]).expect("room");
    world.mine(&family[..1]);
    assert_eq!(resolve(&mut world), 1);
    assert!(world.has(&family[1]));
}

fn lonely(n: u32) -> Transaction {
    let mut unknown = [0x77; 32];
    unknown[..4].copy_from_slice(&n.to_be_bytes());
    spend(
        OutPoint {
            txid: TxId(unknown),
            index: 0,
        },
        COIN,
        1_000,
    )
}

/// "10,000 orphans": neither one peer nor many can take more than the bounds, and an honest peer's
/// orphan outlives a flood by others.
#[test]
fn ten_thousand_orphans_stay_within_the_bounds() {
    let mut world = World::new(0);
    relay(&mut world, 1, &lonely(1_000_000)).expect("room");
    for n in 0..10_000 {
        relay(&mut world, 2 + u64::from(n % 40), &lonely(n)).expect("room");
        let stats = world.pool.stats(0);
        assert!(stats.orphans <= 1_000 && stats.orphan_bytes <= 8_000_000);
    }
    assert_eq!(world.pool.stats(0).orphans, 1_000);
    assert!(
        world.pool.knows(&lonely(1_000_000).wtxid()),
        "the honest one is still there"
    );
    for n in 0..10_000 {
        relay(&mut world, 99, &lonely(20_000 + n)).expect("room");
    }
    world.pool.peer_gone(99);
    let held = world.pool.stats(0).orphans;
    assert!(
        (900..1_000).contains(&held),
        "one peer held at most 100: {held}"
    );
    for peer in 0..50 {
        world.pool.peer_gone(peer);
    }
    assert_eq!(
        (
            world.pool.stats(0).orphans,
            world.pool.stats(0).orphan_bytes
        ),
        (0, 0)
    );
}

/// Attack catalogue M05: orphans wired to many parents each are looked at once, when the last parent
/// came, and not once per parent.
#[test]
fn many_missing_parents_cost_one_try() {
    let mut world = World::new(60);
    let parents: Vec<Transaction> = (0..60).map(|n| spend(coin(n), COIN, 1_000)).collect();
    let inputs: Vec<OutPoint> = parents
        .iter()
        .map(|parent| output_of(parent, 0).0)
        .collect();
    let total = parents.iter().map(|parent| output_of(parent, 0).1).sum();
    for fee in 0..50 {
        relay(&mut world, 3, &pay(&inputs, total, 1, 100_000 + fee)).expect("room");
    }
    for parent in &parents[..59] {
        world.accept(parent);
        assert!(world.pool.take_ready_orphans(100).is_empty());
    }
    world.accept(&parents[59]);
    assert_eq!(
        world.pool.take_ready_orphans(20).len(),
        20,
        "a bounded share at a time"
    );
    assert_eq!(world.pool.take_ready_orphans(100).len(), 30);
}

#[test]
fn an_orphan_with_more_parents_than_a_cluster_is_refused() {
    let mut world = World::new(0);
    let missing: BTreeSet<TxId> = (0..64).map(|n| TxId([n; 32])).collect();
    let refused = world.pool.add_orphan(0, 1, Arc::new(lonely(1)), missing);
    assert_eq!(
        refused,
        Err(OrphanRefused::TooManyParents {
            missing: 64,
            max: 63
        })
    );
}

#[test]
fn an_orphan_lives_as_long_as_one_announcer() {
    let mut world = World::new(0);
    let orphan = lonely(1);
    for peer in [1, 2] {
        relay(&mut world, peer, &orphan).expect("room");
    }
    assert_eq!(relay(&mut world, 2, &orphan), Err(OrphanRefused::Known(2)));
    world.pool.peer_gone(1);
    assert_eq!(world.pool.stats(0).orphans, 1);
    world.pool.peer_gone(2);
    assert_eq!(world.pool.stats(0).orphans, 0);
}

#[test]
fn orphans_expire_after_twenty_minutes() {
    let mut world = World::new(0);
    relay(&mut world, 1, &lonely(1)).expect("room");
    world.now += 20 * 60 - 1;
    world.pool.expire(world.now);
    assert_eq!(world.pool.stats(0).orphans, 1);
    world.pool.expire(world.now + 1);
    assert_eq!(world.pool.stats(0).orphans, 0);
}

#[test]
fn bytes_are_bounded_per_peer() {
    let orphans = OrphanPolicy {
        peer_bytes_max: 500,
        ..OrphanPolicy::default()
    };
    let mut world = World::with_policy(
        0,
        Policy {
            orphans,
            ..Policy::default()
        },
    );
    for n in 0..10 {
        relay(&mut world, 1, &lonely(n)).expect("room");
    }
    assert!(world.pool.stats(0).orphan_bytes <= 500);
    assert!(world.pool.knows(&lonely(9).wtxid()) && !world.pool.knows(&lonely(0).wtxid()));
    let large = pay(&[output_of(&lonely(1), 0).0], COIN, 20, 1_000);
    let refused = relay(&mut world, 1, &large);
    assert!(matches!(
        refused,
        Err(OrphanRefused::TooLarge { max: 500, .. })
    ));
}
