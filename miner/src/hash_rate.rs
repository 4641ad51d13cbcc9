//! How many hashes, how fast, at what cost in processor time.
//!
//! [`History`] is pure: time comes in as a duration since any fixed moment. The counters around it
//! read a [`Clock`], so tests turn time by hand. Invariant: a history holds a sample from before
//! its longest window, so a rate never covers less time than asked for once that much has passed.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ruint::aliases::U256;
use serde::{Deserialize, Serialize};

use crate::kernel::Kernel;
use cairn_protocol::pow::PowFunction;

/// The windows of the reported rates.
const WINDOWS: [Duration; 3] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(15 * 60),
];
/// Samples are at least this far apart, which bounds a history to some 900 of them.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// The time, as a duration since any fixed moment.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Never less than at the call before.
    fn now(&self) -> Duration;
}

/// The system's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock(Instant);

impl Default for MonotonicClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Totals at moments of the last fifteen minutes.
#[derive(Clone, Debug, Default)]
pub struct History {
    samples: VecDeque<(Duration, u64)>,
}

impl History {
    /// Notes the total of all time at `now`.
    pub fn record(&mut self, now: Duration, total: u64) {
        let count = self.samples.len();
        if count >= 2 && now.saturating_sub(self.samples[count - 2].0) < SAMPLE_EVERY {
            self.samples.pop_back();
        }
        self.samples.push_back((now, total));
        let horizon = now.saturating_sub(WINDOWS[2]);
        while self.samples.len() >= 2 && self.samples[1].0 <= horizon {
            self.samples.pop_front();
        }
    }

    /// Hashes per second over the window that ends at `now`, or over what is known of it.
    pub fn rate(&self, now: Duration, window: Duration) -> f64 {
        let (Some(&(first, _)), Some(&(_, total))) = (self.samples.front(), self.samples.back())
        else {
            return 0.0;
        };
        let start = now.saturating_sub(window).max(first);
        let seconds = now.saturating_sub(start).as_secs_f64();
        if seconds > 0.0 {
            (total as f64 - self.total_at(start)) / seconds
        } else {
            0.0
        }
    }

    /// The total at a moment between two samples, taken to have grown evenly.
    fn total_at(&self, moment: Duration) -> f64 {
        let after = self.samples.partition_point(|&(at, _)| at <= moment);
        let Some(&(from, low)) = after.checked_sub(1).and_then(|i| self.samples.get(i)) else {
            return 0.0;
        };
        let Some(&(to, high)) = self.samples.get(after) else {
            return low as f64;
        };
        let share = (moment - from).as_secs_f64() / (to - from).as_secs_f64();
        low as f64 + (high - low) as f64 * share
    }
}

/// What one kernel has done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HashRate {
    /// The function.
    pub algo: PowFunction,
    /// The kernel.
    pub kernel: Kernel,
    /// Hashes of all time.
    pub hashes: u64,
    /// Hashes per second over the last 10 s.
    pub per_second_10s: f64,
    /// Hashes per second over the last 60 s.
    pub per_second_60s: f64,
    /// Hashes per second over the last 15 minutes.
    pub per_second_15m: f64,
    /// Hashes per second of processor time, over all time; 0 before the first.
    pub per_cpu_second: f64,
}

/// The counters of one kernel for one function.
#[derive(Debug)]
pub(crate) struct Meter {
    algo: PowFunction,
    kernel: Kernel,
    hashes: AtomicU64,
    cpu_ns: AtomicU64,
    history: Mutex<History>,
}

impl Meter {
    fn new(algo: PowFunction, kernel: Kernel) -> Self {
        let (hashes, cpu_ns) = (AtomicU64::new(0), AtomicU64::new(0));
        Self {
            algo,
            kernel,
            hashes,
            cpu_ns,
            history: Mutex::default(),
        }
    }

    /// Counts what the calling thread does until the account is dropped.
    pub(crate) fn open<'a>(&'a self, clock: &'a dyn Clock) -> Account<'a> {
        self.sample(clock.now());
        Account {
            meter: self,
            clock,
            batches: 0,
            cpu: thread_cpu_time(),
        }
    }

    fn sample(&self, now: Duration) {
        let mut history = self.history.lock();
        history.record(now, self.hashes.load(Ordering::Relaxed));
    }

    fn report(&self, now: Duration) -> HashRate {
        self.sample(now);
        let history = self.history.lock();
        let [per_second_10s, per_second_60s, per_second_15m] =
            WINDOWS.map(|window| history.rate(now, window));
        let hashes = self.hashes.load(Ordering::Relaxed);
        let cpu_seconds = self.cpu_ns.load(Ordering::Relaxed) as f64 / 1e9;
        let per_cpu_second = if cpu_seconds > 0.0 {
            hashes as f64 / cpu_seconds
        } else {
            0.0
        };
        HashRate {
            algo: self.algo,
            kernel: self.kernel,
            hashes,
            per_second_10s,
            per_second_60s,
            per_second_15m,
            per_cpu_second,
        }
    }
}

/// One worker's entries into a meter.
pub(crate) struct Account<'a> {
    meter: &'a Meter,
    clock: &'a dyn Clock,
    batches: u32,
    cpu: Duration,
}

