//! Arithmetic: checked integers, exact decimals with PostgreSQL's scales, floats.

use super::cast::to_float;
use super::error::{Result, SqlError};
use super::expr::Env;
use super::function::{Function, i, s};
use super::types::SqlType as T;
use crate::types::{Numeric, Value};
use bigdecimal::{BigDecimal, RoundingMode, Signed, ToPrimitive, Zero};

/// Digits after the point that an operation may give.
const SCALE_MAX: i64 = 1_000;
/// Significant digits that a division gives at least.
const DIVISION_DIGITS: i64 = 16;

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

fn range(of: T) -> SqlError {
    SqlError::new("22003", format!("{of} out of range"))
}

fn zero() -> SqlError {
    SqlError::new("22012", "division by zero")
}

fn small(value: Option<i64>) -> Result<Value> {
    let value = value.and_then(|value| i16::try_from(value).ok());
    value.map(Value::SmallInt).ok_or_else(|| range(T::SmallInt))
}

fn int(value: Option<i64>) -> Result<Value> {
    let value = value.and_then(|value| i32::try_from(value).ok());
    value.map(Value::Integer).ok_or_else(|| range(T::Integer))
}

fn big(value: Option<i64>) -> Result<Value> {
    value.map(Value::BigInt).ok_or_else(|| range(T::BigInt))
}

fn d(values: &[Value], at: usize) -> f64 {
    values.get(at).and_then(to_float).unwrap_or(f64::NAN)
}

/// A float result: infinity that did not come in is an overflow.
fn double(value: f64, from: &[Value]) -> Result<Value> {
    let infinite_in = from
        .iter()
        .any(|v| to_float(v).is_some_and(f64::is_infinite));
    match value.is_infinite() && !infinite_in {
        true => Err(SqlError::new("22003", "value out of range: overflow")),
        false => Ok(Value::Double(value)),
    }
}

fn real(value: f64, from: &[Value]) -> Result<Value> {
    let narrow = value as f32;
    let infinite_in = from
        .iter()
        .any(|v| to_float(v).is_some_and(f64::is_infinite));
    match narrow.is_infinite() && !infinite_in {
        true => Err(SqlError::new("22003", "value out of range: overflow")),
        false => Ok(Value::Real(narrow)),
    }
}

fn n(values: &[Value], at: usize) -> Numeric {
    match values.get(at) {
        Some(Value::Numeric(value)) => value.clone(),
        _ => Numeric::NaN,
    }
}

fn scale(value: &BigDecimal) -> i64 {
    value.fractional_digit_count()
}

/// Weight in groups of four digits, and the first group, as PostgreSQL keeps a numeric.
fn weight(value: &BigDecimal) -> (i64, i64) {
    let Some((_, digits, exponent)) = Numeric::Finite(value.clone()).normal_form() else {
        return (0, 0);
    };
    let place = exponent - 1;
    let weight = place.div_euclid(4);
    let count = place.rem_euclid(4) as usize + 1;
    let mut first = 0;
    for at in 0..count {
        first = first * 10 + digits.get(at).map_or(0, |byte| i64::from(byte - b'0'));
    }
    (weight, first)
}

fn finish(value: BigDecimal) -> Result<Value> {
    let value = if scale(&value) < 0 {
        value.with_scale(0)
    } else {
        value
    };
    let whole = value.digits() as i64 - scale(&value);
    match whole > 131_072 {
        true => Err(SqlError::new("22003", "value overflows numeric format")),
        false => Ok(Value::Numeric(Numeric::Finite(value))),
    }
}

/// A quotient with PostgreSQL's number of digits.
pub(super) fn divide(a: &BigDecimal, b: &BigDecimal) -> Result<Value> {
    if b.is_zero() {
        return Err(zero());
    }
    let ((weight_a, first_a), (weight_b, first_b)) = (weight(a), weight(b));
    let mut quotient_weight = weight_a - weight_b;
    if first_a <= first_b {
        quotient_weight -= 1;
    }
    let digits = (DIVISION_DIGITS - quotient_weight * 4)
        .max(scale(a))
        .max(scale(b))
        .clamp(0, SCALE_MAX);
    // Exact integer division, then one rounding: half away from zero.
    let shift = digits + 1 + scale(b) - scale(a);
    let (mut top, _) = a.as_bigint_and_exponent();
    let (mut bottom, _) = b.as_bigint_and_exponent();
    let ten = num_bigint::BigInt::from(10);
    if shift >= 0 {
        top *= ten.pow(shift as u32);
    } else {
        bottom *= ten.pow((-shift) as u32);
    }
    let quotient = BigDecimal::new(top / bottom, digits + 1);
    finish(quotient.with_scale_round(digits, RoundingMode::HalfUp))
}

