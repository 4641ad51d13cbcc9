//! How much to do, and doing it on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// The number of seeds for this run: `CAIRN_TEST_BUDGET` as a number, `full`, or the default.
///
/// # Panics
/// If the variable is neither.
#[must_use]
pub fn seeds(default: u64, full: u64) -> u64 {
    match std::env::var("CAIRN_TEST_BUDGET").as_deref() {
        Err(_) | Ok("") => default,
        Ok("full") => full,
        Ok(number) => number
            .parse()
            .expect("CAIRN_TEST_BUDGET is a number or `full`"),
    }
}

/// Runs `0..count` on all cores and gives the results in order. A panic names its seed and ends the
/// run.
pub fn for_each_seed<T: Send>(count: u64, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let (next, results) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    let guard = NameOnPanic(seed, &next);
                    let result = run(seed);
                    std::mem::forget(guard);
                    results
                        .lock()
                        .expect("no panic while pushing")
                        .push((seed, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no panic while pushing");
    results.sort_by_key(|(seed, _)| *seed);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Says which seed failed, and lets no other begin.
struct NameOnPanic<'a>(u64, &'a AtomicU64);

impl Drop for NameOnPanic<'_> {
    fn drop(&mut self) {
        eprintln!("FAILED SEED {}", self.0);
        self.1.store(u64::MAX / 2, Ordering::Relaxed);
    }
}
