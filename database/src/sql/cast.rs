//! Casts between types, and the modifiers of columns.
//!
//! Three kinds, as in PostgreSQL: implicit ones happen wherever they help, those of an assignment when
//! a column is written, explicit ones only where they are asked for.

use super::error::{Result, SqlError};
use super::text;
use super::types::SqlType;
use crate::types::{DataType, Numeric, Value};
use bigdecimal::{RoundingMode, ToPrimitive, Zero};

/// How much is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strength {
    Implicit,
    Assignment,
    Explicit,
}

/// True if a value of one type may become one of the other.
pub(super) fn allowed(from: SqlType, to: SqlType, strength: Strength) -> bool {
    use SqlType::*;
    if from == to || from == Unknown {
        return true;
    }
    if let (Some(a), Some(b)) = (from.numeric_rank(), to.numeric_rank()) {
        return a <= b || strength >= Strength::Assignment;
    }
    let explicit = strength == Strength::Explicit;
    match (from, to) {
        (from, to) if from.is_text() && to.is_text() => true,
        (from, to) if from.is_integer() && to.is_oid() => true,
        (from, to) if from.is_oid() && to.is_oid() => true,
        (from, BigInt | Integer) if from.is_oid() => strength >= Strength::Assignment,
        (Date, Timestamp | TimestampTz) | (Timestamp, TimestampTz) | (Time, Interval) => true,
        (Timestamp, Date | Time) | (TimestampTz, Date | Timestamp | Time) | (Interval, Time) => {
            strength >= Strength::Assignment
        }
        (Integer, Boolean) | (Boolean, Integer) => explicit,
        (Json, Jsonb) | (Jsonb, Json) => strength >= Strength::Assignment,
        (Int2Vector | NodeTree, Text) => true,
        (_, to) if to.is_text() => strength >= Strength::Assignment,
        (from, _) if from.is_text() => explicit,
        (Jsonb, Boolean | SmallInt | Integer | BigInt | Numeric | Real | Double) => explicit,
        (Int2Vector, SmallIntArray) | (OidVector, OidArray) => true,
        (from, to) if from.element().is_some() && to.element().is_some() => explicit,
        _ => false,
    }
}

fn out_of_range(to: SqlType) -> SqlError {
    SqlError::new("22003", format!("{to} out of range"))
}

fn integer(value: i64, to: SqlType) -> Result<Value> {
    let over = |_| out_of_range(to);
    Ok(match to {
        SqlType::SmallInt => Value::SmallInt(value.try_into().map_err(over)?),
        SqlType::Integer => Value::Integer(value.try_into().map_err(over)?),
        _ => Value::BigInt(value),
    })
}

fn from_float(value: f64, to: SqlType) -> Result<Value> {
    Ok(match to {
        SqlType::Double => Value::Double(value),
        SqlType::Real => {
            let narrow = value as f32;
            if (narrow.is_infinite() && value.is_finite()) || (narrow == 0.0 && value != 0.0) {
                return Err(SqlError::new(
                    "22003",
                    format!(
                        "value out of range: {}",
                        if narrow == 0.0 {
                            "underflow"
                        } else {
                            "overflow"
                        }
                    ),
                ));
            }
            Value::Real(narrow)
        }
        SqlType::Numeric => {
            if value.is_nan() {
                return Ok(Value::Numeric(Numeric::NaN));
            }
            // 15 digits, as PostgreSQL's DBL_DIG.
            Value::Numeric(text::read_numeric(&format!("{value:.14e}")).map(trimmed)?)
        }
        _ => {
            let rounded = value.round_ties_even();
            let fits =
                (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded);
            if !fits {
                return Err(out_of_range(to));
            }
            integer(rounded as i64, to)?
        }
    })
}

fn trimmed(value: Numeric) -> Numeric {
    match value {
        Numeric::Finite(value) => {
            let value = value.normalized();
            let scale = value.fractional_digit_count().max(0);
            Numeric::Finite(value.with_scale(scale))
        }
        other => other,
    }
}

