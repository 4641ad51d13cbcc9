//! Versions of rows: what a read at a timestamp sees.
//!
//! ```text
//! cur : storage, key       -> begin | row      the version that holds now
//! hist: storage, key, end  -> begin | row      a version that held in [begin, end)
//! ```
//! A read at T takes `cur` if its begin is at or below T, else the one version of `hist` with
//! begin <= T < end. Index entries have the same two trees.
//!
//! Invariants: the intervals of one key do not overlap; keys of one storage are prefix-free
//! (`crate::key`), so the end behind a key changes no order between keys; an end is never
//! `u64::MAX`.

mod range;

pub use crate::entry::{CommitTs, StorageId};
pub use range::{VersionRange, Versioned};

use crate::store::{EngineReader, Result, StoreError, Tree};
use std::sync::Arc;

/// Bytes of `begin` before a row.
pub(crate) const BEGIN_BYTES: usize = 8;
/// Bytes of `end` behind a key.
pub(crate) const END_BYTES: usize = 8;

/// A key in the store: the storage id, as short as it can be and in order, then the key.
pub fn place(storage: StorageId, key: &[u8]) -> Vec<u8> {
    let mut place = Vec::with_capacity(9 + key.len() + END_BYTES);
    append_storage(&mut place, storage);
    place.extend_from_slice(key);
    place
}

/// One length byte and that many bytes of the number.
pub(crate) fn append_storage(out: &mut Vec<u8>, storage: StorageId) {
    let length = 8 - storage.0.leading_zeros() as usize / 8;
    out.push(length as u8);
    out.extend_from_slice(&storage.0.to_be_bytes()[8 - length..]);
}

/// Takes a place apart; `None` if it is none.
pub fn split_place(place: &[u8]) -> Option<(StorageId, &[u8])> {
    let (&length, rest) = place.split_first()?;
    let length = usize::from(length);
    if length > 8 || rest.len() < length {
        return None;
    }
    let mut number = [0; 8];
    number[8 - length..].copy_from_slice(&rest[..length]);
    Some((StorageId(u64::from_be_bytes(number)), &rest[length..]))
}

/// The value of a version.
pub(crate) fn value(begin: CommitTs, row: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(BEGIN_BYTES + row.len());
    value.extend_from_slice(&begin.0.to_le_bytes());
    value.extend_from_slice(row);
    value
}

/// Begin and row of a version.
pub(crate) fn split_value(value: &[u8]) -> Result<(CommitTs, &[u8])> {
    let Some((begin, row)) = value.split_first_chunk::<BEGIN_BYTES>() else {
        return Err(StoreError::damaged("a version is shorter than its begin"));
    };
    Ok((CommitTs(u64::from_le_bytes(*begin)), row))
}

/// The end that stands behind a key in `hist`, and the key.
pub(crate) fn split_ended(key: &[u8]) -> Result<(&[u8], CommitTs)> {
    let Some((place, end)) = key.split_last_chunk::<END_BYTES>() else {
        return Err(StoreError::damaged(
            "an old version is shorter than its end",
        ));
    };
    Ok((place, CommitTs(u64::from_be_bytes(*end))))
}

/// One state of the store, at the timestamp of the last entry in it. It never changes.
#[derive(Clone)]
pub struct Snapshot {
    /// Of the last entry applied.
    pub ts: CommitTs,
    /// Of the last entry that changed the catalog.
    pub catalog_ts: CommitTs,
    /// Nothing below it can be read.
    pub horizon: CommitTs,
    pub(crate) reader: Arc<dyn EngineReader>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("ts", &self.ts)
            .field("catalog_ts", &self.catalog_ts)
            .field("horizon", &self.horizon)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    fn check(&self, at: CommitTs) -> Result<()> {
        if at < self.horizon {
            return Err(StoreError::BelowHorizon {
                at: at.0,
                horizon: self.horizon.0,
            });
        }
        Ok(())
    }

    /// The row at a place as of `at`.
    ///
    /// # Errors
    /// `BelowHorizon`, faults.
    pub fn get(&self, place: &[u8], at: CommitTs) -> Result<Option<Vec<u8>>> {
        self.check(at)?;
        if let Some((begin, row)) = self.current(place)?
            && begin <= at
        {
            return Ok(Some(row));
        }
        if at >= self.ts {
            return Ok(None);
        }
        let mut from = place.to_vec();
        from.extend_from_slice(&(at.0 + 1).to_be_bytes());
        let mut to = place.to_vec();
        to.extend_from_slice(&u64::MAX.to_be_bytes());
        let Some(version) = self
            .reader
            .range(Tree::History, (&from, &to), false)?
            .next()
        else {
            return Ok(None);
        };
        let (_, value) = version?;
        let (begin, row) = split_value(&value)?;
        Ok((begin <= at).then(|| row.to_vec()))
    }

    /// The version that holds now, with its begin.
    ///
    /// # Errors
    /// Faults.
    pub fn current(&self, place: &[u8]) -> Result<Option<(CommitTs, Vec<u8>)>> {
        let Some(value) = self.reader.get(Tree::Current, place)? else {
            return Ok(None);
        };
        let (begin, row) = split_value(&value)?;
        let begin_row = (begin, row.len());
        let mut value = value;
        value.drain(..BEGIN_BYTES);
        debug_assert_eq!(value.len(), begin_row.1);
        Ok(Some((begin_row.0, value)))
    }

    /// When the key last changed: the begin of its version, or the end of its last one.
    ///
    /// # Errors
    /// Faults.
    pub fn modified(&self, place: &[u8]) -> Result<Option<CommitTs>> {
        if let Some((begin, _)) = self.current(place)? {
            return Ok(Some(begin));
        }
        let mut to = place.to_vec();
        to.extend_from_slice(&u64::MAX.to_be_bytes());
        let mut from = place.to_vec();
        from.extend_from_slice(&[0; END_BYTES]);
        match self.reader.range(Tree::History, (&from, &to), true)?.next() {
            Some(version) => Ok(Some(split_ended(&version?.0)?.1)),
            None => Ok(None),
        }
    }

    /// The rows at places in `[from, to)` as of `at`, in order or in reverse.
    ///
    /// # Errors
    /// `BelowHorizon`, faults.
    pub fn range(
        &self,
        from: &[u8],
        to: &[u8],
        at: CommitTs,
        reverse: bool,
    ) -> Result<VersionRange> {
        self.check(at)?;
        VersionRange::open(self, from, to, at, reverse)
    }
}
