//! A view of the chain at one tip: what the API, SQL, the mempool and the wallet read.
//!
//! Invariant: tip, state, coins, active heights, transactions and addresses of one snapshot belong to
//! one tip, whatever is connected, taken off or flushed after it was published. Facts about single
//! blocks (stored body, invalid mark) may appear later.

use super::base::Base;
use super::layer::{Found, Layer};
use super::record::Record;
use super::rows::{
    HEADER_NUMBERS, HEADERS, HEIGHTS, HeaderRow, TRANSACTIONS, TxPlace, decode, number_key,
    read_height_value, read_place, row_damaged,
};
use crate::error::{Result, StorageError};
use crate::segment::{Position, SegmentReader};
use cairn_protocol::block::{Block, HeaderRecord};
use cairn_protocol::hash::{BlockId, TxId};
use cairn_protocol::header::Header;
use cairn_protocol::ledger::{BlockUndo, Coin, CoinView, Fault};
use cairn_protocol::pow::{Work, work_from_bytes};
use cairn_protocol::state::LedgerState;
use cairn_protocol::transaction::OutPoint;
use cairn_protocol::units::Height;
use parking_lot::RwLock;
use std::sync::Arc;

/// Gives out the newest snapshot; cheap to clone, for any thread.
#[derive(Debug, Clone)]
pub struct ChainReader {
    current: Arc<RwLock<Arc<ChainSnapshot>>>,
}

impl ChainReader {
    pub(super) fn new(snapshot: ChainSnapshot) -> Self {
        ChainReader {
            current: Arc::new(RwLock::new(Arc::new(snapshot))),
        }
    }

    pub(super) fn publish(&self, snapshot: ChainSnapshot) {
        let before = std::mem::replace(&mut *self.current.write(), Arc::new(snapshot));
        // Freed outside the lock: it may be the last one that holds a flushed layer.
        drop(before);
    }

    /// The chain as of now. Keep it for one request, not for long: its reader is taken away after
    /// the store's `snapshot_age_max`.
    pub fn snapshot(&self) -> Arc<ChainSnapshot> {
        self.current.read().clone()
    }
}

/// What is known of one block's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderMeta {
    /// Its id.
    pub id: BlockId,
    /// Rank in order of arrival; genesis is 0.
    pub number: u64,
    /// Its height.
    pub height: Height,
    /// Work of its whole chain.
    pub work: Work,
    /// The 80 bytes.
    pub header: Header,
    /// Transactions of the block, the coinbase not counted.
    pub transactions: u32,
    /// Bytes of the body, if it is stored.
    pub body_bytes: Option<u32>,
    /// The rule it broke, if it was found invalid.
    pub invalid: Option<String>,
}

/// A layer as of one of its changes.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub layer: Arc<Layer>,
    pub count: u32,
}

/// The chain at one tip.
#[derive(Debug)]
pub struct ChainSnapshot {
    pub(super) chain_id: BlockId,
    pub(super) state: Arc<LedgerState>,
    /// Newest first.
    pub(super) views: Vec<View>,
    pub(super) base: Arc<Base>,
    pub(super) log: SegmentReader,
}

impl ChainSnapshot {
    /// Genesis of the chain.
    pub fn chain_id(&self) -> BlockId {
        self.chain_id
    }

    /// Height and id of the tip.
    pub fn tip(&self) -> (Height, BlockId) {
        (self.state.height, self.state.tip)
    }

    /// The state after the tip.
    pub fn state(&self) -> &Arc<LedgerState> {
        &self.state
    }

    /// The coin at `outpoint`, if it is unspent at the tip.
    pub fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>> {
        for view in &self.views {
            match view.layer.coin(outpoint, view.count) {
                Found::Present(coin) => return Ok(Some(coin)),
                Found::Gone => return Ok(None),
                Found::Unknown => {}
            }
        }
        self.base.coin(outpoint)
    }

    /// The active block at `height`; none above the tip.
    pub fn block_id_at(&self, height: Height) -> Result<Option<BlockId>> {
        Ok(self.active(height)?.map(|(id, _)| id))
    }