/// A number as a float.
pub(super) fn to_float(value: &Value) -> Option<f64> {
    Some(match value {
        Value::Real(value) => f64::from(*value),
        Value::Double(value) => *value,
        Value::Numeric(value) => match value {
            Numeric::Finite(value) => value.to_f64()?,
            Numeric::NaN => f64::NAN,
            Numeric::Infinity => f64::INFINITY,
            Numeric::NegativeInfinity => f64::NEG_INFINITY,
        },
        other => other.as_integer()? as f64,
    })
}

fn from_numeric(value: &Numeric, to: SqlType) -> Result<Value> {
    let Numeric::Finite(digits) = value else {
        return match to {
            SqlType::Real | SqlType::Double => from_float(
                to_float(&Value::Numeric(value.clone())).unwrap_or(f64::NAN),
                to,
            ),
            SqlType::Numeric => Ok(Value::Numeric(value.clone())),
            _ => Err(SqlError::new(
                "22003",
                format!("cannot convert {value} to {to}"),
            )),
        };
    };
    match to {
        SqlType::Real | SqlType::Double => text::read(to, &digits.to_string()),
        SqlType::Numeric => Ok(Value::Numeric(value.clone())),
        _ => {
            let rounded = digits.with_scale_round(0, RoundingMode::HalfUp);
            integer(rounded.to_i64().ok_or_else(|| out_of_range(to))?, to)
        }
    }
}

/// Casts a value from a type to another one.
///
/// # Errors
/// 22P02, 22003 and what the text form says; 42846 where there is no such cast.
pub(super) fn cast(value: Value, from: SqlType, to: SqlType) -> Result<Value> {
    use SqlType as T;
    if from == to || value.is_null() {
        return Ok(value);
    }
    if let Some(number) = value.as_integer() {
        match to {
            T::SmallInt | T::Integer | T::BigInt => return integer(number, to),
            T::Real => return Ok(Value::Real(number as f32)),
            T::Double => return Ok(Value::Double(number as f64)),
            T::Numeric => return Ok(Value::Numeric(Numeric::from(number))),
            T::Boolean => return Ok(Value::Boolean(number != 0)),
            to if to.is_oid() || to == T::Xid => {
                return match (0..=i64::from(u32::MAX)).contains(&number) {
                    true => Ok(Value::BigInt(number)),
                    false => Err(SqlError::new("22003", "OID out of range")),
                };
            }
            _ => {}
        }
    }
    let day = 86_400_000_000_i64;
    match (&value, to) {
        (Value::Real(float), to) if to.numeric_rank().is_some() => {
            if to == T::Numeric && float.is_finite() {
                let digits = format!("{:.5e}", float);
                return Ok(Value::Numeric(trimmed(text::read_numeric(&digits)?)));
            }
            return from_float((*float).into(), to);
        }
        (Value::Double(float), to) if to.numeric_rank().is_some() => return from_float(*float, to),
        (Value::Numeric(number), to) if to.numeric_rank().is_some() => {
            return from_numeric(number, to);
        }
        (Value::Boolean(value), T::Integer) => return Ok(Value::Integer((*value).into())),
        (Value::Boolean(value), to) if to.is_text() => {
            return cast(Value::Text(value.to_string()), T::Text, to);
        }
        (Value::Date(date), T::Timestamp | T::TimestampTz) => {
            let us = match *date {
                i32::MAX => i64::MAX,
                i32::MIN => i64::MIN,
                days => i64::from(days)
                    .checked_mul(day)
                    .ok_or_else(|| SqlError::new("22008", "date out of range for timestamp"))?,
            };
            return Ok(if to == T::Timestamp {
                Value::Timestamp(us)
            } else {
                Value::TimestampTz(us)
            });
        }
        (Value::Timestamp(us) | Value::TimestampTz(us), T::Timestamp) => {
            return Ok(Value::Timestamp(*us));
        }
        (Value::Timestamp(us) | Value::TimestampTz(us), T::TimestampTz) => {
            return Ok(Value::TimestampTz(*us));
        }
        (Value::Timestamp(us) | Value::TimestampTz(us), T::Date) => {
            return Ok(Value::Date(match *us {
                i64::MAX => i32::MAX,
                i64::MIN => i32::MIN,
                us => us.div_euclid(day) as i32,
            }));
        }
        (Value::Timestamp(us) | Value::TimestampTz(us), T::Time) => {
            return Ok(Value::Time(us.rem_euclid(day)));
        }
        (Value::Time(us), T::Interval) => {
            return Ok(Value::Interval(crate::types::Interval {
                microseconds: *us,
                ..Default::default()
            }));
        }
        (Value::Interval(interval), T::Time) => {
            return Ok(Value::Time(interval.microseconds.rem_euclid(day)));
        }
        (Value::Jsonb(json), to) if to.numeric_rank().is_some() || to == T::Boolean => {
            use crate::types::Json;
            return match json {
                Json::Number(number) if to != T::Boolean => from_numeric(number, to),
                Json::Boolean(value) if to == T::Boolean => Ok(Value::Boolean(*value)),
                _ => Err(SqlError::new(
                    "22023",
                    format!("cannot cast jsonb to type {to}"),
                )),
            };
        }
        _ => {}
    }
    let text = text::write(&value).unwrap_or_default();
    match (from, to) {
        (_, T::Text | T::Varchar) => Ok(Value::Text(text)),
        (_, T::Name) => {
            let mut cut = text.len().min(63);
            while !text.is_char_boundary(cut) {
                cut -= 1;
            }
            Ok(Value::Text(text[..cut].to_owned()))
        }
        (_, T::InternalChar) => Ok(Value::Text(
            text.chars().next().map(String::from).unwrap_or_default(),
        )),
        (_, to) => text::read(to, &text),
    }
}

