//! Validator sets and the arithmetic of quorums.
//!
//! Invariant: a set that exists is valid: 1 to 512 distinct keys, each with power, the total within
//! 64 bits. Every comparison is done in 128 bits, so no power overflows it.
//! Rules: `spec/09-bft.md#validator-sets` (SET-01 … SET-05).

use super::violation::BftViolation;
use crate::codec;
use crate::hash::{self, Hash};
use crate::limits::VALIDATORS_MAX;
use crate::signature::PublicKey;
use crate::state::Validator;
use ed25519_zebra::VerificationKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How a set comes about; its number is the engine's tag in the schedule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum SetRule {
    /// `pbft`: named by the specification.
    Pbft = 1,
    /// `pos`: bonded coins.
    Pos = 2,
    /// `dpos`: the top of the delegated ones.
    Dpos = 3,
}

impl From<SetRule> for u8 {
    fn from(rule: SetRule) -> u8 {
        rule as u8
    }
}

impl TryFrom<u8> for SetRule {
    type Error = String;
    fn try_from(number: u8) -> Result<SetRule, String> {
        match number {
            1 => Ok(SetRule::Pbft),
            2 => Ok(SetRule::Pos),
            3 => Ok(SetRule::Dpos),
            other => Err(format!("set rule {other}: expected 1, 2 or 3")),
        }
    }
}

/// Whether `power` is more than two thirds of `total`: two such powers share an honest validator.
pub fn is_quorum(power: u64, total: u64) -> bool {
    3 * u128::from(power) > 2 * u128::from(total)
}

/// Whether `power` cannot be all faulty while less than a third of `total` is: f + 1 heads.
pub fn is_weak_quorum(power: u64, total: u64) -> bool {
    3 * u128::from(power) >= u128::from(total) && total > 0
}

/// Validators in set order, with their total power.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ValidatorSet {
    rule: SetRule,
    validators: Vec<Validator>,
    total: u64,
}

/// What the set hash covers. The encoding is its fields in this order.
#[derive(Serialize)]
struct Commitment<'a> {
    rule: SetRule,
    total: u64,
    validators: &'a [Validator],
}

impl ValidatorSet {
    /// The set of these validators, in this order.
    ///
    /// Errors: SET-01 to SET-04, in this order, each at the first validator that breaks it.
    pub fn new(rule: SetRule, validators: Vec<Validator>) -> Result<ValidatorSet, BftViolation> {
        if validators.is_empty() || validators.len() > VALIDATORS_MAX {
            let validators = validators.len();
            return Err(BftViolation::SetSize { validators });
        }
        if let Some(index) = validators.iter().position(|v| v.power == 0) {
            return Err(BftViolation::ZeroPower { index });
        }
        let mut keys = BTreeSet::new();
        if let Some(index) = validators.iter().position(|v| !keys.insert(v.key)) {
            return Err(BftViolation::DuplicateValidator { index });
        }
        let mut total = 0u64;
        for (index, validator) in validators.iter().enumerate() {
            total = total
                .checked_add(validator.power)
                .ok_or(BftViolation::TotalPower { index })?;
        }
        Ok(ValidatorSet {
            rule,
            validators,
            total,
        })
    }

    /// How it came about.
    pub fn rule(&self) -> SetRule {
        self.rule
    }

    /// The validators in set order.
    pub fn validators(&self) -> &[Validator] {
        &self.validators
    }

    /// How many there are: 1 to 512.
    #[allow(clippy::len_without_is_empty, reason = "a set is never empty")]
    pub fn len(&self) -> usize {
        self.validators.len()
    }

    /// Sum of all powers.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The validator at a place of the set.
    pub fn get(&self, index: u16) -> Option<&Validator> {
        self.validators.get(usize::from(index))
    }

    /// Power of a place of the set; 0 beyond its end.
    pub fn power(&self, index: u16) -> u64 {
        self.get(index).map_or(0, |validator| validator.power)
    }

    /// The place of a key.
    pub fn index_of(&self, key: &PublicKey) -> Option<u16> {
        let found = self.validators.iter().position(|v| v.key == *key)?;
        u16::try_from(found).ok()
    }

    /// Power of these places, each counted as often as it is named: callers name it once.
    pub fn power_of(&self, indexes: impl IntoIterator<Item = u16>) -> u64 {
        indexes.into_iter().map(|index| self.power(index)).sum()
    }

    /// Whether `power` is more than two thirds of this set's.
    pub fn is_quorum(&self, power: u64) -> bool {
        is_quorum(power, self.total)
    }

    /// Whether `power` has an honest validator in it while less than a third is faulty.
    pub fn is_weak_quorum(&self, power: u64) -> bool {
        is_weak_quorum(power, self.total)
    }

    /// The canonical bytes: rule, total, validators.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(&Commitment {
            rule: self.rule,
            total: self.total,
            validators: &self.validators,
        })
    }

    /// `set_hash`.
    pub fn hash(&self) -> Hash {
        Hash(hash::VALIDATOR_SET.hash(&[&self.to_bytes()]))
    }
}

/// p - 1 = 2^255 - 20, little-endian: the largest canonical y.
const Y_MAX: [u8; 32] = {
    let mut bytes = [0xff; 32];
    bytes[0] = 0xec;
    bytes[31] = 0x7f;
    bytes
};

