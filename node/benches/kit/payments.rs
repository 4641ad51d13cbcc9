//! Payments of many keys to themselves, for the benchmarks of whole processes.

use cairn_fixtures::{Payment, TestChain, TestKey};
use cairn_protocol::ledger::Coin;
use cairn_protocol::transaction::{OutPoint, Transaction};

/// What each payment leaves to the miner.
const FEE: u64 = 1_000;

/// Each key pays its coin to itself.
pub fn pay_all(
    chain: &TestChain,
    keys: &[TestKey],
    coins: &[(OutPoint, Coin)],
) -> Vec<Transaction> {
    let pay = |(key, (outpoint, coin)): (&TestKey, &(OutPoint, Coin))| {
        let left = coin.output.value.0 - FEE;
        chain.sign(
            &Payment::new()
                .spend(*outpoint, coin, key)
                .pay_key(key, left),
        )
    };
    keys.iter().zip(coins).map(pay).collect()
}

/// The coins that `payments` make at `height`.
pub fn paid(payments: &[Transaction], height: u64) -> Vec<(OutPoint, Coin)> {
    let coin = |tx: &Transaction| {
        let coin = Coin {
            output: tx.outputs[0].clone(),
            height,
            is_coinbase: false,
        };
        (Transaction::outpoint(tx.txid(), 0), coin)
    };
    payments.iter().map(coin).collect()
}