    fn active(&self, height: Height) -> Result<Option<(BlockId, u64)>> {
        if height > self.state.height {
            return Ok(None);
        }
        for view in &self.views {
            match view.layer.height(height, view.count) {
                Found::Present(found) => return Ok(Some(found)),
                Found::Gone => return Ok(None),
                Found::Unknown => {}
            }
        }
        let value = self.base.reader()?.value(HEIGHTS, &number_key(height))?;
        value
            .map(|value| read_height_value(&value, height))
            .transpose()
    }

    /// Whether the block is on the chain that ends at the tip.
    pub fn is_active(&self, id: &BlockId) -> Result<bool> {
        let Some(row) = self.header_row(id)? else {
            return Ok(false);
        };
        Ok(self.block_id_at(row.height)? == Some(*id))
    }

    /// What is known of a header, on whatever branch.
    pub fn header(&self, id: &BlockId) -> Result<Option<HeaderMeta>> {
        let found = self.header_numbered(id)?;
        Ok(found.map(|(number, row)| meta(*id, number, &row)))
    }

    /// What is known of the active block at `height`.
    pub fn header_at(&self, height: Height) -> Result<Option<HeaderMeta>> {
        let Some((id, number)) = self.active(height)? else {
            return Ok(None);
        };
        Ok(Some(meta(id, number, &*self.numbered_row(number, &id)?)))
    }

    /// The header record of a block, on whatever branch.
    pub fn record(&self, id: &BlockId) -> Result<Option<HeaderRecord>> {
        Ok(self.header_row(id)?.map(|row| row.record.clone()))
    }

    /// Header records of the active chain from `from` on, at most `limit`.
    pub fn records(&self, from: Height, limit: usize) -> Result<Vec<HeaderRecord>> {
        let mut records = Vec::new();
        for height in from..=self.state.height {
            if records.len() >= limit {
                break;
            }
            let Some((id, number)) = self.active(height)? else {
                break;
            };
            records.push(self.numbered_row(number, &id)?.record.clone());
        }
        Ok(records)
    }

    /// Bytes of a block, on whatever branch; none if its body is not stored.
    ///
    /// # Errors
    /// `Pruned`, or `Damaged` with the record's name.
    pub fn block_bytes(&self, id: &BlockId) -> Result<Option<Vec<u8>>> {
        let Some(position) = self.header_row(id)?.and_then(|row| row.body_position()) else {
            return Ok(None);
        };
        Ok(Some(self.log.read(position)?.payload))
    }

    /// A block, on whatever branch; none if its body is not stored.
    pub fn block(&self, id: &BlockId) -> Result<Option<Block>> {
        let Some(position) = self.header_row(id)?.and_then(|row| row.body_position()) else {
            return Ok(None);
        };
        read_block(&self.log, position, id).map(Some)
    }

    /// The undo data of a block that is or was connected: the coins its inputs spend, in order.
    ///
    /// # Errors
    /// `Pruned`, or `Damaged` with the record's name.
    pub fn undo(&self, id: &BlockId) -> Result<Option<BlockUndo>> {
        let Some(position) = self.header_row(id)?.and_then(|row| row.undo_position()) else {
            return Ok(None);
        };
        read_undo(&self.log, position, id).map(Some)
    }

    /// Where a transaction (or a coinbase) stands in the active chain.
    pub fn transaction_place(&self, txid: &TxId) -> Result<Option<TxPlace>> {
        for view in &self.views {
            let index = view.layer.index(view.count);
            let found = index
                .transactions
                .get(txid)
                .and_then(|versions| versions.at(view.count));
            drop(index);
            match found {
                Some((_, super::layer::GONE)) => return Ok(None),
                Some((change, index)) => {
                    let height = view.layer.inner().changes[change as usize].height;
                    return Ok(Some(TxPlace { height, index }));
                }
                None => {}
            }
        }
        let value = self.base.reader()?.value(TRANSACTIONS, txid.as_bytes())?;
        let Some(value) = value else { return Ok(None) };
        let place = read_place(&value);
        place
            .map(Some)
            .ok_or_else(|| row_damaged("transactions", &txid.to_string()))
    }

