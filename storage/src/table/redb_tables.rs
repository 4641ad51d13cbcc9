//! The tables on redb.
//!
//! Decisions, from measurements: every commit is immediate (two syncs) with quick repair, so that an
//! open after a crash does not walk the file; the cache size is always given; savepoints are never
//! used. redb trusts its pages on a plain read and may panic on a damaged one; every call into it is
//! caught here and told as damage. Files are reached through [`crate::disk`], so the same code runs on the simulated disk.

use super::{Row, Rows, Table, TableReader, TableTransaction, TableWriter, Tables};
use crate::disk::{Disk, DiskFile};
use crate::error::{IoContext, Result, StorageError};
use redb::{
    BackendError, Builder, Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable,
    StorageBackend, TableDefinition, WriteTransaction,
};
use std::fmt;
use std::io;
use std::ops::{Bound, Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Bytes = &'static [u8];

/// How a file of tables is opened.
#[derive(Debug, Clone, Copy)]
pub struct RedbOptions {
    /// Memory for cached pages, in bytes.
    pub cache_bytes: usize,
}

impl Default for RedbOptions {
    /// 4 MiB: what a small node's tables need; a public node asks for more.
    fn default() -> Self {
        RedbOptions {
            cache_bytes: 4 << 20,
        }
    }
}

/// Tables in one redb file.
pub struct RedbTables {
    database: Quiet<Database>,
    tables: &'static [Table],
    path: PathBuf,
    file: Arc<dyn DiskFile>,
}

impl fmt::Debug for RedbTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbTables")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn definition(table: Table) -> TableDefinition<'static, Bytes, Bytes> {
    TableDefinition::new(table.name)
}

fn fault(doing: &'static str) -> impl Fn(redb::Error) -> StorageError {
    move |error| match error {
        redb::Error::Corrupted(what) => StorageError::damaged(format!("table file: {what}")),
        other => StorageError::Table {
            doing,
            cause: other.to_string(),
        },
    }
}

/// A value of redb whose end does not panic either: a damaged page may first be met when a database is
/// closed or a transaction given up.
struct Quiet<T>(Option<T>);

impl<T> Quiet<T> {
    fn new(value: T) -> Self {
        Quiet(Some(value))
    }

    fn into_inner(mut self) -> T {
        self.0.take().expect("it is taken only here")
    }
}

impl<T> Deref for Quiet<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is taken only at the end")
    }
}

impl<T> DerefMut for Quiet<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("it is taken only at the end")
    }
}

impl<T> Drop for Quiet<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
    }
}

/// Calls into redb; a panic there means a page that makes no sense.
fn guarded<T>(call: impl FnOnce() -> Result<T>, name: impl FnOnce() -> String) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        let what = format!("{}: a page of the table file makes no sense", name());
        Err(StorageError::damaged(what))
    })
}

impl RedbTables {
    /// Opens or creates the file at `path` with the given tables. A new file gets its name only when
    /// it is complete.
    ///
    /// # Errors
    /// `Damaged` if the file is not one of ours or its structure is broken.
    pub fn open(
        disk: &dyn Disk,
        path: &Path,
        tables: &'static [Table],
        options: RedbOptions,
    ) -> Result<Self> {
        match disk.open(path) {
            Ok(file) => Self::open_file(file, path, tables, options),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::create(disk, path, tables, options)
            }
            Err(error) => Err(error).at("open", path),
        }
    }

    fn create(
        disk: &dyn Disk,
        path: &Path,
        tables: &'static [Table],
        options: RedbOptions,
    ) -> Result<Self> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let unfinished = path.with_file_name(name);
        let file = disk.create(&unfinished).at("create", &unfinished)?;
        // What an interrupted creation left is no table file.
        file.set_len(0).at("cut", &unfinished)?;
        let store = Self::open_file(file, path, tables, options)?;
        disk.rename(&unfinished, path).at("rename to", path)?;
        let directory = path.parent().unwrap_or(Path::new("."));
        disk.sync_directory(directory)
            .at("sync directory", directory)?;
        Ok(store)
    }

    fn open_file(
        file: Arc<dyn DiskFile>,
        path: &Path,
        tables: &'static [Table],
        options: RedbOptions,
    ) -> Result<Self> {
        let mut builder = Builder::new();
        builder.set_cache_size(options.cache_bytes);
        let backend = Backend(file.clone());
        let open = || {
            builder
                .create_with_backend(backend)
                .map_err(|e| open_fault(path, e))
        };
        let database = guarded(open, || path.display().to_string())?;
        let store = RedbTables {
            database: Quiet::new(database),
            tables,
            path: path.to_owned(),
            file,
        };
        store.create_tables()?;
        Ok(store)
    }

    /// Creates missing tables, without a commit if none is missing.
    fn create_tables(&self) -> Result<()> {
        if self.open_reader().is_ok() {
            return Ok(());
        }
        let transaction = self.begin()?;
        for &table in self.tables {
            transaction.table(table)?;
        }
        transaction.commit()
    }

    fn open_reader(&self) -> Result<RedbReader> {
        guarded(
            || self.try_open_reader(),
            || self.path.display().to_string(),
        )
    }

    fn try_open_reader(&self) -> Result<RedbReader> {
        let transaction = self
            .database
            .begin_read()
            .map_err(|e| fault("begin a read")(e.into()))?;
        let tables = self
            .tables
            .iter()
            .map(|&table| transaction.open_table(definition(table)));
        let tables = tables.collect::<Result<Vec<_>, _>>();
        let tables = tables.map_err(|e| fault("open a table")(e.into()))?;
        Ok(RedbReader {
            tables: Quiet::new(tables),
        })
    }
}

