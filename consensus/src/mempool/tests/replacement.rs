//! Replacement: only for a better diagram, and never for free.

use super::super::{Policy, Refusal, Rejection};
use super::kit::*;
use cairn_protocol::units::{Amount, FeeRate};

fn refused(result: Result<super::super::Accepted, Rejection>) -> Refusal {
    match result.expect_err("to be refused") {
        Rejection::Refused(refusal) => refusal,
        other => panic!("expected a refusal, got {other}"),
    }
}

/// Attack catalogue M04: of two double spends the first stays, unless the second pays its way.
#[test]
fn double_spend_pays_for_what_it_replaces_and_for_its_relay() {
    let mut world = World::new(1);
    let first = spend(coin(0), COIN, 1_000);
    world.accept(&first);
    let step = FeeRate(250).fee(first.weight()).0;
    let short = spend(coin(0), COIN, 1_000 + step - 1);
    let needed = Amount(1_000 + step);
    let expected = Refusal::ReplacementFee {
        fee: Amount(1_000 + step - 1),
        needed,
    };
    assert_eq!(refused(world.submit(&short)), expected);
    let enough = spend(coin(0), COIN, 1_000 + step);
    let accepted = world.accept(&enough);
    assert_eq!(accepted.removed[0].ids.txid, first.txid());
    assert!(world.has(&enough) && !world.has(&first));
}

#[test]
fn a_replacement_of_lower_rate_is_refused_even_with_a_higher_fee() {
    let mut world = World::new(4);
    let small = spend(coin(0), COIN, 10_000);
    world.accept(&small);
    let large = pay(&[coin(0), coin(1), coin(2)], 3 * COIN, 60, 14_000);
    assert!(large.weight() > 10 * small.weight());
    assert_eq!(refused(world.submit(&large)), Refusal::ReplacementDiagram);
    assert!(world.has(&small));
}

#[test]
fn a_replacement_may_not_spend_what_it_replaces() {
    let mut world = World::new(1);
    let parent = pay(&[coin(0)], COIN, 2, 1_000);
    world.accept(&parent);
    let (outpoint, value) = output_of(&parent, 0);
    let both = pay(&[coin(0), outpoint], COIN + value, 1, 100_000);
    assert_eq!(
        refused(world.submit(&both)),
        Refusal::SpendsReplaced(parent.txid())
    );
}

#[test]
fn replacement_touches_a_bounded_number_of_clusters() {
    let policy = Policy {
        replacement_clusters_max: 3,
        ..Policy::default()
    };
    let mut world = World::with_policy(5, policy);
    for n in 0..4 {
        world.accept(&spend(coin(n), COIN, 1_000));
    }
    let inputs: Vec<_> = (0..4).map(coin).collect();
    let wide = pay(&inputs, 4 * COIN, 1, 1_000_000);
    let expected = Refusal::ReplacementTooWide {
        clusters: 4,
        max: 3,
    };
    assert_eq!(refused(world.submit(&wide)), expected);
    world.accept(&pay(&inputs[..3], 3 * COIN, 1, 1_000_000));
    assert_eq!(world.pool.len(), 2);
}

/// Attack catalogue M03, the count pin: 63 descendants fill the cluster of a victim's transaction,
/// so that no child of the victim's can lift its fee; the replacement still can, at the price of what
/// it evicts.
#[test]
fn a_full_cluster_does_not_pin_a_replacement() {
    let mut world = World::new(1);
    let victim = pay(&[coin(0)], COIN, 2, 1_000);
    world.accept(&victim);
    let mut tip = child(&victim, 1, 1_000);
    world.accept(&tip);
    for _ in 0..62 {
        tip = child(&tip, 0, 1_000);
        world.accept(&tip);
    }
    let bump = child(&victim, 0, 50_000);
    assert_eq!(
        refused(world.submit(&bump)),
        Refusal::ClusterCount { count: 65, max: 64 }
    );
    let replacement = spend(coin(0), COIN, 64 * 1_000 + 1_000);
    assert_eq!(world.accept(&replacement).removed.len(), 64);
    assert_eq!(world.pool.len(), 1);
}

/// Attack catalogue M03, the weight pin: a heavy, poor child. What the victim pays is bounded by the
/// cluster's weight at the child's own rate, which the attacker pays if it is mined.
#[test]
fn a_heavy_poor_child_costs_at_most_its_own_fee() {
    let mut world = World::new(1);
    let victim = pay(&[coin(0)], COIN, 2, 1_000);
    world.accept(&victim);
    let (outpoint, value) = output_of(&victim, 1);
    let mut pin = pay(&[outpoint], value, 2_200, 0);
    let weight = pin.weight();
    assert!((300_000..400_000).contains(&weight), "{weight}");
    let fee = FeeRate(250).fee(weight).0;
    pin = pay(&[outpoint], value, 2_200, fee);
    world.accept(&pin);
    let bump = spend(coin(0), COIN, 1_000 + fee);
    assert!(matches!(
        refused(world.submit(&bump)),
        Refusal::ReplacementFee { .. }
    ));
    let bump = spend(
        coin(0),
        COIN,
        1_000 + fee + FeeRate(250).fee(bump.weight()).0,
    );
    world.accept(&bump);
    assert!(!world.has(&pin));
}

/// A replacement that lifts its own chunk but takes a rich descendant of the victim down with it.
#[test]
fn a_rich_descendant_protects_its_parent() {
    let mut world = World::new(1);
    let parent = spend(coin(0), COIN, 1_000);
    world.accept(&parent);
    world.accept(&child(&parent, 0, 200_000));
    let cheap = spend(coin(0), COIN, 150_000);
    assert!(matches!(
        refused(world.submit(&cheap)),
        Refusal::ReplacementFee { .. }
    ));
}

#[test]
fn cluster_weight_is_bounded() {
    let mut world = World::new(1);
    let parent = pay(&[coin(0)], COIN, 1_500, 500_000);
    world.accept(&parent);
    let (outpoint, value) = output_of(&parent, 0);
    let heavy = pay(&[outpoint], value, 1_500, 100_000);
    let weight = parent.weight() + heavy.weight();
    assert!(weight > 404_000);
    let expected = Refusal::ClusterWeight {
        weight,
        max: 404_000,
    };
    assert_eq!(refused(world.submit(&heavy)), expected);
}
