//! The one writer of the chain: appends to the log, applies to the active layer, publishes, flushes.
//!
//! Order of a step: log record, layer, state, snapshot. A failed write or sync stops the store: it
//! answers reads, takes no change, and the next start recovers from what the disk has.
//!
//! Invariant: `folded`, the place in the log up to which records are applied, moves together with
//! layer and state; a flush stores all three as of the same moment.

use super::base::Base;
use super::change::{Change, touches};
use super::coin_cache::CoinCache;
use super::flush::{FlushJob, cache_changes};
use super::layer::{Found, Layer};
use super::record;
use super::rows::{BodyPlace, Flushed, HeaderRow};
use super::snapshot::{ChainReader, ChainSnapshot, View, header_numbered, read_block, read_undo};
use crate::error::{Result, StorageError};
use crate::segment::{Position, SegmentLog, SegmentOptions};
use crate::table::{TableReader, Tables};
use cairn_protocol::block::{Block, HeaderRecord};
use cairn_protocol::hash::{BlockId, TxId};
use cairn_protocol::ledger::{BlockUndo, CheckedBlock, Coin, Connected, Disconnected};
use cairn_protocol::pow::{Work, work_from_bytes, work_of, work_to_bytes};
use cairn_protocol::spec::ChainParams;
use cairn_protocol::state::LedgerState;
use cairn_protocol::transaction::{OutPoint, Transaction};
use cairn_protocol::units::Height;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
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
    /// caller then calls [`ChainStore::sync`] before it promises anything.
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

type FlushThread = JoinHandle<Result<Arc<dyn TableReader>>>;

/// The durable chain with its one writer. Readers come from [`ChainStore::reader`].
pub struct ChainStore {
    pub(super) params: Arc<ChainParams>,
    pub(super) options: StoreOptions,
    pub(super) log: SegmentLog,
    pub(super) folded: Position,
    pub(super) tables: Arc<dyn Tables>,
    pub(super) state: Arc<LedgerState>,
    /// The active layer, and behind it the frozen one while a flush of it runs.
    pub(super) layers: Vec<Arc<Layer>>,
    pub(super) base: Arc<Base>,
    pub(super) next_number: u64,
    pub(super) floor: Option<BlockId>,
    /// `folded` as of the newest flush.
    flushed: Position,
    published: ChainReader,
    in_flight: Option<FlushThread>,
    retired: Vec<(Duration, Weak<Base>)>,
    now: Duration,
    dirty_since: Option<Duration>,
    stopped: Option<String>,
    flushes: u64,
}

impl std::fmt::Debug for ChainStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("ChainStore");
        out.field("height", &self.state.height)
            .field("tip", &self.state.tip);
        out.finish_non_exhaustive()
    }
}

/// Parts that an opening store starts from.
pub(super) struct Parts {
    pub params: Arc<ChainParams>,
    pub options: StoreOptions,
    pub log: SegmentLog,
    pub tables: Arc<dyn Tables>,
    pub flushed: Flushed,
}

impl ChainStore {
    pub(super) fn from_parts(parts: Parts) -> Result<Self> {
        let Parts {
            params,
            options,
            log,
            tables,
            flushed,
        } = parts;
        let cache = Arc::new(CoinCache::new(options.coin_cache_bytes));
        let base = Arc::new(Base::new(0, tables.reader()?, cache));
        let state = Arc::new(flushed.state);
        let layers = vec![Arc::new(Layer::default())];
        let snapshot = ChainSnapshot {
            chain_id: params.chain_id(),
            state: state.clone(),
            views: views(&layers),
            base: base.clone(),
            log: log.reader(),
        };
        Ok(ChainStore {
            params,
            options,
            folded: Position::from_u64(flushed.position),
            log,
            tables,
            state,
            layers,
            base,
            next_number: flushed.next_number,
            floor: flushed.floor,
            flushed: Position::from_u64(flushed.position),
            published: ChainReader::new(snapshot),
            in_flight: None,
            retired: Vec::new(),
            now: Duration::ZERO,
            dirty_since: None,
            stopped: None,
            flushes: 0,
        })
    }