/// y of the points of order 8 (two of the four; the others are their negatives mod p), order 4
/// (0), 2 (-1) and 1 (1), little-endian, without the sign bit.
const SMALL_ORDER_Y: [[u8; 32]; 5] = [
    y_of(1, 0),
    y_of(0, 0),
    Y_MAX,
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
];

const fn y_of(low: u8, high: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = low;
    bytes[31] = high;
    bytes
}

/// Whether a key may be a validator's: a point in its one canonical encoding, not of small order.
/// Anything else would let one validator appear under several keys, or sign for no secret (SET-05).
pub fn check_key(key: &PublicKey) -> Result<(), BftViolation> {
    let mut y = key.0;
    y[31] &= 0x7f;
    let canonical = y.iter().rev().le(Y_MAX.iter().rev());
    let small = SMALL_ORDER_Y.contains(&y);
    if !canonical || small || VerificationKey::try_from(key.0).is_err() {
        return Err(BftViolation::ValidatorKey { key: *key });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validators(powers: &[u64]) -> Vec<Validator> {
        let validator = |(i, power): (usize, &u64)| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&(i as u64).to_le_bytes());
            Validator {
                key: PublicKey(key),
                power: *power,
            }
        };
        powers.iter().enumerate().map(validator).collect()
    }

    fn set(powers: &[u64]) -> Result<ValidatorSet, BftViolation> {
        ValidatorSet::new(SetRule::Pbft, validators(powers))
    }

    #[test]
    fn sets_keep_their_rules() {
        assert_eq!(set(&[]), Err(BftViolation::SetSize { validators: 0 }));
        assert_eq!(
            set(&[1; 513]),
            Err(BftViolation::SetSize { validators: 513 })
        );
        assert!(set(&[1; 512]).is_ok());
        assert_eq!(set(&[1, 0]), Err(BftViolation::ZeroPower { index: 1 }));
        assert_eq!(
            set(&[u64::MAX, 1]),
            Err(BftViolation::TotalPower { index: 1 })
        );
        assert_eq!(set(&[u64::MAX - 1, 1]).unwrap().total(), u64::MAX);
        let mut twice = validators(&[1, 1, 1]);
        twice[2].key = twice[0].key;
        assert_eq!(
            ValidatorSet::new(SetRule::Pbft, twice),
            Err(BftViolation::DuplicateValidator { index: 2 })
        );
    }

    /// C04: two quorums share more than any faulty third, at every size and with any powers.
    #[test]
    fn quorums_intersect_in_an_honest_validator() {
        for n in 1u64..=100 {
            let faulty = (n - 1) / 3;
            let least = (0..=n).find(|power| is_quorum(*power, n)).unwrap();
            assert_eq!(least, 2 * n / 3 + 1, "n = {n}");
            assert!(2 * least - n > faulty, "n = {n}: intersection");
            assert!(n - faulty >= least, "n = {n}: the honest ones suffice");
            let weak = (0..=n).find(|power| is_weak_quorum(*power, n)).unwrap();
            assert_eq!(weak, faulty + 1, "n = {n}: f + 1");
        }
        for total in [
            1,
            2,
            3,
            4,
            u64::MAX - 2,
            u64::MAX - 1,
            u64::MAX,
            u64::MAX / 3,
            u64::MAX / 2,
        ] {
            let third = total / 3;
            let two_thirds = (2 * u128::from(total) / 3) as u64;
            assert!(!is_quorum(two_thirds, total), "{total}");
            assert!(is_quorum(two_thirds + 1, total), "{total}");
            assert!(is_quorum(total, total), "{total}");
            assert_eq!(is_weak_quorum(third, total), total % 3 == 0 && third > 0);
            assert!(is_weak_quorum(third + 1, total), "{total}");
        }
        assert!(!is_quorum(0, 0) && !is_weak_quorum(0, 0));
    }

    #[test]
    fn the_hash_covers_order_powers_and_rule() {
        let base = set(&[1, 2, 3]).unwrap();
        let mut swapped = validators(&[1, 2, 3]);
        swapped.swap(0, 1);
        let others = [
            set(&[1, 2, 4]).unwrap(),
            set(&[1, 2]).unwrap(),
            ValidatorSet::new(SetRule::Pbft, swapped).unwrap(),
            ValidatorSet::new(SetRule::Pos, validators(&[1, 2, 3])).unwrap(),
        ];
        for other in others {
            assert_ne!(other.hash(), base.hash(), "{other:?}");
        }
    }

    /// The fourteen encodings of small order that ZIP-215 accepts, and others that are no point.
    #[test]
    fn keys_of_small_order_and_second_spellings_are_refused() {
        let bad = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "0100000000000000000000000000000000000000000000000000000000000080",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "0200000000000000000000000000000000000000000000000000000000000000",
        ];
        for text in bad {
            let mut key = [0; 32];
            hex::decode_to_slice(text, &mut key).unwrap();
            assert!(check_key(&PublicKey(key)).is_err(), "{text}");
        }
        for seed in 0..32 {
            let secret = ed25519_zebra::SigningKey::from([seed; 32]);
            let key = PublicKey(VerificationKey::from(&secret).into());
            assert_eq!(check_key(&key), Ok(()), "seed {seed}");
        }
    }
}
