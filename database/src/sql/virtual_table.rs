//! Read-only tables that others give: `chain.*` of the node, `cairn.*`, `pg_catalog`.
//!
//! Invariant: a statement reads each provider through one pinned snapshot; above READ COMMITTED the
//! whole transaction does.

use super::error::Result;
use super::types::SqlType;
use crate::catalog::Schema;
use crate::types::Value;
use std::fmt::Debug;
use std::ops::Bound;
use std::sync::Arc;

/// A column of a virtual table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: SqlType,
    /// It is never NULL.
    pub not_null: bool,
}

/// Columns by which rows are found without reading all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualKey {
    /// The name that EXPLAIN shows.
    pub name: String,
    /// Its columns.
    pub columns: Vec<usize>,
    /// At most one row has a value.
    pub unique: bool,
    /// It answers ranges of its first column, in order.
    pub ordered: bool,
}

/// A virtual table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualTable {
    /// Its name.
    pub name: String,
    /// Its oid.
    pub oid: u32,
    /// Its columns.
    pub columns: Vec<VirtualColumn>,
    /// Its keys.
    pub keys: Vec<VirtualKey>,
}

/// What the statement asks of a table. A provider may give more rows than asked for: the condition
/// is checked again.
#[derive(Debug, Clone, PartialEq)]
pub enum Pushed {
    /// All rows.
    All,
    /// Rows whose key's first columns have these values.
    Equal {
        /// The place of the key in the table's list.
        key: usize,
        /// Values of its first columns, none of them NULL.
        values: Vec<Value>,
    },
    /// Rows whose key's first column is in a range.
    Range {
        /// The place of the key in the table's list.
        key: usize,
        /// From here on.
        from: Bound<Value>,
        /// Up to here.
        to: Bound<Value>,
        /// Greatest first.
        reverse: bool,
    },
}

/// What a provider may look at.
#[derive(Debug, Clone)]
pub struct VirtualContext {
    /// The catalog as the statement sees it, its transaction's own changes included.
    pub schema: Arc<Schema>,
    /// The session's user.
    pub user: Arc<str>,
    /// The session's database.
    pub database: Arc<str>,
    /// The schemas of `search_path`.
    pub search_path: Arc<[String]>,
}

/// Rows of a virtual table.
pub type VirtualRows = Box<dyn Iterator<Item = Result<Vec<Value>>> + Send>;

/// Virtual tables of one schema.
pub trait VirtualTables: Debug + Send + Sync {
    /// The schema they are in.
    fn schema(&self) -> &str;
    /// The tables.
    fn tables(&self) -> &[Arc<VirtualTable>];
    /// Pins what is there now.
    ///
    /// # Errors
    /// What the provider says.
    fn pin(&self) -> Result<Arc<dyn VirtualSnapshot>>;
    /// A function that only this provider can compute (`pg_get_indexdef`), by name and number of
    /// arguments.
    fn function(&self, name: &str, arguments: usize) -> Option<VirtualFunction> {
        let _ = (name, arguments);
        None
    }
}

/// What a provider had at one moment.
pub trait VirtualSnapshot: Debug + Send + Sync {
    /// The rows of a table.
    ///
    /// # Errors
    /// 72000 when the snapshot is too old, faults.
    fn scan(
        &self,
        table: &VirtualTable,
        context: &VirtualContext,
        pushed: &Pushed,
    ) -> Result<VirtualRows>;
}

/// A function of the catalog: its type and its body.
#[derive(Debug, Clone, Copy)]
pub struct VirtualFunction {
    /// The type of its value.
    pub returns: SqlType,
    /// Computes it. Oids come as `BigInt`, names as `Text`.
    pub evaluate: fn(&[Value], &VirtualContext) -> Result<Value>,
}
