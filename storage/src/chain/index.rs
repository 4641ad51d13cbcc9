//! A layer's part of the indexes: transactions by id, coins and transactions by address.
//!
//! Invariant: built from the layer's changes in order, a prefix of them; entries carry their change's
//! number, so a view of fewer changes skips the later ones.

use super::change::{Change, owners};
use super::layer::{GONE, Versions};
use cairn_protocol::hash::{KeyHash, TxId};
use hashbrown::HashMap;

/// Something that happened to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// Transaction with this index in the change's `txids` touches it (or no longer does, if the
    /// change takes a block off).
    Transaction(u32),
    /// Coin with this index in `created` appeared.
    Created(u32),
    /// Coin with this index in `removed` went.
    Removed(u32),
}

/// Indexes over a layer's changes.
#[derive(Debug, Default)]
pub(super) struct Index {
    built: u32,
    /// Value is the index in the block.
    pub transactions: HashMap<TxId, Versions>,
    pub addresses: HashMap<KeyHash, Vec<(u32, Event)>>,
}

impl Index {
    /// Number of changes that are in.
    pub fn built(&self) -> u32 {
        self.built
    }

    /// Adds the next change.
    pub fn add(&mut self, change: &Change) {
        let number = self.built;
        for (txid, index) in change.txids.iter().zip(0u32..) {
            let value = if change.connect { index } else { GONE };
            match self.transactions.entry(*txid) {
                hashbrown::hash_map::Entry::Vacant(entry) => {
                    entry.insert(Versions::new(number, value));
                }
                hashbrown::hash_map::Entry::Occupied(mut entry) => {
                    entry.get_mut().push(number, value);
                }
            }
        }
        for (index, hash) in &change.touches {
            self.event(*hash, Event::Transaction(*index));
        }
        for ((_, coin), index) in change.created.iter().zip(0u32..) {
            owners(&coin.output.lock, |hash, _| {
                self.event(hash, Event::Created(index))
            });
        }
        for ((_, coin), index) in change.removed.iter().zip(0u32..) {
            owners(&coin.output.lock, |hash, _| {
                self.event(hash, Event::Removed(index))
            });
        }
        self.built += 1;
    }

    /// Events of an address in the first `count` changes, oldest first.
    pub fn events(&self, address: &KeyHash, count: u32) -> &[(u32, Event)] {
        let events = self.addresses.get(address).map_or(&[][..], Vec::as_slice);
        &events[..events.partition_point(|(change, _)| *change < count)]
    }

    fn event(&mut self, hash: KeyHash, event: Event) {
        self.addresses
            .entry(hash)
            .or_default()
            .push((self.built, event));
    }
}
