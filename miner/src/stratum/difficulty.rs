//! Difficulty, the number in which Stratum speaks of targets.
//!
//! Difficulty 1 is the target `0xffff * 2^208`, Bitcoin's easiest; the chains of tests are far below
//! it, so difficulties are fractions. Invariants: a difficulty is a positive normal number that
//! every miner can turn back into 256 bits; [`Difficulty::of_network`] never stands for a target
//! below the network's. Rules: `spec/14-mining.md#difficulty`.

use ruint::aliases::U256;
use serde_json::Number;

/// The easiest difficulty: its target is a little above `0xffff * 2^240`, the easiest that compact
/// bits can say. Miners compute targets in 64-bit steps, which would overflow at half of it.
const MIN: f64 = (1.0 - EASE) / 4_294_967_296.0;
/// The hardest: a target of one.
const MAX: f64 = 2.695_994_666_715_064e67;
/// `0xffff * 2^208`.
const DIFFICULTY_1: f64 = 2.695_953_529_101_131e67;
/// What the network's difficulty is rounded down by, so that a miner's own rounding in 53 bits
/// cannot make its target smaller than the network's.
const EASE: f64 = 1.0 / (1u64 << 48) as f64;

/// A share's difficulty.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Difficulty(f64);

impl Difficulty {
    /// A difficulty that somebody asks for, brought within bounds; none for what is no positive
    /// number.
    pub fn new(value: f64) -> Option<Difficulty> {
        (value.is_finite() && value > 0.0).then(|| Difficulty(value.clamp(MIN, MAX)))
    }

    /// The hardest difficulty whose target is not below the network's.
    pub fn of_network(target: U256) -> Difficulty {
        let exact = DIFFICULTY_1 / f64::from(target.max(U256::ONE));
        let mut eased = exact * (1.0 - EASE);
        // Above one, whole numbers: some miners read nothing else.
        if eased >= 2.0 {
            eased = eased.floor();
        }
        Difficulty(eased.clamp(MIN, MAX))
    }

    /// The highest digest of a share.
    pub fn target(self) -> U256 {
        U256::try_from(DIFFICULTY_1 / self.0).unwrap_or(U256::MAX)
    }

    /// Hashes that a share takes on average.
    pub fn hashes(self) -> f64 {
        self.0 * 4_294_967_296.0
    }

    /// The number itself.
    pub fn value(self) -> f64 {
        self.0
    }

    /// This difficulty times a factor, rounded to what is easy to read.
    pub(super) fn times(self, factor: f64) -> Difficulty {
        let value = self.0 * factor;
        let rounded = if value >= 2.0 { value.floor() } else { value };
        Difficulty(rounded.clamp(MIN, MAX))
    }

    /// The smaller of two.
    pub fn min(self, other: Difficulty) -> Difficulty {
        if other.0 < self.0 { other } else { self }
    }

    /// The larger of two.
    pub fn max(self, other: Difficulty) -> Difficulty {
        if other.0 > self.0 { other } else { self }
    }

    /// As JSON: whole numbers without a point, since some miners read nothing else.
    pub(super) fn to_json(self) -> Number {
        if self.0.fract() == 0.0 && self.0 < 9e15 {
            return Number::from(self.0 as u64);
        }
        Number::from_f64(self.0).expect("a difficulty is finite")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target_of_bits(bits: u32) -> U256 {
        let (exponent, mantissa) = (bits >> 24, U256::from(bits & 0x7f_ffff));
        if exponent <= 3 {
            mantissa >> (8 * (3 - exponent))
        } else {
            mantissa << (8 * (exponent - 3))
        }
    }

    /// How a common miner computes a target: 64 bits at one of seven places.
    fn target_of_a_miner(mut difficulty: f64) -> U256 {
        let mut place = 6;
        while place > 0 && difficulty > 1.0 {
            difficulty /= 4_294_967_296.0;
            place -= 1;
        }
        let quotient = 4_294_901_760.0 / difficulty;
        assert!(quotient < 18_446_744_073_709_551_616.0, "it overflows");
        U256::from(quotient as u64) << (32 * place)
    }

    #[test]
    fn known_values() {
        let one = U256::from(0xffffu32) << 208;
        assert_eq!(Difficulty::new(1.0).unwrap().target(), one);
        assert_eq!(f64::from(one), DIFFICULTY_1);
        assert_eq!(MAX, 2f64.powi(224));
        assert_eq!(
            Difficulty::new(65_536.0).unwrap().target(),
            one / U256::from(65_536)
        );
        let devnet = Difficulty::of_network(target_of_bits(0x1f00_ffff));
        assert!((devnet.value() * 65_536.0 - 1.0).abs() < 1e-12);
        assert!((devnet.hashes() - 65_536.0).abs() < 1e-6);
    }

    #[test]
    fn the_networks_difficulty_is_never_too_hard_for_it() {
        let edges = [
            0x2100_ffff,
            0x207f_ffff,
            0x1f00_ffff,
            0x1e00_ffff,
            0x1d00_ffff,
            0x1c00_ffff,
            0x1b04_04cb,
            0x1703_1abe,
            0x0312_3456,
            0x0200_8000,
            0x0101_0000,
        ];
        let many = (0..4_000u32).map(|i| {
            let mantissa = 0x00_8000 + i.wrapping_mul(2_654_435_761) % 0x7f_0000;
            (0x04 + i % 0x1c) << 24 | mantissa
        });
        for bits in edges.into_iter().chain(many) {
            let network = target_of_bits(bits);
            let difficulty = Difficulty::of_network(network);
            assert!(difficulty.target() >= network, "{bits:08x}: {difficulty:?}");
            // Below 2^64 a target is lost on such a miner whatever it is told.
            if network.bit_len() > 96 {
                let miners = target_of_a_miner(difficulty.value());
                assert!(miners >= network, "{bits:08x}: {difficulty:?}");
            }
        }
    }

    #[test]
    fn what_is_no_difficulty() {
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Difficulty::new(value), None, "{value}");
        }
        let least = Difficulty::new(1e-300).unwrap();
        assert_eq!(least.value(), MIN);
        assert!(least.target() >= target_of_bits(0x2100_ffff));
        target_of_a_miner(least.value());
        assert_eq!(Difficulty::new(1e300).unwrap().target(), U256::ONE);
    }

    #[test]
    fn whole_numbers_have_no_point() {
        let json = |value| Difficulty::new(value).unwrap().to_json().to_string();
        assert_eq!(json(1024.0), "1024");
        assert_eq!(json(0.5), "0.5");
        assert_eq!(json(1.0 / 65_536.0), "0.0000152587890625");
    }
}
