//! A layer: the changes of the chain since a flush, in memory, readable as of any of them.
//!
//! Each change gets the next number in its layer, and each coin remembers at which change it appeared
//! and went. A view of the layer is the layer and a count of changes; to publish one costs nothing,
//! and what is added later is invisible to it.
//!
//! Invariant: entries are only ever added, with rising change numbers, so that a view's answers never
//! change; `existed_below` of a coin is fixed by its first entry and says whether the rows below the
//! layer have it.

use super::change::Change;
use super::index::Index;
use super::rows::HeaderRow;
use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::Coin;
use cairn_protocol::transaction::OutPoint;
use cairn_protocol::units::Height;
use hashbrown::HashMap;
use parking_lot::{RwLock, RwLockReadGuard};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a layer knows about a coin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found<T> {
    /// It is there.
    Present(T),
    /// It went.
    Gone,
    /// Nothing: ask below.
    Unknown,
}

/// A sequence of (change, value), rising by change; the value of a thing that went is [`GONE`].
#[derive(Debug, Clone)]
pub(super) struct Versions {
    first: (u32, u32),
    second: Option<(u32, u32)>,
    rest: Vec<(u32, u32)>,
}

/// The value of a version in which the thing is not there.
pub(super) const GONE: u32 = u32::MAX;

impl Versions {
    pub fn new(change: u32, value: u32) -> Self {
        Versions {
            first: (change, value),
            second: None,
            rest: Vec::new(),
        }
    }

    pub fn push(&mut self, change: u32, value: u32) {
        if self.second.is_none() {
            self.second = Some((change, value));
        } else {
            self.rest.push((change, value));
        }
    }

    /// The newest version of the first `count` changes.
    pub fn at(&self, count: u32) -> Option<(u32, u32)> {
        let rest = self.rest.iter().rev().copied();
        let mut newest = rest.chain(self.second).chain([self.first]);
        newest.find(|(change, _)| *change < count)
    }

    pub fn last(&self) -> (u32, u32) {
        self.rest
            .last()
            .copied()
            .or(self.second)
            .unwrap_or(self.first)
    }

    /// Whether the thing is below the layer: its first version here takes it away.
    pub fn existed_below(&self) -> bool {
        self.first.1 == GONE
    }
}

/// Changes since a flush.
#[derive(Debug, Default)]
pub(super) struct Layer {
    inner: RwLock<Inner>,
    index: RwLock<Index>,
}

/// The parts of a layer that every change writes.
#[derive(Debug, Default)]
pub(super) struct Inner {
    /// Per coin: value is the index in the change's `created`.
    pub coins: HashMap<OutPoint, Versions>,
    pub changes: Vec<Arc<Change>>,
    /// Per height: value is the block's change if it is active, `GONE` if not.
    pub heights: BTreeMap<Height, Versions>,
    /// Header rows changed in this layer, by number. Facts about blocks, the same for all views.
    pub headers: BTreeMap<u64, (BlockId, Arc<HeaderRow>)>,
    pub numbers: HashMap<BlockId, u64>,
    bytes: usize,
}

/// Memory of a header row with its entries, in bytes.
const HEADER_BYTES: usize = 900;

impl Layer {
    /// Adds a change.
    ///
    /// # Panics
    /// If a coin is created that is there or removed that is gone: the caller's logic or memory is
    /// corrupt, and going on would write it to disk.
    pub fn apply(&self, change: Change) {
        let inner = &mut *self.inner.write();
        let number = u32::try_from(inner.changes.len()).expect("a layer is flushed long before");
        inner
            .coins
            .reserve(change.created.len() + change.removed.len());
        for (outpoint, _) in &change.removed {
            step(&mut inner.coins, outpoint, number, GONE);
        }
        for ((outpoint, _), index) in change.created.iter().zip(0u32..) {
            step(&mut inner.coins, outpoint, number, index);
        }
        let value = if change.connect { number } else { GONE };
        match inner.heights.get_mut(&change.height) {
            Some(versions) => versions.push(number, value),
            None => {
                inner
                    .heights
                    .insert(change.height, Versions::new(number, value));
            }
        }
        inner.bytes += change.bytes();
        inner.changes.push(Arc::new(change));
    }

