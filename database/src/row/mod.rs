//! Rows as bytes: the image that stands in log entries, in the store and under the changes root.
//!
//! ```text
//! row    = varint count, column*
//! column = tag, payload
//! ```
//! A column says its own kind, so a row is readable without its table: verification needs no catalog,
//! and a row written before `ALTER TABLE ADD COLUMN` is simply shorter.
//!
//! Invariants: one list of values has one encoding (varints are minimal, a NaN has one pattern, a
//! decimal keeps its scale, an object's members are in canonical order); decoding allocates no more
//! than the input's length times a constant and never panics; what decodes encodes to the same bytes.

mod codec;

use crate::types::Value;
use codec::Reader;

/// Bytes of one row: an entry holds 4 MiB (`crate::entry`); a quarter of it stays for the header and
/// the entries of the row's indexes.
pub const ROW_BYTES_MAX: usize = 3 << 20;
/// Columns of one row, as in PostgreSQL.
pub const COLUMNS_MAX: usize = 1_600;

/// Why bytes are no row, or values cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The bytes end inside a column.
    #[error("row ends at byte {at} inside a column")]
    Short {
        /// Where it ends.
        at: usize,
    },
    /// Bytes that no encoder writes.
    #[error("row is not canonical at byte {at}: {what}")]
    NotCanonical {
        /// Where.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// Bytes behind the last column.
    #[error("row has {bytes} bytes behind its last column")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// Too large.
    #[error("row is too big: {size} {unit}, at most {limit}")]
    TooBig {
        /// Its size.
        size: usize,
        /// Bytes or columns.
        unit: &'static str,
        /// The bound.
        limit: usize,
    },
}

/// The bytes of a row.
///
/// # Errors
/// `TooBig`.
pub fn encode(values: &[Value]) -> Result<Vec<u8>, RowError> {
    if values.len() > COLUMNS_MAX {
        return Err(too_big(values.len(), "columns", COLUMNS_MAX));
    }
    let mut out = Vec::with_capacity(8 + values.len() * 8);
    codec::write_varint(&mut out, values.len() as u64);
    for value in values {
        codec::write_value(&mut out, value);
    }
    if out.len() > ROW_BYTES_MAX {
        return Err(too_big(out.len(), "bytes", ROW_BYTES_MAX));
    }
    Ok(out)
}

/// The values of a row.
///
/// # Errors
/// `Short`, `NotCanonical`, `Trailing`, `TooBig`.
pub fn decode(bytes: &[u8]) -> Result<Vec<Value>, RowError> {
    let mut reader = open(bytes)?;
    let count = columns(&mut reader)?;
    let values = (0..count)
        .map(|_| reader.value())
        .collect::<Result<_, _>>()?;
    match bytes.len() - reader.at() {
        0 => Ok(values),
        bytes => Err(RowError::Trailing { bytes }),
    }
}

/// One column of a row, without decoding the others; NULL behind the last one.
///
/// # Errors
/// As [`decode`], as far as the row was read.
pub fn column(bytes: &[u8], index: usize) -> Result<Value, RowError> {
    let mut reader = open(bytes)?;
    if index >= columns(&mut reader)? {
        return Ok(Value::Null);
    }
    for _ in 0..index {
        reader.skip()?;
    }
    reader.value()
}

fn open(bytes: &[u8]) -> Result<Reader<'_>, RowError> {
    if bytes.len() > ROW_BYTES_MAX {
        return Err(too_big(bytes.len(), "bytes", ROW_BYTES_MAX));
    }
    Ok(Reader::new(bytes))
}

fn columns(reader: &mut Reader<'_>) -> Result<usize, RowError> {
    let count = reader.varint()?;
    if count > COLUMNS_MAX as u64 {
        return Err(too_big(count as usize, "columns", COLUMNS_MAX));
    }
    Ok(count as usize)
}

fn too_big(size: usize, unit: &'static str, limit: usize) -> RowError {
    RowError::TooBig { size, unit, limit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Interval, Json};
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Value> {
        let decimal = prop_oneof!["-?[0-9]{1,40}(\\.[0-9]{1,20})?", Just("NaN".to_owned())];
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Boolean),
            any::<i16>().prop_map(Value::SmallInt),
            any::<i32>().prop_map(Value::Integer),
            any::<i64>().prop_map(Value::BigInt),
            any::<f32>().prop_map(Value::Real),
            any::<f64>().prop_map(Value::Double),
            decimal.prop_map(|text| Value::Numeric(text.parse().unwrap())),
            "\\PC{0,9}".prop_map(Value::Text),
            "\\PC{0,9}".prop_map(Value::Char),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(Value::Bytea),
            any::<i32>().prop_map(Value::Date),
            any::<i64>().prop_map(Value::Timestamp),
            (any::<i32>(), any::<i32>(), any::<i64>()).prop_map(|(months, days, microseconds)| {
                Value::Interval(Interval {
                    months,
                    days,
                    microseconds,
                })
            }),
            Just(Value::Jsonb(
                Json::parse(r#"{"a": [1.50, null], "bb": "x"}"#).unwrap()
            )),
            any::<[u8; 16]>().prop_map(Value::Uuid),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn rows_come_back(row in prop::collection::vec(values(), 0..12)) {
            let bytes = encode(&row).unwrap();
            prop_assert_eq!(&decode(&bytes).unwrap(), &row);
            for (index, value) in row.iter().enumerate() {
                prop_assert_eq!(&column(&bytes, index).unwrap(), value);
            }
            prop_assert!(column(&bytes, row.len()).unwrap().is_null());
            for cut in 0..bytes.len() {
                prop_assert!(decode(&bytes[..cut]).is_err());
            }
        }

        #[test]
        fn what_decodes_is_canonical(bytes in prop::collection::vec(prop_oneof![0..32u8, any::<u8>()], 0..64)) {
            if let Ok(row) = decode(&bytes) {
                prop_assert_eq!(encode(&row).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn bounds_are_told() {
        let wide = vec![Value::Null; COLUMNS_MAX + 1];
        assert!(matches!(
            encode(&wide),
            Err(RowError::TooBig {
                unit: "columns",
                ..
            })
        ));
        let long = [Value::Bytea(vec![0; ROW_BYTES_MAX])];
        assert!(matches!(
            encode(&long),
            Err(RowError::TooBig { unit: "bytes", .. })
        ));
        assert!(decode(&[1, 13, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
    }
}
