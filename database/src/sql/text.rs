//! The text forms of values, in and out, as PostgreSQL writes them with `DateStyle = ISO` and UTC.
//!
//! Invariant: what `write` wrote, `read` gives back as the same value.

use super::error::{Result, SqlError};
use super::types::SqlType;
use crate::types::{Interval, Json, Numeric, Value};
use std::fmt::Write as _;

const DAY_US: i64 = 86_400_000_000;
/// Days from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i64 = 10_957;

fn bad(data_type: SqlType, text: &str) -> SqlError {
    SqlError::new(
        "22P02",
        format!("invalid input syntax for type {data_type}: \"{text}\""),
    )
}

fn bad_time(data_type: SqlType, text: &str) -> SqlError {
    SqlError::new(
        "22007",
        format!("invalid input syntax for type {data_type}: \"{text}\""),
    )
}

fn time_range(text: &str) -> SqlError {
    SqlError::new(
        "22008",
        format!("date/time field value out of range: \"{text}\""),
    )
}

fn integer(data_type: SqlType, text: &str) -> Result<i128> {
    let trimmed = text.trim();
    let digits = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad(data_type, text));
    }
    let range = || {
        SqlError::new(
            "22003",
            format!("value \"{text}\" is out of range for type {data_type}"),
        )
    };
    let value: i128 = trimmed.parse().map_err(|_| range())?;
    let (low, high) = match data_type {
        SqlType::SmallInt => (i16::MIN.into(), i16::MAX.into()),
        SqlType::Integer => (i32::MIN.into(), i32::MAX.into()),
        SqlType::BigInt => (i64::MIN.into(), i64::MAX.into()),
        _ => (i32::MIN.into(), u32::MAX.into()),
    };
    match (low..=high).contains(&value) {
        true => Ok(value),
        false => Err(range()),
    }
}

fn float(data_type: SqlType, text: &str) -> Result<f64> {
    let trimmed = text.trim().to_ascii_lowercase();
    let special = match trimmed.as_str() {
        "nan" => Some(f64::NAN),
        "infinity" | "inf" | "+infinity" | "+inf" => Some(f64::INFINITY),
        "-infinity" | "-inf" => Some(f64::NEG_INFINITY),
        _ => None,
    };
    if let Some(special) = special {
        return Ok(special);
    }
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-' | 'e');
    if trimmed.is_empty() || !trimmed.chars().all(plain) {
        return Err(bad(data_type, text));
    }
    let value: f64 = match data_type {
        SqlType::Real => {
            let narrow: f32 = trimmed.parse().map_err(|_| bad(data_type, text))?;
            narrow.into()
        }
        _ => trimmed.parse().map_err(|_| bad(data_type, text))?,
    };
    let zero_written = !trimmed
        .split('e')
        .next()
        .unwrap_or_default()
        .bytes()
        .any(|byte| matches!(byte, b'1'..=b'9'));
    if value.is_infinite() || (value == 0.0 && !zero_written) {
        return Err(SqlError::new(
            "22003",
            format!("\"{text}\" is out of range for type {data_type}"),
        ));
    }
    Ok(value)
}

fn boolean(text: &str) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    let is = |word: &str, least: usize| text.len() >= least && word.starts_with(&text);
    if text.is_empty() {
        return None;
    }
    if is("true", 1) || is("yes", 1) || text == "on" || text == "1" {
        return Some(true);
    }
    if is("false", 1) || is("no", 1) || is("off", 2) || text == "0" {
        return Some(false);
    }
    None
}

