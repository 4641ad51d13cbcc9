//! How a chain store uses memory and disk, and the figures it gives about that.

use crate::segment::SegmentOptions;
use std::time::Duration;

/// How a chain store uses memory and disk.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// Layout of the log.
    pub segments: SegmentOptions,
    /// Memory for pages of the tables, in bytes.
    pub table_cache_bytes: usize,
    /// Memory for flushed coins, in bytes.
    pub coin_cache_bytes: usize,
    /// Coins changed in memory that start a flush. 100,000 in one sorted transaction is where redb
    /// was measured to write a quarter of the bytes of 5,000.
    pub dirty_coins_max: usize,
    /// Memory of changes that starts a flush, in bytes.
    pub dirty_bytes_max: usize,
    /// Age of changes that starts a flush: how much a start after a crash has to replay.
    pub flush_interval: Duration,
    /// How long a snapshot may still be read after a flush has made a newer one: an old reader keeps
    /// the tables' file from reusing space.
    pub snapshot_age_max: Duration,
    /// Whether flushes run on a thread of their own beside further blocks.
    pub background_flush: bool,
    /// Whether each stored block is synced before `put_block` returns. Off while catching up, if the
    /// caller then calls [`ChainStore::sync`](super::ChainStore::sync) before it promises anything.
    pub sync_each_block: bool,
}

impl StoreOptions {
    /// Shares `bytes` of memory out: half for table pages, a quarter each for flushed coins and
    /// changes (the latter at most 64 MB).
    pub fn with_memory(bytes: usize) -> Self {
        StoreOptions {
            segments: SegmentOptions::default(),
            table_cache_bytes: bytes / 2,
            coin_cache_bytes: bytes / 4,
            dirty_coins_max: 100_000,
            dirty_bytes_max: (bytes / 4).min(64_000_000),
            flush_interval: Duration::from_secs(60),
            snapshot_age_max: Duration::from_secs(600),
            background_flush: true,
            sync_each_block: true,
        }
    }

    /// For a node of a private network: 12 MiB, so that the whole process stays below 60 MB.
    pub fn small() -> Self {
        Self::with_memory(12 << 20)
    }
}

impl Default for StoreOptions {
    /// For a node of a public network: 512 MiB.
    fn default() -> Self {
        Self::with_memory(512 << 20)
    }
}

/// Figures for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStats {
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// Bytes of the tables on disk.
    pub table_bytes: u64,
    /// Coins changed in memory.
    pub dirty_coins: usize,
    /// Memory of changes, in bytes.
    pub dirty_bytes: usize,
    /// Flushes since the start.
    pub flushes: u64,
    /// Headers known.
    pub headers: u64,
}
