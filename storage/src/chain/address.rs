//! Coins and transactions by address, as a snapshot sees them.
//!
//! A row of an answer is in the flushed rows or made by events in the layers above; both are merged in
//! key order. Invariant: the answer for an address changes only with the snapshot, never with a flush.

use super::change::{Change, owners};
use super::index::Event;
use super::rows::{
    ADDRESSES, Summary, TxPlace, address_coin_key, address_transaction_key, coin_of_key, coins_end,
    coins_start, decode, key_text, place_of_key, read_txid, summary_key, transactions_end,
};
use super::snapshot::ChainSnapshot;
use crate::error::{Result, StorageError};
use crate::table::TableReader;
use cairn_protocol::hash::{KeyHash, TxId};
use cairn_protocol::ledger::Coin;
use cairn_protocol::transaction::OutPoint;
use cairn_protocol::units::Amount;
use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

/// Totals of an address at the tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AddressSummary {
    /// Sum of the coins that the key opens alone, immature and time-locked ones included.
    pub balance: Amount,
    /// Coins that the key opens alone or together with others.
    pub coins: u64,
    /// Transactions (and coinbases) that create or spend such a coin.
    pub transactions: u64,
}

/// A coin of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressCoin {
    /// Its name.
    pub outpoint: OutPoint,
    /// The coin.
    pub coin: Coin,
    /// Whether the key opens it alone; else it is part of a threshold or hash lock.
    pub alone: bool,
}

/// A transaction of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressTransaction {
    /// Where it stands: the cursor of the next page.
    pub place: TxPlace,
    /// Its id.
    pub txid: TxId,
}

/// Rows that the layers add to or take from the flushed ones.
type Overlay = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Totals that the layers add to the flushed ones.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Delta {
    pub balance: i128,
    pub coins: i64,
    pub transactions: i64,
}

impl Delta {
    fn coin(&mut self, coin: &Coin, alone: bool, sign: i64) {
        if alone {
            self.balance += i128::from(sign) * i128::from(coin.output.value.0);
        }
        self.coins += sign;
    }

    /// Adds what an event changes.
    pub fn event(&mut self, address: &KeyHash, change: &Change, event: Event) {
        match event {
            Event::Transaction(_) => self.transactions += if change.connect { 1 } else { -1 },
            Event::Created(at) => {
                let coin = &change.created[at as usize].1;
                self.coin(coin, opens_alone(coin, address), 1);
            }
            Event::Removed(at) => {
                let coin = &change.removed[at as usize].1;
                self.coin(coin, opens_alone(coin, address), -1);
            }
        }
    }

    /// The sum with flushed totals; none if a total would leave its range, which no sound store does.
    pub fn add_to(&self, before: Summary) -> Option<Summary> {
        Some(Summary {
            balance: u64::try_from(i128::from(before.balance) + self.balance).ok()?,
            coins: before.coins.checked_add_signed(self.coins)?,
            transactions: before.transactions.checked_add_signed(self.transactions)?,
        })
    }
}

/// Whether `address` opens the coin alone.
fn opens_alone(coin: &Coin, address: &KeyHash) -> bool {
    let mut alone = false;
    owners(&coin.output.lock, |hash, sole| {
        alone |= sole && hash == *address
    });
    alone
}

impl ChainSnapshot {
    /// Totals of an address; zeros if nothing ever touched it.
    pub fn address(&self, address: &KeyHash) -> Result<AddressSummary> {
        let key = summary_key(address);
        let name = || key_text(ADDRESSES, &key);
        let flushed = match self.base.reader()?.value(ADDRESSES, &key)? {
            Some(value) => decode(&value, name)?,
            None => Summary::default(),
        };
        let mut delta = Delta::default();
        for view in &self.views {
            let index = view.layer.index(view.count);
            let inner = view.layer.inner();
            for (change, event) in index.events(address, view.count) {
                delta.event(address, &inner.changes[*change as usize], *event);
            }
        }
        let total = delta.add_to(flushed).ok_or_else(|| {
            StorageError::damaged(format!("row {} contradicts the changes since", name()))
        })?;
        Ok(AddressSummary {
            balance: Amount(total.balance),
            coins: total.coins,
            transactions: total.transactions,
        })
    }