fn bytes(text: &str) -> Result<Vec<u8>> {
    let wrong = |message: String| SqlError::new("22023", message);
    if let Some(hex) = text.strip_prefix("\\x") {
        let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        if !digits.len().is_multiple_of(2) {
            return Err(wrong(
                "invalid hexadecimal data: odd number of digits".into(),
            ));
        }
        let digit = |byte: u8| {
            let value = char::from(byte).to_digit(16);
            value.ok_or_else(|| {
                wrong(format!(
                    "invalid hexadecimal digit: \"{}\"",
                    char::from(byte)
                ))
            })
        };
        return digits
            .chunks(2)
            .map(|pair| Ok((digit(pair[0])? << 4 | digit(pair[1])?) as u8))
            .collect();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let octal = |byte: u8| matches!(byte, b'0'..=b'7');
        match rest {
            [b'\\', after @ ..] => {
                out.push(b'\\');
                rest = after;
            }
            [a @ b'0'..=b'3', b, c, after @ ..] if octal(*b) && octal(*c) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => return Err(bad(SqlType::Bytea, text)),
        }
    }
    Ok(out)
}

/// Days since 2000-01-01 of a date of the Gregorian calendar (Howard Hinnant's `days_from_civil`).
pub(super) fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    era * 146_097 + days - 719_468 - EPOCH_DAYS
}

/// Year, month and day of days since 2000-01-01.
pub(super) fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468 + EPOCH_DAYS;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let part = (5 * of_year + 2) / 153;
    let month = if part < 10 { part + 3 } else { part - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, of_year - (153 * part + 2) / 5 + 1)
}

pub(super) fn days_in(year: i64, month: i64) -> i64 {
    let next = if month == 12 {
        (year + 1, 1)
    } else {
        (year, month + 1)
    };
    days_of(next.0, next.1, 1) - days_of(year, month, 1)
}

fn read_date(text: &str, whole: &str, data_type: SqlType) -> Result<i64> {
    let (text, before_christ) = match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let parts: Vec<&str> = text.split('-').collect();
    let number = |part: &str| -> Result<i64> {
        match part.len() <= 7 && part.bytes().all(|byte| byte.is_ascii_digit()) {
            true => part.parse().map_err(|_| bad_time(data_type, whole)),
            false => Err(bad_time(data_type, whole)),
        }
    };
    let (year, month, day) = match parts.as_slice() {
        [year, month, day] if year.len() >= 3 => (number(year)?, number(month)?, number(day)?),
        [packed] if packed.len() == 8 && packed.is_ascii() => (
            number(&packed[..4])?,
            number(&packed[4..6])?,
            number(&packed[6..])?,
        ),
        _ => return Err(bad_time(data_type, whole)),
    };
    let year = if before_christ { 1 - year } else { year };
    if !(1..=12).contains(&month)
        || day < 1
        || day > days_in(year, month)
        || year == 0 && !before_christ
    {
        return Err(time_range(whole));
    }
    let days = days_of(year, month, day);
    match (-4713..=294_276).contains(&year) || data_type == SqlType::Date && year < 5_874_898 {
        true => Ok(days),
        false => Err(SqlError::new(
            "22008",
            format!("date out of range: \"{whole}\""),
        )),
    }
}

fn read_clock(text: &str, whole: &str, data_type: SqlType) -> Result<i64> {
    let parts: Vec<&str> = text.split(':').collect();
    let number = |part: &str| part.parse::<i64>().map_err(|_| bad_time(data_type, whole));
    let (hours, minutes, seconds) = match parts.as_slice() {
        [hours, minutes] => (*hours, *minutes, "0"),
        [hours, minutes, seconds] => (*hours, *minutes, *seconds),
        _ => return Err(bad_time(data_type, whole)),
    };
    let (whole_seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad_time(data_type, whole));
    }
    let mut us = 0;
    for (place, byte) in fraction.bytes().take(7).enumerate() {
        let digit = i64::from(byte - b'0');
        match place {
            6 => us += i64::from(digit >= 5),
            place => us += digit * 10_i64.pow(5 - place as u32),
        }
    }
    let (hours, minutes, seconds) = (number(hours)?, number(minutes)?, number(whole_seconds)?);
    if !(0..=24).contains(&hours) || !(0..60).contains(&minutes) || !(0..=60).contains(&seconds) {
        return Err(time_range(whole));
    }
    let total = (hours * 3600 + minutes * 60 + seconds) * 1_000_000 + us;
    match total <= DAY_US {
        true => Ok(total),
        false => Err(time_range(whole)),
    }
}

