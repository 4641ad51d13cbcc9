//! Values in PostgreSQL's binary formats (`typsend` and `typreceive` of each type).
//!
//! Invariant: what `write` wrote, `read` of the same type reads as the same value; a value of a wrong
//! length is refused.

use super::array;
use crate::sql::{SqlType, value_from_text};
use crate::types::{Interval, Json, Numeric, Value};
use crate::wire::report::Report;
use bigdecimal::BigDecimal;
use num_bigint::{BigInt, Sign};

/// Writes a value that is not NULL.
pub fn write(out: &mut Vec<u8>, value: &Value, data_type: SqlType, modifier: i32) {
    match value {
        Value::Null => {}
        Value::Boolean(v) => out.push(u8::from(*v)),
        Value::SmallInt(v) => out.extend_from_slice(&v.to_be_bytes()),
        // An oid is an integer without a sign, which the evaluator keeps in 64 bits.
        Value::BigInt(v) if data_type.length() == 4 => {
            out.extend_from_slice(&(*v as u32).to_be_bytes());
        }
        Value::Integer(v) | Value::Date(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::BigInt(v) | Value::Time(v) | Value::Timestamp(v) | Value::TimestampTz(v) => {
            out.extend_from_slice(&v.to_be_bytes());
        }
        Value::Real(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Double(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Numeric(v) => write_numeric(out, v),
        Value::Text(v) => match data_type.element() {
            Some(element) => array::write(out, v, element),
            None => out.extend_from_slice(v.as_bytes()),
        },
        Value::Json(v) => out.extend_from_slice(v.as_bytes()),
        Value::Char(v) => {
            out.extend_from_slice(v.as_bytes());
            pad(out, v, modifier);
        }
        Value::Bytea(v) => out.extend_from_slice(v),
        Value::Interval(v) => {
            out.extend_from_slice(&v.microseconds.to_be_bytes());
            out.extend_from_slice(&v.days.to_be_bytes());
            out.extend_from_slice(&v.months.to_be_bytes());
        }
        Value::Jsonb(v) => {
            out.push(1);
            out.extend_from_slice(v.to_string().as_bytes());
        }
        Value::Uuid(v) => out.extend_from_slice(v),
    }
}

/// The spaces of `char(n)`, whose values are kept without them.
pub fn pad(out: &mut Vec<u8>, text: &str, modifier: i32) {
    let length = usize::try_from(modifier - 4).unwrap_or(0);
    let missing = length.saturating_sub(text.chars().count());
    out.resize(out.len() + missing, b' ');
}

/// Reads a value.
///
/// # Errors
/// 22P03 for a wrong length, the type's own error for a wrong content.
pub fn read(bytes: &[u8], data_type: SqlType) -> Result<Value, Report> {
    Ok(match data_type {
        SqlType::Boolean => Value::Boolean(u8::from_be_bytes(fixed(bytes)?) != 0),
        SqlType::SmallInt => Value::SmallInt(i16::from_be_bytes(fixed(bytes)?)),
        SqlType::Integer => Value::Integer(i32::from_be_bytes(fixed(bytes)?)),
        SqlType::BigInt => Value::BigInt(i64::from_be_bytes(fixed(bytes)?)),
        SqlType::Real => Value::Real(f32::from_be_bytes(fixed(bytes)?)),
        SqlType::Double => Value::Double(f64::from_be_bytes(fixed(bytes)?)),
        SqlType::Numeric => Value::Numeric(read_numeric(bytes)?),
        SqlType::BpChar => Value::Char(text(bytes)?.trim_end_matches(' ').to_owned()),
        SqlType::Text | SqlType::Varchar | SqlType::Name | SqlType::Unknown => {
            Value::Text(text(bytes)?.to_owned())
        }
        SqlType::Bytea => Value::Bytea(bytes.to_vec()),
        SqlType::Date => Value::Date(i32::from_be_bytes(fixed(bytes)?)),
        SqlType::Time => Value::Time(time(i64::from_be_bytes(fixed(bytes)?))?),
        SqlType::Timestamp => Value::Timestamp(i64::from_be_bytes(fixed(bytes)?)),
        SqlType::TimestampTz => Value::TimestampTz(i64::from_be_bytes(fixed(bytes)?)),
        SqlType::Interval => Value::Interval(read_interval(bytes)?),
        SqlType::Json => Value::Json(json(text(bytes)?, text(bytes)?.to_owned())?),
        SqlType::Jsonb => Value::Jsonb(match bytes.split_first() {
            Some((1, rest)) => parse_json(text(rest)?)?,
            Some((version, _)) => {
                let message = format!("unsupported jsonb version number {version}");
                return Err(Report::error("22P03", message));
            }
            None => return Err(wrong_length(0)),
        }),
        SqlType::Uuid => Value::Uuid(fixed(bytes)?),
        other if other.is_oid() || other == SqlType::Xid => {
            Value::BigInt(u32::from_be_bytes(fixed(bytes)?).into())
        }
        other => match other.element() {
            Some(element) => value_from_text(other, &array::read(bytes, element)?)?,
            None => value_from_text(other, text(bytes)?)?,
        },
    })
}

fn wrong_length(bytes: usize) -> Report {
    let message = format!("incorrect binary data format: {bytes} bytes do not fit the type");
    Report::error("22P03", message)
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Report> {
    bytes.try_into().map_err(|_| wrong_length(bytes.len()))
}

fn text(bytes: &[u8]) -> Result<&str, Report> {
    let text = crate::wire::message::utf8(bytes)?;
    if text.contains('\0') {
        let message = "invalid byte sequence for encoding \"UTF8\": 0x00";
        return Err(Report::error("22021", message));
    }
    Ok(text)
}

fn time(microseconds: i64) -> Result<i64, Report> {
    // 24:00:00 is a time of its own.
    match (0..=86_400_000_000).contains(&microseconds) {
        true => Ok(microseconds),
        false => Err(Report::error("22008", "time out of range")),
    }
}

fn parse_json(text: &str) -> Result<Json, Report> {
    Json::parse(text).map_err(|error| {
        Report::error("22P02", "invalid input syntax for type json").detail(error.to_string())
    })
}

fn json(text: &str, value: String) -> Result<String, Report> {
    parse_json(text).map(|_| value)
}

fn read_interval(bytes: &[u8]) -> Result<Interval, Report> {
    let bytes: [u8; 16] = fixed(bytes)?;
    let (microseconds, rest) = bytes.split_first_chunk::<8>().expect("16 bytes");
    let (days, months) = rest.split_first_chunk::<4>().expect("8 bytes");
    Ok(Interval {
        microseconds: i64::from_be_bytes(*microseconds),
        days: i32::from_be_bytes(*days),
        months: i32::from_be_bytes(months.try_into().expect("4 bytes")),
    })
}

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const NEGATIVE_INFINITY: u16 = 0xf000;
/// Decimal digits in one digit of the format.
const GROUP: usize = 4;

fn write_numeric(out: &mut Vec<u8>, value: &Numeric) {
    let mut put = |groups: &[u16], weight: i16, sign: u16, scale: u16| {
        out.extend_from_slice(&(groups.len() as u16).to_be_bytes());
        out.extend_from_slice(&weight.to_be_bytes());
        out.extend_from_slice(&sign.to_be_bytes());
        out.extend_from_slice(&scale.to_be_bytes());
        for group in groups {
            out.extend_from_slice(&group.to_be_bytes());
        }
    };
    let number = match value {
        Numeric::NaN => return put(&[], 0, NAN, 0),
        Numeric::Infinity => return put(&[], 0, INFINITY, 0),
        Numeric::NegativeInfinity => return put(&[], 0, NEGATIVE_INFINITY, 0),
        Numeric::Finite(number) => number,
    };
    let (digits, scale) = number.as_bigint_and_exponent();
    let scale = usize::try_from(scale).expect("a numeric has no negative scale");
    let text = digits.magnitude().to_str_radix(10);
    let text = format!("{text:0>width$}", width = scale + 1);
    let (whole, fraction) = text.split_at(text.len() - scale);
    let lead = (GROUP - whole.len() % GROUP) % GROUP;
    let tail = (GROUP - fraction.len() % GROUP) % GROUP;
    let padded = format!("{:0>lead$}{whole}{fraction}{:0>tail$}", "", "");
    let groups: Vec<u16> = padded
        .as_bytes()
        .chunks(GROUP)
        .map(|chunk| {
            chunk
                .iter()
                .fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'))
        })
        .collect();
    let zeros = groups.iter().take_while(|group| **group == 0).count();
    let end = groups
        .iter()
        .rposition(|group| *group != 0)
        .map_or(zeros, |at| at + 1);
    let significant = &groups[zeros..end];
    let weight = ((whole.len() + lead) / GROUP) as i64 - 1 - zeros as i64;
    let weight = if significant.is_empty() {
        0
    } else {
        weight as i16
    };
    let sign = if digits.sign() == Sign::Minus {
        NEGATIVE
    } else {
        0
    };
    put(significant, weight, sign, scale as u16);
}

fn read_numeric(bytes: &[u8]) -> Result<Numeric, Report> {
    let wrong = |what: &str| {
        Report::error(
            "22P03",
            format!("invalid {what} in external \"numeric\" value"),
        )
    };
    let mut words = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let mut next = || words.next().ok_or_else(|| wrong("length"));
    let (count, weight, sign, scale) = (next()?, next()? as i16, next()?, next()?);
    let groups: Vec<u16> = words.collect();
    if groups.len() != usize::from(count) || !bytes.len().is_multiple_of(2) {
        return Err(wrong("length"));
    }
    match sign {
        0 | NEGATIVE => {}
        NAN => return Ok(Numeric::NaN),
        INFINITY => return Ok(Numeric::Infinity),
        NEGATIVE_INFINITY => return Ok(Numeric::NegativeInfinity),
        _ => return Err(wrong("sign")),
    }
    if scale > 0x3fff {
        return Err(wrong("scale"));
    }
    if groups.iter().any(|group| *group > 9999) {
        return Err(wrong("digit"));
    }
    let mut text = String::with_capacity(groups.len() * GROUP + 1);
    groups
        .iter()
        .for_each(|group| text.push_str(&format!("{group:04}")));
    let digits: BigInt = if text.is_empty() {
        BigInt::ZERO
    } else {
        text.parse().map_err(|_| wrong("digit"))?
    };
    let digits = if sign == NEGATIVE { -digits } else { digits };
    // The last group stands at 10000^(weight - count + 1).
    let exponent = (i64::from(count) - 1 - i64::from(weight)) * GROUP as i64;
    let number = BigDecimal::new(digits, exponent).with_scale(i64::from(scale));
    Numeric::new(number).map_err(|error| Report::error("22003", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    fn numeric(text: &str) -> Value {
        Value::Numeric(Numeric::from_str(text).unwrap())
    }

    fn bytes_of(value: &Value, data_type: SqlType) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, value, data_type, -1);
        out
    }

    /// As `select numeric_send(…)` of PostgreSQL 15 prints them.
    #[test]
    fn numerics_as_postgresql_sends_them() {
        for (text, hex) in [
            ("0", "0000000000000000"),
            ("0.00", "0000000000000002"),
            ("1", "00010000000000000001"),
            ("-1.5", "000200004000000100011388"),
            ("10000", "00010001000000000001"),
            ("12345678.9", "000300010000000104d2162e2328"),
            ("0.0001", "0001ffff000000040001"),
            ("0.00001", "0001fffe0000000503e8"),
            ("NaN", "00000000c0000000"),
            ("Infinity", "00000000d0000000"),
            ("-Infinity", "00000000f0000000"),
        ] {
            let value = numeric(text);
            let bytes = bytes_of(&value, SqlType::Numeric);
            assert_eq!(hex::encode(&bytes), hex, "{text}");
            let back = read(&bytes, SqlType::Numeric).unwrap();
            assert_eq!(back, value, "{text}");
        }
    }

    #[test]
    fn every_type_comes_back() {
        let values = [
            (Value::Boolean(true), SqlType::Boolean),
            (Value::SmallInt(-2), SqlType::SmallInt),
            (Value::Integer(i32::MIN), SqlType::Integer),
            (Value::BigInt(i64::MAX), SqlType::BigInt),
            (Value::Real(1.5), SqlType::Real),
            (Value::Double(f64::NAN), SqlType::Double),
            (Value::Text("é".into()), SqlType::Text),
            (Value::Char("ab".into()), SqlType::BpChar),
            (Value::Bytea(vec![0, 255]), SqlType::Bytea),
            (Value::Date(-1), SqlType::Date),
            (Value::Time(86_400_000_000), SqlType::Time),
            (Value::Timestamp(i64::MIN), SqlType::Timestamp),
            (Value::TimestampTz(7), SqlType::TimestampTz),
            (
                Value::Interval(Interval {
                    months: 1,
                    days: -2,
                    microseconds: 3,
                }),
                SqlType::Interval,
            ),
            (Value::Json("[1, 2]".into()), SqlType::Json),
            (
                Value::Jsonb(Json::parse("{\"a\": 1}").unwrap()),
                SqlType::Jsonb,
            ),
            (Value::Uuid([9; 16]), SqlType::Uuid),
        ];
        for (value, data_type) in values {
            let bytes = bytes_of(&value, data_type);
            assert_eq!(read(&bytes, data_type).unwrap(), value, "{data_type}");
        }
        let mut padded = Vec::new();
        write(
            &mut padded,
            &Value::Char("é".into()),
            SqlType::BpChar,
            3 + 4,
        );
        assert_eq!(padded, "é  ".as_bytes());
    }

    #[test]
    fn wrong_bytes_are_refused() {
        for (bytes, data_type, code) in [
            (&b""[..], SqlType::Integer, "22P03"),
            (b"\0\0\0\0\0", SqlType::Integer, "22P03"),
            (b"\xff", SqlType::Text, "22021"),
            (b"a\0b", SqlType::Text, "22021"),
            (b"\x02{}", SqlType::Jsonb, "22P03"),
            (b"\x01{", SqlType::Jsonb, "22P02"),
            (b"{", SqlType::Json, "22P02"),
            (b"\0\x01\0\0\0\0\0\0", SqlType::Numeric, "22P03"),
            (b"\0\0\0\0\x12\x34\0\0", SqlType::Numeric, "22P03"),
            (b"\0\x01\0\0\0\0\0\0\x27\x10", SqlType::Numeric, "22P03"),
            (b"\x7f\xff\xff\xff\xff\xff\xff\xff", SqlType::Time, "22008"),
        ] {
            let error = read(bytes, data_type).unwrap_err();
            assert_eq!(error.code, code, "{data_type} {bytes:?}");
        }
    }
}
