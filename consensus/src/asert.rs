//! ASERT retarget: the target of a block as a pure function of one anchor and of its parent's
//! height and time.
//!
//! The arithmetic is aserti3-2d: `target = anchor_target * 2^((elapsed - spacing * blocks) /
//! half_life)` in integers, with 2^x for 0 ≤ x < 1 as a cubic in 16-bit fixed point. Each step's
//! rounding is part of the rule: the division of the exponent truncates toward zero, the split into
//! shifts and fraction floors.
//!
//! Invariant: the result is in `1..=limit` for every input; no input overflows or panics (all
//! products are taken in 512 bits, the exponent in 128).
//!
//! Rule: `spec/06-proof-of-work.md#retarget`.

use ruint::aliases::{U256, U512};

/// Bits of the fixed-point fraction of the exponent.
const FRACTION_BITS: u32 = 16;
/// One in the fixed-point format of the exponent.
const ONE: i128 = 1 << FRACTION_BITS;

/// The fixed point from which all targets of one proof-of-work era are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The era's first height R (1 after genesis).
    pub height: u64,
    /// Time of the block at R - 1, in seconds.
    pub parent_time: u32,
    /// Target of the block at R.
    pub target: U256,
}

/// The constants of the retarget in one era.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Ideal time between blocks, in seconds.
    pub spacing_s: u32,
    /// Time by which the schedule must slip for the target to double, in seconds; at least 1.
    pub half_life_s: u32,
    /// The easiest target allowed; at least 1.
    pub limit: U256,
}

/// Target of the block that follows the block at `height` with `time`.
///
/// `height` is at least the anchor's; the anchor block's own target is `anchor.target` and is not
/// computed here.
///
/// # Panics
/// If `height < anchor.height`, the limit is zero or the half-life is zero: the specification of
/// the chain excludes all three, so that such a call is a bug of the caller.
#[must_use]
pub fn next_target(anchor: &Anchor, pace: &Pace, height: u64, time: u32) -> U256 {
    assert!(
        height >= anchor.height,
        "height {height} below the anchor's {}",
        anchor.height
    );
    assert!(pace.half_life_s > 0, "half-life is zero");
    assert!(pace.limit > U256::ZERO, "target limit is zero");
    let elapsed_s = i128::from(time) - i128::from(anchor.parent_time);
    // The count starts at the anchor's parent, as its time does: hence + 1.
    let blocks = i128::from(height - anchor.height) + 1;
    let slip_s = elapsed_s - i128::from(pace.spacing_s) * blocks;
    // `/` truncates toward zero, and must.
    let exponent = slip_s * ONE / i128::from(pace.half_life_s);
    scale(anchor.target, exponent, pace.limit)
}

/// `target * 2^(exponent / 2^16)`, clamped to `1..=limit`.
fn scale(target: U256, exponent: i128, limit: U256) -> U256 {
    // An arithmetic shift floors, so that the fraction is never negative.
    let shifts = (exponent >> FRACTION_BITS) - i128::from(FRACTION_BITS);
    let fraction = (exponent & (ONE - 1)) as u64;
    let product = U512::from(target) * U512::from(power_of_two(fraction));
    let scaled = if shifts <= 0 {
        // 256 + 17 bits at most: a longer shift leaves zero.
        product >> usize::try_from(-shifts).unwrap_or(usize::MAX).min(511)
    } else if shifts >= 240 {
        // At least 2^16 * 2^240 times the target: above every limit unless the target is zero.
        if target.is_zero() {
            U512::ZERO
        } else {
            U512::from(limit)
        }
    } else {
        // 256 + 17 + 239 bits fit 512.
        product << shifts as usize
    };
    let bounded = scaled.min(U512::from(limit)).max(U512::from(1u8));
    U256::from(bounded)
}

