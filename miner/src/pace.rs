//! Searching at a given rate, and sleeping in between.
//!
//! Devnets are throttled by their specification so that all their miners together keep the block
//! time. Invariant: over any time T no more than `limit x (T + one period)` hashes are allowed;
//! time spent idle is not saved up.

use std::num::NonZeroU64;
use std::time::Duration;

use ruint::aliases::U256;

/// One search and one sleep of a throttled miner. Long enough that waking up costs nothing
/// noticeable (20 times a second), short enough that block times keep their spread.
const PERIOD: Duration = Duration::from_millis(50);

/// What a throttled miner does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Search this many hashes.
    Search(u64),
    /// Sleep this long.
    Wait(Duration),
}

/// When the next hashes are allowed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    ready_at: Duration,
}

impl Pace {
    /// The next step at `now` under a limit of hashes per second.
    pub(crate) fn next(&mut self, now: Duration, limit: NonZeroU64) -> Step {
        if now < self.ready_at {
            return Step::Wait(self.ready_at - now);
        }
        let rate = limit.get() as f64;
        let hashes = (rate * PERIOD.as_secs_f64()).max(1.0).floor();
        let earliest = now.saturating_sub(PERIOD).max(self.ready_at);
        self.ready_at = earliest + Duration::from_secs_f64(hashes / rate);
        Step::Search(hashes as u64)
    }
}

/// The hashes per second at which each of `miners` searches so that together they find a block of
/// this target every `block_time` on average. At least 1.
pub fn limit_for(target: U256, block_time: Duration, miners: u32) -> NonZeroU64 {
    let hashes_per_block = f64::from(U256::MAX) / f64::from(target).max(1.0);
    let seconds = block_time.as_secs_f64().max(f64::MIN_POSITIVE);
    let each = hashes_per_block / seconds / f64::from(miners.max(1));
    // The conversion saturates, so an unreachable target only means "as fast as you can".
    NonZeroU64::new(each.round() as u64).unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes allowed in `seconds` when each search takes no time and sleeps are exact.
    fn hashes_in(seconds: u64, limit: u64) -> u64 {
        let (mut pace, mut now, mut hashes) = (Pace::default(), Duration::ZERO, 0);
        while now < Duration::from_secs(seconds) {
            match pace.next(now, NonZeroU64::new(limit).unwrap()) {
                Step::Search(count) => hashes += count,
                Step::Wait(time) => now += time,
            }
        }
        hashes
    }

    #[test]
    fn the_limit_is_kept_from_one_hash_a_second_to_millions() {
        for limit in [1, 3, 19, 20, 777, 50_000, 12_345_678] {
            let (hashes, expected) = (hashes_in(100, limit), 100 * limit);
            let period = (limit / 20).max(1);
            assert!(
                (expected..=expected + 2 * period).contains(&hashes),
                "{hashes} hashes in 100 s at {limit}/s"
            );
        }
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let (mut pace, limit) = (Pace::default(), NonZeroU64::new(1000).unwrap());
        let late = Duration::from_secs(3600);
        assert_eq!(pace.next(late, limit), Step::Search(50));
        assert_eq!(pace.next(late, limit), Step::Search(50));
        assert_eq!(pace.next(late, limit), Step::Wait(PERIOD));
    }

    #[test]
    fn four_miners_share_the_block_time() {
        let target = U256::MAX >> 12;
        assert_eq!(limit_for(target, Duration::from_secs(2), 4).get(), 512);
        assert_eq!(limit_for(U256::MAX, Duration::from_secs(600), 4).get(), 1);
        assert_eq!(
            limit_for(U256::ZERO, Duration::from_secs(1), 1).get(),
            u64::MAX
        );
    }
}
