//! The rolling minimum: what a newcomer must pay at least after the pool had to evict.
//!
//! Invariant: an eviction at rate r lifts the minimum to r plus one step, so that the same bytes
//! cannot be pushed out and in again for nothing; from the next block on it halves every half-life
//! (faster while the pool is far from full) and ends at zero. Integers only, 32 fractional bits.
//! Rule: `spec/11-mempool.md#rolling-minimum`.

use cairn_protocol::units::FeeRate;

use super::diagram::Rate;

const FRACTION_BITS: u32 = 32;

/// The rolling minimum and when it was last set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RollingMinimum {
    /// Pebbles per 1,000 weight with 32 fractional bits.
    rate: u128,
    /// When `rate` was exact.
    at_s: u64,
    /// Seconds in which it halves; `None` until a block came after the last eviction.
    half_life_s: Option<u64>,
    /// Below half a step it is zero.
    step: FeeRate,
}

impl RollingMinimum {
    /// No minimum yet.
    pub fn new(step: FeeRate) -> RollingMinimum {
        RollingMinimum {
            rate: 0,
            at_s: 0,
            half_life_s: None,
            step,
        }
    }

    /// The minimum at a time. Time before the last change counts as the time of that change.
    pub fn at(&self, now_s: u64) -> FeeRate {
        let rate = self.decayed(now_s);
        if rate < u128::from(self.step.0) << FRACTION_BITS >> 1 {
            return FeeRate(0);
        }
        let whole = rate.div_ceil(1 << FRACTION_BITS);
        FeeRate(u64::try_from(whole).unwrap_or(u64::MAX))
    }

    fn decayed(&self, now_s: u64) -> u128 {
        match self.half_life_s {
            None => self.rate,
            Some(half_life_s) => halve(self.rate, now_s.saturating_sub(self.at_s), half_life_s),
        }
    }

    /// A chunk of this rate had to go.
    pub fn evicted(&mut self, now_s: u64, chunk: Rate) {
        let per_mille = (u128::from(chunk.fee) * 1000).div_ceil(u128::from(chunk.weight.max(1)));
        let lifted = (per_mille + u128::from(self.step.0)) << FRACTION_BITS;
        let current = self.decayed(now_s);
        if lifted > current {
            *self = RollingMinimum {
                rate: lifted,
                at_s: now_s,
                half_life_s: None,
                step: self.step,
            };
        }
    }

    /// A block was connected: from now on the minimum falls with this half-life.
    pub fn block(&mut self, now_s: u64, half_life_s: u64) {
        self.rate = self.decayed(now_s);
        self.at_s = self.at_s.max(now_s);
        self.half_life_s = Some(half_life_s.max(1));
        if self.at(now_s) == FeeRate(0) {
            self.rate = 0;
        }
    }
}

/// `rate` x 2^(-elapsed / half-life), rounded down.
///
/// Whole halvings are shifts. The rest, 2^-x = 2^(1-x) / 2 for 0 < x < 1, is the cubic of aserti3-2d
/// for 2^f at f = 1 - x in 16 bit fixed point; its error is below 0.013 %.
fn halve(rate: u128, elapsed_s: u64, half_life_s: u64) -> u128 {
    let halvings = elapsed_s / half_life_s;
    if halvings >= u64::from(u128::BITS) {
        return 0;
    }
    let rate = rate >> halvings;
    let rest = elapsed_s % half_life_s;
    if rest == 0 {
        return rate;
    }
    let x = (u128::from(rest) << 16) / u128::from(half_life_s);
    let f = (1 << 16) - x;
    let cubic = 195_766_423_245_049 * f + 971_821_376 * f * f + 5_127 * f * f * f;
    let power = (1 << 16) + ((cubic + (1 << 47)) >> 48);
    // power is at most 2^17; rates stay below 2^110 because a fee below 2^64 times 1000 and 2^32 does.
    (rate >> 17) * power + (((rate & 0x1_ffff) * power) >> 17)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: FeeRate = FeeRate(250);

    #[test]
    fn lifts_by_a_step_and_waits_for_a_block() {
        let mut minimum = RollingMinimum::new(STEP);
        assert_eq!(minimum.at(1_000), FeeRate(0));
        minimum.evicted(100, Rate::new(1_000, 1_000));
        assert_eq!(minimum.at(100), FeeRate(1_250));
        assert_eq!(minimum.at(1_000_000), FeeRate(1_250));
        minimum.evicted(200, Rate::new(500, 1_000));
        assert_eq!(
            minimum.at(200),
            FeeRate(1_250),
            "a lower eviction lowers nothing"
        );
    }

    #[test]
    fn an_eviction_stops_the_fall_until_the_next_block() {
        let mut minimum = RollingMinimum::new(STEP);
        minimum.evicted(0, Rate::new(1_000, 1_000));
        minimum.block(10, 600);
        minimum.evicted(20, Rate::new(7_750, 1_000));
        assert_eq!(minimum.at(6_000), FeeRate(8_000));
        minimum.block(6_000, 600);
        assert_eq!(minimum.at(6_600), FeeRate(4_000));
    }

    #[test]
    fn halves_after_a_block_and_ends() {
        let mut minimum = RollingMinimum::new(STEP);
        minimum.evicted(0, Rate::new(7_750, 1_000));
        minimum.block(1_000, 600);
        assert_eq!(minimum.at(1_000), FeeRate(8_000));
        assert_eq!(minimum.at(1_600), FeeRate(4_000));
        assert_eq!(minimum.at(2_200), FeeRate(2_000));
        let quarter = minimum.at(1_150).0;
        assert!(
            (6_725..=6_730).contains(&quarter),
            "8000 / 2^(1/4) = 6727.2, got {quarter}"
        );
        assert_eq!(minimum.at(1_000 + 7 * 600), FeeRate(0));
        assert_eq!(minimum.at(u64::MAX), FeeRate(0));
        assert_eq!(
            minimum.at(0),
            FeeRate(8_000),
            "a clock that jumped back changes nothing"
        );
    }

    /// Blocks in quick succession do not slow or hasten the decay by more than 1 %.
    #[test]
    fn many_small_steps_equal_one_large_one() {
        let mut minimum = RollingMinimum::new(STEP);
        minimum.evicted(0, Rate::new(1_000_000 - 250, 1_000));
        for second in (0..600).step_by(2) {
            minimum.block(second, 600);
        }
        let rate = minimum.at(600).0;
        assert!((495_000..=505_000).contains(&rate), "{rate}");
    }

    #[test]
    fn never_rises_with_time() {
        let mut minimum = RollingMinimum::new(STEP);
        minimum.evicted(0, Rate::new(u64::MAX, 1));
        minimum.block(0, 1_000);
        let mut last = minimum.at(0);
        for second in 0..60_000 {
            let next = minimum.at(second);
            assert!(next <= last, "at {second}: {next} above {last}");
            last = next;
        }
    }
}
