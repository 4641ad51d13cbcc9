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
use crate::hash_rate::thread_cpu_time;
use crate::kernel::operations::operations;
use crate::kernel::self_test::{Refusal, self_test};
use crate::kernel::{Kernel, Search, UnknownKernel, Work, vector_speed};
use crate::miner::{THREADS_MAX, batch_hashes, choose};
use crate::template::{HEADER_BYTES, with_nonce};
use cairn_protocol::pow::PowFunction;

/// One nonce in 2^20 is a hit.
const TARGET_ZERO_BITS: usize = 20;

/// Hashes of the comparison between two looks at the clock.
const BLAKE3_BATCH: u64 = 1 << 12;

/// The flags of a chunk's last block that is also the root.
const CHUNK_END_ROOT: u8 = 2 | 8;

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
    /// The header to search; its nonce is replaced. One made at random shows that nobody knew the
    /// hits beforehand.
    pub header: [u8; HEADER_BYTES],
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
    /// What the vector units could reach at most; empty without AVX-512.
    pub limits: Vec<Limit>,
    /// Other ways to hash, for comparison.
    pub comparisons: Vec<Comparison>,
}

/// The most hashes that one thread could compute if its vector units never waited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// The function.
    pub algo: PowFunction,
    /// The kernel whose operations were counted.
    pub kernel: Kernel,
    /// Vector operations of a hash, counted from the source: those of a vector over its lanes.
    pub operations_per_hash: f64,
    /// Vector operations per second of processor time, measured.
    pub operations_per_cpu_second: f64,
    /// The limit.
    pub hashes_per_cpu_second: f64,
}

/// Another way to hash, on one thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The function.
    pub algo: PowFunction,
    /// What it is.
    pub name: String,
    /// Its speed.
    pub hashes_per_cpu_second: f64,
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
        let row = measure(&search, &pool, request);
        on_row(&row);
        results.push(row);
    }
    let measured = |algo| results.iter().any(|row: &BenchRow| row.algo == algo);
    let limits = limits()
        .into_iter()
        .filter(|limit| measured(limit.algo))
        .collect();
    let comparisons = measured(PowFunction::Blake3).then(|| hash_many(request.time));
    let comparisons = comparisons.into_iter().collect();
    Ok(BenchReport {
        results,
        limits,
        comparisons,
    })
}

/// The limit of each function on this processor.
fn limits() -> Vec<Limit> {
    let Some((operations_per_cpu_second, lanes)) = vector_speed() else {
        return Vec::new();
    };
    let limit = |algo| {
        let operations_per_hash = operations(algo) as f64 / f64::from(lanes);
        Limit {
            algo,
            kernel: Kernel::Avx512,
            operations_per_hash,
            operations_per_cpu_second,
            hashes_per_cpu_second: operations_per_cpu_second / operations_per_hash,
        }
    };
    PowFunction::ALL.into_iter().map(limit).collect()
}

