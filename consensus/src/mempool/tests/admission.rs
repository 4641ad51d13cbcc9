//! What the pool admits and refuses, and with which words.

use std::sync::Arc;

use cairn_protocol::codec::BoundedBytes;
use cairn_protocol::lock::{At, Lock};
use cairn_protocol::rules::Violation;
use cairn_protocol::transaction::{OutPoint, Output, Transaction};
use cairn_protocol::units::{Amount, FeeRate};

use super::super::{Policy, Refusal, Rejection};
use super::kit::*;

fn refusal(world: &mut World, transaction: &Transaction) -> Refusal {
    let before = world.pool.len();
    let rejection = world.submit(transaction).expect_err("to be refused");
    assert_eq!(world.pool.len(), before, "a refusal changes nothing");
    match rejection {
        Rejection::Refused(refusal) => refusal,
        other => panic!("expected a refusal, got {other}"),
    }
}

fn violation(world: &mut World, transaction: &Transaction) -> Violation {
    match world.submit(transaction).expect_err("to be invalid") {
        Rejection::Invalid(violation) => violation,
        other => panic!("expected a violation, got {other}"),
    }
}

#[test]
fn accepts_and_answers() {
    let mut world = World::new(2);
    let payment = spend(coin(0), COIN, 1_000);
    let accepted = world.accept(&payment);
    assert_eq!(
        (accepted.txid, accepted.fee),
        (payment.txid(), Amount(1_000))
    );
    assert_eq!(
        accepted.chunk_fee_rate,
        FeeRate::of(Amount(1_000), payment.weight())
    );
    assert!(world.pool.knows(&payment.wtxid()));
    assert_eq!(
        world.pool.spender(&coin(0)).expect("spent").txid(),
        payment.txid()
    );
    let stats = world.pool.stats(world.now);
    assert_eq!((stats.transactions, stats.weight), (1, payment.weight()));
    assert_eq!(stats.bytes, payment.ids().bytes);
    assert_eq!(
        world.pool.wtxids().collect::<Vec<_>>(),
        vec![&payment.wtxid()]
    );
    assert_eq!(
        refusal(&mut world, &payment),
        Refusal::AlreadyResident(payment.txid())
    );
}

#[test]
fn other_witness_of_a_resident_is_refused_but_not_punished() {
    let mut world = World::new(1);
    let payment = spend(coin(0), COIN, 1_000);
    world.accept(&payment);
    let mut mutated = payment.clone();
    if let cairn_protocol::lock::Witness::Key { signature, .. } = &mut mutated.witnesses[0] {
        signature.0[0] ^= 1;
    }
    assert_eq!(
        refusal(&mut world, &mutated),
        Refusal::OtherWitness(payment.txid())
    );
    assert!(
        !world.pool.is_rejected(&payment.wtxid()),
        "only the mutation is remembered"
    );
    assert!(world.pool.is_rejected(&mutated.wtxid()));
}

#[test]
fn minimum_fee_is_exact() {
    let mut world = World::new(2);
    let weight = spend(coin(0), COIN, 1_000).weight();
    let needed = FeeRate(250).fee(weight);
    let short = spend(coin(0), COIN, needed.0 - 1);
    let fee_too_low = refusal(&mut world, &short);
    assert!(matches!(fee_too_low, Refusal::FeeTooLow { needed: n, .. } if n == needed));
    world.accept(&spend(coin(0), COIN, needed.0));
}

/// Attack catalogue V03, V04 and others: what breaks a rule of consensus is invalid, not refused.
#[test]
fn broken_rules_are_invalid() {
    let mut world = World::new(3);
    let twice = pay(&[coin(0), coin(0)], 2 * COIN, 1, 1_000);
    assert!(matches!(
        violation(&mut world, &twice),
        Violation::DuplicateInput { .. }
    ));
    assert!(world.pool.is_rejected(&twice.wtxid()));
    let mut more = spend(coin(0), COIN, 0);
    more.outputs[0].value = Amount(COIN + 1);
    assert!(matches!(
        violation(&mut world, &more),
        Violation::Overspend { .. }
    ));
    let mut foreign = spend(coin(0), COIN, 1_000);
    foreign.witnesses[0] = cairn_protocol::lock::Witness::Key {
        key: key(9),
        signature: cairn_protocol::signature::Signature([0; 64]),
    };
    assert!(matches!(
        violation(&mut world, &foreign),
        Violation::KeyMismatch { .. }
    ));
}

#[test]
fn an_output_that_the_known_parent_lacks_is_invalid() {
    let mut world = World::new(1);
    let mut parent = spend(coin(0), COIN, 1_000);
    let note = BoundedBytes::new(b"note".to_vec()).expect("short");
    parent.outputs.push(Output {
        value: Amount::ZERO,
        lock: Lock::Data(note),
    });
    world.accept(&parent);
    for index in [1, 2] {
        let outpoint = OutPoint {
            txid: parent.txid(),
            index,
        };
        let from_nothing = spend(outpoint, 5_000, 1_000);
        assert_eq!(
            violation(&mut world, &from_nothing),
            Violation::MissingCoin { outpoint }
        );
    }
}

