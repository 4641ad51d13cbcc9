//! Applying: what an entry, or the writes it was made of, do to the store.
//!
//! Invariant: a transaction applied from its writes and the same one replayed from its entries leave
//! the same store; a crash in between shows no difference.

use super::link::{CommitLog, Outcome};
use super::pipeline::wall_clock_ms;
use crate::entry::{
    Change, CommitTs, Entry, EntryBuilder, Incarnation, Kind, Resolution, Seed, Stamp,
    TransactionId,
};
use crate::store::{Applied, CATALOG, Derive, Fold, HORIZON, SEQUENCES, Store, StoreError};
use crate::transaction::{Error, Layer, Result, WriteKind};
use crate::tree::{Frontier, TileFiles};
use crate::version::{place, split_place};

pub(super) fn read_frontier(applied: &Applied) -> Result<Frontier, StoreError> {
    if applied.frontier.is_empty() {
        return Ok(Frontier::default());
    }
    let frontier = Frontier::from_bytes(&applied.frontier);
    frontier.ok_or_else(|| StoreError::damaged("the stored frontier is no frontier"))
}

/// Applies a transaction from its writes.
pub(super) fn apply_writes(
    fold: &mut Fold<'_>,
    derive: &mut dyn Derive,
    writes: &Layer,
    ts: CommitTs,
) -> Result<(), StoreError> {
    let mut is_catalog = false;
    writes
        .for_each::<ApplyError>(|place, write| {
            let (storage, key) = split_place(place)
                .ok_or_else(|| StoreError::damaged("a write without a storage"))?;
            let row = write.row.as_deref();
            if storage != CATALOG && is_catalog {
                changed_catalog(fold, derive, ts)?;
                is_catalog = false;
            }
            is_catalog |= storage == CATALOG;
            if storage == HORIZON {
                let ts = row
                    .and_then(|row| row.try_into().ok())
                    .map(u64::from_le_bytes);
                fold.meta.horizon = fold.meta.horizon.max(CommitTs(ts.unwrap_or(0)));
                return Ok(());
            }
            match write.kind {
                WriteKind::Row => fold.set_row(derive, storage, key, row, ts)?,
                WriteKind::Index => drop(fold.set(place, row, ts)?),
                WriteKind::Derived => {}
            }
            Ok(())
        })
        .map_err(|error| error.0)?;
    if is_catalog {
        changed_catalog(fold, derive, ts)?;
    }
    Ok(())
}

/// The catalog stands first in an entry: rows behind it are derived by the new one.
fn changed_catalog(
    fold: &mut Fold<'_>,
    derive: &mut dyn Derive,
    ts: CommitTs,
) -> Result<(), StoreError> {
    fold.meta.catalog_ts = ts;
    derive.catalog_changed(fold)
}

struct ApplyError(StoreError);

impl From<StoreError> for ApplyError {
    fn from(error: StoreError) -> Self {
        ApplyError(error)
    }
}

impl From<std::io::Error> for ApplyError {
    fn from(error: std::io::Error) -> Self {
        ApplyError(StoreError::Engine {
            doing: "read a temporary file",
            cause: error.to_string(),
        })
    }
}

fn damaged_entry(error: crate::entry::EntryError) -> StoreError {
    StoreError::damaged(format!("log entry: {error}"))
}

/// Applies an entry of any kind from its bytes.
pub(super) fn apply_entry(
    fold: &mut Fold<'_>,
    derive: &mut dyn Derive,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let entry = Entry::decode(bytes).map_err(damaged_entry)?;
    let ts = entry.header.stamp.commit_ts;
    match entry.header.kind {
        Kind::Membership => Ok(()),
        Kind::Commit => apply_changes(fold, derive, &entry, ts),
        Kind::Prewrite { txn, part } => fold.keep_part(&txn.0, part, bytes),
        Kind::Resolve { txn, resolution } => match resolution {
            Resolution::Abort => fold.drop_parts(&txn.0),
            Resolution::Commit { commit_ts, parts } => {
                for part in 0..parts {
                    let bytes = fold.take_part(&txn.0, part)?;
                    let entry = Entry::decode(&bytes).map_err(damaged_entry)?;
                    apply_changes(fold, derive, &entry, commit_ts)?;
                }
                Ok(())
            }
        },
    }
}

