//! Proof of work: compact targets, work and the hash functions.
//!
//! Invariant: work is added with checks; a target is never zero, negative or above 256 bits.
//! Rules: `spec/06-proof-of-work.md`.

use crate::hash::h2;
use crate::limits::HEADER_BYTES;
use ruint::aliases::U256;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A 256-bit target: a header's digest must not be above it.
pub type Target = U256;

/// The number of hashes that a header or a chain stands for.
pub type Work = U256;

/// A target in Bitcoin's compact form: exponent, sign bit and 23 bits of mantissa.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bits(pub u32);

/// Why compact bits are no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BitsError {
    /// The sign bit is set.
    #[error("target bits {0} are negative")]
    Negative(Bits),
    /// The target needs more than 256 bits.
    #[error("target bits {0} overflow 256 bits")]
    Overflow(Bits),
    /// The target is zero.
    #[error("target bits {0} are zero")]
    Zero(Bits),
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

impl Bits {
    /// The target that these bits stand for.
    pub fn to_target(self) -> Result<Target, BitsError> {
        let exponent = self.0 >> 24;
        let mantissa = self.0 & 0x007f_ffff;
        let value = U256::from(mantissa);
        let target = if exponent <= 3 {
            value >> (8 * (3 - exponent))
        } else {
            let shift = 8 * (exponent - 3);
            let bits = 32 - mantissa.leading_zeros();
            if mantissa != 0 && shift + bits > 256 {
                return Err(BitsError::Overflow(self));
            }
            if mantissa == 0 {
                U256::ZERO
            } else {
                value << shift
            }
        };
        if target.is_zero() {
            return Err(BitsError::Zero(self));
        }
        if self.0 & 0x0080_0000 != 0 {
            return Err(BitsError::Negative(self));
        }
        Ok(target)
    }

    /// The compact form of `target`, losing the bits below its 23 or so highest.
    pub fn from_target(target: Target) -> Bits {
        let mut exponent = target.bit_len().div_ceil(8) as u32;
        let mut mantissa = if exponent <= 3 {
            target.to::<u32>() << (8 * (3 - exponent))
        } else {
            (target >> (8 * (exponent - 3))).to::<u32>()
        };
        if mantissa & 0x0080_0000 != 0 {
            mantissa >>= 8;
            exponent += 1;
        }
        Bits(exponent << 24 | mantissa)
    }
}

/// Expected hashes to find a digest at or below `target`: 2^256 / (target + 1).
pub fn work_of(target: Target) -> Work {
    if target == U256::MAX {
        return U256::ONE;
    }
    (!target / (target + U256::ONE)) + U256::ONE
}

/// Work as 32 big-endian bytes: the form of `Status` and of texts.
pub fn work_to_bytes(work: Work) -> [u8; 32] {
    work.to_be_bytes()
}

/// Reads 32 big-endian bytes.
pub fn work_from_bytes(bytes: &[u8; 32]) -> Work {
    U256::from_be_bytes(*bytes)
}

/// The function that a network's miners search, fixed in its specification.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PowFunction {
    /// Double SHA-256: the block id itself; miners made for Bitcoin work.
    Sha256d,
    /// BLAKE3 of the same 80 bytes.
    Blake3,
}

/// A name that no proof-of-work function has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown proof-of-work function {0:?}: expected sha256d or blake3")]
pub struct UnknownPowFunction(pub String);

impl fmt::Display for PowFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PowFunction {
    type Err = UnknownPowFunction;

    fn from_str(name: &str) -> Result<Self, UnknownPowFunction> {
        Self::ALL
            .into_iter()
            .find(|function| function.name() == name)
            .ok_or_else(|| UnknownPowFunction(name.to_owned()))
    }
}

impl PowFunction {
    /// All functions, in the order in which reports list them.
    pub const ALL: [Self; 2] = [Self::Sha256d, Self::Blake3];

    /// The name in texts.
    pub const fn name(self) -> &'static str {
        match self {
            PowFunction::Sha256d => "sha256d",
            PowFunction::Blake3 => "blake3",
        }
    }

    /// The digest of a header as a little-endian number.
    pub fn digest(self, header: &[u8; HEADER_BYTES]) -> U256 {
        let digest = match self {
            PowFunction::Sha256d => h2(header),
            PowFunction::Blake3 => *blake3::hash(header).as_bytes(),
        };
        U256::from_le_bytes(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_functions_round_trip() {
        for function in PowFunction::ALL {
            assert_eq!(function.name().parse(), Ok(function));
            assert_eq!(serde_json::to_value(function).unwrap(), function.name());
        }
        assert_eq!(
            "scrypt".parse::<PowFunction>(),
            Err(UnknownPowFunction("scrypt".into()))
        );
    }

    #[test]
    fn compact_forms_of_bitcoin() {
        // Block 0's bits and the target that Bitcoin's developers' documentation prints for them.
        let target = Bits(0x1d00_ffff).to_target().unwrap();
        assert_eq!(target, U256::from(0xffffu32) << 208);
        assert_eq!(work_of(target), U256::from(0x1_0001_0001u64));
        for bits in [
            0x1d00ffff, 0x1b0404cb, 0x207fffff, 0x03123456, 0x02008000, 0x2100ffff,
        ] {
            let target = Bits(bits).to_target().unwrap();
            assert_eq!(
                Bits::from_target(target).to_target().unwrap(),
                target,
                "{bits:x}"
            );
        }
    }

    /// Attack catalogue H11.
    #[test]
    fn encodings_that_are_no_target() {
        for bits in [
            0,
            0x0100_0000,
            0x0300_0000,
            0x2000_0000,
            0xff00_0000,
            0x0100_0001,
        ] {
            assert!(
                matches!(Bits(bits).to_target(), Err(BitsError::Zero(_))),
                "{bits:x}"
            );
        }
        for bits in [0x0492_3456, 0x1d80_ffff] {
            assert!(
                matches!(Bits(bits).to_target(), Err(BitsError::Negative(_))),
                "{bits:x}"
            );
        }
        for bits in [0xff12_3456, 0x2201_0000, 0x2101_0000, 0x2300_0001] {
            assert!(
                matches!(Bits(bits).to_target(), Err(BitsError::Overflow(_))),
                "{bits:x}"
            );
        }
        assert!(Bits(0x2200_0001).to_target().is_ok());
    }

    #[test]
    fn work_of_extremes() {
        assert_eq!(work_of(U256::MAX), U256::ONE);
        assert_eq!(work_of(U256::ONE), U256::ONE << 255);
    }
}
