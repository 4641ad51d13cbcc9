//! A statement as it was parsed, and one that is ready to be executed.

use super::answer::Column;
use super::types::SqlType;
use std::sync::Arc;

/// A statement of a text.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Its own text.
    pub(super) text: Arc<str>,
}

impl Statement {
    /// Its own text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// What kind of statement it is, as far as a protocol cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It gives rows (also with RETURNING, SHOW, EXPLAIN).
    Rows,
    /// It gives a tag.
    Command,
    /// COPY FROM STDIN.
    CopyIn,
    /// COPY TO STDOUT.
    CopyOut,
    /// BEGIN, COMMIT, ROLLBACK and the like: also in a failed transaction.
    Transaction,
    /// Nothing.
    Empty,
}

/// A statement with its types. Shared: a portal keeps it while the name is given to another one.
#[derive(Debug)]
pub struct Prepared {
    pub(super) statement: Statement,
    pub(super) parameters: Vec<SqlType>,
    pub(super) columns: Vec<Column>,
    pub(super) kind: Kind,
}

impl Prepared {
    /// The types of its parameters.
    pub fn parameters(&self) -> &[SqlType] {
        &self.parameters
    }

    /// The columns of its rows; none if it gives no rows.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// What kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The statement.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }
}