fn apply_changes(
    fold: &mut Fold<'_>,
    derive: &mut dyn Derive,
    entry: &Entry<'_>,
    ts: CommitTs,
) -> Result<(), StoreError> {
    let mut is_catalog = false;
    for change in entry.changes() {
        let of_catalog = matches!(
            change,
            Change::CatalogPut { .. } | Change::CatalogDelete { .. }
        );
        if is_catalog && !of_catalog {
            changed_catalog(fold, derive, ts)?;
        }
        is_catalog = of_catalog;
        match change {
            Change::CatalogPut { key, row } => {
                drop(fold.set(&place(CATALOG, key), Some(row), ts)?)
            }
            Change::CatalogDelete { key } => drop(fold.set(&place(CATALOG, key), None, ts)?),
            Change::Sequence { id, reserved } => {
                let place = place(SEQUENCES, &id.to_be_bytes());
                fold.set(&place, Some(&reserved.to_le_bytes()), ts)?;
            }
            Change::Horizon(horizon) => fold.meta.horizon = fold.meta.horizon.max(horizon),
            Change::RowPut { storage, key, row } => {
                fold.set_row(derive, storage, key, Some(row), ts)?;
            }
            Change::RowDelete { storage, key } => fold.set_row(derive, storage, key, None, ts)?,
            Change::IndexPut {
                storage,
                key,
                value,
            } => drop(fold.set(&place(storage, key), Some(value), ts)?),
            Change::IndexDelete { storage, key } => {
                drop(fold.set(&place(storage, key), None, ts)?)
            }
            Change::Notify { .. } | Change::Membership(_) => {}
        }
    }
    if is_catalog {
        changed_catalog(fold, derive, ts)?;
    }
    Ok(())
}

pub(super) fn tile_fault(error: crate::log::LogError) -> StoreError {
    StoreError::Engine {
        doing: "keep the leaves of the tree",
        cause: error.to_string(),
    }
}

/// Applies what the log has and the store has not. A transaction whose parts are there without their
/// resolve was never answered: it is aborted.
pub(crate) fn replay(
    store: &Store,
    log: &dyn CommitLog,
    derive: &mut dyn Derive,
    mut tiles: Option<&mut TileFiles>,
) -> Result<()> {
    let applied = store.applied();
    let mut frontier = read_frontier(&applied)?;
    let mut take = |lsn: u64, bytes: &[u8]| -> Result<(), StoreError> {
        let entry = Entry::decode(bytes).map_err(damaged_entry)?;
        let mut after = frontier.clone();
        after.push(entry.leaf());
        store.apply(false, &mut |fold| {
            apply_entry(fold, derive, bytes)?;
            fold.meta.applied.next_lsn = lsn + 1;
            fold.meta.applied.ts = entry.header.stamp.commit_ts;
            fold.meta.applied.frontier = after.to_bytes();
            fold.meta.incarnation = entry.header.stamp.incarnation.0;
            Ok(())
        })?;
        if let Some(tiles) = &mut tiles {
            tiles.push(entry.leaf()).map_err(tile_fault)?;
        }
        frontier = after;
        Ok(())
    };
    log.replay(applied.next_lsn, &mut take)?;
    for transaction in store.unresolved()? {
        let known = store.applied();
        let kind = Kind::Resolve {
            txn: TransactionId(transaction),
            resolution: Resolution::Abort,
        };
        let stamp = Stamp {
            incarnation: Incarnation(store.incarnation()),
            commit_ts: CommitTs(known.ts.0 + 1),
            closed_ts: known.ts,
            wall_ms: wall_clock_ms(),
            ..Stamp::default()
        };
        let entry = EntryBuilder::new(kind, Seed::default()).finish(stamp);
        let entry = entry.map_err(|error| Error::Limit(error.to_string()))?;
        match log.propose(entry.clone()).wait() {
            Outcome::Committed { lsn } => take(lsn, &entry)?,
            other => return Err(Error::Stopped(format!("an abort at the start: {other:?}"))),
        }
    }
    Ok(())
}
