//! How far sync has come and how long it will still take.
//!
//! Invariant: pure arithmetic over the times it is told; an estimate exists only while the chain
//! moves.

use cairn_protocol::units::Height;

/// The rate is smoothed over about this many seconds.
const SMOOTHING: u64 = 8;

/// What the operator sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Connected height.
    pub done: Height,
    /// Height to reach, as far as known.
    pub total: Height,
    /// Headers stored.
    pub headers: Height,
    /// Seconds left; `None` while nothing moves.
    pub eta_s: Option<u64>,
}

impl Progress {
    /// Blocks that are not connected yet.
    pub fn remaining(&self) -> Height {
        self.total.saturating_sub(self.done)
    }
}

/// Measures the rate.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    sampled_ms: u64,
    sampled_height: Height,
    /// Blocks per 1,000 seconds, smoothed.
    rate: u64,
}

impl Meter {
    /// Takes a sample if a second has passed since the last.
    pub fn sample(&mut self, now_ms: u64, height: Height) -> bool {
        let elapsed_ms = now_ms.saturating_sub(self.sampled_ms);
        if self.sampled_ms > 0 && elapsed_ms < 1_000 {
            return false;
        }
        if self.sampled_ms > 0 {
            let blocks = height.saturating_sub(self.sampled_height);
            let rate = blocks.saturating_mul(1_000_000) / elapsed_ms;
            self.rate = match self.rate {
                0 => rate,
                old => old - old / SMOOTHING + rate / SMOOTHING,
            };
        }
        self.sampled_ms = now_ms.max(1);
        self.sampled_height = height;
        true
    }

    /// Seconds for `remaining` blocks at the present rate.
    pub fn eta_s(&self, remaining: Height) -> Option<u64> {
        (self.rate > 0).then(|| remaining.saturating_mul(1_000).div_ceil(self.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_follows_the_rate() {
        let mut meter = Meter::default();
        assert_eq!(meter.eta_s(100), None);
        for second in 1..60 {
            assert!(meter.sample(second * 1_000, second * 50));
            assert!(!meter.sample(second * 1_000 + 999, second * 50));
        }
        assert_eq!(meter.eta_s(5_000), Some(100));
    }
}