fn numeric(sign: u8, values: &[Value]) -> Result<Value> {
    let (a, b) = (n(values, 0), n(values, 1));
    if let (Numeric::Finite(a), Numeric::Finite(b)) = (&a, &b) {
        return match sign {
            b'+' => finish(a + b),
            b'-' => finish(a - b),
            b'*' => {
                let product = a * b;
                match scale(&product) > 16_383 {
                    true => finish(product.with_scale_round(16_383, RoundingMode::HalfUp)),
                    false => finish(product),
                }
            }
            b'/' => divide(a, b),
            _ if b.is_zero() => Err(zero()),
            _ => {
                let digits = scale(a).max(scale(b));
                finish((a % b).with_scale(digits))
            }
        };
    }
    // Infinities and NaN follow the rules of floats.
    let float = |value: &Numeric| to_float(&Value::Numeric(value.clone())).unwrap_or(f64::NAN);
    let (x, y) = (float(&a), float(&b));
    let result = match sign {
        b'+' => x + y,
        b'-' => x - y,
        b'*' => x * y,
        b'/' if y == 0.0 => return Err(zero()),
        b'/' => x / y,
        _ if y == 0.0 => return Err(zero()),
        _ if y.is_infinite() && x.is_finite() => return Ok(Value::Numeric(a)),
        _ => f64::NAN,
    };
    Ok(Value::Numeric(match result {
        r if r.is_nan() => Numeric::NaN,
        r if r == f64::INFINITY => Numeric::Infinity,
        r if r == f64::NEG_INFINITY => Numeric::NegativeInfinity,
        _ => Numeric::from(0),
    }))
}

fn rounded(values: &[Value], mode: RoundingMode) -> Result<Value> {
    let Numeric::Finite(value) = n(values, 0) else {
        return Ok(values[0].clone());
    };
    let digits = i(values, 1).clamp(-SCALE_MAX, SCALE_MAX);
    let value = value.with_scale_round(digits, mode);
    finish(if digits < 0 {
        value.with_scale(0)
    } else {
        value
    })
}

fn map_numeric(values: &[Value], change: fn(&BigDecimal) -> BigDecimal) -> Result<Value> {
    match n(values, 0) {
        Numeric::Finite(value) => finish(change(&value)),
        _ => Ok(values[0].clone()),
    }
}

fn quotient(a: i64, b: i64) -> Result<Option<i64>> {
    if b == 0 {
        Err(zero())
    } else {
        Ok(a.checked_div(b))
    }
}

fn remainder(a: i64, b: i64) -> Result<Option<i64>> {
    if b == 0 {
        Err(zero())
    } else {
        Ok(Some(a.wrapping_rem(b)))
    }
}

fn power(values: &[Value]) -> Result<Value> {
    let (a, b) = (d(values, 0), d(values, 1));
    if a == 0.0 && b < 0.0 {
        return Err(SqlError::new(
            "2201F",
            "zero raised to a negative power is undefined",
        ));
    }
    if a < 0.0 && b.fract() != 0.0 {
        return Err(SqlError::new(
            "2201F",
            "a negative number raised to a non-integer power yields a complex result",
        ));
    }
    double(a.powf(b), values)
}

fn numeric_power(values: &[Value]) -> Result<Value> {
    let (Numeric::Finite(base), Numeric::Finite(exponent)) = (n(values, 0), n(values, 1)) else {
        return power(values).and_then(|value| super::cast::cast(value, T::Double, T::Numeric));
    };
    let whole = exponent.is_integer().then(|| exponent.to_i64()).flatten();
    match whole {
        Some(times) if (0..=100_000).contains(&times) => {
            let digits = base.digits() as i64 - scale(&base);
            if digits.saturating_mul(times) > 131_072 {
                return Err(SqlError::new("22003", "value overflows numeric format"));
            }
            let mut result = BigDecimal::from(1);
            for _ in 0..times {
                result *= &base;
                if scale(&result) > 2 * SCALE_MAX {
                    result = result.with_scale_round(2 * SCALE_MAX, RoundingMode::HalfUp);
                }
            }
            let digits = (DIVISION_DIGITS - (result.digits() as i64 - scale(&result)))
                .max(scale(&base))
                .clamp(0, SCALE_MAX);
            finish(result.with_scale_round(digits, RoundingMode::HalfUp))
        }
        Some(times) if times > 0 => Err(SqlError::new("22003", "value overflows numeric format")),
        _ => super::cast::cast(power(values)?, T::Double, T::Numeric),
    }
}

fn root(values: &[Value]) -> Result<Value> {
    match d(values, 0) < 0.0 {
        true => Err(SqlError::new(
            "2201F",
            "cannot take square root of a negative number",
        )),
        false => Ok(Value::Double(d(values, 0).sqrt())),
    }
}

