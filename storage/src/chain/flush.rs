//! Writing a frozen layer to the tables: one sorted transaction.
//!
//! Invariant: the transaction holds exactly the layer's net effect; a coin that came and went in the
//! layer leaves no trace. A row that should be new and is not, or should be there and is not, stops
//! the flush: then memory and disk disagree and nothing may be built on either.

use super::address::{Delta, event_row};
use super::change::Change;
use super::index::{Event, Index};
use super::layer::{GONE, Inner, Layer, Versions};
use super::rows::{
    ADDRESSES, COINS, FLUSHED, Flushed, HEADER_NUMBERS, HEADERS, HEIGHTS, META, Summary,
    TRANSACTIONS, TxPlace, coin_value, decode, height_value, key_text, number_key, place_value,
    summary_key,
};
use crate::error::{Result, StorageError};
use crate::table::{Table, TableReader, TableTransaction, TableWriter, Tables};
use cairn_protocol::codec;
use cairn_protocol::hash::KeyHash;
use cairn_protocol::ledger::Coin;
use cairn_protocol::transaction::OutPoint;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is to be flushed; self-contained, so that it can run beside further changes.
pub(super) struct FlushJob {
    pub layer: Arc<Layer>,
    pub tables: Arc<dyn Tables>,
    pub flushed: Flushed,
}

/// The net effect of a layer on a row.
enum Net {
    /// It appears with this change and value.
    Appears(u32, u32),
    /// It was there, went and came back. A transaction that a reorganisation confirms again makes
    /// the same coins at another height.
    Replaced(u32, u32),
    /// It goes.
    Goes,
    /// It came and went.
    Nothing,
}

fn net(versions: &Versions) -> Net {
    match (versions.existed_below(), versions.last()) {
        (true, (_, GONE)) => Net::Goes,
        (false, (_, GONE)) => Net::Nothing,
        (true, (change, value)) => Net::Replaced(change, value),
        (false, (change, value)) => Net::Appears(change, value),
    }
}

impl FlushJob {
    /// Does it and returns a reader of the new rows.
    pub fn run(&self) -> Result<Arc<dyn TableReader>> {
        let transaction = self.tables.begin()?;
        {
            let count = self.layer.count();
            let index = self.layer.index(count);
            let inner = self.layer.inner();
            write_coins(&inner, transaction.as_ref())?;
            write_headers(&inner, transaction.as_ref())?;
            write_heights(&inner, transaction.as_ref())?;
            write_transactions(&inner, &index, transaction.as_ref())?;
            write_addresses(&inner, &index, transaction.as_ref())?;
        }
        transaction
            .table(META)?
            .put(FLUSHED, &codec::encode(&self.flushed))?;
        transaction.commit()?;
        self.tables.reader()
    }
}

/// Puts a row that must not be there yet.
fn put_new(rows: &mut dyn TableWriter, table: Table, key: &[u8], value: &[u8]) -> Result<()> {
    if rows.put(key, value)? {
        let what = format!("row {} was there already", key_text(table, key));
        return Err(StorageError::damaged(what));
    }
    Ok(())
}

/// Removes a row that must be there.
fn remove_old(rows: &mut dyn TableWriter, table: Table, key: &[u8]) -> Result<()> {
    if !rows.remove(key)? {
        let what = format!("row {} is missing", key_text(table, key));
        return Err(StorageError::damaged(what));
    }
    Ok(())
}

fn created(changes: &[Arc<Change>], change: u32, index: u32) -> &(OutPoint, Coin) {
    &changes[change as usize].created[index as usize]
}

fn write_coins(inner: &Inner, transaction: &dyn TableTransaction) -> Result<()> {
    let mut changed: Vec<(&OutPoint, Option<&Coin>, bool)> = Vec::with_capacity(inner.coins.len());
    for (outpoint, versions) in &inner.coins {
        let coin = |change, index| Some(&created(&inner.changes, change, index).1);
        match net(versions) {
            Net::Appears(change, index) => changed.push((outpoint, coin(change, index), false)),
            Net::Replaced(change, index) => changed.push((outpoint, coin(change, index), true)),
            Net::Goes => changed.push((outpoint, None, true)),
            Net::Nothing => {}
        }
    }
    changed.sort_unstable_by_key(|(outpoint, ..)| *outpoint);
    let mut rows = transaction.table(COINS)?;
    for (outpoint, coin, existed) in changed {
        let key = outpoint.to_key();
        match coin {
            Some(coin) if existed => {
                if !rows.put(&key, &coin_value(coin))? {
                    let what = format!("row {} is missing", key_text(COINS, &key));
                    return Err(StorageError::damaged(what));
                }
            }
            Some(coin) => put_new(rows.as_mut(), COINS, &key, &coin_value(coin))?,
            None => remove_old(rows.as_mut(), COINS, &key)?,
        }
    }
    Ok(())
}

fn write_headers(inner: &Inner, transaction: &dyn TableTransaction) -> Result<()> {
    let mut numbers: Vec<_> = inner.numbers.iter().collect();
    numbers.sort_unstable();
    let mut rows = transaction.table(HEADER_NUMBERS)?;
    for (id, number) in numbers {
        rows.put(id.as_bytes(), &number_key(*number))?;
    }
    drop(rows);
    let mut rows = transaction.table(HEADERS)?;
    for (number, (_, row)) in &inner.headers {
        rows.put(&number_key(*number), &codec::encode(row.as_ref()))?;
    }
    Ok(())
}