fn read_timestamp(text: &str, data_type: SqlType, now: Option<i64>) -> Result<i64> {
    let trimmed = text.trim();
    match (trimmed.to_ascii_lowercase().as_str(), now) {
        ("infinity", _) => return Ok(i64::MAX),
        ("-infinity", _) => return Ok(i64::MIN),
        ("epoch", _) => return Ok(-EPOCH_DAYS * DAY_US),
        ("now", Some(now)) => return Ok(now),
        _ => {}
    }
    let (date, rest) = match trimmed.find([' ', 'T']) {
        Some(at) if !trimmed[at..].starts_with(" BC") => (&trimmed[..at], trimmed[at + 1..].trim()),
        _ => (trimmed, ""),
    };
    let days = read_date(date, text, data_type)?;
    let (clock, zone) = match rest.find(['+', '-', 'Z', 'z', ' ']) {
        Some(at) => (&rest[..at], rest[at..].trim()),
        None => (rest, ""),
    };
    let us = match clock {
        "" => 0,
        clock => read_clock(clock, text, data_type)?,
    };
    let offset = match zone {
        "" | "Z" | "z" | "UTC" | "GMT" | "utc" => 0,
        zone => read_offset(zone).ok_or_else(|| bad_time(data_type, text))?,
    };
    let offset = if data_type == SqlType::TimestampTz {
        offset
    } else {
        0
    };
    let total = i128::from(days) * i128::from(DAY_US) + i128::from(us) - i128::from(offset);
    i64::try_from(total).map_err(|_| time_range(text))
}

/// Microseconds east of UTC of `+02`, `-05:30`, `+0530`.
fn read_offset(zone: &str) -> Option<i64> {
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = zone[1..].chars().filter(|c| *c != ':').collect();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i64, i64) = match digits.len() {
        1 | 2 => (digits.parse().ok()?, 0),
        4 => (digits[..2].parse().ok()?, digits[2..].parse().ok()?),
        _ => return None,
    };
    (hours <= 15 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60) * 1_000_000)
}

fn read_interval(text: &str) -> Result<Interval> {
    let wrong = || bad_time(SqlType::Interval, text);
    let over = || {
        SqlError::new(
            "22015",
            format!("interval field value out of range: \"{text}\""),
        )
    };
    let (mut months, mut days, mut us) = (0_f64, 0_f64, 0_f64);
    let lower = text.trim().to_ascii_lowercase();
    let (body, ago) = match lower.strip_suffix(" ago") {
        Some(body) => (body, true),
        None => (lower.as_str(), false),
    };
    let mut words = body.split_whitespace().flat_map(|word| {
        let cut = word
            .find(|c: char| c.is_ascii_alphabetic())
            .filter(|at| *at > 0 && !word.contains(':'));
        match cut {
            Some(at) => vec![&word[..at], &word[at..]],
            None => vec![word],
        }
    });
    let mut any = false;
    while let Some(word) = words.next() {
        any = true;
        if word.contains(':') {
            let (sign, clock) = match word.strip_prefix('-') {
                Some(clock) => (-1.0, clock),
                None => (1.0, word.strip_prefix('+').unwrap_or(word)),
            };
            let parts: Vec<f64> = clock
                .split(':')
                .map(|part| part.parse().map_err(|_| wrong()))
                .collect::<Result<_>>()?;
            let seconds = match parts.as_slice() {
                [hours, minutes] => hours * 3600.0 + minutes * 60.0,
                [hours, minutes, seconds] => hours * 3600.0 + minutes * 60.0 + seconds,
                _ => return Err(wrong()),
            };
            us += sign * seconds * 1e6;
            continue;
        }
        let number: f64 = word.parse().map_err(|_| wrong())?;
        let unit = words.next().unwrap_or("second");
        match unit
            .strip_suffix('s')
            .filter(|unit| unit.len() > 1)
            .unwrap_or(unit)
        {
            "year" | "yr" | "y" => months += number * 12.0,
            "decade" => months += number * 120.0,
            "centurie" | "century" => months += number * 1200.0,
            "month" | "mon" => months += number,
            "week" | "w" => days += number * 7.0,
            "day" | "d" => days += number,
            "hour" | "hr" | "h" => us += number * 3.6e9,
            "minute" | "min" | "m" => us += number * 6e7,
            "second" | "sec" | "s" => us += number * 1e6,
            "millisecond" | "msec" | "ms" => us += number * 1e3,
            "microsecond" | "usec" | "us" | "u" => us += number,
            _ => return Err(wrong()),
        }
    }
    if !any {
        return Err(wrong());
    }
    let sign = if ago { -1.0 } else { 1.0 };
    let whole_months = months.trunc();
    days += (months - whole_months) * 30.0;
    let whole_days = days.trunc();
    us += (days - whole_days) * DAY_US as f64;
    let fits = |value: f64| value.abs() <= f64::from(i32::MAX);
    if !fits(whole_months) || !fits(whole_days) || us.abs() > 9.2e18 {
        return Err(over());
    }
    Ok(Interval {
        months: (sign * whole_months) as i32,
        days: (sign * whole_days) as i32,
        microseconds: (sign * us).round() as i64,
    })
}