fn open_fault(path: &Path, error: redb::DatabaseError) -> StorageError {
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => StorageError::Locked {
            path: path.to_owned(),
            holder: None,
        },
        redb::DatabaseError::Storage(redb::StorageError::Io(source)) => {
            if source.kind() == io::ErrorKind::InvalidData {
                let what = format!("{}: {source}", path.display());
                return StorageError::damaged(what);
            }
            StorageError::Io {
                doing: "open",
                path: path.to_owned(),
                source,
            }
        }
        other => StorageError::damaged(format!("{}: {other}", path.display())),
    }
}

impl Tables for RedbTables {
    fn reader(&self) -> Result<Arc<dyn TableReader>> {
        Ok(Arc::new(self.open_reader()?))
    }

    fn begin(&self) -> Result<Box<dyn TableTransaction>> {
        let begin = || {
            self.database
                .begin_write()
                .map_err(|e| fault("begin a write")(e.into()))
        };
        let mut transaction = guarded(begin, || self.path.display().to_string())?;
        transaction
            .set_durability(Durability::Immediate)
            .map_err(|error| StorageError::Table {
                doing: "begin",
                cause: error.to_string(),
            })?;
        transaction.set_quick_repair(true);
        Ok(Box::new(RedbTransaction(Quiet::new(transaction))))
    }

    fn bytes(&self) -> Result<u64> {
        self.file.len().at("measure", &self.path)
    }
}

struct RedbReader {
    tables: Quiet<Vec<ReadOnlyTable<Bytes, Bytes>>>,
}

impl TableReader for RedbReader {
    fn get(&self, table: Table, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let read = || {
            let found = self.tables[table.index]
                .get(key)
                .map_err(|e| fault("read")(e.into()))?;
            if let Some(value) = &found {
                visit(value.value());
            }
            Ok(found.is_some())
        };
        guarded(read, || format!("table {}", table.name))
    }

    fn scan<'a>(
        &'a self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Rows<'a>> {
        // An empty range is no error here; redb's B-tree would panic as BTreeMap does.
        if is_empty(from, to) {
            return Ok(Box::new(std::iter::empty()));
        }
        let open = || {
            let range = self.tables[table.index].range::<&[u8]>((from, to));
            range.map_err(|e| fault("scan")(e.into()))
        };
        let range = guarded(open, || format!("table {}", table.name))?;
        Ok(Box::new(GuardedRange {
            range: Some(Quiet::new(range)),
            table,
            reverse,
        }))
    }
}

/// Rows of a range, up to the first error or damaged page.
struct GuardedRange<'a> {
    range: Option<Quiet<redb::Range<'a, Bytes, Bytes>>>,
    table: Table,
    reverse: bool,
}

impl Iterator for GuardedRange<'_> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        let mut range = self.range.take()?;
        let step = || {
            let item = if self.reverse {
                range.next_back()
            } else {
                range.next()
            };
            let Some(item) = item else { return Ok(None) };
            let (key, value) = item.map_err(|e| fault("scan")(e.into()))?;
            Ok(Some((key.value().to_vec(), value.value().to_vec())))
        };
        let row = guarded(step, || format!("table {}", self.table.name));
        if matches!(row, Ok(Some(_))) {
            self.range = Some(range);
        }
        row.transpose()
    }
}

fn is_empty(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Excluded(high))
        | (Bound::Excluded(low), Bound::Included(high)) => low >= high,
        _ => false,
    }
}

struct RedbTransaction(Quiet<WriteTransaction>);

impl TableTransaction for RedbTransaction {
    fn table<'a>(&'a self, table: Table) -> Result<Box<dyn TableWriter + 'a>> {
        let open = || {
            let opened = self.0.open_table(definition(table));
            opened.map_err(|e| fault("open a table")(e.into()))
        };
        let opened = guarded(open, || format!("table {}", table.name))?;
        Ok(Box::new(RedbWriter(Quiet::new(opened))))
    }

    fn commit(self: Box<Self>) -> Result<()> {
        let commit = || {
            self.0
                .into_inner()
                .commit()
                .map_err(|e| fault("commit")(e.into()))
        };
        guarded(commit, || "commit".to_owned())
    }
}

