//! Units: amounts, heights, weights and fee rates.
//!
//! Invariant: arithmetic on money never wraps; every sum is checked.
//! Rules: `spec/01-conventions.md#units`.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Pebbles in one CRN.
pub const PEBBLES_PER_CRN: u64 = 100_000_000;

/// Height of a block; genesis is 0.
pub type Height = u64;

/// Weight units: four per byte of a transaction's body, one per byte of its witnesses.
pub type Weight = u64;

/// An amount of money in pebbles.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Amount(pub u64);

impl Amount {
    /// No money.
    pub const ZERO: Amount = Amount(0);

    /// The amount of `crn` whole coins.
    pub const fn from_crn(crn: u64) -> Amount {
        Amount(crn * PEBBLES_PER_CRN)
    }

    /// `self + other`, or `None` on overflow.
    pub fn checked_add(self, other: Amount) -> Option<Amount> {
        self.0.checked_add(other.0).map(Amount)
    }

    /// `self - other`, or `None` below zero.
    pub fn checked_sub(self, other: Amount) -> Option<Amount> {
        self.0.checked_sub(other.0).map(Amount)
    }

    /// The sum of `amounts`, or `None` on overflow.
    pub fn checked_sum(amounts: impl IntoIterator<Item = Amount>) -> Option<Amount> {
        amounts
            .into_iter()
            .try_fold(Amount::ZERO, Amount::checked_add)
    }

    /// Reads a decimal number of CRN, exactly: `"1.5"` is 150,000,000 pebbles.
    ///
    /// Errors: an empty text, a sign, more than eight decimals, or a value above `u64`.
    pub fn parse_crn(text: &str) -> Result<Amount, AmountError> {
        let bad = || AmountError(text.to_owned());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        let shape_ok = digits(whole) && digits(fraction) && fraction.len() <= 8;
        if !shape_ok || (whole.is_empty() && fraction.is_empty()) || text.ends_with('.') {
            return Err(bad());
        }
        let whole: u64 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| bad())?
        };
        let fraction: u64 = format!("{fraction:0<8}").parse().map_err(|_| bad())?;
        let pebbles = whole
            .checked_mul(PEBBLES_PER_CRN)
            .and_then(|w| w.checked_add(fraction));
        pebbles.map(Amount).ok_or_else(bad)
    }

    /// The amount as a decimal number of CRN without trailing zeros: `"1.5"`.
    pub fn to_crn(self) -> String {
        let (whole, fraction) = (self.0 / PEBBLES_PER_CRN, self.0 % PEBBLES_PER_CRN);
        if fraction == 0 {
            return whole.to_string();
        }
        format!("{whole}.{fraction:08}")
            .trim_end_matches('0')
            .to_owned()
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A text that is no amount of CRN.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no amount of CRN: expected a decimal number with at most 8 decimals, such as 1.5"
)]
pub struct AmountError(pub String);

/// A fee rate: pebbles per 1,000 weight units.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct FeeRate(pub u64);

impl FeeRate {
    /// The rate that `fee` pays for `weight`, rounded down; the maximum for weight 0.
    pub fn of(fee: Amount, weight: Weight) -> FeeRate {
        if weight == 0 {
            return FeeRate(u64::MAX);
        }
        let rate = u128::from(fee.0) * 1000 / u128::from(weight);
        FeeRate(u64::try_from(rate).unwrap_or(u64::MAX))
    }

    /// The fee for `weight` at this rate, rounded up and capped at `u64::MAX`.
    pub fn fee(self, weight: Weight) -> Amount {
        let fee = (u128::from(self.0) * u128::from(weight)).div_ceil(1000);
        Amount(u64::try_from(fee).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for FeeRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crn_texts_are_exact() {
        for (text, pebbles) in [
            ("1.5", 150_000_000),
            ("0", 0),
            (".5", 50_000_000),
            ("0.00000001", 1),
            ("21000000", 2_100_000_000_000_000),
            ("184467440737.09551615", u64::MAX),
        ] {
            assert_eq!(Amount::parse_crn(text), Ok(Amount(pebbles)), "{text}");
        }
        for text in [
            "",
            ".",
            "1.",
            "-1",
            "+1",
            "1e3",
            "1.123456789",
            "184467440737.09551616",
            "1 ",
        ] {
            assert!(Amount::parse_crn(text).is_err(), "{text}");
        }
        assert_eq!(Amount(150_000_000).to_crn(), "1.5");
        assert_eq!(Amount(u64::MAX).to_crn(), "184467440737.09551615");
    }

    #[test]
    fn fee_rates_round_against_the_payer() {
        assert_eq!(FeeRate::of(Amount(999), 1000), FeeRate(999));
        assert_eq!(FeeRate(1).fee(1), Amount(1));
        assert_eq!(FeeRate(u64::MAX).fee(u64::MAX), Amount(u64::MAX));
    }
}
