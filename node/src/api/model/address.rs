//! Addresses: balances and coins.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::amount::{Pebbles, PebblesDelta};
use super::hash::Hash32;
use super::transaction::LockJson;

/// What the chain and the mempool know of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AddressSummary {
    /// The address as asked for.
    pub address: String,
    /// Confirmed at the tip, immature coinbases included.
    pub balance: Pebbles,
    /// What the mempool would change.
    pub pending: PebblesDelta,
    /// Number of confirmed transactions that touch it.
    pub transactions: u64,
}

/// An unspent output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Utxo {
    /// The transaction that made it.
    pub txid: Hash32,
    /// Its position there.
    pub index: u32,
    /// The amount.
    pub value: Pebbles,
    /// The lock.
    pub lock: LockJson,
    /// Height of its block.
    pub height: u64,
    /// Whether a coinbase made it.
    pub coinbase: bool,
    /// Whether it can be spent in the next block, as far as maturity is concerned.
    pub mature: bool,
    /// Blocks from its own to the tip.
    pub confirmations: u64,
}

/// A page of an address' coins in the order of their outpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UtxoPage {
    /// The coins.
    pub utxos: Vec<Utxo>,
    /// Pass as `cursor` to go on; none at the end.
    pub next_cursor: Option<String>,
}