fn logarithm(values: &[Value], log: fn(f64) -> f64) -> Result<Value> {
    match d(values, 0) {
        0.0 => Err(SqlError::new("2201E", "cannot take logarithm of zero")),
        x if x < 0.0 => Err(SqlError::new(
            "2201E",
            "cannot take logarithm of a negative number",
        )),
        x => Ok(Value::Double(log(x))),
    }
}

pub(super) fn bytes_of(values: &[Value]) -> Result<Value> {
    match &values[0] {
        Value::Bytea(bytes) => Ok(Value::Integer(bytes.len() as i32)),
        _ => Ok(Value::Integer(s(values, 0).len() as i32)),
    }
}

const SS: &[T] = &[T::SmallInt, T::SmallInt];
const II: &[T] = &[T::Integer, T::Integer];
const BB: &[T] = &[T::BigInt, T::BigInt];
const NN: &[T] = &[T::Numeric, T::Numeric];
const RR: &[T] = &[T::Real, T::Real];
const DD: &[T] = &[T::Double, T::Double];
const D: &[T] = &[T::Double];
const N: &[T] = &[T::Numeric];

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f("+", SS, T::SmallInt, |v, _| small(i(v, 0).checked_add(i(v, 1)))),
    f("-", SS, T::SmallInt, |v, _| small(i(v, 0).checked_sub(i(v, 1)))),
    f("*", SS, T::SmallInt, |v, _| small(i(v, 0).checked_mul(i(v, 1)))),
    f("/", SS, T::SmallInt, |v, _| small(quotient(i(v, 0), i(v, 1))?)),
    f("%", SS, T::SmallInt, |v, _| small(remainder(i(v, 0), i(v, 1))?)),
    f("+", II, T::Integer, |v, _| int(i(v, 0).checked_add(i(v, 1)))),
    f("-", II, T::Integer, |v, _| int(i(v, 0).checked_sub(i(v, 1)))),
    f("*", II, T::Integer, |v, _| int(i(v, 0).checked_mul(i(v, 1)))),
    f("/", II, T::Integer, |v, _| int(quotient(i(v, 0), i(v, 1))?)),
    f("%", II, T::Integer, |v, _| int(remainder(i(v, 0), i(v, 1))?)),
    f("+", BB, T::BigInt, |v, _| big(i(v, 0).checked_add(i(v, 1)))),
    f("-", BB, T::BigInt, |v, _| big(i(v, 0).checked_sub(i(v, 1)))),
    f("*", BB, T::BigInt, |v, _| big(i(v, 0).checked_mul(i(v, 1)))),
    f("/", BB, T::BigInt, |v, _| big(quotient(i(v, 0), i(v, 1))?)),
    f("%", BB, T::BigInt, |v, _| big(remainder(i(v, 0), i(v, 1))?)),
    f("mod", II, T::Integer, |v, _| int(remainder(i(v, 0), i(v, 1))?)),
    f("mod", BB, T::BigInt, |v, _| big(remainder(i(v, 0), i(v, 1))?)),
    f("mod", NN, T::Numeric, |v, _| numeric(b'%', v)),
    f("&", II, T::Integer, |v, _| int(Some(i(v, 0) & i(v, 1)))),
    f("|", II, T::Integer, |v, _| int(Some(i(v, 0) | i(v, 1)))),
    f("#", II, T::Integer, |v, _| int(Some(i(v, 0) ^ i(v, 1)))),
    f("&", BB, T::BigInt, |v, _| big(Some(i(v, 0) & i(v, 1)))),
    f("|", BB, T::BigInt, |v, _| big(Some(i(v, 0) | i(v, 1)))),
    f("#", BB, T::BigInt, |v, _| big(Some(i(v, 0) ^ i(v, 1)))),
    f("<<", II, T::Integer, |v, _| Ok(Value::Integer((i(v, 0) as i32).wrapping_shl(i(v, 1) as u32)))),
    f(">>", II, T::Integer, |v, _| Ok(Value::Integer((i(v, 0) as i32).wrapping_shr(i(v, 1) as u32)))),
    f("<<", &[T::BigInt, T::Integer], T::BigInt, |v, _| Ok(Value::BigInt(i(v, 0).wrapping_shl(i(v, 1) as u32)))),
    f(">>", &[T::BigInt, T::Integer], T::BigInt, |v, _| Ok(Value::BigInt(i(v, 0).wrapping_shr(i(v, 1) as u32)))),
    f("~", &[T::Integer], T::Integer, |v, _| int(Some(!i(v, 0)))),
    f("~", &[T::BigInt], T::BigInt, |v, _| big(Some(!i(v, 0)))),
    f("+", NN, T::Numeric, |v, _| numeric(b'+', v)),
    f("-", NN, T::Numeric, |v, _| numeric(b'-', v)),
    f("*", NN, T::Numeric, |v, _| numeric(b'*', v)),
    f("/", NN, T::Numeric, |v, _| numeric(b'/', v)),
    f("%", NN, T::Numeric, |v, _| numeric(b'%', v)),
    f("+", RR, T::Real, |v, _| real(d(v, 0) + d(v, 1), v)),
    f("-", RR, T::Real, |v, _| real(d(v, 0) - d(v, 1), v)),
    f("*", RR, T::Real, |v, _| real(d(v, 0) * d(v, 1), v)),
    f("/", RR, T::Real, |v, _| if d(v, 1) == 0.0 { Err(zero()) } else { real(d(v, 0) / d(v, 1), v) }),
    f("+", DD, T::Double, |v, _| double(d(v, 0) + d(v, 1), v)),
    f("-", DD, T::Double, |v, _| double(d(v, 0) - d(v, 1), v)),
    f("*", DD, T::Double, |v, _| double(d(v, 0) * d(v, 1), v)),
    f("/", DD, T::Double, |v, _| if d(v, 1) == 0.0 { Err(zero()) } else { double(d(v, 0) / d(v, 1), v) }),
    f("^", DD, T::Double, |v, _| power(v)),
    f("^", NN, T::Numeric, |v, _| numeric_power(v)),
    f("power", DD, T::Double, |v, _| power(v)),
    f("power", NN, T::Numeric, |v, _| numeric_power(v)),
    f("pow", DD, T::Double, |v, _| power(v)),
    f("-", &[T::SmallInt], T::SmallInt, |v, _| small(i(v, 0).checked_neg())),
    f("-", &[T::Integer], T::Integer, |v, _| int(i(v, 0).checked_neg())),
    f("-", &[T::BigInt], T::BigInt, |v, _| big(i(v, 0).checked_neg())),
    f("-", N, T::Numeric, |v, _| numeric(b'-', &[Value::Numeric(Numeric::from(0)), v[0].clone()])),
    f("-", &[T::Real], T::Real, |v, _| real(-d(v, 0), v)),
    f("-", D, T::Double, |v, _| double(-d(v, 0), v)),
    f("abs", &[T::SmallInt], T::SmallInt, |v, _| small(i(v, 0).checked_abs())),
    f("abs", &[T::Integer], T::Integer, |v, _| int(i(v, 0).checked_abs())),
    f("abs", &[T::BigInt], T::BigInt, |v, _| big(i(v, 0).checked_abs())),
    f("abs", N, T::Numeric, |v, _| map_numeric(v, |value| value.abs())),
    f("abs", &[T::Real], T::Real, |v, _| real(d(v, 0).abs(), v)),
    f("abs", D, T::Double, |v, _| double(d(v, 0).abs(), v)),
    f("sign", N, T::Numeric, |v, _| map_numeric(v, |value| BigDecimal::from(i64::from(value.is_positive()) - i64::from(value.is_negative())))),
    f("sign", D, T::Double, |v, _| Ok(Value::Double(if d(v, 0) == 0.0 { 0.0 } else { d(v, 0).signum() }))),
    f("ceil", N, T::Numeric, |v, _| rounded(&[v[0].clone()], RoundingMode::Ceiling)),
    f("ceiling", N, T::Numeric, |v, _| rounded(&[v[0].clone()], RoundingMode::Ceiling)),
    f("floor", N, T::Numeric, |v, _| rounded(&[v[0].clone()], RoundingMode::Floor)),
    f("trunc", N, T::Numeric, |v, _| rounded(v, RoundingMode::Down)),
    f("trunc", &[T::Numeric, T::Integer], T::Numeric, |v, _| rounded(v, RoundingMode::Down)),
    f("round", N, T::Numeric, |v, _| rounded(v, RoundingMode::HalfUp)),
    f("round", &[T::Numeric, T::Integer], T::Numeric, |v, _| rounded(v, RoundingMode::HalfUp)),
    f("ceil", D, T::Double, |v, _| Ok(Value::Double(d(v, 0).ceil()))),
    f("ceiling", D, T::Double, |v, _| Ok(Value::Double(d(v, 0).ceil()))),
    f("floor", D, T::Double, |v, _| Ok(Value::Double(d(v, 0).floor()))),
    f("trunc", D, T::Double, |v, _| Ok(Value::Double(d(v, 0).trunc()))),
    f("round", D, T::Double, |v, _| Ok(Value::Double(d(v, 0).round_ties_even()))),
    f("sqrt", D, T::Double, |v, _| root(v)),
    f("ln", D, T::Double, |v, _| logarithm(v, f64::ln)),
    f("log", D, T::Double, |v, _| logarithm(v, f64::log10)),
    f("log10", D, T::Double, |v, _| logarithm(v, f64::log10)),
    f("exp", D, T::Double, |v, _| double(d(v, 0).exp(), v)),
    f("random", &[], T::Double, |_, _| Ok(Value::Double(rand::random::<f64>()))),
];
