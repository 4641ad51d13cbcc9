//! A resident transaction: what it pays, what it spends and what it is linked to.
//!
//! Invariant: `parents` and `children` are each other's mirror and name residents only; `spent[i]` is
//! the coin that input `i` spends.

use std::collections::BTreeSet;
use std::sync::Arc;

use cairn_protocol::hash::{KeyHash, TxId, Wtxid};
use cairn_protocol::ledger::Coin;
use cairn_protocol::lock::{At, Lock, Witness};
use cairn_protocol::transaction::{Transaction, TransactionIds};
use cairn_protocol::units::{Amount, FeeRate, Height, Weight};

use super::diagram::Rate;
use super::slab::Slot;

/// Memory of an entry besides its inputs and outputs: the entry, its cluster, its places in the
/// indexes by txid, wtxid, time and fee rate. Measured with 100,000 residents.
const ENTRY_BYTES: u64 = 800;
/// Memory of an input: outpoint, witness, spent coin, its place in the index of spends.
const INPUT_BYTES: u64 = 320;
/// Memory of an output and of a key hash in the index by owner.
const OUTPUT_BYTES: u64 = 80;
const OWNER_BYTES: u64 = 60;

/// The height of a coin whose transaction is a resident itself.
pub const UNCONFIRMED: Height = Height::MAX;

/// A transaction in the pool.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The transaction; shared with templates and answers to peers.
    pub transaction: Arc<Transaction>,
    /// Its ids, weight and encoded size.
    pub ids: TransactionIds,
    /// What it pays.
    pub fee: Amount,
    /// When it came, in seconds; kept across restarts and reorganisations.
    pub time_added_s: u64,
    /// The coins it spends, in input order. A coin of a resident parent has the height [`UNCONFIRMED`].
    pub spent: Vec<Coin>,
    /// Key hashes named by its outputs and spent coins, ascending.
    pub(super) owners: Vec<KeyHash>,
    pub(super) parents: Vec<Slot>,
    pub(super) children: Vec<Slot>,
    pub(super) cluster: Slot,
    /// Whether its validity hangs on the height or the time of the block that holds it.
    pub(super) is_timed: bool,
}

impl Entry {
    /// An entry without links.
    pub(super) fn new(
        transaction: Arc<Transaction>,
        ids: TransactionIds,
        fee: Amount,
        spent: Vec<Coin>,
        time_added_s: u64,
    ) -> Entry {
        let outputs = transaction
            .outputs
            .iter()
            .chain(spent.iter().map(|coin| &coin.output));
        let owners: BTreeSet<KeyHash> = outputs
            .flat_map(|output| output.lock.key_hashes())
            .collect();
        Entry {
            is_timed: is_timed(&transaction, &spent),
            transaction,
            ids,
            fee,
            time_added_s,
            spent,
            owners: owners.into_iter().collect(),
            parents: Vec::new(),
            children: Vec::new(),
            cluster: Slot::MAX,
        }
    }

    /// Id without witnesses.
    pub fn txid(&self) -> TxId {
        self.ids.txid
    }

    /// Id with witnesses.
    pub fn wtxid(&self) -> Wtxid {
        self.ids.wtxid
    }

    /// Weight.
    pub fn weight(&self) -> Weight {
        self.ids.weight
    }

    /// What it pays and weighs by itself.
    pub fn rate(&self) -> Rate {
        Rate::new(self.fee.0, self.ids.weight)
    }

    /// What it pays per 1,000 weight by itself, rounded down.
    pub fn fee_rate(&self) -> FeeRate {
        FeeRate::of(self.fee, self.ids.weight)
    }

    /// Memory it is charged with against [`Policy::usage_bytes_max`](super::Policy).
    pub fn usage(&self) -> u64 {
        let (inputs, outputs) = (
            self.transaction.inputs.len(),
            self.transaction.outputs.len(),
        );
        ENTRY_BYTES
            + self.ids.bytes
            + INPUT_BYTES * inputs as u64
            + OUTPUT_BYTES * outputs as u64
            + OWNER_BYTES * self.owners.len() as u64
    }

    /// The height of the youngest confirmed coin it spends; 0 if it spends none.
    pub(super) fn confirmed_height_max(&self) -> Height {
        let heights = self.spent.iter().map(|coin| coin.height);
        heights
            .filter(|height| *height != UNCONFIRMED)
            .max()
            .unwrap_or(0)
    }

    /// How it changes what `owner` has: outputs to it less coins spent from it, in pebbles.
    pub fn delta(&self, owner: &KeyHash) -> i128 {
        let names = |lock: &Lock| lock.key_hashes().contains(owner);
        let sum = |values: &mut dyn Iterator<Item = Amount>| -> i128 {
            values.map(|value| i128::from(value.0)).sum()
        };
        let outputs = self.transaction.outputs.iter();
        let gained = sum(&mut outputs.filter(|o| names(&o.lock)).map(|o| o.value));
        let coins = self.spent.iter().map(|coin| &coin.output);
        let lost = sum(&mut coins.filter(|o| names(&o.lock)).map(|o| o.value));
        gained - lost
    }
}

/// Every rule of spending that looks at height or time: TX-12, TX-14 and TX-21.
fn is_timed(transaction: &Transaction, spent: &[Coin]) -> bool {
    let refunds = |witness: &Witness| matches!(witness, Witness::Refund { .. });
    transaction.valid_from != At::START
        || transaction.witnesses.iter().any(refunds)
        || spent
            .iter()
            .any(|coin| coin.is_coinbase || coin.output.lock.open().0.is_some())
}
