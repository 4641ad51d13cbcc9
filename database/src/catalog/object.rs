//! What the catalog holds: tables with their columns and constraints, indexes, sequences.
//!
//! Invariant: an object's bytes are its format number and its `postcard` encoding; fields are only
//! added behind a new number.

use crate::entry::StorageId;
use crate::key::Direction;
use crate::store::StoreError;
use crate::types::DataType;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

const FORMAT: u8 = 1;

/// A column of a table. Its place in the list is its place in the rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// NULL is refused.
    pub not_null: bool,
    /// The default's expression as SQL.
    pub default: Option<String>,
    /// The value of rows that were written before the column was added, as a row of one column.
    pub missing: Option<Vec<u8>>,
    /// Dropped: its place in the rows stays.
    pub dropped: bool,
}

/// A CHECK constraint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// Its expression as SQL.
    pub expression: String,
}

/// When a constraint is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Timing {
    /// With each row.
    Immediate,
    /// DEFERRABLE INITIALLY IMMEDIATE: at the end of the statement, or where SET CONSTRAINTS says.
    Deferrable,
    /// DEFERRABLE INITIALLY DEFERRED: at the commit.
    Deferred,
}

/// What becomes of a row whose parent goes away or changes its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// The change is refused, at the end of the statement.
    NoAction,
    /// The change is refused at once.
    Restrict,
    /// The row goes, or changes, too.
    Cascade,
    /// Its columns become NULL.
    SetNull,
}

/// A FOREIGN KEY constraint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// Its name.
    pub name: String,
    /// The table's own columns.
    pub columns: Vec<usize>,
    /// The table it points to.
    pub parent: u64,
    /// The parent's columns: those of its primary key or of a unique index, in that order.
    pub parent_columns: Vec<usize>,
    /// When the parent goes.
    pub on_delete: Action,
    /// When the parent's key changes.
    pub on_update: Action,
    /// When it is checked.
    pub timing: Timing,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its id, for ever.
    pub id: u64,
    /// Where its rows are; TRUNCATE and rewrites change it.
    pub storage: u64,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// The columns of its primary key; a table without one has a hidden `bigint` as its last column.
    pub primary_key: Vec<usize>,
    /// The primary key's constraint.
    pub primary_name: String,
    /// CHECK constraints.
    pub checks: Vec<Check>,
    /// FOREIGN KEY constraints.
    pub foreign_keys: Vec<ForeignKey>,
    /// The last column is hidden and numbers the rows.
    pub hidden_key: bool,
    /// `fillfactor` and the like: stored and shown.
    pub options: Vec<(String, String)>,
}

impl Table {
    /// Where its rows are.
    pub fn storage(&self) -> StorageId {
        StorageId(self.storage)
    }

    /// The place of a column by its name.
    pub fn column(&self, name: &str) -> Option<usize> {
        let is_it = |column: &Column| !column.dropped && column.name == name;
        self.columns.iter().position(is_it)
    }
}

/// How far an index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexState {
    /// Kept up by every writer, read by nobody: it is being filled.
    WriteOnly,
    /// Whole.
    Public,
}

/// A part of an index key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexPart {
    /// A column.
    Column(usize),
    /// An expression as SQL: the writer evaluates it.
    Expression(String),
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Its id.
    pub id: u64,
    /// Its table.
    pub table: u64,
    /// Where its entries are.
    pub storage: u64,
    /// Its name.
    pub name: String,
    /// Its key.
    pub parts: Vec<(IndexPart, Direction)>,
    /// One row for each key without NULL.
    pub unique: bool,
    /// Two NULLs are the same (`NULLS NOT DISTINCT`).
    pub nulls_not_distinct: bool,
    /// Only rows for which this holds, as SQL.
    pub predicate: Option<String>,
    /// It belongs to a constraint, checked at this time.
    pub constraint: Option<Timing>,
    /// How far it is.
    pub state: IndexState,
}

impl Index {
    /// Where its entries are.
    pub fn storage(&self) -> StorageId {
        StorageId(self.storage)
    }

    /// True if its entries follow from the columns of a row.
    pub fn is_plain(&self) -> bool {
        self.predicate.is_none()
            && self
                .parts
                .iter()
                .all(|(part, _)| matches!(part, IndexPart::Column(_)))
    }
}

/// A sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// Its id.
    pub id: u64,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The first value.
    pub start: i64,
    /// The step, not zero.
    pub increment: i64,
    /// The lowest value.
    pub min: i64,
    /// The greatest value.
    pub max: i64,
    /// Begin again at the other end.
    pub cycle: bool,
    /// The column it belongs to: table and place.
    pub owned_by: Option<(u64, usize)>,
}

/// Any object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Object {
    /// A schema by its name.
    Schema(String),
    /// A table.
    Table(Table),
    /// An index.
    Index(Index),
    /// A sequence.
    Sequence(Sequence),
    /// A view, a type or a role: its kind, schema, name and definition. For what is built above.
    Other(String, String, String, Vec<u8>),
}

impl Object {
    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads its bytes.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        decode(bytes)
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let bytes = postcard::to_extend(value, vec![FORMAT]);
    bytes.expect("the types of the catalog are all encodable and a vector grows")
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    let damaged = |what: String| StoreError::damaged(format!("catalog row: {what}"));
    match bytes.split_first() {
        Some((&FORMAT, rest)) => {
            let (value, left) =
                postcard::take_from_bytes(rest).map_err(|error| damaged(error.to_string()))?;
            match left.len() {
                0 => Ok(value),
                left => Err(damaged(format!("{left} bytes left over"))),
            }
        }
        Some((format, _)) => Err(damaged(format!("unknown format {format}"))),
        None => Err(damaged("empty".to_owned())),
    }
}