    /// Gives out snapshots; for any thread.
    pub fn reader(&self) -> ChainReader {
        self.published.clone()
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<ChainSnapshot> {
        self.published.snapshot()
    }

    /// The chain's parameters.
    pub fn params(&self) -> &Arc<ChainParams> {
        &self.params
    }

    /// The state after the tip.
    pub fn ledger_state(&self) -> &Arc<LedgerState> {
        &self.state
    }

    /// Whether `put_block` syncs: see [`StoreOptions::sync_each_block`].
    pub fn set_sync_each_block(&mut self, each: bool) {
        self.options.sync_each_block = each;
    }

    /// Makes everything stored so far survive a power cut.
    pub fn sync(&mut self) -> Result<()> {
        self.check_running()?;
        let result = self.log.sync();
        self.stop_on_failure(result)
    }

    /// Takes the times of the log's syncs since the last call, for a histogram.
    pub fn take_sync_times(&mut self) -> Vec<Duration> {
        self.log.take_sync_times()
    }

    /// Figures for metrics.
    pub fn stats(&self) -> Result<StoreStats> {
        let sizes = self.layers.iter().map(|layer| layer.size());
        let (coins, bytes) = sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
        Ok(StoreStats {
            log_bytes: self.log.bytes()?,
            table_bytes: self.tables.bytes()?,
            dirty_coins: coins,
            dirty_bytes: bytes,
            flushes: self.flushes,
            headers: self.next_number,
        })
    }

    /// The coin at the tip.
    pub fn tip_coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>> {
        for layer in &self.layers {
            match layer.coin(outpoint, u32::MAX) {
                Found::Present(coin) => return Ok(Some(coin)),
                Found::Gone => return Ok(None),
                Found::Unknown => {}
            }
        }
        self.base.coin(outpoint)
    }

    pub(super) fn header_numbered(&self, id: &BlockId) -> Result<Option<(u64, Arc<HeaderRow>)>> {
        header_numbered(self.layers.iter().map(Arc::as_ref), &self.base, id)
    }

    pub(super) fn known_header(&self, id: &BlockId) -> Result<(u64, Arc<HeaderRow>)> {
        let missing = || StorageError::Missing {
            what: format!("header {id}"),
        };
        self.header_numbered(id)?.ok_or_else(missing)
    }

    pub(super) fn read_block(&self, row: &HeaderRow, id: &BlockId) -> Result<Option<Block>> {
        let position = row.body_position();
        position
            .map(|at| read_block(&self.log.reader(), at, id))
            .transpose()
    }

    pub(super) fn read_undo(&self, row: &HeaderRow, id: &BlockId) -> Result<Option<BlockUndo>> {
        let position = row.undo_position();
        position
            .map(|at| read_undo(&self.log.reader(), at, id))
            .transpose()
    }

    // Changes: each appends its record first and then applies it; replay only applies.

    pub(super) fn add_header(
        &mut self,
        id: &BlockId,
        height: Height,
        header: &HeaderRecord,
    ) -> Result<()> {
        self.check_running()?;
        if self.header_numbered(id)?.is_some() {
            return Ok(());
        }
        let work = self.chain_work(header)?;
        let result = record::put_header(&mut self.log, height, header);
        self.stop_on_failure(result)?;
        self.apply_header(*id, height, header, work);
        self.step_done()
    }

    pub(super) fn apply_header(
        &mut self,
        id: BlockId,
        height: Height,
        record: &HeaderRecord,
        work: Work,
    ) {
        let row = HeaderRow {
            height,
            work: work_to_bytes(work),
            body: None,
            undo: None,
            invalid: None,
            record: record.clone(),
        };
        self.layers[0].put_header(self.next_number, id, Arc::new(row));
        self.next_number += 1;
        self.folded = self.log.end();
    }

    /// Work of the chain that ends with this header; its parent must be known.
    pub(super) fn chain_work(&self, record: &HeaderRecord) -> Result<Work> {
        let (_, parent) = self.known_header(&record.header.parent)?;
        let own = record
            .header
            .bits
            .to_target()
            .map(work_of)
            .unwrap_or_default();
        let before = work_from_bytes(&parent.work);
        Ok(before.checked_add(own).unwrap_or(Work::MAX))
    }

    pub(super) fn add_block(&mut self, block: &CheckedBlock) -> Result<()> {
        self.check_running()?;
        let id = block.id();
        let (number, row) = self.known_header(&id)?;
        if row.body.is_some() {
            return Ok(());
        }
        let bytes = block.block().to_bytes();
        let mut result = record::put_block(&mut self.log, &bytes);
        if self.options.sync_each_block && result.is_ok() {
            result = self.log.sync().and(result);
        }
        let position = self.stop_on_failure(result)?;
        self.apply_body(id, number, &row, position, bytes.len());
        self.step_done()
    }

    pub(super) fn apply_body(
        &mut self,
        id: BlockId,
        number: u64,
        row: &HeaderRow,
        position: Position,
        bytes: usize,
    ) {
        let bytes = u32::try_from(bytes).expect("a record is below 64 MiB");
        let body = Some(BodyPlace {
            position: position.to_u64(),
            bytes,
        });
        self.layers[0].put_header(
            number,
            id,
            Arc::new(HeaderRow {
                body,
                ..row.clone()
            }),
        );
        self.folded = self.log.end();
    }

    pub(super) fn add_invalid(&mut self, id: &BlockId, text: &str) -> Result<()> {
        self.check_running()?;
        let (number, row) = self.known_header(id)?;
        let result = record::put_invalid(&mut self.log, id, text);
        self.stop_on_failure(result)?;
        self.apply_invalid(*id, number, &row, text);
        self.step_done()
    }

    pub(super) fn apply_invalid(&mut self, id: BlockId, number: u64, row: &HeaderRow, text: &str) {
        let row = HeaderRow {
            invalid: Some(text.to_owned()),
            ..row.clone()
        };
        self.layers[0].put_header(number, id, Arc::new(row));
        self.folded = self.log.end();
    }

    pub(super) fn add_floor(&mut self, id: &BlockId) -> Result<()> {
        self.check_running()?;
        self.known_header(id)?;
        // A floor is a promise: durable before anybody acts on it.
        let result = record::put_floor(&mut self.log, id).and_then(|_| self.log.sync());
        self.stop_on_failure(result)?;
        self.floor = Some(*id);
        self.folded = self.log.end();
        Ok(())
    }

    pub(super) fn add_connection(
        &mut self,
        block: &CheckedBlock,
        connected: Connected,
    ) -> Result<()> {
        self.check_running()?;
        let id = block.id();
        let (number, row) = self.known_header(&id)?;
        if row.body.is_none() {
            return Err(StorageError::Missing {
                what: format!("body of block {id}"),
            });
        }
        if block.block().header.parent != self.state.tip {
            let text = format!("block {id} does not follow the tip {}", self.state.tip);
            return Err(StorageError::Misuse(text));
        }
        let result = record::put_connect(&mut self.log, &id, &connected.undo);
        let position = self.stop_on_failure(result)?;
        self.apply_connection(block, number, &row, position, connected);
        self.step_done()
    }

    pub(super) fn apply_connection(
        &mut self,
        block: &CheckedBlock,
        number: u64,
        row: &HeaderRow,
        position: Position,
        connected: Connected,
    ) {
        let id = block.id();
        let undo = Some(position.to_u64());
        self.layers[0].put_header(
            number,
            id,
            Arc::new(HeaderRow {
                undo,
                ..row.clone()
            }),
        );
        let mut txids = Vec::with_capacity(block.transaction_ids().len() + 1);
        txids.push(block.coinbase_id());
        txids.extend(block.transaction_ids().iter().map(|ids| ids.txid));
        let touches = touches(block.block(), &connected.undo);
        let place = (row.height, id, number);
        self.layers[0].apply(Change::new(true, place, connected.changes, txids, touches));
        self.state = Arc::new(connected.state);
        self.folded = self.log.end();
    }

    pub(super) fn add_disconnection(
        &mut self,
        block: &Block,
        disconnected: Disconnected,
    ) -> Result<()> {
        self.check_running()?;
        let id = block.id();
        if id != self.state.tip {
            let text = format!("block {id} is not the tip {}", self.state.tip);
            return Err(StorageError::Misuse(text));
        }
        let (number, row) = self.known_header(&id)?;
        let undo = self.read_undo(&row, &id)?;
        let undo = undo.ok_or_else(|| {
            StorageError::damaged(format!("undo data of the connected block {id} is missing"))
        })?;
        // The block itself says what state it was built on.
        if disconnected.state.root() != block.extension.state_root {
            let text = format!("undo data of block {id} does not lead back to its parent's state");
            return Err(StorageError::damaged(text));
        }
        let result = record::put_disconnect(&mut self.log, &id);
        self.stop_on_failure(result)?;
        self.apply_disconnection(block, (row.height, id, number), &undo, disconnected);
        self.step_done()
    }

    pub(super) fn apply_disconnection(
        &mut self,
        block: &Block,
        place: (Height, BlockId, u64),
        undo: &BlockUndo,
        disconnected: Disconnected,
    ) {
        let transactions = block.transactions.iter().map(Transaction::txid);
        let txids: Vec<TxId> = std::iter::once(block.coinbase.id())
            .chain(transactions)
            .collect();
        let touches = touches(block, undo);
        self.layers[0].apply(Change::new(
            false,
            place,
            disconnected.changes,
            txids,
            touches,
        ));
        self.state = Arc::new(disconnected.state);
        self.folded = self.log.end();
    }

    fn step_done(&mut self) -> Result<()> {
        self.publish();
        self.flush_if_full()
    }

    /// Begins a flush if there is enough; waits for a running one if there is too much.
    pub(super) fn flush_if_full(&mut self) -> Result<()> {
        let (coins, bytes) = self.layers[0].size();
        let full = |times: usize| {
            coins >= times * self.options.dirty_coins_max
                || bytes >= times * self.options.dirty_bytes_max
        };
        if !full(1) {
            return Ok(());
        }
        let too_full = full(2);
        self.collect_flush(too_full)?;
        if self.in_flight.is_none() {
            self.begin_flush()
        } else {
            Ok(())
        }
    }

    pub(super) fn publish(&self) {
        self.published.publish(ChainSnapshot {
            chain_id: self.params.chain_id(),
            state: self.state.clone(),
            views: views(&self.layers),
            base: self.base.clone(),
            log: self.log.reader(),
        });
    }

    /// Drops bodies and undo data of blocks below `keep_from`, as far as whole segments of the log
    /// hold nothing newer, and returns how many segments went. Reading such a block then answers
    /// `Pruned`; the node can no longer serve, verify or export them, nor take the chain back there.
    ///
    /// # Errors
    /// `Misuse` if the tip's own block would go.
    pub fn prune(&mut self, keep_from: Height) -> Result<u32> {
        if keep_from > self.state.height {
            let text = format!(
                "cannot prune up to {keep_from}: the tip is {}",
                self.state.height
            );
            return Err(StorageError::Misuse(text));
        }
        // Records behind the flushed place are needed for a replay.
        self.flush()?;
        let mut oldest = self.folded;
        self.visit_headers(|_, row| {
            if row.height >= keep_from {
                let places = [row.body_position(), row.undo_position()];
                oldest = places.into_iter().flatten().fold(oldest, Position::min);
            }
        })?;
        let result = self.log.prune_before(oldest.segment);
        self.stop_on_failure(result)
    }

    // Flushing.

    /// To be called every few seconds with a monotonic time: flushes what is old enough, finishes a
    /// flush that ran beside, takes readers from snapshots that are too old.
    pub fn maintain(&mut self, now: Duration) -> Result<()> {
        self.now = now;
        self.retired.retain(|(since, base)| match base.upgrade() {
            Some(base) if now.saturating_sub(*since) >= self.options.snapshot_age_max => {
                base.expire();
                false
            }
            base => base.is_some(),
        });
        self.check_running()?;
        self.collect_flush(false)?;
        if self.layers[0].is_empty() {
            self.dirty_since = None;
            return Ok(());
        }
        let since = *self.dirty_since.get_or_insert(now);
        let due = now.saturating_sub(since) >= self.options.flush_interval;
        if due && self.in_flight.is_none() {
            self.begin_flush()
        } else {
            Ok(())
        }
    }

    /// Writes everything to the tables and waits for it. A clean stop calls this.
    pub fn flush(&mut self) -> Result<()> {
        self.check_running()?;
        self.collect_flush(true)?;
        if self.layers[0].is_empty() && self.folded == self.flushed {
            return self.sync();
        }
        self.begin_flush()?;
        self.collect_flush(true)
    }

    fn begin_flush(&mut self) -> Result<()> {
        let result = self.freeze();
        let job = self.stop_on_failure(result)?;
        if self.options.background_flush {
            let thread = std::thread::Builder::new().name("chain-flush".to_owned());
            let spawned = thread.spawn(move || job.run());
            let spawned = spawned.map_err(|error| StorageError::Table {
                doing: "start a flush",
                cause: error.to_string(),
            });
            self.in_flight = Some(self.stop_on_failure(spawned)?);
            return Ok(());
        }
        let result = job.run();
        let reader = self.stop_on_failure(result)?;
        self.finish_flush(reader);
        Ok(())
    }

    /// The log is synced first: no row is ever newer than the record that caused it.
    fn freeze(&mut self) -> Result<FlushJob> {
        assert_eq!(self.layers.len(), 1, "one flush at a time");
        self.log.sync()?;
        let layer = self.layers[0].clone();
        self.layers.insert(0, Arc::new(Layer::default()));
        self.dirty_since = None;
        self.flushed = self.folded;
        self.publish();
        let flushed = Flushed {
            chain_id: self.params.chain_id(),
            position: self.folded.to_u64(),
            next_number: self.next_number,
            floor: self.floor,
            state: LedgerState::clone(&self.state),
        };
        Ok(FlushJob {
            layer,
            tables: self.tables.clone(),
            flushed,
        })
    }

    fn collect_flush(&mut self, wait: bool) -> Result<()> {
        let Some(thread) = self.in_flight.take() else {
            return Ok(());
        };
        if !wait && !thread.is_finished() {
            self.in_flight = Some(thread);
            return Ok(());
        }
        let result = thread.join().unwrap_or_else(|_| {
            Err(StorageError::Table {
                doing: "flush",
                cause: "the flush panicked".to_owned(),
            })
        });
        let reader = self.stop_on_failure(result)?;
        self.finish_flush(reader);
        Ok(())
    }

    fn finish_flush(&mut self, reader: Arc<dyn TableReader>) {
        let layer = self
            .layers
            .pop()
            .expect("the frozen layer is there until its flush ends");
        let generation = self.base.generation() + 1;
        let cache = self.base.cache().clone();
        {
            let inner = layer.inner();
            let (gone, appeared) = cache_changes(&inner);
            cache.advance(generation, gone.iter(), appeared.into_iter());
        }
        let before = std::mem::replace(
            &mut self.base,
            Arc::new(Base::new(generation, reader, cache)),
        );
        self.retired.push((self.now, Arc::downgrade(&before)));
        self.flushes += 1;
        self.publish();
    }

    // Failing.

    pub(super) fn check_running(&self) -> Result<()> {
        match &self.stopped {
            Some(first) => Err(StorageError::Stopped {
                first: first.clone(),
            }),
            None => Ok(()),
        }
    }

    fn stop_on_failure<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && self.stopped.is_none()
        {
            tracing::error!(%error, "the chain store stops taking changes");
            self.stopped = Some(error.to_string());
        }
        result
    }
}

impl Drop for ChainStore {
    /// Waits for a running flush; what is not flushed is replayed at the next start.
    fn drop(&mut self) {
        if let Some(thread) = self.in_flight.take() {
            let _ = thread.join();
        }
    }
}

fn views(layers: &[Arc<Layer>]) -> Vec<View> {
    let view = |layer: &Arc<Layer>| View {
        layer: layer.clone(),
        count: layer.count(),
    };
    layers.iter().map(view).collect()
}
