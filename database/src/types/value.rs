//! One SQL value.
//!
//! Invariant: `compare` orders the values of one type as PostgreSQL's B-tree does: NaN equals itself
//! and is above every other float, -0 equals 0, text by bytes, intervals by length. `NULL` is no
//! value: whoever sorts decides where it goes.

use super::{Interval, Json, Numeric};
use std::cmp::Ordering;

/// A value of a column or an expression.
#[derive(Debug, Clone)]
pub enum Value {
    /// `NULL` of any type
    Null,
    /// `boolean`
    Boolean(bool),
    /// `smallint`
    SmallInt(i16),
    /// `integer`
    Integer(i32),
    /// `bigint`
    BigInt(i64),
    /// `real`
    Real(f32),
    /// `double precision`
    Double(f64),
    /// `numeric`
    Numeric(Numeric),
    /// `text` and `varchar`
    Text(String),
    /// `char(n)`, without the spaces it is padded with
    Char(String),
    /// `bytea`
    Bytea(Vec<u8>),
    /// `date`: days since 2000-01-01; the extremes are `-infinity` and `infinity`
    Date(i32),
    /// `time`: microseconds since midnight
    Time(i64),
    /// `timestamp`: microseconds since 2000-01-01; the extremes are `-infinity` and `infinity`
    Timestamp(i64),
    /// `timestamptz`: like `timestamp`, in UTC
    TimestampTz(i64),
    /// `interval`
    Interval(Interval),
    /// `json`
    Json(String),
    /// `jsonb`
    Jsonb(Json),
    /// `uuid`
    Uuid([u8; 16]),
}

impl Value {
    /// True for `NULL`.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The value of any of the integer types.
    pub fn as_integer(&self) -> Option<i64> {
        match *self {
            Value::SmallInt(v) => Some(v.into()),
            Value::Integer(v) => Some(v.into()),
            Value::BigInt(v) => Some(v),
            _ => None,
        }
    }

    /// The order of two values that are comparable: of one type, or both integers. `None` with NULL,
    /// between types, and for `json`, which has no order.
    pub fn compare(&self, other: &Value) -> Option<Ordering> {
        if let (Some(a), Some(b)) = (self.as_integer(), other.as_integer()) {
            return Some(a.cmp(&b));
        }
        Some(match (self, other) {
            (Value::Boolean(a), Value::Boolean(b)) => a.cmp(b),
            (Value::Real(a), Value::Real(b)) => float_order(f64::from(*a), f64::from(*b)),
            (Value::Double(a), Value::Double(b)) => float_order(*a, *b),
            (Value::Numeric(a), Value::Numeric(b)) => a.cmp(b),
            (Value::Text(a), Value::Text(b)) => a.cmp(b),
            (Value::Char(a), Value::Char(b)) => {
                a.trim_end_matches(' ').cmp(b.trim_end_matches(' '))
            }
            (Value::Bytea(a), Value::Bytea(b)) => a.cmp(b),
            (Value::Date(a), Value::Date(b)) => a.cmp(b),
            (Value::Time(a), Value::Time(b))
            | (Value::Timestamp(a), Value::Timestamp(b))
            | (Value::TimestampTz(a), Value::TimestampTz(b)) => a.cmp(b),
            (Value::Interval(a), Value::Interval(b)) => a.cmp(b),
            (Value::Jsonb(a), Value::Jsonb(b)) => a.cmp(b),
            (Value::Uuid(a), Value::Uuid(b)) => a.cmp(b),
            _ => return None,
        })
    }

    /// Equal by `compare`; two NULLs are the same here, as in DISTINCT.
    pub fn is_same(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Json(a), Value::Json(b)) => a == b,
            _ => self.compare(other) == Some(Ordering::Equal),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other)
    }
}

fn float_order(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => a.partial_cmp(&b).expect("neither is NaN"),
    }
}
