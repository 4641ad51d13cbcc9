//! A statement as it was parsed, and one that is ready to be executed.

use super::answer::Column;
use super::bind::Bound;
use super::types::SqlType;
use super::utility::Utility;
use crate::catalog::Schema;
use crate::lock::Mode;
use parking_lot::Mutex;
use std::sync::Arc;

/// What a statement says.
#[derive(Debug, Clone)]
pub(super) enum Command {
    /// Something about data or the catalog.
    Sql(Box<sqlparser::ast::Statement>),
    /// Something about the session.
    Utility(Utility),
}

/// A statement of a text.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Its own text.
    pub(super) text: Arc<str>,
    pub(super) command: Arc<Command>,
    /// The modes of its FOR clauses, in order.
    pub(super) locks: Vec<Mode>,
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

/// What a statement was bound to, and the catalog it was bound with.
type Plan = Option<(Arc<Schema>, Arc<Bound>)>;

/// A statement with its types. Shared: a portal keeps it while the name is given to another one.
#[derive(Debug)]
pub struct Prepared {
    pub(super) statement: Statement,
    pub(super) parameters: Vec<SqlType>,
    pub(super) columns: Vec<Column>,
    pub(super) kind: Kind,
    /// Bound again when the catalog has changed.
    pub(super) bound: Mutex<Plan>,
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
