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
use super::layer::{Found, Layer};
use super::options::{StoreOptions, StoreStats};
use super::prefetch::while_reading;
use super::record;
use super::rows::{BodyPlace, Flushed, HeaderRow, UNKNOWN_WORK, work_after};
use super::snapshot::{ChainReader, ChainSnapshot, View, header_numbered, read_block, read_undo};
use crate::error::{Result, StorageError};
use crate::segment::{Position, SegmentLog};
use crate::table::{TableReader, Tables};
use cairn_protocol::block::{Block, HeaderRecord};
use cairn_protocol::hash::{BlockId, TxId};
use cairn_protocol::ledger::{BlockUndo, CheckedBlock, Coin, Connected, Disconnected};
use cairn_protocol::spec::ChainParams;
use cairn_protocol::state::LedgerState;
use cairn_protocol::transaction::{OutPoint, Transaction};
use cairn_protocol::units::Height;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

pub(super) type FlushThread = JoinHandle<Result<Arc<dyn TableReader>>>;

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
    pub(super) flushed: Position,
    published: ChainReader,
    pub(super) in_flight: Option<FlushThread>,
    pub(super) retired: Vec<(Duration, Weak<Base>)>,
    pub(super) now: Duration,
    pub(super) dirty_since: Option<Duration>,
    stopped: Option<String>,
    pub(super) flushes: u64,
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
        work: [u8; 32],
    ) {
        let row = HeaderRow {
            height,
            work,
            body: None,
            undo: None,
            invalid: None,
            record: record.clone(),
        };
        self.layers[0].put_header(self.next_number, id, Arc::new(row));
        self.next_number += 1;
        self.folded = self.log.end();
    }

    /// Work of the chain that ends with this header; `UNKNOWN_WORK` while its parent's is not known.
    pub(super) fn chain_work(&self, record: &HeaderRecord) -> Result<[u8; 32]> {
        let parent = self.header_numbered(&record.header.parent)?;
        let parent = parent.as_ref().map(|(_, row)| &row.work);
        Ok(work_after(parent, record.header.bits))
    }

    pub(super) fn add_block(&mut self, block: &CheckedBlock) -> Result<()> {
        self.check_running()?;
        let id = block.id();
        let (number, row) = self.known_header(&id)?;
        if row.body.is_some() {
            return Ok(());
        }
        let bytes = block.block().to_bytes();
        let inputs = block.block().transactions.iter().flat_map(|tx| &tx.inputs);
        let (log, base) = (&mut self.log, &self.base);
        let result = while_reading(&self.layers, base, inputs.copied().collect(), || {
            let position = record::put_block(log, &bytes)?;
            if self.options.sync_each_block {
                log.sync()?;
            }
            Ok(position)
        });
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
        self.apply_connection(block, number, &row, position, connected)?;
        self.step_done()
    }

    pub(super) fn apply_connection(
        &mut self,
        block: &CheckedBlock,
        number: u64,
        row: &HeaderRow,
        position: Position,
        connected: Connected,
    ) -> Result<()> {
        let id = block.id();
        let undo = Some(position.to_u64());
        let work = match row.work {
            UNKNOWN_WORK => self.chain_work(&row.record)?,
            known => known,
        };
        self.layers[0].put_header(
            number,
            id,
            Arc::new(HeaderRow {
                undo,
                work,
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
        Ok(())
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
    pub(super) fn publish(&self) {
        self.published.publish(ChainSnapshot {
            chain_id: self.params.chain_id(),
            state: self.state.clone(),
            views: views(&self.layers),
            base: self.base.clone(),
            log: self.log.reader(),
        });
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

    pub(super) fn stop_on_failure<T>(&mut self, result: Result<T>) -> Result<T> {
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