/// 2^(fraction / 2^16) in 16-bit fixed point, for a fraction below 2^16: the cubic of aserti3-2d,
/// error below 0.013 %.
fn power_of_two(fraction: u64) -> u64 {
    const LINEAR: u128 = 195_766_423_245_049;
    const SQUARE: u128 = 971_821_376;
    const CUBE: u128 = 5_127;
    let x = u128::from(fraction);
    let rounded = (LINEAR * x + SQUARE * x * x + CUBE * x * x * x + (1 << 47)) >> 48;
    (1 << FRACTION_BITS) + rounded as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PACE: Pace = Pace {
        spacing_s: 600,
        half_life_s: 172_800,
        limit: U256::from_limbs([0, 0, 0, 0xffff_0000]),
    };

    fn anchor(target: U256) -> Anchor {
        Anchor {
            height: 1,
            parent_time: 0,
            target,
        }
    }

    #[test]
    fn a_block_on_schedule_keeps_the_target() {
        let target = U256::from(0x0002_aee8_u64) << 168;
        for height in [1, 2, 1_000, 1_000_000] {
            assert_eq!(
                next_target(&anchor(target), &PACE, height, height as u32 * 600),
                target
            );
        }
    }

    #[test]
    fn one_half_life_of_slip_doubles_or_halves_exactly() {
        let target = U256::from(1) << 200;
        let on_time = 400 * 600;
        let late = next_target(&anchor(target), &PACE, 400, on_time + 172_800);
        let early = next_target(&anchor(target), &PACE, 400, on_time - 172_800);
        assert_eq!((late, early), (target << 1, target >> 1));
    }

    #[test]
    fn division_truncates_toward_zero() {
        // A slip of -1 s is -65,536 / 172,800 = -0.38 units of the exponent: zero when truncated,
        // -1 when floored.
        let target = U256::from(1) << 200;
        assert_eq!(next_target(&anchor(target), &PACE, 10, 6_000 - 1), target);
        assert_eq!(next_target(&anchor(target), &PACE, 10, 6_000 - 2), target);
        assert!(next_target(&anchor(target), &PACE, 10, 6_000 - 3) < target);
    }

    #[test]
    fn extremes_end_at_the_bounds() {
        let wild = Pace {
            spacing_s: u32::MAX,
            half_life_s: 1,
            ..PACE
        };
        let a = Anchor {
            height: 0,
            parent_time: u32::MAX,
            target: U256::MAX,
        };
        assert_eq!(next_target(&a, &wild, u64::MAX, 0), U256::from(1));
        let a = Anchor {
            height: 1,
            parent_time: 0,
            target: U256::from(1),
        };
        let slow = Pace {
            spacing_s: 0,
            half_life_s: 1,
            ..PACE
        };
        assert_eq!(next_target(&a, &slow, 1, u32::MAX), PACE.limit);
        assert_eq!(
            next_target(
                &Anchor {
                    target: U256::ZERO,
                    ..a
                },
                &slow,
                1,
                u32::MAX
            ),
            U256::from(1)
        );
    }

    #[test]
    fn large_limits_do_not_overflow() {
        let pace = Pace {
            limit: U256::MAX,
            ..PACE
        };
        let a = anchor(U256::MAX);
        assert_eq!(next_target(&a, &pace, 1, u32::MAX), U256::MAX);
        for shift in 0..256 {
            let a = anchor(U256::from(1) << shift);
            let time = 600 + 172_800 * (255 - shift as u32);
            assert_eq!(
                next_target(&a, &pace, 1, time),
                U256::from(1) << 255,
                "shift {shift}"
            );
        }
    }

    proptest! {
        #[test]
        fn stays_within_bounds_and_grows_with_time(
            limbs in any::<[u64; 4]>(), shift in 0usize..256, limit_shift in 0usize..256,
            height in any::<u64>(), time in any::<u32>(), later in any::<u32>(),
            spacing_s in any::<u32>(), half_life_s in 1u32..,
        ) {
            let pace = Pace { spacing_s, half_life_s, limit: (U256::MAX >> limit_shift) };
            let anchor = Anchor { height: height / 2, parent_time: 77, target: U256::from_limbs(limbs) >> shift };
            let first = next_target(&anchor, &pace, height, time.min(later));
            let second = next_target(&anchor, &pace, height, time.max(later));
            prop_assert!(first >= U256::from(1) && second <= pace.limit);
            prop_assert!(first <= second);
        }
    }
}
