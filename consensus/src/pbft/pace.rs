//! How long a round may last: learnt from our own decisions, longer with each round that fails.
//!
//! Invariant: a local policy. Nodes with other timeouts follow the same chain; no rule reads them.
//! Rules: `spec/09-bft.md#timeouts`.

use crate::limits::{ROUND_TIMEOUT_MAX_MS, ROUND_TIMEOUT_MIN_MS};

/// Timeouts of one instance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Timeouts {
    /// The timeout of round 0, in milliseconds.
    pub base_ms: u64,
}

impl Timeouts {
    /// Half as long again for each failed round, up to 30 s.
    pub fn of(&self, round: u32) -> u64 {
        let mut timeout_ms = self
            .base_ms
            .clamp(ROUND_TIMEOUT_MIN_MS, ROUND_TIMEOUT_MAX_MS);
        for _ in 0..round {
            if timeout_ms >= ROUND_TIMEOUT_MAX_MS {
                break;
            }
            timeout_ms += timeout_ms / 2;
        }
        timeout_ms.min(ROUND_TIMEOUT_MAX_MS)
    }
}

/// Mean and deviation of decision times, as TCP keeps them (RFC 6298), in eighths of a millisecond.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pace {
    initial_ms: u64,
    margin_ms: u64,
    mean_8: u64,
    deviation_8: u64,
    samples: u64,
}

impl Pace {
    /// A pace that knows nothing yet: rounds last `initial_ms`; later ones the mean and at least
    /// `margin_ms` more.
    pub fn new(initial_ms: u64, margin_ms: u64) -> Pace {
        Pace {
            initial_ms,
            margin_ms,
            mean_8: 0,
            deviation_8: 0,
            samples: 0,
        }
    }

    /// An instance was decided, this long after its deciding round began here.
    pub fn decided(&mut self, took_ms: u64) {
        let took_8 = took_ms.min(ROUND_TIMEOUT_MAX_MS) * 8;
        if self.samples == 0 {
            self.mean_8 = took_8;
            self.deviation_8 = took_8 / 2;
        } else {
            let error = self.mean_8.abs_diff(took_8);
            self.deviation_8 = (3 * self.deviation_8 + error) / 4;
            self.mean_8 = (7 * self.mean_8 + took_8) / 8;
        }
        self.samples = self.samples.saturating_add(1);
    }

    /// Timeouts of the next instance.
    pub fn timeouts(&self) -> Timeouts {
        let learnt_ms = (self.mean_8 + (4 * self.deviation_8).max(8 * self.margin_ms)) / 8;
        let base_ms = if self.samples == 0 {
            self.initial_ms
        } else {
            learnt_ms
        };
        Timeouts {
            base_ms: base_ms.clamp(ROUND_TIMEOUT_MIN_MS, ROUND_TIMEOUT_MAX_MS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_grow_by_half_to_thirty_seconds() {
        let timeouts = Timeouts { base_ms: 100 };
        assert_eq!(
            (0..5).map(|round| timeouts.of(round)).collect::<Vec<_>>(),
            [100, 150, 225, 337, 505]
        );
        assert_eq!(timeouts.of(u32::MAX), ROUND_TIMEOUT_MAX_MS);
        assert_eq!(Timeouts { base_ms: 0 }.of(u32::MAX), ROUND_TIMEOUT_MAX_MS);
        assert_eq!(Timeouts { base_ms: u64::MAX }.of(0), ROUND_TIMEOUT_MAX_MS);
    }

    #[test]
    fn the_pace_follows_the_decisions_and_forgives_one_slow_one() {
        let mut pace = Pace::new(1_000, 100);
        assert_eq!(pace.timeouts().base_ms, 1_000);
        for _ in 0..50 {
            pace.decided(3);
        }
        assert_eq!(pace.timeouts().base_ms, 103);
        pace.decided(2_000);
        let after_one = pace.timeouts().base_ms;
        assert!((1_000..=4_000).contains(&after_one), "{after_one}");
        for _ in 0..50 {
            pace.decided(3);
        }
        assert!(pace.timeouts().base_ms < 120);
        // Slow for good: the timeout is above what decisions take.
        for _ in 0..50 {
            pace.decided(2_000);
        }
        assert!(pace.timeouts().base_ms >= 2_000);
        pace.decided(u64::MAX);
        assert!(pace.timeouts().base_ms <= ROUND_TIMEOUT_MAX_MS);
    }
}
