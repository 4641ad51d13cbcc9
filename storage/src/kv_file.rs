//! A small file of tables for whoever needs to keep a few rows: wallet metadata, peers, a dump of the
//! mempool.
//!
//! Invariant: each call is one durable transaction; what a call returned `Ok` for is on the medium.

use crate::disk::{Disk, RealDisk};
use crate::error::Result;
use crate::table::{RedbOptions, RedbTables, Row, Table, Tables};
use std::ops::Bound;
use std::path::Path;

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets a row.
    Put(Table, Vec<u8>, Vec<u8>),
    /// Removes a row, if it is there.
    Remove(Table, Vec<u8>),
}

/// A file of small tables.
#[derive(Debug)]
pub struct KvFile {
    tables: RedbTables,
}

impl KvFile {
    /// Opens or creates the file (mode 0600). `tables` lists all its tables, each at its own index.
    pub fn open(path: &Path, tables: &'static [Table]) -> Result<Self> {
        Self::open_on(&RealDisk, path, tables)
    }

    /// Like [`KvFile::open`] on a given disk.
    pub fn open_on(disk: &dyn Disk, path: &Path, tables: &'static [Table]) -> Result<Self> {
        let ordered = tables
            .iter()
            .enumerate()
            .all(|(index, table)| table.index == index);
        assert!(ordered, "tables must stand at their own index");
        let options = RedbOptions {
            cache_bytes: 1 << 20,
        };
        Ok(KvFile {
            tables: RedbTables::open(disk, path, tables, options)?,
        })
    }

    /// The value of a key.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.tables.reader()?.value(table, key)
    }

    /// Sets one row.
    pub fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<()> {
        self.apply(vec![Change::Put(table, key.to_vec(), value.to_vec())])
    }

    /// Removes one row, if it is there.
    pub fn remove(&self, table: Table, key: &[u8]) -> Result<()> {
        self.apply(vec![Change::Remove(table, key.to_vec())])
    }

    /// Makes all changes or none. Of several changes of one key the last one counts.
    pub fn apply(&self, changes: Vec<Change>) -> Result<()> {
        let transaction = self.tables.begin()?;
        for change in &changes {
            match change {
                Change::Put(table, key, value) => {
                    transaction.table(*table)?.put(key, value)?;
                }
                Change::Remove(table, key) => {
                    transaction.table(*table)?.remove(key)?;
                }
            }
        }
        transaction.commit()
    }

    /// Replaces all rows of a table.
    pub fn replace(&self, table: Table, rows: &[Row]) -> Result<()> {
        let mut changes: Vec<Change> = self
            .rows(table, &[])?
            .into_iter()
            .map(|(key, _)| Change::Remove(table, key))
            .collect();
        changes.extend(
            rows.iter()
                .map(|(k, v)| Change::Put(table, k.clone(), v.clone())),
        );
        self.apply(changes)
    }

    /// All rows whose key begins with `prefix`, in key order.
    pub fn rows(&self, table: Table, prefix: &[u8]) -> Result<Vec<Row>> {
        let reader = self.tables.reader()?;
        let rows = reader.scan(table, Bound::Included(prefix), Bound::Unbounded, false)?;
        rows.take_while(|row| {
            row.as_ref()
                .map_or(true, |(key, _)| key.starts_with(prefix))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: Table = Table {
        index: 0,
        name: "labels",
    };
    const PEERS: Table = Table {
        index: 1,
        name: "peers",
    };
    const TABLES: &[Table] = &[LABELS, PEERS];

    #[test]
    fn rows_survive_a_reopen_and_scan_by_prefix() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.redb");
        let file = KvFile::open(&path, TABLES).unwrap();
        for key in ["a1", "a2", "b1"] {
            file.put(LABELS, key.as_bytes(), b"x").unwrap();
        }
        file.remove(LABELS, b"a1").unwrap();
        file.replace(PEERS, &[(b"p".to_vec(), b"1".to_vec())])
            .unwrap();
        file.replace(PEERS, &[(b"q".to_vec(), b"2".to_vec())])
            .unwrap();
        drop(file);
        let file = KvFile::open(&path, TABLES).unwrap();
        let keys: Vec<_> = file
            .rows(LABELS, b"a")
            .unwrap()
            .into_iter()
            .map(|row| row.0)
            .collect();
        assert_eq!(keys, [b"a2".to_vec()]);
        assert_eq!(file.get(LABELS, b"b1").unwrap().unwrap(), b"x");
        assert_eq!(
            file.rows(PEERS, b"").unwrap(),
            [(b"q".to_vec(), b"2".to_vec())]
        );
    }
}
