//! The search of one template by all workers.
//!
//! Workers are a rayon pool of their own, so nothing else ever waits behind a search. They claim
//! batches in ascending order ([`crate::claims`]) and look at the cancel flag before each claim.
//! Invariant: the answer depends on the template and the range only, not on kernel, thread count
//! or scheduling.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rayon::{ThreadPool, ThreadPoolBuilder};
use ruint::aliases::U256;

use crate::cancel::Cancel;
use crate::claims::Claims;
use crate::hash_rate::{Clock, HashRate, Meters, MonotonicClock};
use crate::kernel::self_test::{Refusal, self_test};
use crate::kernel::{Kernel, Search, Work};
use crate::priority::Priority;
use crate::template::{HEADER_BYTES, Solution, Template};
use cairn_protocol::pow::PowFunction;

/// Threads of one miner at most. A bound against slips of the finger; no machine has more.
pub const THREADS_MAX: usize = 1024;

/// How a miner works.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Worker threads; `None` for one per processor.
    pub threads: Option<usize>,
    /// A kernel to use instead of the fastest, for the functions that it implements.
    pub kernel: Option<Kernel>,
    /// The workers' priority.
    pub priority: Priority,
}

/// Why a miner does not start.
#[derive(Debug, thiserror::Error)]
pub enum MinerError {
    /// The kernel asked for does not run here.
    #[error("kernel {kernel} needs instructions that this processor lacks; try --kernel auto")]
    Unavailable {
        /// The kernel asked for.
        kernel: Kernel,
    },
    /// The kernel asked for is broken here.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The number of threads makes no sense.
    #[error("{threads} miner threads: expected 1 to {THREADS_MAX}")]
    Threads {
        /// The number given.
        threads: usize,
    },
    /// The system gave no threads.
    #[error("cannot start miner threads: {0}")]
    Pool(#[from] rayon::ThreadPoolBuildError),
}

/// The workers, the kernels chosen for them, and their counters.
#[derive(Debug)]
pub struct Miner {
    /// The kernel in use for each function, in the order of [`PowFunction::ALL`].
    searches: [Search; PowFunction::ALL.len()],
    refusals: Vec<Refusal>,
    pool: Mutex<Arc<ThreadPool>>,
    priority: Priority,
    /// Moves on when running searches should look at the pool and at their orders again.
    interrupts: AtomicU64,
    meters: Meters,
    clock: Box<dyn Clock>,
}

/// How a search by all workers ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The lowest hit.
    Hit(u64),
    /// No hit in the whole range.
    Exhausted,
    /// Stopped with no hit below this position.
    Stopped(u64),
}

impl Miner {
    /// Tests the kernels of this processor, takes the fastest sound one for each function and
    /// starts the workers.
    pub fn new(settings: Settings) -> Result<Self, MinerError> {
        Self::with_clock(settings, Box::new(MonotonicClock::default()))
    }

    /// As [`Self::new`], with another clock.
    pub fn with_clock(settings: Settings, clock: Box<dyn Clock>) -> Result<Self, MinerError> {
        if let Some(kernel) = settings.kernel.filter(|kernel| !kernel.is_available()) {
            return Err(MinerError::Unavailable { kernel });
        }
        let mut refusals = Vec::new();
        let mut chosen = Vec::new();
        for function in PowFunction::ALL {
            let (search, refused) = choose(function, settings.kernel);
            chosen.push(search?);
            refusals.extend(refused);
        }
        let threads = settings.threads.unwrap_or_else(processors);
        Ok(Self {
            searches: chosen.try_into().expect("one search per function"),
            refusals,
            pool: Mutex::new(Arc::new(start_pool(threads, settings.priority)?)),
            priority: settings.priority,
            interrupts: AtomicU64::new(0),
            meters: Meters::new(),
            clock,
        })
    }

    /// The kernel in use for a function.
    pub fn kernel(&self, function: PowFunction) -> Kernel {
        self.search_of(function).kernel
    }

    /// The kernels that failed their self-test here. Worth a warning in the log.
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    /// The number of workers.
    pub fn threads(&self) -> usize {
        self.pool.lock().current_num_threads()
    }

    /// Changes the number of workers; a running search goes on with the new ones.
    pub fn set_threads(&self, threads: usize) -> Result<(), MinerError> {
        if threads != self.threads() {
            *self.pool.lock() = Arc::new(start_pool(threads, self.priority)?);
            self.interrupt();
        }
        Ok(())
    }

    /// What each kernel has done until now.
    pub fn hash_rates(&self) -> Vec<HashRate> {
        self.meters.report(self.clock.now())
    }

