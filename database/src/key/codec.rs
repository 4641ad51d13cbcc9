//! The order-preserving code of one value.
//!
//! Each code ends itself: integers say their length first, text ends with `00 01` (a zero byte inside
//! is `00 FF`), decimals end with a zero digit pair.

use super::KeyError;
use crate::types::{Json, Numeric, Value};

const END: [u8; 2] = [0x00, 0x01];
const ZERO_INSIDE: [u8; 2] = [0x00, 0xff];

/// Appends the code of a value that is not NULL.
pub(super) fn append_value(out: &mut Vec<u8>, value: &Value) -> Result<(), KeyError> {
    match value {
        Value::Null => unreachable!("the caller writes a marker for NULL"),
        Value::Boolean(value) => out.push(u8::from(*value)),
        Value::SmallInt(value) => integer(out, (*value).into()),
        Value::Integer(value) => integer(out, (*value).into()),
        Value::BigInt(value) => integer(out, *value),
        Value::Real(value) => double(out, f64::from(*value)),
        Value::Double(value) => double(out, *value),
        Value::Numeric(value) => numeric(out, value),
        Value::Text(value) => bytes(out, value.as_bytes()),
        Value::Char(value) => bytes(out, value.trim_end_matches(' ').as_bytes()),
        Value::Bytea(value) => bytes(out, value),
        Value::Date(value) => integer(out, (*value).into()),
        Value::Time(value) | Value::Timestamp(value) | Value::TimestampTz(value) => {
            integer(out, *value);
        }
        Value::Interval(value) => {
            let flipped = (value.span() as u128) ^ (1 << 127);
            out.extend_from_slice(&flipped.to_be_bytes());
        }
        Value::Json(_) => return Err(KeyError::NoOrder("json")),
        Value::Jsonb(value) => json(out, value),
        Value::Uuid(value) => out.extend_from_slice(value),
    }
    Ok(())
}

/// `80 + n` and n bytes for zero and above, `7F - n` and n bytes below: short numbers are short, and
/// all integer types share one code.
fn integer(out: &mut Vec<u8>, value: i64) {
    let magnitude = if value < 0 { !value } else { value } as u64;
    let length = 8 - magnitude.leading_zeros() as usize / 8;
    out.push(if value < 0 {
        0x7f - length as u8
    } else {
        0x80 + length as u8
    });
    out.extend_from_slice(&value.to_be_bytes()[8 - length..]);
}

fn double(out: &mut Vec<u8>, value: f64) {
    let bits = if value.is_nan() {
        f64::NAN.to_bits() & !(1 << 63)
    } else if value == 0.0 {
        0
    } else {
        value.to_bits()
    };
    let ordered = if bits >> 63 == 1 {
        !bits
    } else {
        bits | (1 << 63)
    };
    out.extend_from_slice(&ordered.to_be_bytes());
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    for &byte in value {
        if byte == 0 {
            out.extend_from_slice(&ZERO_INSIDE);
        } else {
            out.push(byte);
        }
    }
    out.extend_from_slice(&END);
}

fn numeric(out: &mut Vec<u8>, value: &Numeric) {
    let Some((negative, digits, exponent)) = value.normal_form() else {
        out.push(match value {
            Numeric::NegativeInfinity => 1,
            Numeric::Finite(_) => 3,
            Numeric::Infinity => 5,
            Numeric::NaN => 6,
        });
        return;
    };
    out.push(if negative { 2 } else { 4 });
    let from = out.len();
    integer(out, exponent);
    for pair in digits.chunks(2) {
        let tens = pair[0] - b'0';
        let ones = pair.get(1).map_or(0, |digit| digit - b'0');
        // 1 to 100: zero ends the digits.
        out.push(tens * 10 + ones + 1);
    }
    out.push(0);
    if negative {
        for byte in &mut out[from..] {
            *byte = !*byte;
        }
    }
}

fn json(out: &mut Vec<u8>, value: &Json) {
    out.push(value.rank());
    match value {
        Json::Null => {}
        Json::Boolean(value) => out.push(u8::from(*value)),
        Json::Number(value) => numeric(out, value),
        Json::String(value) => bytes(out, value.as_bytes()),
        Json::Array(items) => {
            integer(out, items.len() as i64);
            for item in items {
                json(out, item);
            }
        }
        Json::Object(members) => {
            integer(out, members.len() as i64);
            for (name, value) in members {
                integer(out, name.len() as i64);
                bytes(out, name.as_bytes());
                json(out, value);
            }
        }
    }
}
