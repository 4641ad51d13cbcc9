//! The flushed rows as one generation: a reader of the tables and the cache that belongs to it.
//!
//! Invariant: a base never shows rows of another flush. Its reader keeps old pages of the file from
//! being used again, so it is taken away when the base has been out of date for too long.

use super::coin_cache::CoinCache;
use super::rows::{COINS, read_coin};
use crate::error::{Result, StorageError};
use crate::table::TableReader;
use cairn_protocol::ledger::Coin;
use cairn_protocol::transaction::OutPoint;
use parking_lot::RwLock;
use std::fmt;
use std::sync::Arc;

pub(super) struct Base {
    generation: u64,
    reader: RwLock<Option<Arc<dyn TableReader>>>,
    cache: Arc<CoinCache>,
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl Base {
    pub fn new(generation: u64, reader: Arc<dyn TableReader>, cache: Arc<CoinCache>) -> Self {
        Base {
            generation,
            reader: RwLock::new(Some(reader)),
            cache,
        }
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn cache(&self) -> &Arc<CoinCache> {
        &self.cache
    }

    /// The reader.
    ///
    /// # Errors
    /// `SnapshotExpired` if it was taken away.
    pub fn reader(&self) -> Result<Arc<dyn TableReader>> {
        self.reader
            .read()
            .clone()
            .ok_or(StorageError::SnapshotExpired)
    }

    /// Takes the reader away.
    pub fn expire(&self) {
        *self.reader.write() = None;
    }

    /// A flushed coin.
    pub fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>> {
        if let Some(coin) = self.cache.get(self.generation, outpoint) {
            return Ok(Some(coin));
        }
        let mut found = None;
        self.reader()?
            .get(COINS, &outpoint.to_key(), &mut |value| {
                found = Some(read_coin(value, outpoint));
            })?;
        let Some(coin) = found.transpose()? else {
            return Ok(None);
        };
        self.cache.insert(self.generation, *outpoint, coin.clone());
        Ok(Some(coin))
    }
}
