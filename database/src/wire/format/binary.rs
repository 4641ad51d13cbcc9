//! Values in PostgreSQL's binary formats (`typsend` and `typreceive` of each type).
//!
//! Invariant: what `write` wrote, `read` of the same type reads as the same value; a value of a wrong
//! length is refused.

use crate::types::{DataType, Interval, Json, Numeric, Value};
use crate::wire::error::Notice;
use bigdecimal::BigDecimal;
use num_bigint::{BigInt, Sign};

/// Writes a value that is not NULL.
pub fn write(out: &mut Vec<u8>, value: &Value, data_type: &DataType) {
    match value {
        Value::Null => {}
        Value::Boolean(v) => out.push(u8::from(*v)),
        Value::SmallInt(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Integer(v) | Value::Date(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::BigInt(v) | Value::Time(v) | Value::Timestamp(v) | Value::TimestampTz(v) => {
            out.extend_from_slice(&v.to_be_bytes());
        }
        Value::Real(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Double(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Numeric(v) => write_numeric(out, v),
        Value::Text(v) | Value::Json(v) => out.extend_from_slice(v.as_bytes()),
        Value::Char(v) => {
            out.extend_from_slice(v.as_bytes());
            if let DataType::Char(length) = data_type {
                let missing = (*length as usize).saturating_sub(v.chars().count());
                out.resize(out.len() + missing, b' ');
            }
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

/// Reads a value.
///
/// # Errors
/// 22P03 for a wrong length, the type's own error for a wrong content.
pub fn read(bytes: &[u8], data_type: &DataType) -> Result<Value, Notice> {
    Ok(match data_type {
        DataType::Boolean => Value::Boolean(u8::from_be_bytes(fixed(bytes)?) != 0),
        DataType::SmallInt => Value::SmallInt(i16::from_be_bytes(fixed(bytes)?)),
        DataType::Integer => Value::Integer(i32::from_be_bytes(fixed(bytes)?)),
        DataType::BigInt => Value::BigInt(i64::from_be_bytes(fixed(bytes)?)),
        DataType::Real => Value::Real(f32::from_be_bytes(fixed(bytes)?)),
        DataType::Double => Value::Double(f64::from_be_bytes(fixed(bytes)?)),
        DataType::Numeric(_) => Value::Numeric(read_numeric(bytes)?),
        DataType::Text | DataType::Varchar(_) => Value::Text(text(bytes)?.to_owned()),
        DataType::Char(_) => Value::Char(text(bytes)?.trim_end_matches(' ').to_owned()),
        DataType::Bytea => Value::Bytea(bytes.to_vec()),
        DataType::Date => Value::Date(i32::from_be_bytes(fixed(bytes)?)),
        DataType::Time => Value::Time(time(i64::from_be_bytes(fixed(bytes)?))?),
        DataType::Timestamp => Value::Timestamp(i64::from_be_bytes(fixed(bytes)?)),
        DataType::TimestampTz => Value::TimestampTz(i64::from_be_bytes(fixed(bytes)?)),
        DataType::Interval => Value::Interval(read_interval(bytes)?),
        DataType::Json => Value::Json(json(text(bytes)?, text(bytes)?.to_owned())?),
        DataType::Jsonb => Value::Jsonb(match bytes.split_first() {
            Some((1, rest)) => parse_json(text(rest)?)?,
            Some((version, _)) => {
                let message = format!("unsupported jsonb version number {version}");
                return Err(Notice::error("22P03", message));
            }
            None => return Err(wrong_length(0)),
        }),
        DataType::Uuid => Value::Uuid(fixed(bytes)?),
    })
}

fn wrong_length(bytes: usize) -> Notice {
    let message = format!("incorrect binary data format: {bytes} bytes do not fit the type");
    Notice::error("22P03", message)
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Notice> {
    bytes.try_into().map_err(|_| wrong_length(bytes.len()))
}

fn text(bytes: &[u8]) -> Result<&str, Notice> {
    let text = crate::wire::message::utf8(bytes)?;
    if text.contains('\0') {
        let message = "invalid byte sequence for encoding \"UTF8\": 0x00";
        return Err(Notice::error("22021", message));
    }
    Ok(text)
}

fn time(microseconds: i64) -> Result<i64, Notice> {
    // 24:00:00 is a time of its own.
    match (0..=86_400_000_000).contains(&microseconds) {
        true => Ok(microseconds),
        false => Err(Notice::error("22008", "time out of range")),
    }
}

fn parse_json(text: &str) -> Result<Json, Notice> {
    Json::parse(text).map_err(|error| {
        Notice::error("22P02", "invalid input syntax for type json").detail(error.to_string())
    })
}

fn json(text: &str, value: String) -> Result<String, Notice> {
    parse_json(text).map(|_| value)
}

fn read_interval(bytes: &[u8]) -> Result<Interval, Notice> {
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
        .map(|chunk| chunk.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')))
        .collect();
    let zeros = groups.iter().take_while(|group| **group == 0).count();
    let end = groups.iter().rposition(|group| *group != 0).map_or(zeros, |at| at + 1);
    let significant = &groups[zeros..end];
    let weight = ((whole.len() + lead) / GROUP) as i64 - 1 - zeros as i64;
    let weight = if significant.is_empty() { 0 } else { weight as i16 };
    let sign = if digits.sign() == Sign::Minus { NEGATIVE } else { 0 };
    put(significant, weight, sign, scale as u16);
}

fn read_numeric(bytes: &[u8]) -> Result<Numeric, Notice> {
    let wrong = |what: &str| Notice::error("22P03", format!("invalid {what} in external \"numeric\" value"));
    let mut words = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let mut next = || words.next().ok_or_else(|| wrong("length"));
    let (count, weight, sign, scale) = (next()?, next()? as i16, next()?, next()?);
    let groups: Vec<u16> = words.collect();
    if groups.len() != usize::from(count) || bytes.len() % 2 != 0 {
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
    groups.iter().for_each(|group| text.push_str(&format!("{group:04}")));
    let digits: BigInt = if text.is_empty() {
        BigInt::ZERO
    } else {
        text.parse().map_err(|_| wrong("digit"))?
    };
    let digits = if sign == NEGATIVE { -digits } else { digits };
    // The last group stands at 10000^(weight - count + 1).
    let exponent = (i64::from(count) - 1 - i64::from(weight)) * GROUP as i64;
    let number = BigDecimal::new(digits, exponent).with_scale(i64::from(scale));
    Numeric::new(number).map_err(|error| Notice::error("22003", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    fn numeric(text: &str) -> Value {
        Value::Numeric(Numeric::from_str(text).unwrap())
    }

    fn bytes_of(value: &Value, data_type: &DataType) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, value, data_type);
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
            let bytes = bytes_of(&value, &DataType::Numeric(None));
            assert_eq!(hex::encode(&bytes), hex, "{text}");
            let back = read(&bytes, &DataType::Numeric(None)).unwrap();
            assert_eq!(back, value, "{text}");
        }
    }

    #[test]
    fn every_type_comes_back() {
        let values = [
            (Value::Boolean(true), DataType::Boolean),
            (Value::SmallInt(-2), DataType::SmallInt),
            (Value::Integer(i32::MIN), DataType::Integer),
            (Value::BigInt(i64::MAX), DataType::BigInt),
            (Value::Real(1.5), DataType::Real),
            (Value::Double(f64::NAN), DataType::Double),
            (Value::Text("é".into()), DataType::Text),
            (Value::Char("ab".into()), DataType::Char(5)),
            (Value::Bytea(vec![0, 255]), DataType::Bytea),
            (Value::Date(-1), DataType::Date),
            (Value::Time(86_400_000_000), DataType::Time),
            (Value::Timestamp(i64::MIN), DataType::Timestamp),
            (Value::TimestampTz(7), DataType::TimestampTz),
            (
                Value::Interval(Interval { months: 1, days: -2, microseconds: 3 }),
                DataType::Interval,
            ),
            (Value::Json("[1, 2]".into()), DataType::Json),
            (Value::Jsonb(Json::parse("{\"a\": 1}").unwrap()), DataType::Jsonb),
            (Value::Uuid([9; 16]), DataType::Uuid),
        ];
        for (value, data_type) in values {
            let bytes = bytes_of(&value, &data_type);
            assert_eq!(read(&bytes, &data_type).unwrap(), value, "{data_type}");
        }
        assert_eq!(bytes_of(&Value::Char("é".into()), &DataType::Char(3)), "é  ".as_bytes());
    }

    #[test]
    fn wrong_bytes_are_refused() {
        for (bytes, data_type, code) in [
            (&b""[..], DataType::Integer, "22P03"),
            (b"\0\0\0\0\0", DataType::Integer, "22P03"),
            (b"\xff", DataType::Text, "22021"),
            (b"a\0b", DataType::Text, "22021"),
            (b"\x02{}", DataType::Jsonb, "22P03"),
            (b"\x01{", DataType::Jsonb, "22P02"),
            (b"{", DataType::Json, "22P02"),
            (b"\0\x01\0\0\0\0\0\0", DataType::Numeric(None), "22P03"),
            (b"\0\0\0\0\x12\x34\0\0", DataType::Numeric(None), "22P03"),
            (b"\0\x01\0\0\0\0\0\0\x27\x10", DataType::Numeric(None), "22P03"),
            (b"\x7f\xff\xff\xff\xff\xff\xff\xff", DataType::Time, "22008"),
        ] {
            let error = read(bytes, &data_type).unwrap_err();
            assert_eq!(error.code, code, "{data_type} {bytes:?}");
        }
    }
}
