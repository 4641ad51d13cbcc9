//! Sorted tables of byte keys and byte values with atomic durable transactions: our own small trait,
//! so that the engine below can change without anybody above noticing.
//!
//! Invariant: a transaction is on the medium as a whole when `commit` returns, or not at all; a
//! [`TableReader`] sees one committed state for as long as it lives.

use crate::error::Result;
use std::fmt::Debug;
use std::ops::Bound;
use std::sync::Arc;

mod redb_tables;

pub use redb_tables::{RedbOptions, RedbTables};

/// A table's name and its place in the list the store was opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Table {
    /// Index in the list of tables.
    pub index: usize,
    /// Name on disk.
    pub name: &'static str,
}

/// A row: key and value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Rows of a scan, in key order (or its reverse).
pub type Rows<'a> = Box<dyn Iterator<Item = Result<Row>> + 'a>;

/// A set of sorted tables with one writer and any number of readers.
pub trait Tables: Debug + Send + Sync {
    /// A reader of the last committed state.
    fn reader(&self) -> Result<Arc<dyn TableReader>>;
    /// Begins the one write transaction; waits while another is open. Dropping it undoes it.
    fn begin(&self) -> Result<Box<dyn TableTransaction>>;
    /// Bytes of the file.
    fn bytes(&self) -> Result<u64>;
}

/// One committed state.
pub trait TableReader: Send + Sync {
    /// Gives the value of `key` to `visit`, if there is one, and says whether there was.
    fn get(&self, table: Table, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool>;
    /// Rows with keys between the bounds, ascending, or descending if `reverse`.
    fn scan<'a>(
        &'a self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Rows<'a>>;

    /// The value of `key`, copied.
    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut value = None;
        self.get(table, key, &mut |bytes| value = Some(bytes.to_vec()))?;
        Ok(value)
    }
}

/// An open write transaction.
pub trait TableTransaction: Send {
    /// Opens one table for writing. At most one handle of a table may live at a time.
    fn table<'a>(&'a self, table: Table) -> Result<Box<dyn TableWriter + 'a>>;
    /// Puts all changes on the medium, synced.
    fn commit(self: Box<Self>) -> Result<()>;
}

/// One table inside a write transaction. Changes in ascending key order are fastest.
pub trait TableWriter {
    /// The value of `key` with the transaction's own changes.
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;
    /// Sets the value of `key`; true if there was one before.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<bool>;
    /// Removes `key`; true if it was there.
    fn remove(&mut self, key: &[u8]) -> Result<bool>;
}
