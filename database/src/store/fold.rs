//! Applying entries, publishing what they made, and removing what nobody reads any more.

use super::engine::{Engine, EngineWriter, Tree};
use super::meta::Meta;
use super::{Result, StoreError};
use crate::version::{
    CommitTs, END_BYTES, Snapshot, StorageId, place, split_ended, split_place, value,
};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::sync::Arc;

pub use super::meta::Applied;

/// Where the catalog's rows are.
pub const CATALOG: StorageId = StorageId(0);
/// Where the reservations of sequences are: id -> reserved value.
pub const SEQUENCES: StorageId = StorageId(1);
/// Stands for the horizon among the writes of a transaction; no row is ever stored here.
pub const HORIZON: StorageId = StorageId(2);
/// The first storage id for tables and indexes.
pub const FIRST_STORAGE: StorageId = StorageId(16);

/// What becomes of an index entry: its place, and its value or nothing.
pub type Effect = (Vec<u8>, Option<Vec<u8>>);

/// Gives the index entries that follow from rows, so that a plain index needs no room in the log.
pub trait Derive {
    /// The catalog is now what `writer` shows.
    ///
    /// # Errors
    /// Faults of the store, damage of the catalog.
    fn catalog_changed(&mut self, fold: &mut Fold<'_>) -> Result<()>;
    /// The index entries that a changed row takes away (`None`) and makes, as places and values.
    ///
    /// # Errors
    /// A row that its table's indexes cannot read.
    fn entries(
        &mut self,
        storage: StorageId,
        key: &[u8],
        before: Option<&[u8]>,
        after: Option<&[u8]>,
    ) -> Result<Vec<Effect>>;
}

/// For a store without indexes.
#[derive(Debug, Default)]
pub struct NoIndexes;

impl Derive for NoIndexes {
    fn catalog_changed(&mut self, _fold: &mut Fold<'_>) -> Result<()> {
        Ok(())
    }

    fn entries(
        &mut self,
        _storage: StorageId,
        _key: &[u8],
        _before: Option<&[u8]>,
        _after: Option<&[u8]>,
    ) -> Result<Vec<Effect>> {
        Ok(Vec::new())
    }
}

/// An open batch.
pub struct Fold<'a> {
    writer: &'a mut dyn EngineWriter,
    /// What will be written at its end.
    pub meta: Meta,
}

impl Fold<'_> {
    /// The row that holds now, as far as this batch.
    ///
    /// # Errors
    /// Faults.
    pub fn current(&mut self, place: &[u8]) -> Result<Option<Vec<u8>>> {
        let value = self.writer.get(Tree::Current, place)?;
        Ok(value.map(|mut value| {
            value.drain(..8.min(value.len()));
            value
        }))
    }

    /// All rows of a storage that hold now.
    ///
    /// # Errors
    /// Faults.
    pub fn rows(&mut self, storage: StorageId) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let from = place(storage, &[]);
        let to = place(StorageId(storage.0 + 1), &[]);
        let pairs = self.writer.some(Tree::Current, (&from, &to), usize::MAX)?;
        let row = |(place, mut value): (Vec<u8>, Vec<u8>)| {
            value.drain(..8.min(value.len()));
            (place, value)
        };
        Ok(pairs.into_iter().map(row).collect())
    }

    /// Ends the version at a place, if there is one, and begins another, if `row` is given. The row
    /// that was there is returned.
    ///
    /// # Errors
    /// Faults.
    pub fn set(
        &mut self,
        place: &[u8],
        row: Option<&[u8]>,
        ts: CommitTs,
    ) -> Result<Option<Vec<u8>>> {
        let before = match row {
            Some(row) => self.writer.put(Tree::Current, place, &value(ts, row))?,
            None => self.writer.remove(Tree::Current, place)?,
        };
        let Some(mut before) = before else {
            return Ok(None);
        };
        let mut ended = Vec::with_capacity(place.len() + END_BYTES);
        ended.extend_from_slice(place);
        ended.extend_from_slice(&ts.0.to_be_bytes());
        self.writer.put(Tree::History, &ended, &before)?;
        before.drain(..8.min(before.len()));
        Ok(Some(before))
    }

    /// Changes a row of a table and the entries of its plain indexes.
    ///
    /// # Errors
    /// Faults.
    pub fn set_row(
        &mut self,
        derive: &mut dyn Derive,
        storage: StorageId,
        key: &[u8],
        row: Option<&[u8]>,
        ts: CommitTs,
    ) -> Result<()> {
        let before = self.set(&place(storage, key), row, ts)?;
        for (place, value) in derive.entries(storage, key, before.as_deref(), row)? {
            self.set(&place, value.as_deref(), ts)?;
        }
        Ok(())
    }

    /// Keeps a part of a transaction that is not resolved.
    ///
    /// # Errors
    /// Faults.
    pub fn keep_part(&mut self, transaction: &[u8; 16], part: u32, entry: &[u8]) -> Result<()> {
        self.writer
            .put(Tree::Intents, &part_key(transaction, part), entry)?;
        Ok(())
    }

    /// Takes a part out again.
    ///
    /// # Errors
    /// `Damaged` if it is not there.
    pub fn take_part(&mut self, transaction: &[u8; 16], part: u32) -> Result<Vec<u8>> {
        let taken = self
            .writer
            .remove(Tree::Intents, &part_key(transaction, part))?;
        taken.ok_or_else(|| StoreError::damaged(format!("part {part} of a transaction is missing")))
    }

    /// Drops all parts of a transaction.
    ///
    /// # Errors
    /// Faults.
    pub fn drop_parts(&mut self, transaction: &[u8; 16]) -> Result<()> {
        let (from, to) = (part_key(transaction, 0), part_key(transaction, u32::MAX));
        for (key, _) in self.writer.some(Tree::Intents, (&from, &to), usize::MAX)? {
            self.writer.remove(Tree::Intents, &key)?;
        }
        Ok(())
    }
}