    /// Sets a header's row.
    pub fn put_header(&self, number: u64, id: BlockId, row: Arc<HeaderRow>) {
        let mut inner = self.inner.write();
        if inner.headers.insert(number, (id, row)).is_none() {
            inner.numbers.insert(id, number);
            inner.bytes += HEADER_BYTES;
        }
    }

    /// The coin in the first `count` changes.
    pub fn coin(&self, outpoint: &OutPoint, count: u32) -> Found<Coin> {
        let inner = self.inner.read();
        let version = inner
            .coins
            .get(outpoint)
            .and_then(|versions| versions.at(count));
        match version {
            None => Found::Unknown,
            Some((_, GONE)) => Found::Gone,
            Some((change, index)) => {
                let coin = &inner.changes[change as usize].created[index as usize].1;
                Found::Present(coin.clone())
            }
        }
    }

    /// The active block at a height, and its header's number.
    pub fn height(&self, height: Height, count: u32) -> Found<(BlockId, u64)> {
        let inner = self.inner.read();
        match inner
            .heights
            .get(&height)
            .and_then(|versions| versions.at(count))
        {
            None => Found::Unknown,
            Some((_, GONE)) => Found::Gone,
            Some((change, _)) => {
                let change = &inner.changes[change as usize];
                Found::Present((change.id, change.number))
            }
        }
    }

    /// A header's number and row.
    pub fn header(&self, id: &BlockId) -> Option<(u64, Arc<HeaderRow>)> {
        let inner = self.inner.read();
        let number = *inner.numbers.get(id)?;
        Some((number, inner.headers[&number].1.clone()))
    }

    /// A header's row by its number.
    pub fn header_numbered(&self, number: u64) -> Option<(BlockId, Arc<HeaderRow>)> {
        self.inner.read().headers.get(&number).cloned()
    }

    /// Number of changes.
    pub fn count(&self) -> u32 {
        self.inner.read().changes.len() as u32
    }

    /// Coins with an entry, memory in bytes.
    pub fn size(&self) -> (usize, usize) {
        let inner = self.inner.read();
        (inner.coins.len(), inner.bytes)
    }

    /// True if nothing would be flushed.
    pub fn is_empty(&self) -> bool {
        let inner = self.inner.read();
        inner.changes.is_empty() && inner.headers.is_empty()
    }

    pub fn inner(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read()
    }

    /// The index, with at least the first `count` changes in it. Indexes are built when somebody
    /// first asks: a node that only catches up does not pay for them before the flush.
    pub fn index(&self, count: u32) -> RwLockReadGuard<'_, Index> {
        loop {
            let index = self.index.read();
            if index.built() >= count {
                return index;
            }
            drop(index);
            let mut index = self.index.write();
            let from = index.built() as usize;
            let changes: Vec<Arc<Change>> = match self.inner.read().changes.get(from..) {
                Some(changes) => changes.to_vec(),
                None => Vec::new(),
            };
            for change in &changes {
                index.add(change);
            }
        }
    }
}

fn step(coins: &mut HashMap<OutPoint, Versions>, outpoint: &OutPoint, change: u32, value: u32) {
    match coins.entry(*outpoint) {
        hashbrown::hash_map::Entry::Vacant(entry) => {
            entry.insert(Versions::new(change, value));
        }
        hashbrown::hash_map::Entry::Occupied(mut entry) => {
            let is_gone = entry.get().last().1 == GONE;
            assert!(
                is_gone != (value == GONE),
                "coin {outpoint} {}",
                if is_gone {
                    "is removed but is not there"
                } else {
                    "is created but is there"
                }
            );
            entry.get_mut().push(change, value);
        }
    }
}