    /// The solution at the lowest position of the range, searched by all workers; blocks the
    /// caller meanwhile. `None` if there is none or the search was cancelled.
    pub fn search(
        &self,
        template: &Template,
        range: Range<u64>,
        cancel: &Cancel,
    ) -> Option<Solution> {
        let header_of = |extra| template.header_of(extra);
        self.search_headers(
            template.function(),
            template.target(),
            &header_of,
            range,
            cancel,
        )
        .map(|position| template.solution(position))
    }

    /// The lowest nonce of the range (within 2^32) that solves a finished header, as for a genesis.
    pub fn search_header(
        &self,
        function: PowFunction,
        header: &[u8; HEADER_BYTES],
        target: U256,
        nonces: Range<u64>,
        cancel: &Cancel,
    ) -> Option<u32> {
        let range = nonces.start..nonces.end.min(1 << 32);
        self.search_headers(function, target, &|_| *header, range, cancel)
            .map(|position| position as u32)
    }

    fn search_headers(
        &self,
        function: PowFunction,
        target: U256,
        header_of: HeaderOf<'_>,
        mut range: Range<u64>,
        cancel: &Cancel,
    ) -> Option<u64> {
        loop {
            let order = Order {
                function,
                target,
                header_of,
                cancel,
                interrupt: self.interrupts(),
            };
            match self.search_until_interrupt(&order, range.clone()) {
                Outcome::Hit(position) => return Some(position),
                Outcome::Stopped(next) if !cancel.is_cancelled() => range.start = next,
                Outcome::Stopped(_) | Outcome::Exhausted => return None,
            }
        }
    }

    /// Searches with all workers until a hit, the end, a cancel or an interrupt later than the
    /// order's. A cancelled search has no hit.
    pub(crate) fn search_until_interrupt(&self, order: &Order<'_>, range: Range<u64>) -> Outcome {
        let claims = self.claims(order.function, range);
        let pool = Arc::clone(&self.pool.lock());
        pool.broadcast(|_| self.work_through(order, &claims));
        outcome(&claims, order.cancel)
    }

    /// As [`Self::search_until_interrupt`], by the calling thread alone.
    pub(crate) fn search_here(&self, order: &Order<'_>, range: Range<u64>) -> Outcome {
        let claims = self.claims(order.function, range);
        self.work_through(order, &claims);
        outcome(&claims, order.cancel)
    }

    fn claims(&self, function: PowFunction, range: Range<u64>) -> Claims {
        Claims::new(range, batch_hashes(function))
    }

    /// One worker's part of a search.
    fn work_through(&self, order: &Order<'_>, claims: &Claims) {
        let search = self.search_of(order.function);
        let mut account = self
            .meters
            .of(search.function, search.kernel)
            .open(&*self.clock);
        let stop = || order.cancel.is_cancelled() || self.interrupts() != order.interrupt;
        let mut work: Option<(u32, Work)> = None;
        work_through(claims, &stop, &mut |batch| {
            let (extra, first) = ((batch.start >> 32) as u32, batch.start & LOW);
            let nonces = first..first + (batch.end - batch.start);
            let (_, work) = match &mut work {
                Some(work) if work.0 == extra => work,
                stale => stale.insert((extra, order.work(extra))),
            };
            let hit = search.lowest(work, nonces.clone()).map(u64::from);
            account.add(hit.map_or(nonces.end, |nonce| nonce + 1) - nonces.start);
            hit.map(|nonce| u64::from(extra) << 32 | nonce)
        });
    }

    fn search_of(&self, function: PowFunction) -> &Search {
        self.searches
            .iter()
            .find(|search| search.function == function)
            .expect("every function has a search")
    }

    pub(crate) fn interrupts(&self) -> u64 {
        self.interrupts.load(Ordering::SeqCst)
    }

    /// Makes running searches stop within one batch and look at their orders again.
    pub(crate) fn interrupt(&self) {
        self.interrupts.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) fn priority(&self) -> Priority {
        self.priority
    }
}

/// The nonce's half of a position.
const LOW: u64 = u32::MAX as u64;

/// The header of all positions with one rolled extra-nonce.
type HeaderOf<'a> = &'a (dyn Fn(u32) -> [u8; HEADER_BYTES] + Sync);

/// What workers are to search, and what ends it.
pub(crate) struct Order<'a> {
    pub(crate) function: PowFunction,
    pub(crate) target: U256,
    pub(crate) header_of: HeaderOf<'a>,
    pub(crate) cancel: &'a Cancel,
    /// The count of interrupts when the order was given.
    pub(crate) interrupt: u64,
}

impl Order<'_> {
    fn work(&self, extra: u32) -> Work {
        Work::new(self.function, (self.header_of)(extra), self.target)
    }
}

/// Nonces between two looks at the cancel flag: some 0.1 ms for the fastest kernels.
pub(crate) const fn batch_hashes(function: PowFunction) -> u64 {
    match function {
        PowFunction::Sha256d => 1 << 12,
        PowFunction::Blake3 => 1 << 14,
    }
}