/// The crate's own many-at-once hashing, with the first block's chaining value as its key. It hashes
/// whole blocks only, so it does the same work on a padded second block: a yardstick, no kernel.
fn hash_many(time: Duration) -> Comparison {
    const AT_ONCE: usize = 16;
    let platform = blake3::platform::Platform::detect();
    let (mut blocks, mut digests) = ([[0; 64]; AT_ONCE], [0; 32 * AT_ONCE]);
    let (mut hashes, mut candidates) = (0, 0);
    let (cpu, begin) = (thread_cpu_time(), Instant::now());
    while begin.elapsed() < time {
        for _ in 0..BLAKE3_BATCH / AT_ONCE as u64 {
            for block in &mut blocks {
                block[12..16].copy_from_slice(&(hashes as u32).to_le_bytes());
                hashes += 1;
            }
            let inputs = blocks.each_ref();
            let counter = blake3::IncrementCounter::No;
            platform.hash_many(
                &inputs,
                &[0; 8],
                0,
                counter,
                0,
                0,
                CHUNK_END_ROOT,
                &mut digests,
            );
            candidates += digests
                .chunks_exact(32)
                .filter(|digest| digest[28..] == [0; 4])
                .count();
        }
    }
    std::hint::black_box(candidates);
    let seconds = (thread_cpu_time() - cpu).as_secs_f64();
    Comparison {
        algo: PowFunction::Blake3,
        name: "hash_many".into(),
        hashes_per_cpu_second: hashes as f64 / seconds,
    }
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

fn measure(search: &Search, pool: &rayon::ThreadPool, request: &BenchRequest) -> BenchRow {
    let header = with_nonce(request.header, 0);
    let target = U256::MAX >> TARGET_ZERO_BITS;
    let work = Work::new(search.function, header, target);
    let claims = Claims::new(0..1 << 32, batch_hashes(search.function));
    let hits = Mutex::new(Vec::new());
    let (cpu, begin) = (process_cpu_time(), Instant::now());
    pool.broadcast(|_| {
        // A batch before the first look at the clock: no row is empty, however late threads start.
        while let Some(mut batch) = claims.claim() {
            while let Some(nonce) = search.lowest(&work, batch.clone()) {
                hits.lock().push(nonce);
                batch.start = u64::from(nonce) + 1;
            }
            if begin.elapsed() >= request.time {
                return;
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
        header: hex::encode(header),
        start: 0,
        target: hex::encode(target.to_be_bytes::<32>()),
        hits,
    }
}

fn process_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("processor time is not negative")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kernel: KernelChoice, algo: Option<PowFunction>) -> BenchRequest {
        BenchRequest {
            algo,
            kernel,
            threads: 2,
            time: Duration::from_millis(30),
            header: [7; HEADER_BYTES],
        }
    }

    /// What a reader of the report does: hash the header again and compare.
    #[test]
    fn anybody_can_recompute_the_hits() {
        let mut rows = 0;
        let report = run(&request(KernelChoice::All, None), |_| rows += 1).unwrap();
        assert_eq!(rows, report.results.len());
        for row in &report.results {
            assert_eq!((row.start, row.threads), (0, 2));
            assert!(row.hashes > 0 && row.hashes_per_second > 0.0);
            let header: [u8; 80] = hex::decode(&row.header).unwrap().try_into().unwrap();
            assert_eq!(header[76..], [0; 4], "the nonce is not set");
            let target = U256::from_be_slice(&hex::decode(&row.target).unwrap());
            // Enough to see a missing or an invented hit, quickly.
            let checked = row.hashes.min(200_000) as u32;
            let solves = |n: &u32| row.algo.digest(&with_nonce(header, *n)) <= target;
            let expected: Vec<u32> = (0..checked).filter(solves).collect();
            let reported: Vec<u32> = row.hits.iter().copied().filter(|n| *n < checked).collect();
            assert_eq!(reported, expected, "{} {}", row.algo, row.kernel);
            assert!(
                row.hits
                    .iter()
                    .all(|n| solves(n) && u64::from(*n) < row.hashes)
            );
        }
        for function in PowFunction::ALL {
            let kernels = report.results.iter().filter(|row| row.algo == function);
            assert_eq!(kernels.map(|row| row.kernel).next(), Some(Kernel::Naive));
        }
    }

    #[test]
    fn the_rows_have_the_promised_fields() {
        let request = request(KernelChoice::Auto, Some(PowFunction::Blake3));
        let report = serde_json::to_value(run(&request, |_| ()).unwrap()).unwrap();
        let rows = report["results"].as_array().unwrap();
        assert_eq!(rows.len(), 1);
        let fields: Vec<&str> = rows[0]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let promised = [
            "algo",
            "hashes",
            "hashes_per_cpu_second",
            "hashes_per_second",
            "header",
            "hits",
            "kernel",
            "start",
            "target",
            "threads",
        ];
        assert_eq!(fields.len(), promised.len());
        assert!(
            promised.iter().all(|field| fields.contains(field)),
            "{fields:?}"
        );
        assert_eq!(rows[0]["algo"], "blake3");
        assert_eq!(rows[0]["header"].as_str().unwrap().len(), 160);
        assert_eq!(rows[0]["target"], format!("00000{}", "f".repeat(59)));
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        let one = request(KernelChoice::One(Kernel::ShaNi), Some(PowFunction::Blake3));
        let error = run(&one, |_| ()).unwrap_err().to_string();
        assert_eq!(
            error,
            "kernel sha-ni does not run blake3 here; try --kernel all"
        );
        let none = BenchRequest { threads: 0, ..one };
        assert_eq!(
            run(&none, |_| ()).unwrap_err().to_string(),
            "0 threads: expected 1 to 1024"
        );
        assert!("gpu".parse::<KernelChoice>().is_err());
    }
}
