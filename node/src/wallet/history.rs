//! What happened on the wallet's addresses, newest first.
//!
//! Invariant: each transaction appears once, with the wallet's net change over all its addresses.

use std::collections::{BTreeMap, BTreeSet};

use cairn_protocol::units::Height;
use serde::Serialize;

use super::directory::Wallet;
use super::error::WalletError;
use super::node_client::{NodeClient, TransactionRecord};
use super::state::Payment;

/// One transaction from the wallet's point of view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryEntry {
    /// Its id.
    pub txid: String,
    /// The block that holds it; none while it waits.
    pub height: Option<Height>,
    /// Blocks on top of it, its own included; 0 while it waits.
    pub confirmations: u64,
    /// Seconds since 1970 of its block, or of its signing.
    pub time: Option<u64>,
    /// Pebbles, signed: what the wallet gained or lost, fee included.
    pub amount: String,
    /// Pebbles, when the wallet paid it.
    pub fee: Option<String>,
    /// The recipient, when the wallet paid.
    pub to: Option<String>,
    /// "confirmed", "pending", or "refused" for a payment that the node does not take.
    pub state: &'static str,
}

/// Asks the node about every address.
pub fn history(
    wallet: &Wallet,
    node: &NodeClient,
    tip: Height,
) -> Result<Vec<HistoryEntry>, WalletError> {
    let own: BTreeSet<&str> = wallet
        .state()
        .addresses()
        .map(|(_, _, entry)| entry.address.as_str())
        .collect();
    let payments: BTreeMap<&str, &Payment> = wallet
        .state()
        .payments
        .iter()
        .map(|payment| (payment.txid.as_str(), payment))
        .collect();
    let mut records = BTreeMap::new();
    // What waits first: a transaction that is confirmed meanwhile then appears as confirmed.
    for address in &own {
        for record in node.waiting(address)? {
            records.insert(record.txid.to_string(), record);
        }
    }
    for address in &own {
        for record in node.transactions(address)? {
            records.insert(record.txid.to_string(), record);
        }
    }
    let mut entries: Vec<HistoryEntry> = records
        .iter()
        .map(|(txid, record)| seen(record, &own, payments.get(txid.as_str()).copied(), tip))
        .collect();
    let unknown = wallet
        .state()
        .payments
        .iter()
        .filter(|p| !records.contains_key(&p.txid));
    entries.extend(unknown.map(|payment| unseen(payment, &own)));
    // Newest first: waiting ones, then by height, then by time; the id settles the rest.
    entries.sort_by(|a, b| {
        let key = |entry: &HistoryEntry| (entry.height.unwrap_or(Height::MAX), entry.time);
        key(b).cmp(&key(a)).then_with(|| a.txid.cmp(&b.txid))
    });
    Ok(entries)
}

fn seen(
    record: &TransactionRecord,
    own: &BTreeSet<&str>,
    payment: Option<&Payment>,
    tip: Height,
) -> HistoryEntry {
    let is_own = |address: &Option<String>| address.as_deref().is_some_and(|a| own.contains(a));
    let ours = |parties: &[super::node_client::Party]| -> i128 {
        let owned = parties.iter().filter(|party| is_own(&party.address));
        owned.map(|party| i128::from(party.value.0)).sum()
    };
    let height = record.block.map(|block| block.height);
    let block_time = record.block.map(|block| block.time);
    HistoryEntry {
        txid: record.txid.to_string(),
        height,
        confirmations: height.map_or(0, |height| (tip + 1).saturating_sub(height)),
        time: block_time.or(payment.map(|payment| payment.time)),
        amount: (ours(&record.outputs) - ours(&record.inputs)).to_string(),
        fee: payment.map(|payment| payment.fee.to_string()),
        to: payment.map(|payment| payment.to.clone()),
        state: if height.is_some() {
            "confirmed"
        } else {
            "pending"
        },
    }
}

/// A payment that the node does not tell of.
fn unseen(payment: &Payment, own: &BTreeSet<&str>) -> HistoryEntry {
    let is_to_self = own.contains(payment.to.as_str());
    let given = if is_to_self { 0 } else { payment.amount };
    let spent = i128::from(given) + i128::from(payment.fee);
    HistoryEntry {
        txid: payment.txid.clone(),
        height: None,
        confirmations: 0,
        time: Some(payment.time),
        amount: (-spent).to_string(),
        fee: Some(payment.fee.to_string()),
        to: Some(payment.to.clone()),
        state: if payment.is_pending() {
            "pending"
        } else {
            "refused"
        },
    }
}