/// Claims and scans batches until nothing is left or `stop` says so.
fn work_through(
    claims: &Claims,
    stop: &dyn Fn() -> bool,
    scan: &mut dyn FnMut(Range<u64>) -> Option<u64>,
) {
    while !stop() {
        let Some(batch) = claims.claim() else { return };
        if let Some(position) = scan(batch) {
            claims.hit(position);
        }
    }
}

/// Reads the result once all workers are done. All claimed batches were finished, so a hit is the
/// lowest even if the search was interrupted; a cancelled search has none by definition.
fn outcome(claims: &Claims, cancel: &Cancel) -> Outcome {
    match claims.lowest() {
        _ if cancel.is_cancelled() => Outcome::Stopped(claims.next()),
        Some(position) => Outcome::Hit(position),
        None if claims.is_exhausted() => Outcome::Exhausted,
        None => Outcome::Stopped(claims.next()),
    }
}

/// The kernel asked for if it implements the function, else the fastest that passes its test; and
/// those that did not pass.
pub(crate) fn choose(
    function: PowFunction,
    asked: Option<Kernel>,
) -> (Result<Search, Refusal>, Vec<Refusal>) {
    if let Some(search) = asked.and_then(|kernel| Search::new(kernel, function)) {
        return (self_test(&search).map(|()| search), Vec::new());
    }
    let candidates = Kernel::ALL
        .into_iter()
        .rev()
        .filter_map(|k| Search::new(k, function));
    let (search, refusals) = first_sound(candidates);
    (
        Ok(search.expect("the plain crate agrees with itself")),
        refusals,
    )
}

/// The first candidate that passes its self-test, and those before it that did not.
fn first_sound(candidates: impl Iterator<Item = Search>) -> (Option<Search>, Vec<Refusal>) {
    let mut refusals = Vec::new();
    for search in candidates {
        match self_test(&search) {
            Ok(()) => return (Some(search), refusals),
            Err(refusal) => refusals.push(refusal),
        }
    }
    (None, refusals)
}

fn processors() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(THREADS_MAX)
}

fn start_pool(threads: usize, priority: Priority) -> Result<ThreadPool, MinerError> {
    if !(1..=THREADS_MAX).contains(&threads) {
        return Err(MinerError::Threads { threads });
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("cairn-search-{i}"))
        .start_handler(move |_| priority.apply_to_this_thread())
        .build()?;
    Ok(pool)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Every worker is inside a batch when the search is cancelled; none starts another.
    #[test]
    fn after_a_cancel_no_worker_searches_another_batch() {
        const WORKERS: usize = 3;
        let (claims, cancel) = (Claims::new(0..u64::MAX, 16), Cancel::new());
        let (inside, cancelled) = (Barrier::new(WORKERS + 1), Barrier::new(WORKERS + 1));
        let batches = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    work_through(&claims, &|| cancel.is_cancelled(), &mut |_| {
                        let before = batches.fetch_add(1, Ordering::SeqCst);
                        assert!(before < WORKERS, "a batch was begun after the cancel");
                        inside.wait();
                        cancelled.wait();
                        None
                    });
                });
            }
            inside.wait();
            cancel.cancel();
            cancelled.wait();
        });
        assert_eq!(batches.load(Ordering::SeqCst), WORKERS);
        assert_eq!(claims.next(), 16 * WORKERS as u64);
        assert_eq!(outcome(&claims, &cancel), Outcome::Stopped(48));
    }

    #[test]
    fn a_cancelled_search_has_no_hit() {
        let (claims, cancel) = (Claims::new(0..64, 16), Cancel::new());
        claims.claim();
        claims.hit(3);
        assert_eq!(outcome(&claims, &cancel), Outcome::Hit(3));
        cancel.cancel();
        assert_eq!(outcome(&claims, &cancel), Outcome::Stopped(16));
    }

    #[test]
    fn a_kernel_that_fails_its_test_is_passed_over() {
        let function = PowFunction::Sha256d;
        let sound = Search::new(Kernel::Naive, function).unwrap();
        let broken = Search::broken(function);
        let (chosen, refusals) = first_sound([broken, sound].into_iter());
        assert_eq!(chosen.map(|search| search.kernel), Some(Kernel::Naive));
        assert_eq!(refusals.len(), 1);
        assert_eq!(
            first_sound([broken].into_iter())
                .0
                .map(|search| search.kernel),
            None
        );
    }

    #[test]
    fn thread_counts_have_bounds() {
        for threads in [0, THREADS_MAX + 1] {
            let settings = Settings {
                threads: Some(threads),
                ..Settings::default()
            };
            let error = Miner::new(settings).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("{threads} miner threads: expected 1 to 1024")
            );
        }
    }
}
