//! Sending: coins from the node, a signed payment on disk, then the node.
//!
//! Invariants: no coin is spent twice by this wallet, not even when the node has not heard of the
//! first payment; the payment is durable before it is submitted, so that a crash or a lost answer is
//! settled by asking for its id, never by signing again.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use cairn_protocol::address::Address;
use cairn_protocol::codec;
use cairn_protocol::hash::{BlockId, TxId};
use cairn_protocol::transaction::OutPoint;
use cairn_protocol::units::{Amount, FeeRate};

use super::chain_binding::bind;
use super::derivation::{Branch, KeyRing};
use super::directory::Wallet;
use super::error::WalletError;
use super::node_client::{ClientError, NodeClient};
use super::payment::{Draft, PaymentOrder, WalletCoin, draft, dust};
use super::selection::SelectionError;
use super::state::{ChangeOutput, Payment, PaymentProgress};

/// How the fee is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeeChoice {
    /// Pebbles per 1,000 weight.
    Rate(FeeRate),
    /// Whatever the node expects to confirm within so many blocks.
    Target(u64),
}

/// What a payment cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The transaction.
    pub txid: TxId,
    /// To the miner.
    pub fee: Amount,
    /// Back to this wallet.
    pub change: Amount,
}

/// Pays `amount` to `to`; returns after the node accepted the transaction.
pub fn send(
    wallet: &mut Wallet,
    keys: &KeyRing,
    node: &NodeClient,
    to: Address,
    amount: Amount,
    fee: FeeChoice,
    seed: u64,
) -> Result<Sent, WalletError> {
    let chain_id = bind(wallet, node)?.genesis;
    let rate = match fee {
        FeeChoice::Rate(rate) => rate,
        FeeChoice::Target(target) => node.fees()?.rate_for(target),
    };
    if amount == Amount::ZERO {
        return Err(WalletError::NothingToPay { dust: dust(rate).0 });
    }
    settle(wallet, node)?;
    let change_index = fresh_change(wallet, keys)?;
    let change = keys.address(Branch::Change, change_index);
    let order = PaymentOrder {
        to,
        amount,
        rate,
        change,
        seed,
    };
    let draft = choose(wallet, node, &order)?;
    submit(wallet, keys, node, chain_id, &order, draft, change_index)
}

/// The first change address that no payment uses yet.
fn fresh_change(wallet: &mut Wallet, keys: &KeyRing) -> Result<u32, WalletError> {
    let state = wallet.state();
    let by_payment = state
        .payments
        .iter()
        .filter_map(|payment| payment.change.as_ref());
    let after_payments = by_payment.map(|change| change.index + 1).max().unwrap_or(0);
    let after_used = state
        .change
        .iter()
        .rposition(|entry| entry.used)
        .map_or(0, |last| last + 1);
    let index = (after_payments as usize).max(after_used);
    wallet.extend(keys, Branch::Change, index + 1)?;
    Ok(u32::try_from(index).expect("a wallet makes far fewer than 2^31 payments"))
}

/// Confirmed coins first; own change that waits in the mempool only when they do not suffice.
fn choose(
    wallet: &mut Wallet,
    node: &NodeClient,
    order: &PaymentOrder,
) -> Result<Draft, WalletError> {
    let mut coins = spendable(wallet, node)?;
    match draft(&coins, order) {
        Err(SelectionError::Insufficient { .. }) => {
            coins.extend(pending_change(wallet));
            Ok(draft(&coins, order)?)
        }
        result => Ok(result?),
    }
}

/// Confirmed, mature coins that nothing known spends.
fn spendable(wallet: &mut Wallet, node: &NodeClient) -> Result<Vec<WalletCoin>, WalletError> {
    let spent = spent_by_payments(wallet);
    let mut coins = Vec::new();
    let mut used = Vec::new();
    for (branch, index, entry) in wallet.state().addresses() {
        let utxos = node.utxos(&entry.address)?;
        if !utxos.is_empty() && !entry.used {
            used.push((branch, index));
        }
        for utxo in utxos {
            let outpoint = utxo.outpoint();
            if utxo.mature && !spent.contains(&outpoint.to_string()) {
                coins.push(WalletCoin {
                    outpoint,
                    value: utxo.value,
                    branch,
                    index,
                });
            }
        }
    }
    wallet.update(|state| {
        for (branch, index) in used {
            state.branch_mut(branch)[index as usize].used = true;
        }
    })?;
    Ok(coins)
}

