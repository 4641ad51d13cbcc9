//! Reading: rows by key, ranges of tables and indexes, and the latest state for constraints.

use super::error::{Error, Result};
use super::scan::{IndexScan, Scan};
use super::state::Transaction;
use crate::catalog::{self, Index, Relation};
use crate::entry::{CommitTs, StorageId};
use crate::key;
use crate::lock::{Mode, Target, Wait};
use crate::types::Value;
use crate::version::{Snapshot, place};
use std::sync::Arc;

/// A range of keys of one storage: from the first bytes on, below the second ones if there are any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyRange {
    /// The first key that may be in it.
    pub from: Vec<u8>,
    /// The first key behind it; none is the end of the storage.
    pub to: Option<Vec<u8>>,
}

impl KeyRange {
    /// All keys.
    pub fn all() -> Self {
        KeyRange::default()
    }

    /// The keys that begin with these bytes. A whole key gives that key alone.
    pub fn prefix(prefix: &[u8]) -> Self {
        KeyRange {
            from: prefix.to_vec(),
            to: key::after_prefix(prefix),
        }
    }

    pub(super) fn places(&self, storage: StorageId) -> (Vec<u8>, Vec<u8>) {
        let to = match &self.to {
            Some(to) => place(storage, to),
            None => place(StorageId(storage.0 + 1), &[]),
        };
        (place(storage, &self.from), to)
    }
}

impl Transaction {
    /// Depth of the layers that reads see: a statement does not see its own.
    pub(super) fn visible_depth(&self) -> usize {
        self.statement.unwrap_or_else(|| self.writes.depth())
    }

    pub(super) fn merged(
        &self,
        snapshot: &Snapshot,
        at: CommitTs,
        depth: usize,
        from: &[u8],
        to: &[u8],
        reverse: bool,
    ) -> Result<Scan> {
        let rows = snapshot.range(from, to, at, reverse)?;
        Ok(Scan::new(
            rows,
            self.writes.visible(depth).to_vec(),
            from,
            to,
            reverse,
        ))
    }

    fn read_place(&mut self, place: &[u8]) -> Result<Option<Vec<u8>>> {
        let depth = self.visible_depth();
        if let Some(write) = self.writes.get(depth, place)? {
            return Ok(write.row.map(|row| row.to_vec()));
        }
        let view = self.view();
        Ok(view.snapshot.get(place, view.at)?)
    }

    /// The bytes at a key of a storage.
    ///
    /// # Errors
    /// `Failed`, `SnapshotTooOld`, faults.
    pub fn get(&mut self, storage: StorageId, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.check_active()?;
        let place = place(storage, key);
        self.record_place(&place);
        self.read_place(&place)
    }

    /// A row by its key.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn row(&mut self, relation: &Relation, key: &[u8]) -> Result<Option<Vec<Value>>> {
        let bytes = self.get(relation.table.storage(), key)?;
        bytes
            .map(|bytes| Ok(catalog::values(&relation.table, &bytes)?))
            .transpose()
    }

    /// The keys and bytes of a range. What a serializable transaction depends on is the whole range,
    /// however little of it is read.
    ///
    /// # Errors
    /// `Failed`, `SnapshotTooOld`, faults.
    pub fn scan(&mut self, storage: StorageId, range: &KeyRange, reverse: bool) -> Result<Scan> {
        self.check_active()?;
        let (from, to) = range.places(storage);
        let depth = self.visible_depth();
        let planted = self.database.options.planted.range_after_limit;
        if !planted {
            self.record(&from, &to);
        }
        let view = self.view().clone();
        let scan = self.merged(&view.snapshot, view.at, depth, &from, &to, reverse)?;
        Ok(match &self.reads {
            Some(reads) if planted => scan.recording(reads.clone()),
            _ => scan,
        })
    }

    /// The rows of a range of an index, in its order. They are covered by the index's range: whoever
    /// changes a row touches its entries in every index.
    ///
    /// # Errors
    /// `State` for an index that is not whole yet; as [`Transaction::scan`].
    pub fn scan_index(
        &mut self,
        relation: &Arc<Relation>,
        index: &Index,
        range: &KeyRange,
        reverse: bool,
    ) -> Result<IndexScan> {
        if index.state != catalog::IndexState::Public {
            return Err(Error::State("the index is being built"));
        }
        let entries = self.scan(index.storage(), range, reverse)?;
        let view = self.view().clone();
        let layers = self.writes.visible(self.visible_depth()).to_vec();
        Ok(IndexScan::new(
            entries,
            relation.clone(),
            view.snapshot,
            view.at,
            layers,
        ))
    }

    /// The latest committed state with everything this transaction wrote, for constraints.
    pub(super) fn latest(&mut self, storage: StorageId, range: &KeyRange) -> Result<Scan> {
        let (from, to) = range.places(storage);
        self.record(&from, &to);
        let newest = self.database.store.snapshot();
        self.merged(&newest, newest.ts, self.writes.depth(), &from, &to, false)
    }

    /// The latest committed bytes at a key, or what this transaction wrote there.
    pub(super) fn latest_at(&mut self, storage: StorageId, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let place = place(storage, key);
        self.record_place(&place);
        if let Some(write) = self.writes.get(self.writes.depth(), &place)? {
            return Ok(write.row.map(|row| row.to_vec()));
        }
        let current = self.database.store.snapshot().current(&place)?;
        Ok(current.map(|(_, row)| row))
    }

    /// Locks a row and makes sure that it is still what the view shows. `false`: somebody else has it
    /// and `wait` was [`Wait::No`].
    ///
    /// # Errors
    /// `Restart` (READ COMMITTED) or `Serialization` if it changed after the view; those of
    /// [`Transaction::lock`].
    pub async fn lock_row(
        &mut self,
        relation: &Relation,
        key: &[u8],
        mode: Mode,
        wait: Option<Wait>,
    ) -> Result<bool> {
        let table = &relation.table;
        let wait = wait.unwrap_or_else(|| self.patience());
        self.lock_table(table.id, mode.intent(), self.patience())
            .await?;
        match self
            .lock_key(table.id, table.storage(), key, mode, wait)
            .await
        {
            Err(Error::LockNotAvailable(_)) if wait == Wait::No => return Ok(false),
            outcome => outcome?,
        }
        self.check_latest(&place(table.storage(), key))?;
        Ok(true)
    }

    pub(super) async fn lock_key(
        &mut self,
        table: u64,
        storage: StorageId,
        key: &[u8],
        mode: Mode,
        wait: Wait,
    ) -> Result<()> {
        let target = Target::Row(table, storage.0, key.into());
        self.lock(target, mode, wait).await?;
        self.database.locks.escalate(self.owner, table, mode);
        Ok(())
    }

    /// A locked row must not be newer than the view. Whoever changed it has published before giving
    /// back its lock, so the newest snapshot has that change.
    pub(super) fn check_latest(&mut self, place: &[u8]) -> Result<()> {
        let at = self.view().at;
        let newest = self.database.store.snapshot();
        if newest.ts <= at
            || newest
                .modified(place)?
                .is_none_or(|modified| modified <= at)
        {
            return Ok(());
        }
        if self.database.options.planted.reread_of_the_row
            && self.begin.isolation == super::Isolation::ReadCommitted
        {
            self.renew_view();
            return Ok(());
        }
        Err(self.stale("the row was changed by a concurrent transaction"))
    }
}
