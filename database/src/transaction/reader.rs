//! A statement's view by itself: what a transaction sees, to be read without holding the transaction.
//!
//! Invariant: it shows what the statement shows that it was taken in, and what a serializable
//! transaction reads through it is in the read set.

use super::access::KeyRange;
use super::error::{Error, Result};
use super::layer::Layer;
use super::read_set::ReadSet;
use super::scan::{IndexScan, Scan};
use super::state::Transaction;
use crate::catalog::{self, Index, Relation};
use crate::entry::{CommitTs, StorageId};
use crate::types::Value;
use crate::version::{Snapshot, place};
use parking_lot::Mutex;
use std::sync::Arc;

/// A view with the layers over it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    snapshot: Arc<Snapshot>,
    at: CommitTs,
    layers: Vec<Arc<Layer>>,
    reads: Option<Arc<Mutex<ReadSet>>>,
}

impl Transaction {
    /// The view of the running statement.
    ///
    /// # Errors
    /// `Failed`.
    pub fn reader(&mut self) -> Result<Reader> {
        self.check_active()?;
        let depth = self.visible_depth();
        let layers = self.writes.visible(depth).iter();
        let layers = layers.filter(|layer| !layer.is_empty()).cloned().collect();
        let reads = self.reads.clone();
        let view = self.view();
        Ok(Reader {
            snapshot: view.snapshot.clone(),
            at: view.at,
            layers,
            reads,
        })
    }
}

impl Reader {
    /// The timestamp it reads at.
    pub fn at(&self) -> CommitTs {
        self.at
    }

    /// The bytes at a key of a storage.
    ///
    /// # Errors
    /// `SnapshotTooOld`, faults.
    pub fn get(&self, storage: StorageId, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let place = place(storage, key);
        if let Some(reads) = &self.reads {
            reads.lock().add_place(&place);
        }
        for layer in self.layers.iter().rev() {
            if let Some(write) = layer.get(&place)? {
                return Ok(write.row.map(|row| row.to_vec()));
            }
        }
        Ok(self.snapshot.get(&place, self.at)?)
    }

    /// A row by its key.
    ///
    /// # Errors
    /// As [`Reader::get`].
    pub fn row(&self, relation: &Relation, key: &[u8]) -> Result<Option<Vec<Value>>> {
        let bytes = self.get(relation.table.storage(), key)?;
        bytes
            .map(|bytes| Ok(catalog::values(&relation.table, &bytes)?))
            .transpose()
    }

    /// The places and bytes of a range.
    ///
    /// # Errors
    /// `SnapshotTooOld`, faults.
    pub fn scan(&self, storage: StorageId, range: &KeyRange, reverse: bool) -> Result<Scan> {
        let (from, to) = range.places(storage);
        if let Some(reads) = &self.reads {
            reads.lock().add(&from, &to);
        }
        let rows = self.snapshot.range(&from, &to, self.at, reverse)?;
        Ok(Scan::new(rows, self.layers.clone(), &from, &to, reverse))
    }

    /// The row keys and rows of a range of an index, in its order.
    ///
    /// # Errors
    /// `State` for an index that is not whole yet; as [`Reader::scan`].
    pub fn scan_index(
        &self,
        relation: &Arc<Relation>,
        index: &Index,
        range: &KeyRange,
        reverse: bool,
    ) -> Result<IndexScan> {
        if index.state != catalog::IndexState::Public {
            return Err(Error::State("the index is being built"));
        }
        let entries = self.scan(index.storage(), range, reverse)?;
        Ok(IndexScan::new(
            entries,
            relation.clone(),
            self.snapshot.clone(),
            self.at,
            self.layers.clone(),
        ))
    }
}