#[test]
fn missing_inputs_are_named_once_each() {
    let mut world = World::new(1);
    let parent = pay(&[coin(0)], COIN, 2, 1_000);
    let (a, value) = output_of(&parent, 0);
    let (b, _) = output_of(&parent, 1);
    let orphan = pay(&[a, b], 2 * value, 1, 1_000);
    let expected = Refusal::MissingInputs([parent.txid()].into());
    assert_eq!(refusal(&mut world, &orphan), expected);
    assert!(
        !world.pool.is_rejected(&orphan.wtxid()),
        "it is welcome once the parent came"
    );
}

#[test]
fn a_confirmed_transaction_is_no_orphan() {
    let mut world = World::new(1);
    let payment = spend(coin(0), COIN, 1_000);
    world.mine(std::slice::from_ref(&payment));
    assert_eq!(
        refusal(&mut world, &payment),
        Refusal::AlreadyConfirmed(payment.txid())
    );
}

/// Attack catalogue V05: the pool looks one block ahead, exactly as the next block will.
#[test]
fn immature_coinbase_is_refused_until_the_next_block_may_hold_it() {
    let mut world = World::new(1);
    world.coins.get_mut(&coin(0)).expect("exists").is_coinbase = true;
    world.coins.get_mut(&coin(0)).expect("exists").height = 100;
    let payment = spend(coin(0), COIN, 1_000);
    world.height = 108;
    assert!(matches!(
        refusal(&mut world, &payment),
        Refusal::Immature(_)
    ));
    world.height = 109;
    world.accept(&payment);
}

#[test]
fn points_of_the_chain_not_yet_reached_are_refused() {
    let mut world = World::new(2);
    for (ahead, reached) in [
        (At::Height(world.height + 2), At::Height(world.height + 1)),
        (At::Time(world.time + 1), At::Time(world.time)),
    ] {
        let mut payment = spend(coin(0), COIN, 1_000);
        payment.valid_from = ahead;
        assert!(matches!(
            refusal(&mut world, &payment),
            Refusal::NotYetValid(_)
        ));
        payment.valid_from = reached;
        let n = u32::from(matches!(ahead, At::Time(_)));
        payment.inputs[0] = coin(n);
        world.accept(&payment);
    }
}

#[test]
fn chained_spends_see_unconfirmed_coins() {
    use cairn_protocol::ledger::CoinView;
    let mut world = World::new(1);
    let parent = spend(coin(0), COIN, 1_000);
    world.accept(&parent);
    let (outpoint, value) = output_of(&parent, 0);
    let view = world.pool.view(&world.coins, world.height + 1);
    assert_eq!(
        view.coin(&coin(0)).expect("no fault"),
        None,
        "spent in the pool"
    );
    let found = view
        .coin(&outpoint)
        .expect("no fault")
        .expect("unconfirmed");
    assert_eq!((found.output.value, found.height), (Amount(value), 101));
    world.accept(&child(&parent, 0, 1_000));
    assert_eq!(world.pool.pending_delta(&owner(0)), -2_000);
    assert_eq!(world.pool.of_owner(&owner(0)).len(), 2);
    assert_eq!(world.pool.pending_delta(&owner(1)), 0);
}

/// Attack catalogue M06: a refused transaction is known by its wtxid until the next tip.
#[test]
fn rejects_are_bounded_and_forgotten_at_a_new_tip() {
    let mut world = World::with_policy(
        10,
        Policy {
            rejects_max: 4,
            ..Policy::default()
        },
    );
    let poor: Vec<Transaction> = (0..6).map(|n| spend(coin(n), COIN, 1)).collect();
    for transaction in &poor {
        refusal(&mut world, transaction);
    }
    assert_eq!(world.pool.stats(0).rejects, 4);
    assert!(!world.pool.knows(&poor[0].wtxid()) && world.pool.knows(&poor[5].wtxid()));
    world.mine(&[]);
    assert_eq!(world.pool.stats(0).rejects, 0);
}

#[test]
fn a_signature_found_bad_outside_is_remembered() {
    let mut world = World::new(1);
    let payment = Arc::new(spend(coin(0), COIN, 1_000));
    let context = world.context();
    let candidate = world
        .pool
        .prepare(world.now, payment, &world.coins, &context)
        .expect("cheap checks pass");
    assert_eq!(candidate.signatures().len(), 1);
    assert_eq!(
        candidate.bad_signature(0),
        Violation::BadSignature { input: 0 }
    );
    world.pool.reject(candidate.ids());
    assert!(world.pool.knows(&candidate.ids().wtxid));
}

#[test]
fn expiry_takes_descendants_along() {
    let mut world = World::new(2);
    let parent = spend(coin(0), COIN, 1_000);
    world.accept(&parent);
    world.now += 300 * 3600;
    world.accept(&child(&parent, 0, 1_000));
    world.accept(&spend(coin(1), COIN, 1_000));
    world.now += 36 * 3600 - 1;
    assert!(world.pool.expire(world.now).is_empty());
    world.now += 1;
    assert_eq!(world.pool.expire(world.now).len(), 2);
    assert_eq!(world.pool.len(), 1);
}