fn part_key(transaction: &[u8; 16], part: u32) -> [u8; 20] {
    let mut key = [0; 20];
    key[..16].copy_from_slice(transaction);
    key[16..].copy_from_slice(&part.to_be_bytes());
    key
}

/// The store of one group.
pub struct Store {
    engine: Box<dyn Engine>,
    group: u32,
    published: ArcSwap<Snapshot>,
    writer: Mutex<WriterState>,
}

struct WriterState {
    meta: Meta,
    /// Where the removal of old versions goes on.
    cursor: Vec<u8>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// The store of a group as the engine has it.
    ///
    /// # Errors
    /// Faults.
    pub fn open(engine: Box<dyn Engine>, group: u32) -> Result<Self> {
        let reader = engine.reader()?;
        let meta = Meta::read(&*reader, group)?;
        let snapshot = Snapshot {
            ts: meta.applied.ts,
            catalog_ts: meta.catalog_ts,
            horizon: meta.horizon,
            reader,
        };
        Ok(Store {
            engine,
            group,
            published: ArcSwap::from_pointee(snapshot),
            writer: Mutex::new(WriterState {
                meta,
                cursor: Vec::new(),
            }),
        })
    }

    /// The last published state.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.load_full()
    }

    /// How far the log is applied.
    pub fn applied(&self) -> Applied {
        self.writer.lock().meta.applied.clone()
    }

    /// The incarnation of the log that is applied; zeros before its first entry.
    pub fn incarnation(&self) -> [u8; 16] {
        self.writer.lock().meta.incarnation
    }

    /// Applies a batch in one write transaction and publishes it. After an error nothing of it is
    /// there.
    ///
    /// # Errors
    /// Those of `change`, faults.
    pub fn apply(
        &self,
        durable: bool,
        change: &mut dyn FnMut(&mut Fold<'_>) -> Result<()>,
    ) -> Result<Arc<Snapshot>> {
        let mut state = self.writer.lock();
        let before = state.meta.clone();
        let mut after = before.clone();
        self.engine.write(durable, &mut |writer| {
            let mut fold = Fold {
                writer,
                meta: before.clone(),
            };
            change(&mut fold)?;
            after = fold.meta.clone();
            after.write(writer, self.group, &before)
        })?;
        let snapshot = Arc::new(Snapshot {
            ts: after.applied.ts,
            catalog_ts: after.catalog_ts,
            horizon: after.horizon,
            reader: self.engine.reader()?,
        });
        state.meta = after;
        self.published.store(snapshot.clone());
        Ok(snapshot)
    }

    /// Transactions that have parts here and no resolve.
    ///
    /// # Errors
    /// Faults.
    pub fn unresolved(&self) -> Result<Vec<[u8; 16]>> {
        let reader = self.engine.reader()?;
        let mut found = Vec::new();
        for pair in reader.range(Tree::Intents, (&[], &[0xff; 21]), false)? {
            let (key, _) = pair?;
            let Some(transaction) = key.first_chunk::<16>() else {
                return Err(StoreError::damaged("a part without a transaction"));
            };
            if found.last() != Some(transaction) {
                found.push(*transaction);
            }
        }
        Ok(found)
    }

    /// Puts everything applied so far on the medium. Returns the position that is durable then.
    ///
    /// # Errors
    /// Faults.
    pub fn checkpoint(&self) -> Result<Applied> {
        self.apply(true, &mut |_| Ok(()))?;
        Ok(self.applied())
    }

    /// Looks at up to `limit` ended versions, going round, and removes those that ended at or below
    /// the horizon. Returns how many it looked at and removed.
    ///
    /// # Errors
    /// Faults.
    pub fn collect(&self, limit: usize) -> Result<(usize, usize)> {
        let mut state = self.writer.lock();
        let WriterState { meta, cursor } = &mut *state;
        let mut seen = 0;
        let mut removed = 0;
        self.engine.write(false, &mut |writer| {
            let pairs = writer.some(Tree::History, (cursor, &[0xff; 16]), limit)?;
            seen = pairs.len();
            for (key, _) in &pairs {
                let (place, end) = split_ended(key)?;
                if split_place(place).is_none() {
                    return Err(StoreError::damaged("an old version without a storage id"));
                }
                if end <= meta.horizon {
                    writer.remove(Tree::History, key)?;
                    removed += 1;
                }
            }
            *cursor = match pairs.last() {
                Some((key, _)) if seen == limit => [key.as_slice(), &[0]].concat(),
                _ => Vec::new(),
            };
            Ok(())
        })?;
        // Readers of the state before still have what was removed; new ones do not need it.
        let published = self.published.load();
        self.published.store(Arc::new(Snapshot {
            reader: self.engine.reader()?,
            ..Snapshot::clone(&published)
        }));
        Ok((seen, removed))
    }
}
