//! Measuring the kernels of this machine so that anybody can check the work.
//!
//! Each row searches consecutive nonces of one header for a while and reports every hit at a target
//! of one in 2^20. Invariant: exactly the nonces `start .. start + hashes` were searched and `hits`
//! are all those among them that meet the target, so hashing the header with the plain crate shows
//! that the work was done. A row ends early when its 2^32 nonces are used up.

use std::str::FromStr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rayon::ThreadPoolBuilder;
use ruint::aliases::U256;
use serde::{Deserialize, Serialize};

use crate::claims::Claims;
use crate::function::PowFunction;
use crate::kernel::self_test::{Refusal, self_test};
use crate::kernel::{Kernel, Search, UnknownKernel, Work};
use crate::miner::{THREADS_MAX, batch_hashes, choose};
use crate::template::HEADER_BYTES;

/// One nonce in 2^20 is a hit.
const TARGET_ZERO_BITS: usize = 20;

/// What to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchRequest {
    /// One function, or all.
    pub algo: Option<PowFunction>,
    /// Which kernels.
    pub kernel: KernelChoice,
    /// Threads of each row.
    pub threads: usize,
    /// Time of each row.
    pub time: Duration,
}

/// Which kernels to measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelChoice {
    /// The one that a miner would take.
    #[default]
    Auto,
    /// All that run here, the crates' naive loops first.
    All,
    /// One by name.
    One(Kernel),
}

impl FromStr for KernelChoice {
    type Err = UnknownKernel;

    fn from_str(name: &str) -> Result<Self, UnknownKernel> {
        match name {
            "auto" => Ok(Self::Auto),
            "all" => Ok(Self::All),
            name => name.parse().map(Self::One),
        }
    }
}

/// All rows of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    /// One row per function and kernel.
    pub results: Vec<BenchRow>,
}

/// What one kernel did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchRow {
    /// The function.
    pub algo: PowFunction,
    /// The kernel.
    pub kernel: Kernel,
    /// Threads that searched.
    pub threads: usize,
    /// Nonces searched.
    pub hashes: u64,
    /// By the clock on the wall.
    pub hashes_per_second: f64,
    /// By the processor time of the process during the search.
    pub hashes_per_cpu_second: f64,
    /// The header's 80 bytes in hex; its nonce is zero.
    pub header: String,
    /// The first nonce.
    pub start: u32,
    /// The target as a big-endian number in hex.
    pub target: String,
    /// The nonces that meet the target, ascending.
    pub hits: Vec<u32>,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// No kernel fits the request.
    #[error("kernel {kernel} does not run {function} here; try --kernel all")]
    Unavailable {
        /// The kernel asked for.
        kernel: Kernel,
        /// The function asked for, or any.
        function: String,
    },
    /// A kernel is broken here.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The number of threads makes no sense.
    #[error("{threads} threads: expected 1 to {THREADS_MAX}")]
    Threads {
        /// The number given.
        threads: usize,
    },
    /// The system gave no threads.
    #[error("cannot start threads: {0}")]
    Pool(#[from] rayon::ThreadPoolBuildError),
}

/// Measures what was asked for, row by row; `on_row` sees each as soon as it is there.
pub fn run(
    request: &BenchRequest,
    mut on_row: impl FnMut(&BenchRow),
) -> Result<BenchReport, BenchError> {
    let threads = request.threads;
    if !(1..=THREADS_MAX).contains(&threads) {
        return Err(BenchError::Threads { threads });
    }
    let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
    let mut results = Vec::new();
    for search in searches(request)? {
        let row = measure(&search, &pool, request.time);
        on_row(&row);
        results.push(row);
    }
    Ok(BenchReport { results })
}

/// The tested searches that a request names.
fn searches(request: &BenchRequest) -> Result<Vec<Search>, BenchError> {
    let functions = PowFunction::ALL
        .into_iter()
        .filter(|f| request.algo.is_none_or(|a| a == *f));
    let mut searches = Vec::new();
    for function in functions {
        match request.kernel {
            KernelChoice::Auto => searches.push(choose(function, None).0?),
            KernelChoice::All => {
                searches.extend(
                    Kernel::ALL
                        .into_iter()
                        .filter_map(|k| Search::new(k, function)),
                );
            }
            KernelChoice::One(kernel) => searches.extend(Search::new(kernel, function)),
        }
    }
    for search in &searches {
        self_test(search)?;
    }
    match request.kernel {
        KernelChoice::One(kernel) if searches.is_empty() => {
            let function = request
                .algo
                .map_or("any function", PowFunction::name)
                .to_owned();
            Err(BenchError::Unavailable { kernel, function })
        }
        _ => Ok(searches),
    }
}

/// The header that is searched: any bytes do, but always the same.
fn header() -> [u8; HEADER_BYTES] {
    std::array::from_fn(|i| if i < 76 { i as u8 } else { 0 })
}

fn measure(search: &Search, pool: &rayon::ThreadPool, time: Duration) -> BenchRow {
    let target = U256::MAX >> TARGET_ZERO_BITS;
    let work = Work::new(search.function, header(), target);
    let claims = Claims::new(0..1 << 32, batch_hashes(search.function));
    let hits = Mutex::new(Vec::new());
    let (cpu, begin) = (process_cpu_time(), Instant::now());
    pool.broadcast(|_| {
        while begin.elapsed() < time {
            let Some(mut batch) = claims.claim() else {
                return;
            };
            while let Some(nonce) = search.lowest(&work, batch.clone()) {
                hits.lock().push(nonce);
                batch.start = u64::from(nonce) + 1;
            }
        }
    });
    let (seconds, cpu) = (begin.elapsed().as_secs_f64(), process_cpu_time() - cpu);
    let hashes = claims.next();
    let mut hits = hits.into_inner();
    hits.sort_unstable();
    BenchRow {
        algo: search.function,
        kernel: search.kernel,
        threads: pool.current_num_threads(),
        hashes,
        hashes_per_second: hashes as f64 / seconds,
        hashes_per_cpu_second: hashes as f64 / cpu.as_secs_f64(),
        header: hex(&header()),
        start: 0,
        target: hex(&target.to_be_bytes::<32>()),
        hits,
    }
}

fn process_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("processor time is not negative")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