/// A value of a type from its text form.
///
/// # Errors
/// 22P02, 22003, 22007, 22008.
pub fn read(data_type: SqlType, text: &str) -> Result<Value> {
    if text.contains('\0') {
        return Err(SqlError::new(
            "22021",
            "invalid byte sequence for encoding \"UTF8\": 0x00",
        ));
    }
    Ok(match data_type {
        SqlType::Boolean => Value::Boolean(boolean(text).ok_or_else(|| bad(data_type, text))?),
        SqlType::SmallInt => Value::SmallInt(integer(data_type, text)? as i16),
        SqlType::Integer => Value::Integer(integer(data_type, text)? as i32),
        SqlType::BigInt => Value::BigInt(integer(data_type, text)? as i64),
        SqlType::Oid
        | SqlType::Regclass
        | SqlType::Regtype
        | SqlType::Regproc
        | SqlType::Regnamespace
        | SqlType::Xid => Value::BigInt(integer(SqlType::Oid, text)? as i64),
        SqlType::Real => Value::Real(float(data_type, text)? as f32),
        SqlType::Double => Value::Double(float(data_type, text)?),
        SqlType::Numeric => Value::Numeric(read_numeric(text)?),
        SqlType::BpChar => Value::Char(text.trim_end_matches(' ').to_owned()),
        SqlType::Bytea => Value::Bytea(bytes(text)?),
        SqlType::Date => Value::Date(match text.trim().to_ascii_lowercase().as_str() {
            "infinity" => i32::MAX,
            "-infinity" => i32::MIN,
            "epoch" => -(EPOCH_DAYS as i32),
            _ => {
                let date = text.trim();
                let cut = date
                    .find([' ', 'T'])
                    .filter(|at| !date[*at..].starts_with(" BC"));
                read_date(&date[..cut.unwrap_or(date.len())], text, data_type)? as i32
            }
        }),
        SqlType::Time => {
            let clock = text.trim();
            let clock = clock.split_once(' ').map_or(clock, |(_, clock)| clock);
            Value::Time(read_clock(clock, text, data_type)?)
        }
        SqlType::Timestamp => Value::Timestamp(read_timestamp(text, data_type, None)?),
        SqlType::TimestampTz => Value::TimestampTz(read_timestamp(text, data_type, None)?),
        SqlType::Interval => Value::Interval(read_interval(text)?),
        SqlType::Json => {
            read_json(text)?;
            Value::Json(text.to_owned())
        }
        SqlType::Jsonb => Value::Jsonb(read_json(text)?),
        SqlType::Uuid => {
            let digits: String = text
                .trim_matches(['{', '}'])
                .chars()
                .filter(|c| *c != '-')
                .collect();
            let mut id = [0; 16];
            if digits.len() != 32 || !digits.is_ascii() {
                return Err(bad(data_type, text));
            }
            for (at, byte) in id.iter_mut().enumerate() {
                let pair = &digits[2 * at..2 * at + 2];
                *byte = u8::from_str_radix(pair, 16).map_err(|_| bad(data_type, text))?;
            }
            Value::Uuid(id)
        }
        SqlType::Int2Vector
        | SqlType::OidVector
        | SqlType::Unknown
        | SqlType::Text
        | SqlType::Varchar
        | SqlType::Name
        | SqlType::InternalChar
        | SqlType::NodeTree
        | SqlType::Void => Value::Text(text.to_owned()),
        array => {
            super::array::elements(text).map_err(|_| {
                SqlError::new("22P02", format!("malformed array literal: \"{text}\""))
            })?;
            debug_assert!(array.element().is_some());
            Value::Text(text.to_owned())
        }
    })
}