struct RedbWriter<'a>(Quiet<redb::Table<'a, Bytes, Bytes>>);

impl TableWriter for RedbWriter<'_> {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let read = || {
            let found = self.0.get(key).map_err(|e| fault("read")(e.into()))?;
            Ok(found.map(|value| value.value().to_vec()))
        };
        guarded(read, || "read for a write".to_owned())
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<bool> {
        let write = || {
            let before = self
                .0
                .insert(key, value)
                .map_err(|e| fault("write")(e.into()))?;
            Ok(before.is_some())
        };
        guarded(write, || "write".to_owned())
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool> {
        let remove = || {
            let before = self.0.remove(key).map_err(|e| fault("remove")(e.into()))?;
            Ok(before.is_some())
        };
        guarded(remove, || "remove".to_owned())
    }
}

/// redb's view of a [`DiskFile`].
#[derive(Debug)]
struct Backend(Arc<dyn DiskFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }

    fn try_lock_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> std::result::Result<bool, BackendError> {
        let whole =
            matches!(start, Bound::Unbounded | Bound::Included(0)) && end == Bound::Unbounded;
        if !whole {
            return Err(BackendError::Unsupported);
        }
        self.0.try_lock().map_err(BackendError::Io)
    }

    fn unlock_range(
        &self,
        _start: Bound<u64>,
        _end: Bound<u64>,
    ) -> std::result::Result<(), BackendError> {
        // The lock goes with the file handle, which this backend owns.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FakeDisk;

    const A: Table = Table {
        index: 0,
        name: "a",
    };
    const B: Table = Table {
        index: 1,
        name: "b",
    };

    fn keys(rows: Rows<'_>) -> Vec<u8> {
        rows.map(|row| row.unwrap().0[0]).collect()
    }

    #[test]
    fn scans_keep_their_bounds_and_readers_their_state() {
        let path = Path::new("/t");
        let store = RedbTables::open(&FakeDisk::new(), path, &[A, B], RedbOptions::default());
        let store = store.unwrap();
        let transaction = store.begin().unwrap();
        {
            let mut rows = transaction.table(A).unwrap();
            for key in [1u8, 3, 5, 7] {
                assert!(!rows.put(&[key], b"x").unwrap());
            }
            assert!(rows.put(&[7], b"y").unwrap());
            assert_eq!(rows.value(&[7]).unwrap().unwrap(), b"y");
            assert!(rows.remove(&[7]).unwrap() && !rows.remove(&[7]).unwrap());
        }
        transaction.commit().unwrap();
        let before = store.reader().unwrap();
        let transaction = store.begin().unwrap();
        transaction.table(A).unwrap().put(&[9], b"x").unwrap();
        drop(transaction);
        let transaction = store.begin().unwrap();
        transaction.table(A).unwrap().put(&[6], b"x").unwrap();
        transaction.commit().unwrap();
        let after = store.reader().unwrap();
        let (one, five): (&[u8], &[u8]) = (&[1], &[5]);
        let scan = |low, high, reverse| keys(after.scan(A, low, high, reverse).unwrap());
        assert_eq!(
            scan(Bound::Unbounded, Bound::Unbounded, false),
            [1, 3, 5, 6]
        );
        assert_eq!(
            scan(Bound::Excluded(one), Bound::Included(five), false),
            [3, 5]
        );
        assert_eq!(
            scan(Bound::Included(one), Bound::Excluded(five), true),
            [3, 1]
        );
        assert_eq!(
            scan(Bound::Included(five), Bound::Excluded(five), false),
            []
        );
        assert_eq!(scan(Bound::Excluded(five), Bound::Included(one), false), []);
        assert_eq!(
            keys(
                before
                    .scan(A, Bound::Unbounded, Bound::Unbounded, false)
                    .unwrap()
            ),
            [1, 3, 5]
        );
        assert_eq!(
            keys(
                after
                    .scan(B, Bound::Unbounded, Bound::Unbounded, false)
                    .unwrap()
            ),
            []
        );
    }

    #[test]
    fn a_file_that_is_no_table_file_is_damage_and_a_second_opening_is_refused() {
        let disk = FakeDisk::new();
        let path = Path::new("/t");
        disk.create(path).unwrap().write_at(0, &[7; 8192]).unwrap();
        let refused = RedbTables::open(&disk, path, &[A], RedbOptions::default()).unwrap_err();
        assert!(matches!(refused, StorageError::Damaged { .. }), "{refused}");
        let disk = FakeDisk::new();
        let held = RedbTables::open(&disk, path, &[A], RedbOptions::default()).unwrap();
        let refused = RedbTables::open(&disk, path, &[A], RedbOptions::default()).unwrap_err();
        assert!(matches!(refused, StorageError::Locked { .. }), "{refused}");
        drop(held);
        RedbTables::open(&disk, path, &[A], RedbOptions::default()).unwrap();
    }
}