/// Makes a value fit a column: its type's modifier. `explicit`: too long is cut, as a cast does.
///
/// # Errors
/// 22001, 22003.
pub(super) fn fit(value: Value, data_type: DataType, explicit: bool) -> Result<Value> {
    match (value, data_type) {
        (Value::Numeric(Numeric::Finite(number)), DataType::Numeric(Some((precision, scale)))) => {
            let number = number.with_scale_round(scale.into(), RoundingMode::HalfUp);
            let number = if scale < 0 {
                number.with_scale(0)
            } else {
                number
            };
            let whole = number.digits() as i64 - number.fractional_digit_count();
            let room = i64::from(precision) - i64::from(scale);
            if !number.is_zero() && whole > room {
                return Err(SqlError::new("22003", "numeric field overflow").detail(format!(
                    "A field with precision {precision}, scale {scale} must round to an absolute value less than 10^{room}."
                )));
            }
            Ok(Value::Numeric(Numeric::Finite(number)))
        }
        (
            Value::Numeric(Numeric::Infinity | Numeric::NegativeInfinity),
            DataType::Numeric(Some(_)),
        ) => Err(SqlError::new("22003", "numeric field overflow")),
        (Value::Text(text), DataType::Varchar(Some(length))) => {
            shorten(text, length, explicit, "character varying").map(Value::Text)
        }
        (Value::Text(text) | Value::Char(text), DataType::Char(length)) => {
            let text = shorten(text, length, explicit, "character")?;
            Ok(Value::Char(text.trim_end_matches(' ').to_owned()))
        }
        (value, _) => Ok(value),
    }
}

fn shorten(text: String, length: u32, explicit: bool, name: &str) -> Result<String> {
    let Some((cut, _)) = text.char_indices().nth(length as usize) else {
        return Ok(text);
    };
    if explicit || text[cut..].chars().all(|c| c == ' ') {
        return Ok(text[..cut].to_owned());
    }
    Err(SqlError::new(
        "22001",
        format!("value too long for type {name}({length})"),
    ))
}

/// `char(n)` as clients see it: padded.
pub(super) fn pad(text: &str, modifier: i32) -> String {
    let width = usize::try_from(modifier - 4).unwrap_or(0);
    let length = text.chars().count();
    format!("{text}{}", " ".repeat(width.saturating_sub(length)))
}
