//! Index entries from rows.
//!
//! ```text
//! entry key   = key of the indexed columns, key of the row
//! entry value = varint length of the first part
//! ```
//! Invariant: the entries of a plain index are a function of its table's rows; the transaction that
//! writes a row and the store that applies it compute the same ones.

use super::object::{Index, IndexPart, Table};
use super::schema::{Relation, Schema};
use crate::entry::StorageId;
use crate::key::{self, Direction};
use crate::row;
use crate::store::{CATALOG, Derive, Effect, Fold, StoreError};
use crate::types::Value;
use crate::version::{place, split_place};
use std::sync::Arc;

/// The key of a row.
///
/// # Errors
/// A value without an order, a key too long.
pub fn row_key(table: &Table, values: &[Value]) -> Result<Vec<u8>, key::KeyError> {
    let columns = table.primary_key.iter().map(|column| &values[*column]);
    key::encode(columns, &[])
}

/// The indexed columns' part of an index entry, and whether one of them is NULL. `expressions` gives
/// the values of expressions.
///
/// # Errors
/// A value without an order, a key too long.
pub fn index_prefix(index: &Index, values: &[Value]) -> Result<(Vec<u8>, bool), key::KeyError> {
    let mut prefix = Vec::with_capacity(32);
    let mut has_null = false;
    for (part, direction) in &index.parts {
        let IndexPart::Column(column) = part else {
            continue;
        };
        let value = values.get(*column).unwrap_or(&Value::Null);
        has_null |= value.is_null();
        key::append(&mut prefix, value, *direction)?;
    }
    if prefix.len() > key::KEY_BYTES_MAX {
        return Err(key::KeyError::TooLong {
            bytes: prefix.len(),
        });
    }
    Ok((prefix, has_null))
}

/// The directions of an index's parts.
pub fn directions(index: &Index) -> Vec<Direction> {
    index
        .parts
        .iter()
        .map(|(_, direction)| *direction)
        .collect()
}

/// Key and value of an index entry.
pub fn entry(prefix: &[u8], row_key: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut value = Vec::with_capacity(2);
    let mut length = prefix.len();
    while length >= 0x80 {
        value.push(length as u8 | 0x80);
        length >>= 7;
    }
    value.push(length as u8);
    ([prefix, row_key].concat(), value)
}

/// The row's key in an index entry.
///
/// # Errors
/// `Damaged`.
pub fn row_key_of<'a>(entry_key: &'a [u8], value: &[u8]) -> Result<&'a [u8], StoreError> {
    let mut length = 0usize;
    for (at, byte) in value.iter().enumerate().take(3) {
        length |= usize::from(byte & 0x7f) << (7 * at);
    }
    let rest = entry_key.get(length..);
    rest.ok_or_else(|| StoreError::damaged("an index entry is shorter than its value says"))
}

/// An index entry: the index's storage, key, value.
pub type IndexEntry = (StorageId, Vec<u8>, Vec<u8>);

/// The plain index entries of a row.
///
/// # Errors
/// A value without an order, a key too long.
pub fn entries(
    relation: &Relation,
    row_key: &[u8],
    values: &[Value],
) -> Result<Vec<IndexEntry>, key::KeyError> {
    let plain = relation.indexes.iter().filter(|index| index.is_plain());
    plain
        .map(|index| {
            let (prefix, _) = index_prefix(index, values)?;
            let (key, value) = entry(&prefix, row_key);
            Ok((index.storage(), key, value))
        })
        .collect()
}

/// A row's values, with those of columns that were added after it was written.
///
/// # Errors
/// A row that makes no sense.
pub fn values(table: &Table, bytes: &[u8]) -> Result<Vec<Value>, row::RowError> {
    let mut values = row::decode(bytes)?;
    for column in table.columns.iter().skip(values.len()) {
        let missing = column.missing.as_deref().map(|bytes| row::column(bytes, 0));
        values.push(missing.unwrap_or(Ok(Value::Null))?);
    }
    Ok(values)
}

/// Derives index entries by the schema as of the entry that is applied.
#[derive(Debug, Default)]
pub struct Deriver {
    schema: Arc<Schema>,
}

impl Deriver {
    /// By this schema.
    pub fn new(schema: Arc<Schema>) -> Self {
        Deriver { schema }
    }
}

impl Derive for Deriver {
    fn catalog_changed(&mut self, fold: &mut Fold<'_>) -> Result<(), StoreError> {
        let strip = |(place, row): (Vec<u8>, Vec<u8>)| {
            let key = split_place(&place).map(|(_, key)| key.to_vec());
            (key.unwrap_or_default(), row)
        };
        self.schema = Arc::new(Schema::load(fold.rows(CATALOG)?.into_iter().map(strip))?);
        Ok(())
    }

    fn entries(
        &mut self,
        storage: StorageId,
        key: &[u8],
        before: Option<&[u8]>,
        after: Option<&[u8]>,
    ) -> Result<Vec<Effect>, StoreError> {
        let Some((relation, None)) = self.schema.by_storage(storage) else {
            return Ok(Vec::new());
        };
        if relation.indexes.is_empty() {
            return Ok(Vec::new());
        }
        let derived = |row: Option<&[u8]>| -> Result<Vec<_>, StoreError> {
            let Some(row) = row else {
                return Ok(Vec::new());
            };
            let damaged = |error: &dyn std::fmt::Display| StoreError::damaged(error.to_string());
            let values = values(&relation.table, row).map_err(|error| damaged(&error))?;
            entries(relation, key, &values).map_err(|error| damaged(&error))
        };
        let old = derived(before)?;
        let new = derived(after)?;
        let gone = old.iter().filter(|one| !new.contains(one));
        let made = new.iter().filter(|one| !old.contains(one));
        let gone = gone.map(|(storage, key, _)| (place(*storage, key), None));
        let made = made.map(|(storage, key, value)| (place(*storage, key), Some(value.clone())));
        Ok(gone.chain(made).collect())
    }
}
