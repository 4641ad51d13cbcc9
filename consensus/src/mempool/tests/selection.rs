//! Templates and what the pool answers to questions.

use super::kit::*;
use cairn_protocol::hash::TxId;
use cairn_protocol::units::{Amount, FeeRate};

fn order(world: &World, weight_max: u64) -> Vec<TxId> {
    world
        .pool
        .select(weight_max)
        .transactions
        .iter()
        .map(|selected| selected.ids.txid)
        .collect()
}

#[test]
fn best_rate_first_and_a_rich_child_lifts_its_parent() {
    let mut world = World::new(3);
    let middle = spend(coin(0), COIN, 2_000);
    let poor = spend(coin(1), COIN, 150);
    let rich = child(&poor, 0, 9_000);
    for transaction in [&middle, &poor, &rich] {
        world.accept(transaction);
    }
    assert_eq!(
        order(&world, 1_000_000),
        vec![poor.txid(), rich.txid(), middle.txid()]
    );
    let together = FeeRate::of(Amount(9_150), poor.weight() + rich.weight());
    assert_eq!(world.pool.chunk_fee_rate(&poor.txid()), Some(together));
    assert_eq!(world.pool.chunk_fee_rate(&rich.txid()), Some(together));
    assert_eq!(
        world.pool.get(&poor.txid()).expect("resident").fee,
        Amount(150)
    );
}

#[test]
fn a_chunk_that_does_not_fit_blocks_its_cluster_and_nothing_else() {
    let mut world = World::new(2);
    let large = pay(&[coin(0)], COIN, 50, 100_000);
    let after = child(&large, 0, 200);
    let small = spend(coin(1), COIN, 150);
    for transaction in [&large, &after, &small] {
        world.accept(transaction);
    }
    let room = small.weight() + after.weight() + 10;
    assert_eq!(order(&world, room), vec![small.txid()]);
    assert_eq!(order(&world, room + large.weight()).len(), 3);
}

#[test]
fn equal_rates_go_by_the_lower_txid() {
    let mut world = World::new(20);
    for n in 0..20 {
        world.accept(&spend(coin(n), COIN, 1_000));
    }
    let found = order(&world, 1_000_000);
    let mut sorted = found.clone();
    sorted.sort();
    assert_eq!(found, sorted);
}

/// A selection goes into a block of the very weight it was asked for.
#[test]
fn weight_is_what_blocks_count() {
    let mut world = World::new(30);
    for n in 0..30 {
        world.accept(&spend(coin(n), COIN, 1_000 + u64::from(n)));
    }
    let selection = world.pool.select(5_000);
    let weight: u64 = selection
        .transactions
        .iter()
        .map(|s| s.transaction.weight())
        .sum();
    assert_eq!(weight, selection.weight);
    assert!(weight <= 5_000 && weight + selection.transactions[0].ids.weight > 5_000);
    let chosen = selection.chosen();
    assert_eq!(chosen.len(), selection.transactions.len());
    assert_eq!(
        Amount::checked_sum(chosen.iter().map(|c| c.fee)),
        Some(selection.fees)
    );
}

#[test]
fn depth_answers_the_rate_to_beat() {
    let mut world = World::new(10);
    for n in 0..10 {
        world.accept(&spend(coin(n), COIN, 1_000 * (1 + u64::from(n))));
    }
    let weight = spend(coin(0), COIN, 1_000).weight();
    let rate = |fee| Some(FeeRate::of(Amount(fee), weight));
    let depths = [0, weight - 1, weight, 9 * weight, 10 * weight];
    let expected = vec![rate(10_000), rate(10_000), rate(9_000), rate(1_000), None];
    assert_eq!(world.pool.fee_rates_at(&depths), expected);
    assert_eq!(world.pool.fee_rates_at(&[]), vec![]);
}

#[test]
fn sequence_tells_whether_anything_changed() {
    let mut world = World::new(2);
    let start = world.pool.sequence();
    world.accept(&spend(coin(0), COIN, 1_000));
    let one = world.pool.sequence();
    assert_ne!(one, start);
    assert!(world.submit(&spend(coin(1), COIN, 1)).is_err());
    assert_eq!(world.pool.sequence(), one);
    world.mine(&[spend(coin(0), COIN, 1_000)]);
    assert_ne!(world.pool.sequence(), one);
}
