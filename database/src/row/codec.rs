//! The code of one column: a tag and its payload.
//!
//! Tags are for ever: a new type takes a new one.

use super::RowError;
use crate::types::{Interval, Json, JsonError, Numeric, Value};
use bigdecimal::BigDecimal;
use num_bigint::{BigInt, Sign};

mod tag {
    pub const NULL: u8 = 0;
    pub const FALSE: u8 = 1;
    pub const TRUE: u8 = 2;
    pub const SMALLINT: u8 = 3;
    pub const INTEGER: u8 = 4;
    pub const BIGINT: u8 = 5;
    pub const REAL: u8 = 6;
    pub const DOUBLE: u8 = 7;
    pub const NUMERIC: u8 = 8;
    pub const NUMERIC_NEGATIVE: u8 = 9;
    pub const NUMERIC_SPECIAL: u8 = 10;
    pub const TEXT: u8 = 11;
    pub const CHAR: u8 = 12;
    pub const BYTEA: u8 = 13;
    pub const DATE: u8 = 14;
    pub const TIME: u8 = 15;
    pub const TIMESTAMP: u8 = 16;
    pub const TIMESTAMPTZ: u8 = 17;
    pub const INTERVAL: u8 = 18;
    pub const JSON: u8 = 19;
    pub const JSONB: u8 = 20;
    pub const UUID: u8 = 21;
}