fn spent_by_payments(wallet: &Wallet) -> BTreeSet<String> {
    let pending = wallet
        .state()
        .payments
        .iter()
        .filter(|payment| payment.is_pending());
    pending
        .flat_map(|payment| payment.inputs.iter().cloned())
        .collect()
}

/// Change of payments that a node took and no block holds yet.
fn pending_change(wallet: &Wallet) -> Vec<WalletCoin> {
    let spent = spent_by_payments(wallet);
    let sent = |payment: &&Payment| payment.progress == PaymentProgress::Sent;
    let coin = |payment: &Payment| {
        let change = payment.change.as_ref()?;
        let outpoint = OutPoint {
            txid: payment.txid.parse().ok()?,
            index: change.output,
        };
        let (branch, index) = (Branch::Change, change.index);
        Some(WalletCoin {
            outpoint,
            value: Amount(change.value),
            branch,
            index,
        })
    };
    let coins = wallet.state().payments.iter().filter(sent).filter_map(coin);
    coins
        .filter(|coin| !spent.contains(&coin.outpoint.to_string()))
        .collect()
}

/// Looks after pending payments: those in a block are done, those the node has forgotten are handed
/// over again, those it now refuses are given up and free their coins.
pub fn settle(wallet: &mut Wallet, node: &NodeClient) -> Result<(), WalletError> {
    let pending: Vec<(String, String)> = wallet
        .state()
        .payments
        .iter()
        .filter(|payment| payment.is_pending())
        .map(|payment| (payment.txid.clone(), payment.hex.clone()))
        .collect();
    let mut news = Vec::new();
    for (txid, hex) in pending {
        let progress = match node.transaction(&txid)? {
            Some(record) if record.block.is_some() => PaymentProgress::Confirmed,
            Some(_) => PaymentProgress::Sent,
            None => handed_over_again(node, &hex)?,
        };
        news.push((txid, progress));
    }
    wallet.update(|state| {
        for (txid, progress) in news {
            for payment in state
                .payments
                .iter_mut()
                .filter(|payment| payment.txid == txid)
            {
                payment.progress = progress;
            }
        }
    })
}

fn handed_over_again(node: &NodeClient, hex: &str) -> Result<PaymentProgress, ClientError> {
    match node.submit(hex) {
        Ok(_) => Ok(PaymentProgress::Sent),
        Err(error) if error.is_refusal() => Ok(PaymentProgress::Refused),
        Err(error) => Err(error),
    }
}

fn submit(
    wallet: &mut Wallet,
    keys: &KeyRing,
    node: &NodeClient,
    chain_id: BlockId,
    order: &PaymentOrder,
    draft: Draft,
    change_index: u32,
) -> Result<Sent, WalletError> {
    let (fee, change) = (draft.fee, draft.change);
    let inputs = draft
        .coins
        .iter()
        .map(|coin| coin.outpoint.to_string())
        .collect();
    let transaction = draft.sign(keys, chain_id);
    let hex = hex::encode(codec::encode(&transaction));
    let txid = transaction.txid();
    let payment = Payment {
        txid: txid.to_string(),
        hex: hex.clone(),
        inputs,
        to: order.to.to_string(),
        amount: order.amount.0,
        fee: fee.0,
        change: change.map(|(output, value)| ChangeOutput {
            output,
            index: change_index,
            value: value.0,
        }),
        time: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        progress: PaymentProgress::Signed,
    };
    wallet.update(|state| state.remember(payment))?;
    let answer = node.submit(&hex);
    let progress = match &answer {
        Ok(_) => PaymentProgress::Sent,
        Err(error) if error.is_refusal() => PaymentProgress::Refused,
        // Unknown is not refused: the next command asks the node for the id.
        Err(_) => PaymentProgress::Signed,
    };
    wallet.update(|state| {
        if let Some(payment) = state.payments.last_mut() {
            payment.progress = progress;
        }
    })?;
    answer?;
    Ok(Sent {
        txid,
        fee,
        change: change.map_or(Amount::ZERO, |(_, value)| value),
    })
}

#[cfg(test)]
#[path = "send_tests.rs"]
mod tests;
