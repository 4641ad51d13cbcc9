//! Dates, times and intervals: arithmetic and their parts.

use super::error::{Result, SqlError};
use super::expr::Env;
use super::function::{Function, s};
use super::text::{date_of, days_in, days_of};
use super::types::SqlType as T;
use crate::types::{Interval, Numeric, Value};
use bigdecimal::BigDecimal;

const DAY_US: i64 = 86_400_000_000;
const UNIX_TO_2000_S: i64 = 946_684_800;

const fn f(
    name: &'static str,
    arguments: &'static [T],
    returns: T,
    body: fn(&[Value], &Env) -> Result<Value>,
) -> Function {
    Function {
        name,
        arguments,
        returns,
        strict: true,
        body,
    }
}

fn us(value: &Value) -> i64 {
    match value {
        Value::Timestamp(us) | Value::TimestampTz(us) | Value::Time(us) => *us,
        Value::Date(days) => i64::from(*days).saturating_mul(DAY_US),
        _ => 0,
    }
}

fn interval(value: &Value) -> Interval {
    match value {
        Value::Interval(interval) => *interval,
        _ => Interval::default(),
    }
}

fn over(what: &str) -> SqlError {
    SqlError::new("22008", format!("{what} out of range"))
}

/// A timestamp moved by an interval: months first, then days, then the rest.
fn moved(from: i64, by: Interval, sign: i64) -> Result<i64> {
    if from == i64::MAX || from == i64::MIN {
        return Ok(from);
    }
    let mut days = from.div_euclid(DAY_US);
    let clock = from.rem_euclid(DAY_US);
    if by.months != 0 {
        let (year, month, day) = date_of(days);
        let months = year * 12 + month - 1 + sign * i64::from(by.months);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        days = days_of(year, month, day.min(days_in(year, month)));
    }
    let days = days + sign * i64::from(by.days);
    let total = i128::from(days) * i128::from(DAY_US)
        + i128::from(clock)
        + i128::from(sign) * i128::from(by.microseconds);
    i64::try_from(total).map_err(|_| over("timestamp"))
}

fn add_intervals(a: Interval, b: Interval, sign: i32) -> Result<Value> {
    let made = || {
        Some(Interval {
            months: a.months.checked_add(b.months.checked_mul(sign)?)?,
            days: a.days.checked_add(b.days.checked_mul(sign)?)?,
            microseconds: a
                .microseconds
                .checked_add(b.microseconds.checked_mul(sign.into())?)?,
        })
    };
    made().map(Value::Interval).ok_or_else(|| over("interval"))
}

fn scaled(a: Interval, by: f64) -> Result<Value> {
    let months = f64::from(a.months) * by;
    let days = f64::from(a.days) * by + (months - months.trunc()) * 30.0;
    let rest = a.microseconds as f64 * by + (days - days.trunc()) * DAY_US as f64;
    if !months.is_finite() || months.abs() > 2e9 || days.abs() > 2e9 || rest.abs() > 9e18 {
        return Err(over("interval"));
    }
    Ok(Value::Interval(Interval {
        months: months.trunc() as i32,
        days: days.trunc() as i32,
        microseconds: rest.round() as i64,
    }))
}

fn difference(values: &[Value]) -> Result<Value> {
    let total = us(&values[0])
        .checked_sub(us(&values[1]))
        .ok_or_else(|| over("interval"))?;
    Ok(Value::Interval(Interval {
        months: 0,
        days: (total / DAY_US) as i32,
        microseconds: total % DAY_US,
    }))
}

fn day_moved(values: &[Value], sign: i64) -> Result<Value> {
    let (Value::Date(day), Some(by)) = (&values[0], values[1].as_integer()) else {
        return Ok(Value::Null);
    };
    let moved = i32::try_from(i64::from(*day) + sign * by);
    moved.map(Value::Date).map_err(|_| over("date"))
}

fn exact(value: i64, scale: i64) -> Value {
    Value::Numeric(Numeric::Finite(BigDecimal::new(value.into(), scale)))
}