fn write_heights(inner: &Inner, transaction: &dyn TableTransaction) -> Result<()> {
    let mut rows = transaction.table(HEIGHTS)?;
    for (height, versions) in &inner.heights {
        let key = number_key(*height);
        match versions.last() {
            (_, GONE) if versions.existed_below() => remove_old(rows.as_mut(), HEIGHTS, &key)?,
            (_, GONE) => {}
            (change, _) => {
                let change = &inner.changes[change as usize];
                let before = rows.put(&key, &height_value(&change.id, change.number))?;
                if before != versions.existed_below() {
                    let what = format!("row {} contradicts the log", key_text(HEIGHTS, &key));
                    return Err(StorageError::damaged(what));
                }
            }
        }
    }
    Ok(())
}

fn write_transactions(
    inner: &Inner,
    index: &Index,
    transaction: &dyn TableTransaction,
) -> Result<()> {
    let mut changed = Vec::with_capacity(index.transactions.len());
    for (txid, versions) in &index.transactions {
        let place = match versions.last() {
            (_, GONE) => None,
            (change, index) => Some(TxPlace {
                height: inner.changes[change as usize].height,
                index,
            }),
        };
        if place.is_some() || versions.existed_below() {
            changed.push((txid, place, versions.existed_below()));
        }
    }
    changed.sort_unstable_by_key(|(txid, ..)| **txid);
    let mut rows = transaction.table(TRANSACTIONS)?;
    for (txid, place, existed) in changed {
        let key = txid.as_bytes();
        match place {
            // A transaction taken off and connected again may stand at another place.
            Some(place) if existed => {
                rows.put(key, &place_value(place))?;
            }
            Some(place) => put_new(rows.as_mut(), TRANSACTIONS, key, &place_value(place))?,
            None => remove_old(rows.as_mut(), TRANSACTIONS, key)?,
        }
    }
    Ok(())
}

fn write_addresses(inner: &Inner, index: &Index, transaction: &dyn TableTransaction) -> Result<()> {
    let mut addresses: Vec<_> = index.addresses.iter().collect();
    addresses.sort_unstable_by_key(|(address, _)| **address);
    let mut rows = transaction.table(ADDRESSES)?;
    for (address, events) in addresses {
        write_address(inner, address, events, rows.as_mut())?;
    }
    Ok(())
}

/// First and last event of a row: whether it was there, what it is now.
struct Fold {
    existed: bool,
    value: Option<Vec<u8>>,
}

fn write_address(
    inner: &Inner,
    address: &KeyHash,
    events: &[(u32, Event)],
    rows: &mut dyn TableWriter,
) -> Result<()> {
    let mut delta = Delta::default();
    let mut folded: BTreeMap<Vec<u8>, Fold> = BTreeMap::new();
    for (change, event) in events {
        let change = &inner.changes[*change as usize];
        delta.event(address, change, *event);
        let (key, value) = event_row(address, change, *event);
        match folded.get_mut(&key) {
            Some(fold) => fold.value = value,
            None => {
                folded.insert(
                    key,
                    Fold {
                        existed: value.is_none(),
                        value,
                    },
                );
            }
        }
    }
    write_summary(address, &delta, rows)?;
    for (key, fold) in &folded {
        match (&fold.value, fold.existed) {
            (Some(value), true) => {
                rows.put(key, value)?;
            }
            (Some(value), false) => put_new(rows, ADDRESSES, key, value)?,
            (None, true) => remove_old(rows, ADDRESSES, key)?,
            (None, false) => {}
        }
    }
    Ok(())
}

fn write_summary(address: &KeyHash, delta: &Delta, rows: &mut dyn TableWriter) -> Result<()> {
    let key = summary_key(address);
    let name = || key_text(ADDRESSES, &key);
    let before = match rows.value(&key)? {
        Some(value) => decode(&value, name)?,
        None => Summary::default(),
    };
    let after = delta.add_to(before).ok_or_else(|| {
        StorageError::damaged(format!("row {} contradicts the changes since", name()))
    })?;
    if after == before {
        return Ok(());
    }
    if after == Summary::default() {
        return remove_old(rows, ADDRESSES, &key);
    }
    rows.put(&key, &codec::encode(&after))?;
    Ok(())
}

/// The coins that a flush of the layer makes appear and go in the tables, for the coin cache.
pub(super) fn cache_changes(inner: &Inner) -> (Vec<OutPoint>, Vec<(OutPoint, &Coin)>) {
    let (mut gone, mut appeared) = (Vec::new(), Vec::new());
    for (outpoint, versions) in &inner.coins {
        match net(versions) {
            Net::Goes => gone.push(*outpoint),
            Net::Appears(change, index) => {
                appeared.push((*outpoint, &created(&inner.changes, change, index).1));
            }
            Net::Replaced(change, index) => {
                gone.push(*outpoint);
                appeared.push((*outpoint, &created(&inner.changes, change, index).1));
            }
            Net::Nothing => {}
        }
    }
    (gone, appeared)
}
