//! What a statement answers: rows as they are computed, a command tag, or a copy in either direction.
//!
//! Invariant: rows come one at a time and are computed when they are asked for, unless the plan must
//! have them all first (a sort, a group, a lock).

use super::copy::{CopyFormat, CopyOut};
use super::error::Result;
use super::types::SqlType;
use crate::types::Value;

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: SqlType,
    /// PostgreSQL's type modifier (`atttypmod`), -1 if there is none.
    pub modifier: i32,
    /// The table's oid and the column's number from 1, for a plain column of a table.
    pub origin: Option<(u32, i16)>,
}

impl Column {
    /// A computed column.
    pub fn new(name: impl Into<String>, data_type: SqlType) -> Self {
        Column {
            name: name.into(),
            data_type,
            modifier: -1,
            origin: None,
        }
    }
}

/// Rows on their way.
pub type RowIterator = Box<dyn Iterator<Item = Result<Vec<Value>>> + Send>;

/// The rows of an answer, with the tag that follows them.
pub struct Rows {
    /// Their columns.
    pub columns: Vec<Column>,
    pub(super) rows: RowIterator,
    /// `SELECT`, `INSERT 0`, `UPDATE`...: the number of rows comes behind it.
    pub(super) tag: &'static str,
    pub(super) count: u64,
    /// The count that the tag says where it is not that of the rows.
    pub(super) fixed: Option<String>,
}

impl Rows {
    pub(super) fn new(columns: Vec<Column>, rows: RowIterator, tag: &'static str) -> Self {
        Rows {
            columns,
            rows,
            tag,
            count: 0,
            fixed: None,
        }
    }

    /// The command tag, as of the rows taken so far (`SELECT 2`).
    pub fn tag(&self) -> String {
        match &self.fixed {
            Some(tag) => tag.clone(),
            None => format!("{} {}", self.tag, self.count),
        }
    }

    /// Rows taken so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// A portal that goes on after a limit counts each batch by itself.
    pub fn restart_count(&mut self) {
        self.count = 0;
    }
}

/// The next row. After an error the session must be told with `Session::fail`.
impl Iterator for Rows {
    type Item = Result<Vec<Value>>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next();
        self.count += u64::from(matches!(row, Some(Ok(_))));
        row
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows")
            .field("columns", &self.columns)
            .field("tag", &self.tag())
            .finish_non_exhaustive()
    }
}

/// The answer of a statement.
#[derive(Debug)]
pub enum Answer {
    /// Rows.
    Rows(Rows),
    /// A command tag (`INSERT 0 3`, `CREATE TABLE`, `BEGIN`).
    Command(String),
    /// The session waits for `Session::copy_data`, then `copy_done` or `copy_fail`.
    CopyIn {
        /// Text or CSV.
        format: CopyFormat,
        /// Number of columns.
        columns: usize,
    },
    /// Lines for the client.
    CopyOut(CopyOut),
    /// Nothing was asked.
    Empty,
}