/// Batches between two looks at the clocks: some tens of milliseconds for the fastest kernels.
const BATCHES_PER_LOOK: u32 = 64;

impl Account<'_> {
    /// Counts one batch.
    pub(crate) fn add(&mut self, hashes: u64) {
        self.meter.hashes.fetch_add(hashes, Ordering::Relaxed);
        self.batches += 1;
        if self.batches.is_multiple_of(BATCHES_PER_LOOK) {
            self.look();
        }
    }

    fn look(&mut self) {
        let cpu = thread_cpu_time();
        let spent = u64::try_from((cpu - self.cpu).as_nanos()).unwrap_or(u64::MAX);
        self.meter.cpu_ns.fetch_add(spent, Ordering::Relaxed);
        self.cpu = cpu;
        self.meter.sample(self.clock.now());
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        self.look();
    }
}

/// A meter for each kernel of each function.
#[derive(Debug)]
pub(crate) struct Meters(Vec<Meter>);

impl Meters {
    pub(crate) fn new() -> Self {
        let pairs = PowFunction::ALL.into_iter().flat_map(|algo| {
            Kernel::ALL
                .into_iter()
                .filter(move |kernel| kernel.implements(algo))
                .map(move |kernel| Meter::new(algo, kernel))
        });
        Self(pairs.collect())
    }

    pub(crate) fn of(&self, algo: PowFunction, kernel: Kernel) -> &Meter {
        self.0
            .iter()
            .find(|meter| meter.algo == algo && meter.kernel == kernel)
            .expect("every kernel that implements a function has a meter")
    }

    pub(crate) fn report(&self, now: Duration) -> Vec<HashRate> {
        self.0.iter().map(|meter| meter.report(now)).collect()
    }
}

/// Processor time of the calling thread.
pub(crate) fn thread_cpu_time() -> Duration {
    cpu_time(rustix::time::ClockId::ThreadCPUTime)
}

fn cpu_time(clock: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).expect("processor time is not negative");
    let nanos = u32::try_from(time.tv_nsec).expect("nanoseconds are below 10^9");
    Duration::new(seconds, nanos)
}

/// The hash rate of a whole network: the growth of its total work over the time it took.
/// 0 when no time passed.
pub fn network_hash_rate(work: U256, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 {
        f64::from(work) / seconds
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn a_steady_rate_is_the_same_in_every_window() {
        let mut history = History::default();
        (0..=2000).for_each(|second| history.record(S(second), second * 500));
        for window in WINDOWS {
            assert_eq!(history.rate(S(2000), window), 500.0);
        }
        assert!(
            history.samples.len() <= 902,
            "{} samples",
            history.samples.len()
        );
    }

    #[test]
    fn windows_forget_at_their_own_pace() {
        let mut history = History::default();
        history.record(S(0), 0);
        history.record(S(100), 6000);
        history.record(S(130), 6000);
        assert_eq!(history.rate(S(130), WINDOWS[0]), 0.0);
        assert_eq!(history.rate(S(130), WINDOWS[1]), 30.0);
        assert_eq!(history.rate(S(130), WINDOWS[2]), 6000.0 / 130.0);
    }

    #[test]
    fn many_records_in_a_second_keep_one_sample_and_the_newest_total() {
        let mut history = History::default();
        (0..5000).for_each(|ms| history.record(Duration::from_millis(ms), ms));
        assert!(history.samples.len() <= 8, "{:?}", history.samples);
        assert_eq!(
            history.samples.back(),
            Some(&(Duration::from_millis(4999), 4999))
        );
    }

    #[test]
    fn nothing_known_is_no_rate() {
        let mut history = History::default();
        assert_eq!(history.rate(S(5), WINDOWS[0]), 0.0);
        history.record(S(5), 9);
        assert_eq!(history.rate(S(5), WINDOWS[0]), 0.0);
    }

    #[derive(Debug, Default)]
    struct HandClock(AtomicU64);

    impl Clock for HandClock {
        fn now(&self) -> Duration {
            S(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn an_account_reports_its_hashes_over_the_time_that_passed() {
        let (meters, clock) = (Meters::new(), HandClock::default());
        let mut account = meters.of(PowFunction::Blake3, Kernel::Scalar).open(&clock);
        account.add(1000);
        account.add(3000);
        clock.0.store(8, Ordering::Relaxed);
        drop(account);
        let report = meters.report(clock.now());
        let row = report.iter().find(|row| row.hashes > 0).unwrap();
        assert_eq!(
            (row.algo, row.kernel),
            (PowFunction::Blake3, Kernel::Scalar)
        );
        assert_eq!(
            (row.hashes, row.per_second_10s, row.per_second_15m),
            (4000, 500.0, 500.0)
        );
        assert!(row.per_cpu_second > 0.0);
        assert_eq!(report.iter().map(|row| row.hashes).sum::<u64>(), 4000);
    }

    #[test]
    fn the_network_rate_is_work_over_time() {
        assert_eq!(
            network_hash_rate(U256::from(6_000_000u64), S(600)),
            10_000.0
        );
        assert_eq!(network_hash_rate(U256::MAX, S(0)), 0.0);
    }
}
