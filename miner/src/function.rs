//! The proof-of-work functions, by the plain crates.
//!
//! Invariant: nothing in this crate leaves as a hit unless [`PowFunction::digest`] and [`meets`]
//! say so; the fast kernels only propose. The rule is `spec/06-proof-of-work.md#functions`.

use std::fmt;
use std::str::FromStr;

use ruint::aliases::U256;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Which function a chain hashes its 80-byte headers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PowFunction {
    /// SHA-256 of SHA-256: what every miner made for Bitcoin computes.
    Sha256d,
    /// One plain BLAKE3 hash.
    Blake3,
}

impl PowFunction {
    /// All functions, in the order in which reports list them.
    pub const ALL: [Self; 2] = [Self::Sha256d, Self::Blake3];

    /// The name in chain specifications, reports and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256d => "sha256d",
            Self::Blake3 => "blake3",
        }
    }

    /// The 32-byte digest of a header.
    pub fn digest(self, header: &[u8; 80]) -> [u8; 32] {
        match self {
            Self::Sha256d => double_sha256(header),
            Self::Blake3 => *blake3::hash(header).as_bytes(),
        }
    }
}

impl fmt::Display for PowFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PowFunction {
    type Err = UnknownFunction;

    fn from_str(name: &str) -> Result<Self, UnknownFunction> {
        Self::ALL
            .into_iter()
            .find(|function| function.name() == name)
            .ok_or_else(|| UnknownFunction(name.to_owned()))
    }
}

/// A name that no proof-of-work function has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown proof-of-work function {0:?}: expected sha256d or blake3")]
pub struct UnknownFunction(pub String);

/// `H2`: SHA-256 applied twice.
pub(crate) fn double_sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}

/// Whether a digest, read as a little-endian number, is at or below the target.
pub fn meets(digest: &[u8; 32], target: U256) -> bool {
    U256::from_le_bytes(*digest) <= target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for function in PowFunction::ALL {
            assert_eq!(function.name().parse(), Ok(function));
        }
        assert_eq!(
            "scrypt".parse::<PowFunction>(),
            Err(UnknownFunction("scrypt".into()))
        );
    }

    #[test]
    fn the_bound_itself_meets_the_target() {
        let mut digest = [0; 32];
        digest[0] = 7;
        assert!(meets(&digest, U256::from(7)));
        assert!(!meets(&digest, U256::from(6)));
        digest[31] = 1;
        assert!(!meets(&digest, U256::MAX >> 8));
    }
}
