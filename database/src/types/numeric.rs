//! `numeric`: exact decimals with PostgreSQL's special values.
//!
//! The digits are a `bigdecimal::BigDecimal`: arbitrary precision, so that a sum never overflows where
//! PostgreSQL's does not, and a scale that stays as written (`1.10`). The fixed libraries looked at
//! (`rust_decimal`: 28 digits; `fastnum`: a width chosen at compile time) cannot hold
//! `numeric(38, 10)` or PostgreSQL's unconstrained `numeric`.
//! Limit, as in PostgreSQL: 131,072 digits before the point, 16,383 after it.
//!
//! Invariant: order is -Infinity < finite < Infinity < NaN, and NaN equals itself.

use bigdecimal::{BigDecimal, Zero};
use num_bigint::{BigInt, Sign};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Digits before the decimal point.
pub const NUMERIC_WHOLE_DIGITS_MAX: i64 = 131_072;
/// Digits after the decimal point.
pub const NUMERIC_SCALE_MAX: i64 = 16_383;

/// A `numeric` value.
#[derive(Debug, Clone)]
pub enum Numeric {
    /// `-Infinity`
    NegativeInfinity,
    /// A number.
    Finite(BigDecimal),
    /// `Infinity`
    Infinity,
    /// `NaN`, greater than everything else
    NaN,
}

/// Why digits are no `numeric`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumericError {
    /// Not a number.
    #[error("invalid input syntax for type numeric: \"{0}\"")]
    Syntax(String),
    /// More digits than the limit.
    #[error("value overflows numeric format: {digits} digits {place} the point, at most {limit}")]
    Overflow {
        /// Digits it has.
        digits: i64,
        /// Before or after.
        place: &'static str,
        /// Digits it may have.
        limit: i64,
    },
}

impl Numeric {
    /// A number within the limits.
    ///
    /// # Errors
    /// `Overflow` beyond the limits.
    pub fn new(value: BigDecimal) -> Result<Self, NumericError> {
        let value = if value.fractional_digit_count() < 0 {
            // PostgreSQL has no negative display scale: 1e3 is 1000.
            check_whole(&value)?;
            value.with_scale(0)
        } else {
            value
        };
        let scale = value.fractional_digit_count();
        if scale > NUMERIC_SCALE_MAX {
            return Err(NumericError::Overflow {
                digits: scale,
                place: "after",
                limit: NUMERIC_SCALE_MAX,
            });
        }
        check_whole(&value)?;
        Ok(Numeric::Finite(value))
    }

    fn rank(&self) -> u8 {
        match self {
            Numeric::NegativeInfinity => 0,
            Numeric::Finite(_) => 1,
            Numeric::Infinity => 2,
            Numeric::NaN => 3,
        }
    }

    /// Sign, significant decimal digits without zeros at either end, and the exponent `e` of
    /// `0.digits * 10^e`; `None` for zero and the special values.
    pub fn normal_form(&self) -> Option<(bool, Vec<u8>, i64)> {
        let Numeric::Finite(value) = self else {
            return None;
        };
        if value.is_zero() {
            return None;
        }
        let (digits, scale) = value.as_bigint_and_exponent();
        let negative = digits.sign() == Sign::Minus;
        let mut text = digits.magnitude().to_str_radix(10).into_bytes();
        let exponent = text.len() as i64 - scale;
        while text.last() == Some(&b'0') {
            text.pop();
        }
        Some((negative, text, exponent))
    }
}

fn check_whole(value: &BigDecimal) -> Result<(), NumericError> {
    let whole = value.digits() as i64 - value.fractional_digit_count();
    if whole > NUMERIC_WHOLE_DIGITS_MAX {
        return Err(NumericError::Overflow {
            digits: whole,
            place: "before",
            limit: NUMERIC_WHOLE_DIGITS_MAX,
        });
    }
    Ok(())
}

impl From<i64> for Numeric {
    fn from(value: i64) -> Self {
        Numeric::Finite(BigDecimal::new(BigInt::from(value), 0))
    }
}

impl FromStr for Numeric {
    type Err = NumericError;

    fn from_str(text: &str) -> Result<Self, NumericError> {
        let trimmed = text.trim();
        match trimmed.to_ascii_lowercase().as_str() {
            "nan" => return Ok(Numeric::NaN),
            "infinity" | "+infinity" | "inf" | "+inf" => return Ok(Numeric::Infinity),
            "-infinity" | "-inf" => return Ok(Numeric::NegativeInfinity),
            _ => {}
        }
        let syntax = || NumericError::Syntax(text.to_owned());
        let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | '+' | '-' | 'e' | 'E');
        if trimmed.is_empty() || !trimmed.chars().all(plain) {
            return Err(syntax());
        }
        Numeric::new(BigDecimal::from_str(trimmed).map_err(|_| syntax())?)
    }
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Numeric::NegativeInfinity => f.write_str("-Infinity"),
            Numeric::Finite(value) => f.write_str(&value.to_plain_string()),
            Numeric::Infinity => f.write_str("Infinity"),
            Numeric::NaN => f.write_str("NaN"),
        }
    }
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Numeric {}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Numeric {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Numeric::Finite(a), Numeric::Finite(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Numeric {
        text.parse().unwrap()
    }

    #[test]
    fn text_keeps_its_scale_and_order_ignores_it() {
        for text in [
            "1.10",
            "0.00",
            "-12.5",
            "100",
            "NaN",
            "Infinity",
            "-Infinity",
        ] {
            assert_eq!(n(text).to_string(), text);
        }
        assert_eq!(n("1e3").to_string(), "1000");
        assert_eq!(n("1.10"), n("1.1"));
        let sorted = [
            "-Infinity",
            "-1e40",
            "-1",
            "0",
            "1e-9",
            "2",
            "10",
            "Infinity",
            "NaN",
        ];
        assert!(sorted.windows(2).all(|pair| n(pair[0]) < n(pair[1])));
    }

    #[test]
    fn limits_are_postgresqls() {
        assert!("1e131071".parse::<Numeric>().is_ok());
        assert!("1e131072".parse::<Numeric>().is_err());
        assert!("1e-16383".parse::<Numeric>().is_ok());
        assert!("1e-16384".parse::<Numeric>().is_err());
        assert!("1e99999999999".parse::<Numeric>().is_err());
        for bad in ["", " ", "1x", "--1", "0x10", "1_000"] {
            assert!(bad.parse::<Numeric>().is_err(), "{bad}");
        }
    }
}
