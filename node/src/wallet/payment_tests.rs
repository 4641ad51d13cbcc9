//! A payment balances, pays its rate, and its signatures hold on its own chain only.

use cairn_protocol::address::Network;
use cairn_protocol::hash::TxId;
use cairn_protocol::signature::{Ed25519, SignatureJob, SignatureScheme};
use proptest::prelude::*;

use super::*;

const CHAIN: BlockId = BlockId([5; 32]);

fn keys() -> KeyRing {
    KeyRing::new(&[1; 64], Network::Devnet)
}

fn coins(values: &[u64]) -> Vec<WalletCoin> {
    let coin = |(number, &value): (u32, &u64)| WalletCoin {
        outpoint: OutPoint {
            txid: TxId([7; 32]),
            index: number,
        },
        value: Amount(value),
        branch: if number % 2 == 0 {
            Branch::Receive
        } else {
            Branch::Change
        },
        index: number % 3,
    };
    (0u32..).zip(values).map(coin).collect()
}

fn order(keys: &KeyRing, amount: u64, rate: u64, seed: u64) -> PaymentOrder {
    let to = KeyRing::new(&[2; 64], Network::Devnet).address(Branch::Receive, 0);
    let change = keys.address(Branch::Change, 0);
    PaymentOrder {
        to,
        amount: Amount(amount),
        rate: FeeRate(rate),
        change,
        seed,
    }
}

fn jobs(transaction: &Transaction, spent: &[Output], chain: BlockId) -> Vec<SignatureJob> {
    let base = SighashBase::new(chain, transaction.txid(), spent);
    let job = |(input, witness): (u32, &Witness)| match witness {
        Witness::Key { key, signature } => SignatureJob {
            key: *key,
            signature: *signature,
            message: base.sighash(input),
        },
        other => panic!("{other:?} spends no single key"),
    };
    (0u32..).zip(&transaction.witnesses).map(job).collect()
}

#[test]
fn signatures_hold_on_the_own_chain_only() {
    let keys = keys();
    let draft = draft(
        &coins(&[500_000, 600_000, 700_000]),
        &order(&keys, 1_500_000, 1000, 3),
    );
    let draft = draft.unwrap();
    let spent: Vec<Output> = draft
        .coins
        .iter()
        .map(|c| Output {
            value: c.value,
            lock: keys.address(c.branch, c.index).lock(),
        })
        .collect();
    let coins = draft.coins.clone();
    let transaction = draft.sign(&keys, CHAIN);
    assert_eq!(
        transaction.inputs,
        coins.iter().map(|c| c.outpoint).collect::<Vec<_>>()
    );
    assert_eq!(Ed25519.verify(&jobs(&transaction, &spent, CHAIN)), Ok(()));
    assert!(
        Ed25519
            .verify(&jobs(&transaction, &spent, BlockId([6; 32])))
            .is_err()
    );
    for (coin, job) in coins.iter().zip(jobs(&transaction, &spent, CHAIN)) {
        assert_eq!(
            Address::of_key(Network::Devnet, &job.key),
            keys.address(coin.branch, coin.index)
        );
    }
}

#[test]
fn change_comes_back_unless_it_is_dust() {
    let keys = keys();
    let with = draft(&coins(&[1_000_000]), &order(&keys, 400_000, 1000, 0)).unwrap();
    let (place, value) = with.change.unwrap();
    let output = &with.transaction.outputs[place as usize];
    assert_eq!(
        (output.value, &output.lock),
        (value, &keys.address(Branch::Change, 0).lock())
    );
    let without = draft(&coins(&[1_000_000]), &order(&keys, 999_400, 1000, 0)).unwrap();
    assert_eq!((without.change, without.fee), (None, Amount(600)));
    assert_eq!(without.transaction.outputs.len(), 1);
}

#[test]
fn the_place_of_change_tells_nothing() {
    let keys = keys();
    let place = |seed| {
        draft(&coins(&[1_000_000]), &order(&keys, 400_000, 1000, seed))
            .unwrap()
            .change
            .unwrap()
            .0
    };
    let places: std::collections::BTreeSet<u32> = (0..32).map(place).collect();
    assert_eq!(places.len(), 2);
}

proptest! {
    #[test]
    fn payments_balance_and_pay_their_rate(
        values in prop::collection::vec(1u64..100_000_000, 1..40),
        share in 1u64..=100,
        rate in 0u64..50_000,
        seed: u64,
    ) {
        let keys = keys();
        let coins = coins(&values);
        let total: u64 = values.iter().sum();
        let amount = (total / 100 * share).max(1);
        let order = order(&keys, amount, rate, seed);
        let Ok(draft) = draft(&coins, &order) else { return Ok(()) };
        let (fee, change) = (draft.fee, draft.change);
        let incoming: u64 = draft.coins.iter().map(|coin| coin.value.0).sum();
        let transaction = draft.sign(&keys, CHAIN);
        let outgoing: u64 = transaction.outputs.iter().map(|output| output.value.0).sum();
        prop_assert_eq!(incoming, outgoing + fee.0);
        let asked = order.rate.fee(transaction.weight());
        prop_assert!(fee >= asked, "fee {fee} is below {asked}");
        let paid: u64 = transaction.outputs.iter().filter(|o| o.lock == order.to.lock()).map(|o| o.value.0).sum();
        prop_assert_eq!(paid, amount);
        let slack = match change {
            // At most the bytes by which a smaller number is shorter, and the counts' second bytes.
            Some((_, value)) => { prop_assert!(value >= dust(order.rate)); 4 * 10 + 5 }
            None => 4 * 45 + 250,
        };
        prop_assert!(fee.0 <= asked.0 + order.rate.fee(slack).0 + transaction.inputs.len() as u64 + 2, "fee {fee} is far above {asked}");
        let bytes = cairn_protocol::codec::encode(&transaction);
        prop_assert_eq!(cairn_protocol::codec::decode::<Transaction>(&bytes, 400_000).unwrap(), transaction);
    }
}