/// A field of a time.
pub(super) fn part(field: &str, value: &Value) -> Result<Value> {
    let unknown = || {
        SqlError::new(
            "22023",
            format!("unit \"{field}\" not recognized for this type"),
        )
    };
    let field = field.to_ascii_lowercase();
    let field = field
        .strip_suffix('s')
        .filter(|f| f.len() > 3)
        .unwrap_or(&field);
    if let Value::Interval(span) = value {
        let us = span.microseconds;
        return Ok(match field {
            "year" => exact((span.months / 12).into(), 0),
            "month" => exact((span.months % 12).into(), 0),
            "day" => exact(span.days.into(), 0),
            "hour" => exact(us / 3_600_000_000, 0),
            "minute" => exact(us / 60_000_000 % 60, 0),
            "second" => exact(us % 60_000_000, 6),
            "epoch" => {
                let years = i64::from(span.months / 12) * 31_557_600;
                let months = i64::from(span.months % 12) * 2_592_000;
                let days = i64::from(span.days) * 86_400;
                exact((years + months + days) * 1_000_000 + us, 6)
            }
            _ => return Err(unknown()),
        });
    }
    let is_time = matches!(value, Value::Time(_));
    let us = us(value);
    let (days, clock) = (us.div_euclid(DAY_US), us.rem_euclid(DAY_US));
    let (year, month, day) = date_of(days);
    Ok(match field {
        "hour" => exact(clock / 3_600_000_000, 0),
        "minute" => exact(clock / 60_000_000 % 60, 0),
        "second" => exact(clock % 60_000_000, 6),
        "millisecond" => exact(clock % 60_000_000, 3),
        "microsecond" => exact(clock % 60_000_000, 0),
        "epoch" if is_time => exact(clock, 6),
        "epoch" if matches!(value, Value::Date(_)) => exact(us / 1_000_000 + UNIX_TO_2000_S, 0),
        "epoch" => exact(us + UNIX_TO_2000_S * 1_000_000, 6),
        _ if is_time => return Err(unknown()),
        "year" => exact(if year <= 0 { year - 1 } else { year }, 0),
        "month" => exact(month, 0),
        "day" => exact(day, 0),
        "quarter" => exact((month - 1) / 3 + 1, 0),
        "decade" => exact(year.div_euclid(10), 0),
        "century" => exact((year + 99).div_euclid(100), 0),
        "millennium" => exact((year + 999).div_euclid(1000), 0),
        "dow" => exact((days + 6).rem_euclid(7), 0),
        "isodow" => exact((days + 5).rem_euclid(7) + 1, 0),
        "doy" => exact(days - days_of(year, 1, 1) + 1, 0),
        "week" => {
            let thursday = days - (days + 5).rem_euclid(7) + 3;
            let first = days_of(date_of(thursday).0, 1, 1);
            exact((thursday - first) / 7 + 1, 0)
        }
        _ => return Err(unknown()),
    })
}

