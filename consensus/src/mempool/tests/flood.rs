//! More transactions than the pool holds: the worst go, the minimum rises, then falls again.

use super::super::{Policy, Refusal, Rejection, Removal};
use super::kit::*;
use cairn_protocol::transaction::Transaction;
use cairn_protocol::units::FeeRate;

fn small_pool(usage_bytes_max: u64) -> Policy {
    Policy {
        usage_bytes_max,
        ..Policy::default()
    }
}

/// Attack catalogue M01: a flood of cheap transactions moves the minimum and not the memory.
#[test]
fn a_flood_stays_under_the_cap_and_lifts_the_minimum() {
    let mut world = World::with_policy(4_000, small_pool(1_000_000));
    let (mut refused, mut evicted) = (0, 0);
    for n in 0..4_000 {
        // Fees wander, so that some are better than what is there.
        let fee = 200 + u64::from(n * 7919 % 1_000);
        match world.submit(&spend(coin(n), COIN, fee)) {
            Ok(accepted) => evicted += accepted.removed.len(),
            Err(Rejection::Refused(Refusal::Full(_) | Refusal::FeeTooLow { .. })) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        assert!(world.pool.stats(0).usage_bytes <= 1_000_000);
    }
    world.pool.store.assert_consistent();
    assert!(refused > 0 && evicted > 0, "{refused} {evicted}");
    assert_eq!(world.pool.len() + refused + evicted, 4_000);
    let minimum = world.pool.fee_rate_min(world.now);
    assert!(minimum > FeeRate(250));
    let worst = world.pool.by_fee_rate().last().expect("full").fee_rate();
    assert!(
        minimum > worst,
        "an eviction lifts the minimum above what went"
    );

    let best: Vec<Transaction> = world
        .pool
        .select(100_000)
        .transactions
        .iter()
        .map(|selected| selected.transaction.as_ref().clone())
        .collect();
    assert!(!best.is_empty());
    world.mine(&best);
    world.now += 40 * 12 * 3600;
    assert_eq!(world.pool.fee_rate_min(world.now), FeeRate(250));
}

/// Attack catalogue M02: long chains are evicted chunk by chunk, from their ends.
#[test]
fn chains_are_evicted_from_their_ends() {
    let mut world = World::with_policy(200, small_pool(150_000));
    for (n, fee) in (0..).zip([5_000, 1_000]) {
        for transaction in chain(coin(n), 50, fee) {
            world.accept(&transaction);
        }
    }
    let poor: Vec<Transaction> = chain(coin(1), 50, 1_000);
    for n in 2..40 {
        let accepted = world.accept(&spend(coin(n), COIN, 3_000));
        assert!(
            accepted
                .removed
                .iter()
                .all(|removed| removed.why == Removal::Evicted)
        );
    }
    let left = poor
        .iter()
        .take_while(|transaction| world.has(transaction))
        .count();
    assert!(
        (1..50).contains(&left),
        "the poor chain lost its end: {left}"
    );
    assert!(
        poor[left..]
            .iter()
            .all(|transaction| !world.has(transaction))
    );
    assert!(
        chain(coin(0), 50, 5_000)
            .iter()
            .all(|transaction| world.has(transaction))
    );
    world.pool.store.assert_consistent();
}

/// A newcomer that is itself the worst changes nothing, even if it would have replaced someone.
#[test]
fn a_replacement_that_does_not_fit_is_undone() {
    let mut world = World::with_policy(40, small_pool(30_000));
    let victim = spend(coin(0), COIN, 1_000);
    let son = child(&victim, 0, 1_000);
    world.accept(&victim);
    world.accept(&son);
    let mut n = 1;
    while world.pool.stats(0).usage_bytes < 30_000 - 1_400 {
        world.accept(&spend(coin(n), COIN, 50_000));
        n += 1;
    }
    let large = pay(&[coin(0)], COIN, 40, 20_000);
    let before: Vec<_> = world.pool.by_fee_rate().map(|entry| entry.txid()).collect();
    let rejection = world
        .submit(&large)
        .expect_err("it is the worst and the pool is full");
    assert!(
        matches!(rejection, Rejection::Refused(Refusal::Full(_))),
        "{rejection}"
    );
    let after: Vec<_> = world.pool.by_fee_rate().map(|entry| entry.txid()).collect();
    assert_eq!(before, after);
    assert!(world.has(&victim) && world.has(&son));
    world.pool.store.assert_consistent();
}