pub(super) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn write_signed(out: &mut Vec<u8>, tag: u8, value: i64) {
    out.push(tag);
    write_varint(out, zigzag(value));
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn write_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(tag::NULL),
        Value::Boolean(false) => out.push(tag::FALSE),
        Value::Boolean(true) => out.push(tag::TRUE),
        Value::SmallInt(value) => write_signed(out, tag::SMALLINT, (*value).into()),
        Value::Integer(value) => write_signed(out, tag::INTEGER, (*value).into()),
        Value::BigInt(value) => write_signed(out, tag::BIGINT, *value),
        Value::Real(value) => {
            let value = if value.is_nan() { f32::NAN } else { *value };
            out.push(tag::REAL);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        Value::Double(value) => {
            let value = if value.is_nan() { f64::NAN } else { *value };
            out.push(tag::DOUBLE);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        Value::Numeric(value) => write_numeric(out, value),
        Value::Text(value) => write_bytes(out, tag::TEXT, value.as_bytes()),
        Value::Char(value) => write_bytes(out, tag::CHAR, value.as_bytes()),
        Value::Bytea(value) => write_bytes(out, tag::BYTEA, value),
        Value::Date(value) => write_signed(out, tag::DATE, (*value).into()),
        Value::Time(value) => write_signed(out, tag::TIME, *value),
        Value::Timestamp(value) => write_signed(out, tag::TIMESTAMP, *value),
        Value::TimestampTz(value) => write_signed(out, tag::TIMESTAMPTZ, *value),
        Value::Interval(value) => {
            write_signed(out, tag::INTERVAL, value.months.into());
            write_varint(out, zigzag(value.days.into()));
            write_varint(out, zigzag(value.microseconds));
        }
        Value::Json(value) => write_bytes(out, tag::JSON, value.as_bytes()),
        Value::Jsonb(value) => write_bytes(out, tag::JSONB, value.to_string().as_bytes()),
        Value::Uuid(value) => {
            out.push(tag::UUID);
            out.extend_from_slice(value);
        }
    }
}

/// Sign in the tag, then scale, length and the digits as a little-endian number.
fn write_numeric(out: &mut Vec<u8>, value: &Numeric) {
    let special = match value {
        Numeric::Finite(value) => {
            let (digits, scale) = value.as_bigint_and_exponent();
            let negative = digits.sign() == Sign::Minus;
            out.push(if negative {
                tag::NUMERIC_NEGATIVE
            } else {
                tag::NUMERIC
            });
            write_varint(out, zigzag(scale));
            let magnitude = match digits.sign() {
                Sign::NoSign => Vec::new(),
                _ => digits.magnitude().to_bytes_le(),
            };
            write_varint(out, magnitude.len() as u64);
            out.extend_from_slice(&magnitude);
            return;
        }
        Numeric::NegativeInfinity => 0,
        Numeric::Infinity => 1,
        Numeric::NaN => 2,
    };
    out.extend_from_slice(&[tag::NUMERIC_SPECIAL, special]);
}

/// Reads columns from the front of a row.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn bad(&self, what: &'static str) -> RowError {
        RowError::NotCanonical { at: self.at, what }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], RowError> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(RowError::Short {
            at: self.bytes.len(),
        })?;
        self.at += count;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], RowError> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("take gives N bytes"))
    }

    pub(super) fn varint(&mut self) -> Result<u64, RowError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.fixed()?;
            if shift == 63 && byte > 1 {
                return Err(self.bad("number above 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(self.bad("number longer than needed"));
                }
                return Ok(value);
            }
        }
        Err(self.bad("number above 64 bits"))
    }

    fn signed(&mut self) -> Result<i64, RowError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn narrow<T: TryFrom<i64>>(&mut self) -> Result<T, RowError> {
        let value = self.signed()?;
        T::try_from(value).map_err(|_| self.bad("number outside its type"))
    }

    fn blob(&mut self) -> Result<&'a [u8], RowError> {
        let length = self.varint()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn text(&mut self) -> Result<&'a str, RowError> {
        let blob = self.blob()?;
        std::str::from_utf8(blob).map_err(|_| self.bad("text is not UTF-8"))
    }

    pub(super) fn value(&mut self) -> Result<Value, RowError> {
        let [tag] = self.fixed()?;
        Ok(match tag {
            tag::NULL => Value::Null,
            tag::FALSE => Value::Boolean(false),
            tag::TRUE => Value::Boolean(true),
            tag::SMALLINT => Value::SmallInt(self.narrow()?),
            tag::INTEGER => Value::Integer(self.narrow()?),
            tag::BIGINT => Value::BigInt(self.signed()?),
            tag::REAL => {
                let value = f32::from_bits(u32::from_le_bytes(self.fixed()?));
                if value.is_nan() && value.to_bits() != f32::NAN.to_bits() {
                    return Err(self.bad("NaN of another pattern"));
                }
                Value::Real(value)
            }
            tag::DOUBLE => {
                let value = f64::from_bits(u64::from_le_bytes(self.fixed()?));
                if value.is_nan() && value.to_bits() != f64::NAN.to_bits() {
                    return Err(self.bad("NaN of another pattern"));
                }
                Value::Double(value)
            }
            tag::NUMERIC | tag::NUMERIC_NEGATIVE | tag::NUMERIC_SPECIAL => {
                Value::Numeric(self.numeric(tag)?)
            }
            tag::TEXT => Value::Text(self.text()?.to_owned()),
            tag::CHAR => Value::Char(self.text()?.to_owned()),
            tag::BYTEA => Value::Bytea(self.blob()?.to_vec()),
            tag::DATE => Value::Date(self.narrow()?),
            tag::TIME => Value::Time(self.signed()?),
            tag::TIMESTAMP => Value::Timestamp(self.signed()?),
            tag::TIMESTAMPTZ => Value::TimestampTz(self.signed()?),
            tag::INTERVAL => Value::Interval(Interval {
                months: self.narrow()?,
                days: self.narrow()?,
                microseconds: self.signed()?,
            }),
            tag::JSON => Value::Json(self.text()?.to_owned()),
            tag::JSONB => Value::Jsonb(self.json()?),
            tag::UUID => Value::Uuid(self.fixed()?),
            _ => return Err(self.bad("unknown tag")),
        })
    }

    fn numeric(&mut self, tag: u8) -> Result<Numeric, RowError> {
        if tag == tag::NUMERIC_SPECIAL {
            return Ok(match self.fixed()? {
                [0] => Numeric::NegativeInfinity,
                [1] => Numeric::Infinity,
                [2] => Numeric::NaN,
                _ => return Err(self.bad("unknown special number")),
            });
        }
        let scale = self.signed()?;
        let magnitude = self.blob()?;
        if magnitude.last() == Some(&0) {
            return Err(self.bad("digits longer than needed"));
        }
        let sign = match (tag, magnitude.is_empty()) {
            (tag::NUMERIC_NEGATIVE, true) => return Err(self.bad("minus zero")),
            (tag::NUMERIC_NEGATIVE, false) => Sign::Minus,
            (_, true) => Sign::NoSign,
            (_, false) => Sign::Plus,
        };
        let in_bounds = (0..=crate::types::NUMERIC_SCALE_MAX).contains(&scale);
        if !in_bounds || magnitude.len() > MAGNITUDE_BYTES_MAX {
            return Err(self.bad("number outside its type"));
        }
        let digits = BigInt::from_bytes_le(sign, magnitude);
        let number = Numeric::new(BigDecimal::new(digits, scale));
        number.map_err(|_| self.bad("number outside its type"))
    }

    /// Documents are stored as their canonical text.
    fn json(&mut self) -> Result<Json, RowError> {
        let text = self.text()?;
        let value = Json::parse_stored(text).map_err(|JsonError { what, .. }| self.bad(what))?;
        if value.to_string() != text {
            return Err(self.bad("document is not in canonical form"));
        }
        Ok(value)
    }

    pub(super) fn skip(&mut self) -> Result<(), RowError> {
        let [tag] = self.fixed()?;
        match tag {
            tag::NULL | tag::FALSE | tag::TRUE => {}
            tag::REAL => drop(self.fixed::<4>()?),
            tag::DOUBLE => drop(self.fixed::<8>()?),
            tag::UUID => drop(self.fixed::<16>()?),
            tag::NUMERIC_SPECIAL => drop(self.fixed::<1>()?),
            tag::NUMERIC | tag::NUMERIC_NEGATIVE => {
                self.varint()?;
                self.blob()?;
            }
            tag::TEXT | tag::CHAR | tag::BYTEA | tag::JSON | tag::JSONB => drop(self.blob()?),
            tag::INTERVAL => {
                for _ in 0..3 {
                    self.varint()?;
                }
            }
            tag::SMALLINT
            | tag::INTEGER
            | tag::BIGINT
            | tag::DATE
            | tag::TIME
            | tag::TIMESTAMP
            | tag::TIMESTAMPTZ => drop(self.varint()?),
            _ => return Err(self.bad("unknown tag")),
        }
        Ok(())
    }
}

/// 147,455 digits at 3.33 bits each, and some room.
const MAGNITUDE_BYTES_MAX: usize = 61_440;