fn truncated(field: &str, value: i64) -> Result<i64> {
    let (days, clock) = (value.div_euclid(DAY_US), value.rem_euclid(DAY_US));
    let (year, month, _) = date_of(days);
    let cut = |unit: i64| Ok(days * DAY_US + clock - clock % unit);
    match field.to_ascii_lowercase().as_str() {
        "microsecond" | "microseconds" => cut(1),
        "millisecond" | "milliseconds" => cut(1_000),
        "second" => cut(1_000_000),
        "minute" => cut(60_000_000),
        "hour" => cut(3_600_000_000),
        "day" => Ok(days * DAY_US),
        "week" => Ok((days - (days + 5).rem_euclid(7)) * DAY_US),
        "month" => Ok(days_of(year, month, 1) * DAY_US),
        "quarter" => Ok(days_of(year, (month - 1) / 3 * 3 + 1, 1) * DAY_US),
        "year" => Ok(days_of(year, 1, 1) * DAY_US),
        _ => Err(SqlError::new(
            "22023",
            format!("unit \"{field}\" not recognized"),
        )),
    }
}

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f("+", &[T::Date, T::Integer], T::Date, |v, _| day_moved(v, 1)),
    f("+", &[T::Integer, T::Date], T::Date, |v, _| day_moved(&[v[1].clone(), v[0].clone()], 1)),
    f("-", &[T::Date, T::Integer], T::Date, |v, _| day_moved(v, -1)),
    f("-", &[T::Date, T::Date], T::Integer, |v, _| Ok(Value::Integer(((us(&v[0]) - us(&v[1])) / DAY_US) as i32))),
    f("+", &[T::Date, T::Interval], T::Timestamp, |v, _| Ok(Value::Timestamp(moved(us(&v[0]), interval(&v[1]), 1)?))),
    f("-", &[T::Date, T::Interval], T::Timestamp, |v, _| Ok(Value::Timestamp(moved(us(&v[0]), interval(&v[1]), -1)?))),
    f("+", &[T::Date, T::Time], T::Timestamp, |v, _| Ok(Value::Timestamp(us(&v[0]) + us(&v[1])))),
    f("+", &[T::Timestamp, T::Interval], T::Timestamp, |v, _| Ok(Value::Timestamp(moved(us(&v[0]), interval(&v[1]), 1)?))),
    f("-", &[T::Timestamp, T::Interval], T::Timestamp, |v, _| Ok(Value::Timestamp(moved(us(&v[0]), interval(&v[1]), -1)?))),
    f("+", &[T::TimestampTz, T::Interval], T::TimestampTz, |v, _| Ok(Value::TimestampTz(moved(us(&v[0]), interval(&v[1]), 1)?))),
    f("-", &[T::TimestampTz, T::Interval], T::TimestampTz, |v, _| Ok(Value::TimestampTz(moved(us(&v[0]), interval(&v[1]), -1)?))),
    f("+", &[T::Interval, T::Timestamp], T::Timestamp, |v, _| Ok(Value::Timestamp(moved(us(&v[1]), interval(&v[0]), 1)?))),
    f("+", &[T::Time, T::Interval], T::Time, |v, _| Ok(Value::Time((us(&v[0]) + interval(&v[1]).microseconds).rem_euclid(DAY_US)))),
    f("-", &[T::Time, T::Interval], T::Time, |v, _| Ok(Value::Time((us(&v[0]) - interval(&v[1]).microseconds).rem_euclid(DAY_US)))),
    f("-", &[T::Time, T::Time], T::Interval, |v, _| Ok(Value::Interval(Interval { microseconds: us(&v[0]) - us(&v[1]), ..Interval::default() }))),
    f("-", &[T::Timestamp, T::Timestamp], T::Interval, |v, _| difference(v)),
    f("-", &[T::TimestampTz, T::TimestampTz], T::Interval, |v, _| difference(v)),
    f("+", &[T::Interval, T::Interval], T::Interval, |v, _| add_intervals(interval(&v[0]), interval(&v[1]), 1)),
    f("-", &[T::Interval, T::Interval], T::Interval, |v, _| add_intervals(interval(&v[0]), interval(&v[1]), -1)),
    f("-", &[T::Interval], T::Interval, |v, _| add_intervals(Interval::default(), interval(&v[0]), -1)),
    f("*", &[T::Interval, T::Double], T::Interval, |v, _| scaled(interval(&v[0]), super::cast::to_float(&v[1]).unwrap_or(0.0))),
    f("*", &[T::Double, T::Interval], T::Interval, |v, _| scaled(interval(&v[1]), super::cast::to_float(&v[0]).unwrap_or(0.0))),
    f("/", &[T::Interval, T::Double], T::Interval, |v, _| match super::cast::to_float(&v[1]) {
        Some(by) if by != 0.0 => scaled(interval(&v[0]), 1.0 / by),
        _ => Err(SqlError::new("22012", "division by zero")),
    }),
    f("extract", &[T::Text, T::Date], T::Numeric, |v, _| part(s(v, 0), &v[1])),
    f("extract", &[T::Text, T::Time], T::Numeric, |v, _| part(s(v, 0), &v[1])),
    f("extract", &[T::Text, T::Timestamp], T::Numeric, |v, _| part(s(v, 0), &v[1])),
    f("extract", &[T::Text, T::TimestampTz], T::Numeric, |v, _| part(s(v, 0), &v[1])),
    f("extract", &[T::Text, T::Interval], T::Numeric, |v, _| part(s(v, 0), &v[1])),
    f("date_part", &[T::Text, T::Timestamp], T::Double, |v, _| super::cast::cast(part(s(v, 0), &v[1])?, T::Numeric, T::Double)),
    f("date_part", &[T::Text, T::TimestampTz], T::Double, |v, _| super::cast::cast(part(s(v, 0), &v[1])?, T::Numeric, T::Double)),
    f("date_part", &[T::Text, T::Interval], T::Double, |v, _| super::cast::cast(part(s(v, 0), &v[1])?, T::Numeric, T::Double)),
    f("date_trunc", &[T::Text, T::Timestamp], T::Timestamp, |v, _| Ok(Value::Timestamp(truncated(s(v, 0), us(&v[1]))?))),
    f("date_trunc", &[T::Text, T::TimestampTz], T::TimestampTz, |v, _| Ok(Value::TimestampTz(truncated(s(v, 0), us(&v[1]))?))),
    f("now", &[], T::TimestampTz, |_, e| Ok(Value::TimestampTz(e.now))),
    f("transaction_timestamp", &[], T::TimestampTz, |_, e| Ok(Value::TimestampTz(e.now))),
    f("statement_timestamp", &[], T::TimestampTz, |_, _| Ok(Value::TimestampTz(clock()))),
    f("clock_timestamp", &[], T::TimestampTz, |_, _| Ok(Value::TimestampTz(clock()))),
    f("current_timestamp", &[], T::TimestampTz, |_, e| Ok(Value::TimestampTz(e.now))),
    f("localtimestamp", &[], T::Timestamp, |_, e| Ok(Value::Timestamp(e.now))),
    f("current_date", &[], T::Date, |_, e| Ok(Value::Date(e.now.div_euclid(DAY_US) as i32))),
    f("localtime", &[], T::Time, |_, e| Ok(Value::Time(e.now.rem_euclid(DAY_US)))),
    f("to_timestamp", &[T::Double], T::TimestampTz, |v, _| {
        let seconds = super::cast::to_float(&v[0]).unwrap_or(0.0) - UNIX_TO_2000_S as f64;
        match seconds.abs() < 9e12 {
            true => Ok(Value::TimestampTz((seconds * 1e6).round() as i64)),
            false => Err(over("timestamp")),
        }
    }),
    f("make_date", &[T::Integer, T::Integer, T::Integer], T::Date, |v, _| {
        let at = |place: usize| super::function::i(v, place);
        let (year, month, day) = (at(0), at(1), at(2));
        if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
            return Err(SqlError::new("22008", format!("date field value out of range: {year}-{month:02}-{day:02}")));
        }
        Ok(Value::Date(days_of(year, month, day) as i32))
    }),
];

/// Microseconds since 2000 by the system's clock.
pub(super) fn clock() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        since.as_micros() as i64 - UNIX_TO_2000_S * 1_000_000
    })
}
