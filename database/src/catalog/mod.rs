//! Tables, columns, indexes and constraints as versioned rows of the store itself.
//!
//! Invariant: one snapshot has one schema: whoever reads rows at T reads the catalog at T, and whoever
//! finds, once it holds a table's lock, that the table has changed since T begins anew.

mod build;
mod ddl;
mod derive;
mod object;
mod schema;
mod sequence;

pub use derive::{
    Deriver, IndexEntry, directions, entries, entry, index_prefix, row_key, row_key_of, values,
};
pub use object::{
    Action, Check, Column, ForeignKey, Index, IndexPart, IndexState, Object, Sequence, Table,
    Timing,
};
pub use schema::{
    Relation, Schema, index_key, name_key, other_key, schema_key, sequence_key, table_key,
    table_range,
};
pub use sequence::Reserved;
