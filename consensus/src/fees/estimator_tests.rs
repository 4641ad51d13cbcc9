//! The estimator on empty, busy, changing and manipulated chains.

use super::*;
use crate::mempool::tests::kit::*;
use proptest::prelude::*;

const WEIGHT_MAX: Weight = 4_000_000;

fn block(height: Height, full: bool, min: u64, median: u64) -> BlockFees {
    let weight = if full { WEIGHT_MAX } else { WEIGHT_MAX / 2 };
    BlockFees {
        height,
        transactions: 1_000,
        weight,
        min: FeeRate(min),
        median: FeeRate(median),
        mean: FeeRate(median + 100),
        max: FeeRate(median * 10),
    }
}

fn fed(blocks: impl IntoIterator<Item = BlockFees>) -> Estimator {
    let mut estimator = Estimator::new(WEIGHT_MAX);
    blocks
        .into_iter()
        .for_each(|block| estimator.block_connected(block));
    estimator
}

fn rates(estimator: &Estimator, pool: &Mempool) -> Vec<u64> {
    estimator
        .estimates(pool, 0)
        .iter()
        .map(|estimate| estimate.fee_rate.0)
        .collect()
}

#[test]
fn an_empty_network_answers_the_relay_minimum() {
    let world = World::new(0);
    for estimator in [
        fed([]),
        fed((1..100).map(|height| block(height, false, 9_000, 9_500))),
    ] {
        for estimate in estimator.estimates(&world.pool, 0) {
            assert_eq!(
                (estimate.fee_rate, estimate.basis),
                (FeeRate(250), Basis::Minimum)
            );
        }
    }
    let none = fed([]).estimate(6, &world.pool, 0);
    assert_eq!((none.confidence_percent, none.blocks), (0, 0));
    let room = fed((1..100).map(|h| block(h, false, 9_000, 9_500))).estimate(6, &world.pool, 0);
    assert_eq!((room.confidence_percent, room.blocks), (100, 24));
}

#[test]
fn full_blocks_ask_for_their_entry() {
    let world = World::new(0);
    let estimator = fed((1..=600).map(|height| block(height, true, 5_000, 6_000)));
    assert_eq!(rates(&estimator, &world.pool), vec![5_000; 7]);
    let first = estimator.estimate(1, &world.pool, 0);
    assert_eq!(
        (first.basis, first.confidence_percent, first.blocks),
        (Basis::Blocks, 100, 24)
    );
    assert_eq!(estimator.estimate(144, &world.pool, 0).blocks, 576);
}

/// Every sixth block is cheap: who can wait six blocks pays the cheap rate, who cannot pays the other.
#[test]
fn patience_is_rewarded() {
    let world = World::new(0);
    let estimator =
        fed((1..=600).map(|h| block(h, true, if h.is_multiple_of(6) { 1_000 } else { 8_000 }, 0)));
    assert_eq!(
        rates(&estimator, &world.pool),
        vec![8_000, 8_000, 8_000, 1_000, 1_000, 1_000, 1_000]
    );
}

/// A miner that slips its own free transaction into full blocks does not lower the answer to nothing.
#[test]
fn a_free_transaction_of_the_miner_does_not_fool_the_minimum() {
    let world = World::new(0);
    let estimator = fed((1..=100).map(|height| block(height, true, 0, 6_000)));
    assert_eq!(rates(&estimator, &world.pool)[0], 3_000);
}

/// One miner with a tenth of the blocks stuffs them with its own dear transactions.
#[test]
fn a_tenth_of_stuffed_blocks_does_not_raise_the_answer() {
    let world = World::new(0);
    let stuffed = |h: u64| {
        block(
            h,
            true,
            if h.is_multiple_of(10) { 900_000 } else { 2_000 },
            0,
        )
    };
    let estimator = fed((1..=600).map(stuffed));
    assert_eq!(rates(&estimator, &world.pool)[1..], [2_000; 6]);
}