    /// Unspent coins of an address in order of outpoints, those behind `after`, at most `limit`.
    pub fn address_coins(
        &self,
        address: &KeyHash,
        after: Option<&OutPoint>,
        limit: usize,
    ) -> Result<Vec<AddressCoin>> {
        let start = after.map(|outpoint| address_coin_key(address, outpoint));
        let from = match &start {
            Some(key) => Bound::Excluded(key.clone()),
            None => Bound::Included(coins_start(address)),
        };
        let to = Bound::Excluded(coins_end(address));
        let rows = self.address_rows(address, (from, to), false, limit)?;
        let mut coins = Vec::with_capacity(rows.len());
        for (key, value) in rows {
            let named = || StorageError::damaged(format!("row {}", key_text(ADDRESSES, &key)));
            let outpoint = coin_of_key(&key).ok_or_else(named)?;
            let coin = self.coin(&outpoint)?.ok_or_else(|| {
                let what = format!("row {} names no coin", key_text(ADDRESSES, &key));
                StorageError::damaged(what)
            })?;
            coins.push(AddressCoin {
                outpoint,
                coin,
                alone: value == [1],
            });
        }
        Ok(coins)
    }

    /// Transactions of an address, newest first, those before `before` (a place of an earlier page),
    /// at most `limit`.
    pub fn address_transactions(
        &self,
        address: &KeyHash,
        before: Option<TxPlace>,
        limit: usize,
    ) -> Result<Vec<AddressTransaction>> {
        let to = match before {
            Some(place) => address_transaction_key(address, place),
            None => transactions_end(address),
        };
        let bounds = (Bound::Included(coins_end(address)), Bound::Excluded(to));
        let rows = self.address_rows(address, bounds, true, limit)?;
        let read = |(key, value): (Vec<u8>, Vec<u8>)| {
            let place = place_of_key(&key).zip(read_txid(&value));
            let (place, txid) = place.ok_or_else(|| {
                StorageError::damaged(format!("row {}", key_text(ADDRESSES, &key)))
            })?;
            Ok(AddressTransaction { place, txid })
        };
        rows.into_iter().map(read).collect()
    }

    fn address_rows(
        &self,
        address: &KeyHash,
        bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let overlay = self.address_overlay(address, &bounds);
        let reader = self.base.reader()?;
        merge(reader.as_ref(), &overlay, bounds, reverse, limit)
    }

    /// What the layers say about the address's rows within the bounds: the newest event of each row
    /// counts.
    fn address_overlay(
        &self,
        address: &KeyHash,
        bounds: &(Bound<Vec<u8>>, Bound<Vec<u8>>),
    ) -> Overlay {
        let mut overlay = Overlay::new();
        for view in self.views.iter().rev() {
            let index = view.layer.index(view.count);
            let inner = view.layer.inner();
            for (change, event) in index.events(address, view.count) {
                let change = &inner.changes[*change as usize];
                let (key, value) = event_row(address, change, *event);
                if bounds.contains(&key) {
                    overlay.insert(key, value);
                }
            }
        }
        overlay
    }
}

/// The row that an event sets, or takes away.
pub(super) fn event_row(
    address: &KeyHash,
    change: &Change,
    event: Event,
) -> (Vec<u8>, Option<Vec<u8>>) {
    match event {
        Event::Transaction(at) => {
            let place = TxPlace {
                height: change.height,
                index: at,
            };
            let txid = change.txids[at as usize];
            let value = change.connect.then(|| txid.as_bytes().to_vec());
            (address_transaction_key(address, place), value)
        }
        Event::Created(at) => {
            let (outpoint, coin) = &change.created[at as usize];
            let value = vec![u8::from(opens_alone(coin, address))];
            (address_coin_key(address, outpoint), Some(value))
        }
        Event::Removed(at) => {
            let (outpoint, _) = &change.removed[at as usize];
            (address_coin_key(address, outpoint), None)
        }
    }
}

/// The first `limit` rows of flushed rows and overlay together, in order.
fn merge(
    reader: &dyn TableReader,
    overlay: &Overlay,
    (from, to): (Bound<Vec<u8>>, Bound<Vec<u8>>),
    reverse: bool,
    limit: usize,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let low = from.as_ref().map(Vec::as_slice);
    let high = to.as_ref().map(Vec::as_slice);
    let mut flushed = reader.scan(ADDRESSES, low, high, reverse)?.peekable();
    let above = overlay.range::<[u8], _>((low, high));
    let mut above: Box<dyn Iterator<Item = _>> = if reverse {
        Box::new(above.rev())
    } else {
        Box::new(above)
    };
    let mut next_above = above.next();
    let mut rows = Vec::new();
    while rows.len() < limit {
        let below_first = match (flushed.peek(), next_above) {
            (None, None) => break,
            (Some(Err(_)), _) | (Some(Ok(_)), None) => true,
            (None, Some(_)) => false,
            (Some(Ok((key, _))), Some((above, _))) => {
                if key == above {
                    flushed.next();
                    false
                } else {
                    (key < above) != reverse
                }
            }
        };
        if below_first {
            rows.push(flushed.next().expect("it was peeked")?);
        } else if let Some((key, value)) = next_above {
            if let Some(value) = value {
                rows.push((key.clone(), value.clone()));
            }
            next_above = above.next();
        }
    }
    Ok(rows)
}
