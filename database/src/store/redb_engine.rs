//! The trees on redb.
//!
//! A durable commit is two syncs with quick repair, so that an open after a crash does not walk the
//! file. redb may panic on a damaged page; every call into it is caught and told as damage.

use super::backend::Backend;
use super::engine::{Engine, EngineReader, EngineWriter, Pair, Rows, Tree};
use super::{Result, StoreError};
use cairn_storage::disk::Disk;
use redb::{
    Builder, Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, Table,
    TableDefinition, WriteTransaction,
};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

type Bytes = &'static [u8];

fn definition(tree: Tree) -> TableDefinition<'static, Bytes, Bytes> {
    TableDefinition::new(match tree {
        Tree::Current => "cur",
        Tree::History => "hist",
        Tree::Intents => "lock",
        Tree::Meta => "meta",
    })
}

fn fault<E: Into<redb::Error>>(doing: &'static str) -> impl Fn(E) -> StoreError {
    move |error| match error.into() {
        redb::Error::Corrupted(what) => StoreError::damaged(what),
        other => StoreError::Engine {
            doing,
            cause: other.to_string(),
        },
    }
}

fn guarded<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    let caught = catch_unwind(AssertUnwindSafe(call));
    caught.unwrap_or_else(|_| Err(StoreError::damaged("a page of the store makes no sense")))
}

/// Trees in one redb file.
pub struct RedbEngine {
    database: Database,
}

impl RedbEngine {
    /// Opens or creates the file. A new file gets its name only when it is complete.
    ///
    /// # Errors
    /// `Damaged` if it is not ours; faults of the disk.
    pub fn open(disk: &dyn Disk, path: &Path, cache_bytes: usize) -> Result<Self> {
        let refused = |doing| {
            move |error: io::Error| StoreError::Engine {
                doing,
                cause: error.to_string(),
            }
        };
        match disk.open(path) {
            Ok(file) => Self::open_file(Backend(file), cache_bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let unfinished = path.with_extension("new");
                let file = disk
                    .create(&unfinished)
                    .map_err(refused("create its file"))?;
                file.set_len(0).map_err(refused("cut its file"))?;
                let engine = Self::open_file(Backend(file), cache_bytes)?;
                disk.rename(&unfinished, path)
                    .map_err(refused("rename its file"))?;
                let directory = path.parent().unwrap_or(Path::new("."));
                disk.sync_directory(directory)
                    .map_err(refused("sync its directory"))?;
                Ok(engine)
            }
            Err(error) => Err(refused("open its file")(error)),
        }
    }

    fn open_file(backend: Backend, cache_bytes: usize) -> Result<Self> {
        let mut builder = Builder::new();
        builder.set_cache_size(cache_bytes);
        let open = || builder.create_with_backend(backend).map_err(fault("open"));
        let engine = RedbEngine {
            database: guarded(open)?,
        };
        if engine.reader().is_err() {
            engine.write(true, &mut |_| Ok(()))?;
        }
        Ok(engine)
    }

    fn begin(&self, durable: bool) -> Result<WriteTransaction> {
        let mut transaction = self
            .database
            .begin_write()
            .map_err(fault("begin a write"))?;
        let durability = if durable {
            Durability::Immediate
        } else {
            Durability::None
        };
        let set = transaction.set_durability(durability);
        set.map_err(|error| StoreError::Engine {
            doing: "choose durability",
            cause: error.to_string(),
        })?;
        transaction.set_quick_repair(durable);
        Ok(transaction)
    }
}

impl Engine for RedbEngine {
    fn reader(&self) -> Result<Arc<dyn EngineReader>> {
        guarded(|| {
            let transaction = self.database.begin_read().map_err(fault("begin a read"))?;
            let open = |tree| transaction.open_table(definition(tree));
            let tables = Tree::ALL
                .map(open)
                .into_iter()
                .collect::<Result<Vec<_>, _>>();
            let tables = tables.map_err(fault("open a tree"))?;
            Ok(Arc::new(RedbReader { tables }) as Arc<dyn EngineReader>)
        })
    }

    fn write(
        &self,
        durable: bool,
        change: &mut dyn FnMut(&mut dyn EngineWriter) -> Result<()>,
    ) -> Result<()> {
        guarded(|| {
            let transaction = self.begin(durable)?;
            {
                let open = |tree| transaction.open_table(definition(tree));
                let tables = Tree::ALL
                    .map(open)
                    .into_iter()
                    .collect::<Result<Vec<_>, _>>();
                let mut writer = RedbWriter {
                    tables: tables.map_err(fault("open a tree"))?,
                };
                change(&mut writer)?;
            }
            transaction.commit().map_err(fault("commit"))
        })
    }
}

struct RedbReader {
    tables: Vec<ReadOnlyTable<Bytes, Bytes>>,
}

impl EngineReader for RedbReader {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>> {
        guarded(|| {
            let found = self.tables[tree as usize].get(key).map_err(fault("read"))?;
            Ok(found.map(|value| value.value().to_vec()))
        })
    }

    fn range(&self, tree: Tree, (from, to): (&[u8], &[u8]), reverse: bool) -> Result<Rows> {
        if from >= to {
            return Ok(Box::new(std::iter::empty()));
        }
        let table = &self.tables[tree as usize];
        let range = guarded(|| table.range(from..to).map_err(fault("scan")))?;
        Ok(Box::new(RedbRange {
            range: Some(range),
            reverse,
        }))
    }
}

/// Pairs up to the first fault.
struct RedbRange {
    range: Option<redb::Range<'static, Bytes, Bytes>>,
    reverse: bool,
}

impl Iterator for RedbRange {
    type Item = Result<Pair>;

    fn next(&mut self) -> Option<Result<Pair>> {
        let range = self.range.as_mut()?;
        let reverse = self.reverse;
        let pair = guarded(|| {
            let next = if reverse {
                range.next_back()
            } else {
                range.next()
            };
            let Some(pair) = next else { return Ok(None) };
            let (key, value) = pair.map_err(fault("scan"))?;
            Ok(Some((key.value().to_vec(), value.value().to_vec())))
        });
        if pair.is_err() {
            self.range = None;
        }
        pair.transpose()
    }
}

struct RedbWriter<'a> {
    tables: Vec<Table<'a, Bytes, Bytes>>,
}

impl EngineWriter for RedbWriter<'_> {
    fn get(&mut self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let found = self.tables[tree as usize].get(key).map_err(fault("read"))?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    fn put(&mut self, tree: Tree, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>> {
        let before = self.tables[tree as usize]
            .insert(key, value)
            .map_err(fault("write"))?;
        Ok(before.map(|value| value.value().to_vec()))
    }

    fn remove(&mut self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let before = self.tables[tree as usize]
            .remove(key)
            .map_err(fault("remove"))?;
        Ok(before.map(|value| value.value().to_vec()))
    }

    fn some(&mut self, tree: Tree, (from, to): (&[u8], &[u8]), limit: usize) -> Result<Vec<Pair>> {
        if from >= to {
            return Ok(Vec::new());
        }
        let range = self.tables[tree as usize]
            .range(from..to)
            .map_err(fault("scan"))?;
        let owned =
            |pair: Result<(redb::AccessGuard<'_, Bytes>, redb::AccessGuard<'_, Bytes>), _>| {
                let (key, value) = pair.map_err(fault::<redb::StorageError>("scan"))?;
                Ok((key.value().to_vec(), value.value().to_vec()))
            };
        range.take(limit).map(owned).collect()
    }
}