#[test]
fn the_queue_counts_before_any_block() {
    let mut world = World::new(40);
    for n in 0..40 {
        world.accept(&spend(coin(n), COIN, 1_000 + 100 * u64::from(n)));
    }
    let weight = spend(coin(0), COIN, 1_000).weight();
    // Blocks of ten such transactions: the queue is four blocks long.
    let estimator = Estimator::new(10 * weight);
    let answers = estimator.estimates(&world.pool, 0);
    let rate_of = |fee: u64| FeeRate::of(cairn_protocol::units::Amount(fee), weight).0 + 1;
    let expected = [rate_of(3_900), rate_of(2_900), rate_of(1_900)];
    // Ten better ones are ahead: the eleventh best is the one to beat.
    let found: Vec<u64> = answers.iter().map(|answer| answer.fee_rate.0).collect();
    assert_eq!(found[..3], expected);
    assert_eq!(found[3..], [250; 4], "within six blocks the queue is gone");
    assert_eq!(answers[0].basis, Basis::Mempool);
    assert_eq!(answers[0].confidence_percent, 0, "no block was seen");
}

#[test]
fn reorganisations_and_gaps() {
    let mut estimator = fed((1..=10).map(|height| block(height, true, 1_000, 1_000)));
    estimator.block_disconnected(8);
    assert_eq!(estimator.blocks().len(), 7);
    estimator.block_connected(block(8, true, 2_000, 2_000));
    assert_eq!(
        estimator.blocks().last().expect("eight").min,
        FeeRate(2_000)
    );
    estimator.block_connected(block(5, true, 3_000, 3_000));
    assert_eq!(
        estimator.blocks().len(),
        5,
        "a height again replaces what stood there and above"
    );
    estimator.block_connected(block(9, true, 1, 1));
    assert_eq!(estimator.blocks().len(), 1, "a gap ends the memory");
}

#[test]
fn survives_a_restart_and_refuses_damage() {
    let estimator = fed((1..=700).map(|height| block(height, true, height, height)));
    assert_eq!(estimator.blocks().len(), BLOCKS_MAX);
    let bytes = estimator.to_bytes();
    assert_eq!(Estimator::from_bytes(WEIGHT_MAX, &bytes), Ok(estimator));
    assert!(Estimator::from_bytes(WEIGHT_MAX, &bytes[..bytes.len() - 1]).is_err());
    let jump = History {
        version: 1,
        blocks: vec![block(1, true, 1, 1), block(3, true, 1, 1)],
    };
    let jump = Estimator::from_bytes(WEIGHT_MAX, &codec::encode(&jump));
    assert_eq!(jump, Err(HistoryError::Heights(3)));
    let last = History {
        version: 1,
        blocks: vec![block(u64::MAX, true, 1, 1); 2],
    };
    assert!(Estimator::from_bytes(WEIGHT_MAX, &codec::encode(&last)).is_err());
    let later = History {
        version: 2,
        blocks: Vec::new(),
    };
    let later = Estimator::from_bytes(WEIGHT_MAX, &codec::encode(&later));
    assert_eq!(later, Err(HistoryError::Version(2)));
}

proptest! {
    #[test]
    fn shorter_targets_never_cost_less(
        blocks in proptest::collection::vec((any::<bool>(), 0u64..10_000, 0u64..10_000), 0..300),
    ) {
        let world = World::new(0);
        let estimator = fed((1..).zip(&blocks).map(|(h, b)| block(h, b.0, b.1.min(b.2), b.2)));
        let answers = estimator.estimates(&world.pool, 0);
        prop_assert_eq!(answers.len(), TARGETS.len());
        for pair in answers.windows(2) {
            prop_assert!(pair[0].fee_rate >= pair[1].fee_rate);
        }
        for answer in &answers {
            prop_assert!(answer.fee_rate >= FeeRate(250));
            let known = blocks.len() >= answer.target as usize;
            let lowest = if known { 90 } else { 0 };
            prop_assert!(answer.confidence_percent >= lowest);
            prop_assert!(known || answer.confidence_percent == 0);
        }
    }
}
