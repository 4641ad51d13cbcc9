//! Building and signing a payment: pure functions from coins to bytes.
//!
//! Invariants: inputs = outputs + fee exactly; the fee is at least the asked rate times the weight
//! of the signed transaction; change below the dust bound goes to the fee; every input is signed by
//! the key of its own address over the chain's id.
//! Rules: `spec/04-transactions.md`.

use cairn_protocol::address::Address;
use cairn_protocol::codec;
use cairn_protocol::hash::BlockId;
use cairn_protocol::lock::{At, Witness};
use cairn_protocol::signature::{PublicKey, Signature};
use cairn_protocol::transaction::{
    BODY_WEIGHT, OutPoint, Output, SighashBase, TRANSACTION_VERSION, Transaction,
};
use cairn_protocol::units::{Amount, FeeRate, Weight};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::derivation::{Branch, KeyRing};
use super::selection::{Candidate, SelectionError, Target, select};

/// A coin of the wallet, with the key that spends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalletCoin {
    /// Its name.
    pub outpoint: OutPoint,
    /// Its value.
    pub value: Amount,
    /// The branch of its address.
    pub branch: Branch,
    /// The index of its address.
    pub index: u32,
}

/// What to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaymentOrder {
    /// To whom.
    pub to: Address,
    /// How much.
    pub amount: Amount,
    /// Fee rate.
    pub rate: FeeRate,
    /// Where change goes.
    pub change: Address,
    /// Decides the random draw of coins and the order of outputs.
    pub seed: u64,
}

/// A payment before its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The transaction, with placeholder witnesses.
    transaction: Transaction,
    /// The coins it spends, in input order.
    pub coins: Vec<WalletCoin>,
    /// Inputs minus outputs.
    pub fee: Amount,
    /// Place and value of the change output.
    pub change: Option<(u32, Amount)>,
}

/// Chooses coins and fixes outputs and fee.
pub fn draft(coins: &[WalletCoin], order: &PaymentOrder) -> Result<Draft, SelectionError> {
    let candidates: Vec<Candidate> = coins
        .iter()
        .map(|coin| Candidate {
            value: coin.value,
            weight: input_weight(&coin.outpoint),
        })
        .collect();
    let selection = select(&candidates, &target(coins, order), order.seed)?;
    let mut chosen: Vec<WalletCoin> = selection
        .chosen
        .iter()
        .map(|&position| coins[position].clone())
        .collect();
    let mut random = StdRng::seed_from_u64(order.seed);
    chosen.shuffle(&mut random);
    let total = sum(chosen.iter().map(|coin| coin.value));
    let payment = Output {
        value: order.amount,
        lock: order.to.lock(),
    };
    let Some(change) = change_value(&chosen, order, total, selection.has_change) else {
        let transaction = unsigned(&chosen, vec![payment]);
        let fee = total
            .checked_sub(order.amount)
            .expect("the selection covers the amount");
        return Ok(Draft {
            transaction,
            coins: chosen,
            fee,
            change: None,
        });
    };
    let place = random.random_range(0..2u32);
    let mut outputs = vec![payment];
    outputs.insert(
        place as usize,
        Output {
            value: change,
            lock: order.change.lock(),
        },
    );
    let transaction = unsigned(&chosen, outputs);
    let fee = Amount(total.0 - order.amount.0 - change.0);
    Ok(Draft {
        transaction,
        coins: chosen,
        fee,
        change: Some((place, change)),
    })
}

impl Draft {
    /// Signs every input for the chain `chain_id`.
    pub fn sign(self, keys: &KeyRing, chain_id: BlockId) -> Transaction {
        let Self {
            mut transaction,
            coins,
            ..
        } = self;
        let spent: Vec<Output> = coins
            .iter()
            .map(|coin| {
                let lock = keys.address(coin.branch, coin.index).lock();
                Output {
                    value: coin.value,
                    lock,
                }
            })
            .collect();
        let base = SighashBase::new(chain_id, transaction.txid(), &spent);
        transaction.witnesses = coins
            .iter()
            .zip(0u32..)
            .map(|(coin, input)| {
                let (key, signature) = keys.sign(coin.branch, coin.index, &base.sighash(input));
                Witness::Key { key, signature }
            })
            .collect();
        transaction
    }
}

/// The least amount worth sending at this rate: what its own input will cost.
pub fn dust(rate: FeeRate) -> Amount {
    rate.fee(input_weight(&OutPoint {
        txid: Default::default(),
        index: 0,
    }))
}

/// Change after the fee of the transaction with a change output, unless it would be dust.
fn change_value(
    chosen: &[WalletCoin],
    order: &PaymentOrder,
    total: Amount,
    has_change: bool,
) -> Option<Amount> {
    if !has_change {
        return None;
    }
    // Weighed with the largest value the change can have, so that the fee is never too small.
    let widest = |value| {
        vec![
            Output {
                value: order.amount,
                lock: order.to.lock(),
            },
            Output {
                value,
                lock: order.change.lock(),
            },
        ]
    };
    let fee = order.rate.fee(unsigned(chosen, widest(total)).weight());
    let change = total.checked_sub(order.amount)?.checked_sub(fee)?;
    (change >= dust(order.rate) && change > Amount::ZERO).then_some(change)
}

fn target(coins: &[WalletCoin], order: &PaymentOrder) -> Target {
    let output = |value, address: &Address| Output {
        value,
        lock: address.lock(),
    };
    let empty = unsigned(&[], vec![output(order.amount, &order.to)]).weight();
    // Counts of inputs and witnesses may take a second byte each once coins are added.
    let base_weight = empty + BODY_WEIGHT + 1;
    let all = sum(coins.iter().map(|coin| coin.value));
    let change_weight = BODY_WEIGHT * codec::encode(&output(all, &order.change)).len() as Weight;
    let change_spend_weight = input_weight(&OutPoint {
        txid: Default::default(),
        index: 0,
    });
    let (amount, rate) = (order.amount, order.rate);
    Target {
        amount,
        rate,
        base_weight,
        change_weight,
        change_spend_weight,
    }
}

fn sum(values: impl Iterator<Item = Amount>) -> Amount {
    values.fold(Amount::ZERO, |sum, value| {
        sum.checked_add(value).unwrap_or(Amount(u64::MAX))
    })
}

/// What one input and its witness weigh.
fn input_weight(outpoint: &OutPoint) -> Weight {
    let bytes = codec::encode(outpoint).len();
    BODY_WEIGHT * bytes as Weight + codec::encode(&placeholder()).len() as Weight
}

fn placeholder() -> Witness {
    Witness::Key {
        key: PublicKey([0; 32]),
        signature: Signature([0; 64]),
    }
}

fn unsigned(coins: &[WalletCoin], outputs: Vec<Output>) -> Transaction {
    Transaction {
        version: TRANSACTION_VERSION,
        inputs: coins.iter().map(|coin| coin.outpoint).collect(),
        outputs,
        valid_from: At::Height(0),
        witnesses: vec![placeholder(); coins.len()],
    }
}

#[cfg(test)]
#[path = "payment_tests.rs"]
mod tests;
