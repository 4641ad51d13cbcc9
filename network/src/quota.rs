//! Request quotas per peer: the generic cell rate algorithm, with time as an input.
//!
//! Invariant: over any span of t ms a bucket lets at most `tokens + tokens * t / period` through.
//! Requests are charged by the number of objects that they ask for. Source: ITU-T I.371;
//! `spec/07-p2p.md#quotas`.

use crate::limits::Quota;

/// One bucket. Time is in nanoseconds inside, so that 8,192 tokens in 10 s stay exact.
#[derive(Clone, Debug)]
pub struct Gcra {
    quota: Quota,
    /// The time at which the bucket would be full again.
    full_at_ns: u128,
}

/// The bucket has too few tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The same request passes after this time.
    RetryAfterMs(u64),
    /// The request asks for more than the bucket can ever hold.
    Never,
}

impl Gcra {
    /// A full bucket.
    pub fn new(quota: Quota) -> Self {
        Self {
            quota,
            full_at_ns: 0,
        }
    }

    /// Takes `tokens`, or says when they would be there. A refusal takes nothing.
    pub fn take(&mut self, now_ms: u64, tokens: u32) -> Result<(), Limit> {
        if tokens > self.quota.tokens {
            return Err(Limit::Never);
        }
        let now_ns = u128::from(now_ms) * 1_000_000;
        let period_ns = u128::from(self.quota.period_ms) * 1_000_000;
        let cost_ns = period_ns * u128::from(tokens) / u128::from(self.quota.tokens.max(1));
        let full_at_ns = self.full_at_ns.max(now_ns) + cost_ns;
        if full_at_ns > now_ns + period_ns {
            let wait_ns = full_at_ns - now_ns - period_ns;
            return Err(Limit::RetryAfterMs(wait_ns.div_ceil(1_000_000) as u64));
        }
        self.full_at_ns = full_at_ns;
        Ok(())
    }

    /// Takes `tokens` that are already spent, into debt if need be.
    pub fn charge(&mut self, now_ms: u64, tokens: u32) {
        let now_ns = u128::from(now_ms) * 1_000_000;
        let period_ns = u128::from(self.quota.period_ms) * 1_000_000;
        let cost_ns = period_ns * u128::from(tokens) / u128::from(self.quota.tokens.max(1));
        self.full_at_ns = self.full_at_ns.max(now_ns) + cost_ns;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let mut bucket = Gcra::new(Quota::new(5, 15_000));
        for _ in 0..5 {
            assert_eq!(bucket.take(1_000, 1), Ok(()));
        }
        assert_eq!(bucket.take(1_000, 1), Err(Limit::RetryAfterMs(3_000)));
        assert_eq!(bucket.take(3_999, 1), Err(Limit::RetryAfterMs(1)));
        assert_eq!(bucket.take(4_000, 1), Ok(()));
        assert_eq!(bucket.take(4_000, 6), Err(Limit::Never));
    }

    #[test]
    fn a_debt_delays_the_next_request() {
        let mut bucket = Gcra::new(Quota::new(10, 1_000));
        bucket.charge(0, 30);
        assert_eq!(bucket.take(0, 0), Err(Limit::RetryAfterMs(2_000)));
        assert_eq!(bucket.take(2_000, 0), Ok(()));
        assert_eq!(bucket.take(2_100, 1), Ok(()));
    }

    #[test]
    fn a_refusal_takes_nothing() {
        let mut bucket = Gcra::new(Quota::new(10, 10_000));
        assert_eq!(bucket.take(0, 6), Ok(()));
        assert!(bucket.take(0, 6).is_err());
        assert_eq!(bucket.take(0, 4), Ok(()));
    }

    proptest! {
        #[test]
        fn no_span_lets_more_than_burst_and_rate_through(
            steps in prop::collection::vec((0u64..2_000, 1u32..20), 1..200),
        ) {
            let quota = Quota::new(20, 10_000);
            let mut bucket = Gcra::new(quota);
            let (mut now, mut passed) = (0, Vec::new());
            for (wait, tokens) in steps {
                now += wait;
                if bucket.take(now, tokens).is_ok() {
                    passed.push((now, u64::from(tokens)));
                }
            }
            for (first, &(from, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for &(to, tokens) in &passed[first..] {
                    sum += tokens;
                    let allowed = 20 + 20 * (to - from) / 10_000;
                    prop_assert!(sum <= allowed + 1, "{sum} in {} ms", to - from);
                }
            }
        }
    }
}
