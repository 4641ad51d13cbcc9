//! Coins of the tables that were read or written lately, so that spending them costs no read.
//!
//! Two halves: what is asked for moves to the young one; when that is full it becomes the old one and
//! the former old one is forgotten. That keeps about the most recently used coins at the cost of two
//! maps and no list.
//!
//! Invariant: the cache belongs to one generation of the tables. A reader of an earlier generation
//! neither reads from it nor writes to it.

use cairn_protocol::ledger::Coin;
use cairn_protocol::transaction::OutPoint;
use hashbrown::HashMap;
use parking_lot::Mutex;

/// Memory that a cached coin takes with its share of the map, in bytes.
const ENTRY_BYTES: usize = 150;

#[derive(Debug)]
pub(super) struct CoinCache {
    half_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    generation: u64,
    young: HashMap<OutPoint, Coin>,
    old: HashMap<OutPoint, Coin>,
}

impl CoinCache {
    pub fn new(bytes: usize) -> Self {
        CoinCache {
            half_max: bytes / ENTRY_BYTES / 2,
            inner: Mutex::default(),
        }
    }

    pub fn get(&self, generation: u64, outpoint: &OutPoint) -> Option<Coin> {
        let inner = &mut *self.inner.lock();
        if inner.generation != generation {
            return None;
        }
        if let Some(coin) = inner.young.get(outpoint) {
            return Some(coin.clone());
        }
        let coin = inner.old.remove(outpoint)?;
        inner.insert(self.half_max, *outpoint, coin.clone());
        Some(coin)
    }

    pub fn insert(&self, generation: u64, outpoint: OutPoint, coin: Coin) {
        let inner = &mut *self.inner.lock();
        if inner.generation == generation {
            inner.insert(self.half_max, outpoint, coin);
        }
    }

    /// Goes on to the next generation, in which `gone` coins are spent and `created` ones are new.
    pub fn advance<'a>(
        &self,
        generation: u64,
        gone: impl Iterator<Item = &'a OutPoint>,
        created: impl Iterator<Item = (OutPoint, &'a Coin)>,
    ) {
        let inner = &mut *self.inner.lock();
        for outpoint in gone {
            inner.young.remove(outpoint);
            inner.old.remove(outpoint);
        }
        for (outpoint, coin) in created {
            inner.insert(self.half_max, outpoint, coin.clone());
        }
        inner.generation = generation;
    }
}

impl Inner {
    fn insert(&mut self, half_max: usize, outpoint: OutPoint, coin: Coin) {
        if half_max == 0 {
            return;
        }
        if self.young.len() >= half_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(outpoint, coin);
    }
}
