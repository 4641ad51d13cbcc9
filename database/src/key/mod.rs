//! Keys: bytes whose order is the order of the values they were made of.
//!
//! ```text
//! key    = column*                             one after another, no lengths
//! column = marker, value                       marker: 01 NULL first, 80 a value, FF NULL last
//! value  = bytes of a self-ending code, every bit flipped when the column is descending
//! ```
//!
//! Invariants: for keys of the same columns `encode(a) < encode(b)` exactly when `a < b` by
//! `Value::compare` and the columns' directions; no key is a prefix of another one of the same
//! columns, so that a tree may put more bytes behind a key. Equal values have equal keys (`1.0` and
//! `1.00`, `-0` and `0`), so a key cannot give its values back: rows carry them.

mod codec;

use crate::types::Value;
use serde::{Deserialize, Serialize};

/// Bytes of one key: PostgreSQL's B-tree bound of a third of its page, which its users know.
pub const KEY_BYTES_MAX: usize = 2_704;

const NULL_FIRST: u8 = 0x01;
const VALUE: u8 = 0x80;
const NULL_LAST: u8 = 0xff;

/// How one column of a key is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Direction {
    /// Greatest value first.
    pub descending: bool,
    /// NULL before all values; else after them.
    pub nulls_first: bool,
}

impl Direction {
    /// `ASC NULLS LAST`, the default.
    pub const ASCENDING: Direction = Direction {
        descending: false,
        nulls_first: false,
    };
    /// `DESC NULLS FIRST`, the default of `DESC`.
    pub const DESCENDING: Direction = Direction {
        descending: true,
        nulls_first: true,
    };
}

/// Why values make no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A type without an order (`json`).
    #[error("data type {0} has no default operator class for access method \"btree\"")]
    NoOrder(&'static str),
    /// Longer than [`KEY_BYTES_MAX`].
    #[error("index row size {bytes} exceeds btree maximum {KEY_BYTES_MAX}")]
    TooLong {
        /// Bytes of the key.
        bytes: usize,
    },
}

/// Appends one column to a key.
///
/// # Errors
/// `NoOrder` for a type that cannot be sorted. The length is checked by [`encode`].
pub fn append(out: &mut Vec<u8>, value: &Value, direction: Direction) -> Result<(), KeyError> {
    if value.is_null() {
        let first = direction.nulls_first;
        out.push(if first { NULL_FIRST } else { NULL_LAST });
        return Ok(());
    }
    out.push(VALUE);
    let from = out.len();
    codec::append_value(out, value)?;
    if direction.descending {
        for byte in &mut out[from..] {
            *byte = !*byte;
        }
    }
    Ok(())
}

/// The key of these values. `directions` may be longer: then this is a prefix of keys.
///
/// # Errors
/// `NoOrder`, `TooLong`.
pub fn encode<'a>(
    values: impl IntoIterator<Item = &'a Value>,
    directions: &[Direction],
) -> Result<Vec<u8>, KeyError> {
    let mut out = Vec::with_capacity(32);
    let mut directions = directions.iter();
    for value in values {
        let direction = directions.next().copied();
        append(&mut out, value, direction.unwrap_or(Direction::ASCENDING))?;
    }
    if out.len() > KEY_BYTES_MAX {
        return Err(KeyError::TooLong { bytes: out.len() });
    }
    Ok(out)
}

/// The first byte string above everything that begins with `prefix`; `None` if there is none.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut next = prefix[..=kept].to_vec();
    next[kept] += 1;
    Some(next)
}

#[cfg(test)]
mod tests;
