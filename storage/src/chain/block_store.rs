//! The store as the pure chain driver sees it.

use super::rows::{HEADERS, HeaderRow, decode, row_damaged};
use super::store::ChainStore;
use crate::error::Result;
use cairn_protocol::block::{Block, HeaderRecord};
use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::{
    BlockStore, BlockUndo, CheckedBlock, Coin, CoinView, Connected, Disconnected, Fault,
    StoredHeader,
};
use cairn_protocol::rules::Violation;
use cairn_protocol::state::LedgerState;
use cairn_protocol::transaction::OutPoint;
use cairn_protocol::units::Height;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

impl CoinView for ChainStore {
    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, Fault> {
        Ok(self.tip_coin(outpoint)?)
    }
}

impl BlockStore for ChainStore {
    fn headers(&self, visit: &mut dyn FnMut(StoredHeader)) -> Result<(), Fault> {
        Ok(self.visit_headers(|id, row| {
            visit(StoredHeader {
                id,
                height: row.height,
                header: row.record.header,
                has_body: row.body.is_some(),
                invalid: row.invalid.is_some(),
            });
        })?)
    }

    fn state(&self) -> &LedgerState {
        self.ledger_state()
    }

    fn put_header(
        &mut self,
        id: &BlockId,
        height: Height,
        record: &HeaderRecord,
    ) -> Result<(), Fault> {
        Ok(self.add_header(id, height, record)?)
    }

    fn header(&self, id: &BlockId) -> Result<Option<HeaderRecord>, Fault> {
        Ok(self.header_numbered(id)?.map(|(_, row)| row.record.clone()))
    }

    fn put_block(&mut self, block: &CheckedBlock) -> Result<(), Fault> {
        Ok(self.add_block(block)?)
    }

    fn block(&self, id: &BlockId) -> Result<Option<Arc<Block>>, Fault> {
        let Some((_, row)) = self.header_numbered(id)? else {
            return Ok(None);
        };
        Ok(self.read_block(&row, id)?.map(Arc::new))
    }

    fn mark_invalid(&mut self, id: &BlockId, violation: &Violation) -> Result<(), Fault> {
        Ok(self.add_invalid(id, &violation.to_string())?)
    }

    fn connect(&mut self, block: &CheckedBlock, connected: Connected) -> Result<(), Fault> {
        Ok(self.add_connection(block, connected)?)
    }

    fn undo(&self, id: &BlockId) -> Result<Option<BlockUndo>, Fault> {
        let Some((_, row)) = self.header_numbered(id)? else {
            return Ok(None);
        };
        Ok(self.read_undo(&row, id)?)
    }

    fn disconnect(&mut self, block: &Block, disconnected: Disconnected) -> Result<(), Fault> {
        Ok(self.add_disconnection(block, disconnected)?)
    }

    fn floor(&self) -> Result<Option<BlockId>, Fault> {
        Ok(self.floor)
    }

    fn set_floor(&mut self, id: &BlockId) -> Result<(), Fault> {
        Ok(self.add_floor(id)?)
    }
}

impl ChainStore {
    /// Calls `visit` with each header's id and row, in order of arrival.
    pub fn visit_headers(&self, mut visit: impl FnMut(BlockId, &HeaderRow)) -> Result<()> {
        let mut changed = BTreeMap::new();
        for layer in self.layers.iter().rev() {
            let rows = layer.inner().headers.clone();
            changed.extend(rows);
        }
        let reader = self.base.reader()?;
        for row in reader.scan(HEADERS, Bound::Unbounded, Bound::Unbounded, false)? {
            let (key, value) = row?;
            let bad = |_| row_damaged("headers", &format!("{key:?}"));
            let number = u64::from_be_bytes(key.as_slice().try_into().map_err(bad)?);
            if let Some((id, row)) = changed.remove(&number) {
                visit(id, &row);
            } else {
                let row: HeaderRow = decode(&value, || format!("row of header number {number}"))?;
                visit(row.record.header.id(), &row);
            }
        }
        for (id, row) in changed.into_values() {
            visit(id, &row);
        }
        Ok(())
    }
}
