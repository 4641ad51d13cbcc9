//! The types a column may have, with their modifiers.
//!
//! Invariant: the order of the variants is part of the catalog's encoding: new ones go to the end.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DataType {
    /// `boolean`
    Boolean,
    /// `smallint`, 16 bits
    SmallInt,
    /// `integer`, 32 bits
    Integer,
    /// `bigint`, 64 bits
    BigInt,
    /// `real`, IEEE 754 binary32
    Real,
    /// `double precision`, IEEE 754 binary64
    Double,
    /// `numeric`, or `numeric(precision, scale)`
    Numeric(Option<(u16, i16)>),
    /// `text`
    Text,
    /// `varchar`, or `varchar(n)` in characters
    Varchar(Option<u32>),
    /// `char(n)` in characters; trailing spaces do not count in comparisons
    Char(u32),
    /// `bytea`
    Bytea,
    /// `date`: days since 2000-01-01
    Date,
    /// `time`: microseconds since midnight
    Time,
    /// `timestamp`: microseconds since 2000-01-01
    Timestamp,
    /// `timestamptz`: microseconds since 2000-01-01 UTC
    TimestampTz,
    /// `interval`
    Interval,
    /// `json`: text as it was given
    Json,
    /// `jsonb`
    Jsonb,
    /// `uuid`
    Uuid,
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            DataType::Boolean => "boolean",
            DataType::SmallInt => "smallint",
            DataType::Integer => "integer",
            DataType::BigInt => "bigint",
            DataType::Real => "real",
            DataType::Double => "double precision",
            DataType::Numeric(None) => "numeric",
            DataType::Numeric(Some((precision, scale))) => {
                return write!(f, "numeric({precision},{scale})");
            }
            DataType::Text => "text",
            DataType::Varchar(None) => "character varying",
            DataType::Varchar(Some(length)) => return write!(f, "character varying({length})"),
            DataType::Char(length) => return write!(f, "character({length})"),
            DataType::Bytea => "bytea",
            DataType::Date => "date",
            DataType::Time => "time without time zone",
            DataType::Timestamp => "timestamp without time zone",
            DataType::TimestampTz => "timestamp with time zone",
            DataType::Interval => "interval",
            DataType::Json => "json",
            DataType::Jsonb => "jsonb",
            DataType::Uuid => "uuid",
        };
        f.write_str(name)
    }
}