fn read_json(text: &str) -> Result<Json> {
    Json::parse(text).map_err(|error| {
        SqlError::new("22P02", "invalid input syntax for type json").detail(error.to_string())
    })
}

/// A numeric from its digits.
pub(super) fn read_numeric(text: &str) -> Result<Numeric> {
    text.parse().map_err(|error| match error {
        crate::types::NumericError::Syntax(_) => bad(SqlType::Numeric, text),
        crate::types::NumericError::Overflow { .. } => {
            SqlError::new("22003", "value overflows numeric format")
        }
    })
}

/// PostgreSQL's shortest form of a float that reads back as itself.
fn write_float(digits_form: String, wide: bool) -> String {
    let (mantissa, exponent) = digits_form.split_once('e').unwrap_or((&digits_form, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let limit = if wide { 15 } else { 6 };
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    if exponent < -4 || exponent >= limit {
        let mark = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{mark}{:02}", exponent.abs());
    }
    if exponent < 0 {
        let zeros = "0".repeat((-exponent - 1) as usize);
        return format!("{sign}0.{zeros}{digits}");
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        return format!("{sign}{digits}{}", "0".repeat(whole - digits.len()));
    }
    format!("{sign}{}.{}", &digits[..whole], &digits[whole..])
}

fn write_clock(out: &mut String, us: i64) {
    let seconds = us / 1_000_000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let _ = write!(out, "{hours:02}:{minutes:02}:{seconds:02}");
    write_fraction(out, us % 1_000_000);
}

fn write_fraction(out: &mut String, us: i64) {
    if us != 0 {
        let digits = format!("{us:06}");
        let _ = write!(out, ".{}", digits.trim_end_matches('0'));
    }
}

fn write_date(out: &mut String, days: i64) -> bool {
    let (year, month, day) = date_of(days);
    let shown = if year <= 0 { 1 - year } else { year };
    let _ = write!(out, "{shown:04}-{month:02}-{day:02}");
    year <= 0
}

fn write_timestamp(us: i64, zone: &str) -> String {
    match us {
        i64::MAX => return "infinity".to_owned(),
        i64::MIN => return "-infinity".to_owned(),
        _ => {}
    }
    let mut out = String::with_capacity(32);
    let before_christ = write_date(&mut out, us.div_euclid(DAY_US));
    out.push(' ');
    write_clock(&mut out, us.rem_euclid(DAY_US));
    out.push_str(zone);
    if before_christ {
        out.push_str(" BC");
    }
    out
}

fn write_interval(interval: &Interval) -> String {
    let mut parts = Vec::new();
    let (years, months) = (interval.months / 12, interval.months % 12);
    let mut negative_before = false;
    let mut add = |number: i32, name: &str| {
        if number != 0 {
            let plural = if number == 1 { "" } else { "s" };
            let sign = if negative_before && number > 0 {
                "+"
            } else {
                ""
            };
            parts.push(format!("{sign}{number} {name}{plural}"));
            negative_before = number < 0;
        }
    };
    add(years, "year");
    add(months, "mon");
    add(interval.days, "day");
    let us = interval.microseconds;
    if us != 0 || parts.is_empty() {
        let mut clock = String::new();
        if us < 0 {
            clock.push('-');
        } else if negative_before {
            clock.push('+');
        }
        let magnitude = us.unsigned_abs();
        let seconds = magnitude / 1_000_000;
        let _ = write!(
            clock,
            "{:02}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        );
        write_fraction(&mut clock, (magnitude % 1_000_000) as i64);
        parts.push(clock);
    }
    parts.join(" ")
}

/// The text form of a value; none for NULL.
pub fn write(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Boolean(value) => if *value { "t" } else { "f" }.to_owned(),
        Value::SmallInt(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::BigInt(value) => value.to_string(),
        Value::Real(value) if value.is_finite() => write_float(format!("{value:e}"), false),
        Value::Double(value) if value.is_finite() => write_float(format!("{value:e}"), true),
        Value::Real(value) => write_special((*value).into()),
        Value::Double(value) => write_special(*value),
        Value::Numeric(value) => value.to_string(),
        Value::Text(value) | Value::Char(value) | Value::Json(value) => value.clone(),
        Value::Bytea(value) => {
            let mut out = String::with_capacity(2 + 2 * value.len());
            out.push_str("\\x");
            for byte in value {
                let _ = write!(out, "{byte:02x}");
            }
            out
        }
        Value::Date(i32::MAX) => "infinity".to_owned(),
        Value::Date(i32::MIN) => "-infinity".to_owned(),
        Value::Date(days) => {
            let mut out = String::with_capacity(16);
            if write_date(&mut out, i64::from(*days)) {
                out.push_str(" BC");
            }
            out
        }
        Value::Time(us) => {
            let mut out = String::with_capacity(16);
            write_clock(&mut out, *us);
            out
        }
        Value::Timestamp(us) => write_timestamp(*us, ""),
        Value::TimestampTz(us) => write_timestamp(*us, "+00"),
        Value::Interval(interval) => write_interval(interval),
        Value::Jsonb(json) => json.to_string(),
        Value::Uuid(id) => {
            let mut out = String::with_capacity(36);
            for (at, byte) in id.iter().enumerate() {
                if matches!(at, 4 | 6 | 8 | 10) {
                    out.push('-');
                }
                let _ = write!(out, "{byte:02x}");
            }
            out
        }
    })
}

fn write_special(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "Infinity",
        _ => "-Infinity",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for (data_type, text) in [
            (SqlType::Boolean, "t"),
            (SqlType::Double, "1.5"),
            (SqlType::Double, "1e+15"),
            (SqlType::Double, "1e-05"),
            (SqlType::Double, "0.0001"),
            (SqlType::Double, "123456789012345"),
            (SqlType::Real, "1e+06"),
            (SqlType::Numeric, "1.10"),
            (SqlType::Bytea, "\\x00ff"),
            (SqlType::Date, "2024-02-29"),
            (SqlType::Date, "0044-03-15 BC"),
            (SqlType::Timestamp, "1999-12-31 23:59:59.5"),
            (SqlType::TimestampTz, "2000-01-01 00:00:00+00"),
            (SqlType::Interval, "1 year 2 mons 3 days 04:05:06.7"),
            (SqlType::Interval, "-1 days +02:03:00"),
            (SqlType::Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ] {
            let value = read(data_type, text).unwrap();
            assert_eq!(write(&value).unwrap(), text);
        }
        for (data_type, text, state) in [
            (SqlType::Integer, "2147483648", "22003"),
            (SqlType::Integer, "1x", "22P02"),
            (SqlType::Date, "2023-02-29", "22008"),
            (SqlType::Date, "yesterday?", "22007"),
            (SqlType::Double, "1e400", "22003"),
        ] {
            assert_eq!(read(data_type, text).unwrap_err().sqlstate, state, "{text}");
        }
    }
}