    fn header_row(&self, id: &BlockId) -> Result<Option<Arc<HeaderRow>>> {
        Ok(self.header_numbered(id)?.map(|(_, row)| row))
    }

    pub(super) fn header_numbered(&self, id: &BlockId) -> Result<Option<(u64, Arc<HeaderRow>)>> {
        let layers = self.views.iter().map(|view| view.layer.as_ref());
        header_numbered(layers, &self.base, id)
    }

    fn numbered_row(&self, number: u64, id: &BlockId) -> Result<Arc<HeaderRow>> {
        let mut rows = self
            .views
            .iter()
            .filter_map(|view| view.layer.header_numbered(number));
        if let Some((_, row)) = rows.next() {
            return Ok(row);
        }
        flushed_row(&self.base, number, id)
    }
}

impl CoinView for ChainSnapshot {
    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, Fault> {
        ChainSnapshot::coin(self, outpoint).map_err(Fault::from)
    }
}

fn meta(id: BlockId, number: u64, row: &HeaderRow) -> HeaderMeta {
    HeaderMeta {
        id,
        number,
        height: row.height,
        work: work_from_bytes(&row.work),
        header: row.record.header,
        transactions: row.record.extension.tx_count,
        body_bytes: row.body.map(|body| body.bytes),
        invalid: row.invalid.clone(),
    }
}

/// A header's number and row, from the newest layer that has it or the flushed rows.
pub(super) fn header_numbered<'a>(
    mut layers: impl Iterator<Item = &'a Layer>,
    base: &Base,
    id: &BlockId,
) -> Result<Option<(u64, Arc<HeaderRow>)>> {
    if let Some(found) = layers.find_map(|layer| layer.header(id)) {
        return Ok(Some(found));
    }
    let Some(number) = base.reader()?.value(HEADER_NUMBERS, id.as_bytes())? else {
        return Ok(None);
    };
    let number = number.try_into().map(u64::from_be_bytes);
    let number = number.map_err(|_| row_damaged("header_numbers", &id.to_string()))?;
    Ok(Some((number, flushed_row(base, number, id)?)))
}

fn flushed_row(base: &Base, number: u64, id: &BlockId) -> Result<Arc<HeaderRow>> {
    let name = || format!("row of header {id} (header number {number})");
    let value = base.reader()?.value(HEADERS, &number_key(number))?;
    let value = value.ok_or_else(|| StorageError::damaged(format!("{} is missing", name())))?;
    decode(&value, name).map(Arc::new)
}

/// The block whose record begins at `position`, checked to be `id`.
pub(super) fn read_block(log: &SegmentReader, position: Position, id: &BlockId) -> Result<Block> {
    let frame = log.read(position)?;
    match Record::read(log, &frame)? {
        Record::Block(block) if block.id() == *id => Ok(*block),
        _ => Err(misplaced(log, position, "block", id)),
    }
}

/// The undo data whose record begins at `position`, checked to be that of `id`.
pub(super) fn read_undo(
    log: &SegmentReader,
    position: Position,
    id: &BlockId,
) -> Result<BlockUndo> {
    let named = |error: StorageError| match error {
        StorageError::Damaged { what, advice } => StorageError::Damaged {
            what: format!("undo data of block {id}: {what}"),
            advice,
        },
        other => other,
    };
    let frame = log.read(position).map_err(named)?;
    match Record::read(log, &frame).map_err(named)? {
        Record::Connect(found, undo) if found == *id => Ok(*undo),
        _ => Err(misplaced(log, position, "undo data", id)),
    }
}

fn misplaced(log: &SegmentReader, position: Position, kind: &str, id: &BlockId) -> StorageError {
    StorageError::damaged(format!(
        "{} is not the {kind} of block {id}",
        log.name(position)
    ))
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Fault {
        Fault(error.to_string())
    }
}
