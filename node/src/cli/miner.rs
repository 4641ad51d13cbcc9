//! `cairn miner bench | pause | resume | status`.

use std::time::{Duration, Instant};

use cairn_miner::{Cancel, Kernel, Miner, PowFunction, Priority, Settings};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::client::{Client, NodeUrl, typed};
use super::error::{CliError, CliResult};
use super::output;
use crate::api::model::miner::MinerStatus;
use crate::config::THREADS_MAX;

/// Nonces searched between two looks at the clock, per thread: some milliseconds of work.
const CHUNK_NONCES: u64 = 1 << 16;
/// Longest row; more nonces than one header has are not searched anyway.
const SECONDS_MAX: f64 = 3600.0;

/// The commands of `cairn miner`.
#[derive(Subcommand, Debug)]
pub enum MinerCommand {
    /// Measure this machine's kernels
    Bench(BenchArgs),
    /// Make a running node's miner pause
    Pause(NodeUrl),
    /// Let a running node's miner go on
    Resume(NodeUrl),
    /// Show a running node's miner
    Status(NodeUrl),
}

/// The arguments of `cairn miner bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// One proof-of-work function; without it all
    #[arg(long, value_name = "sha256d|blake3")]
    pub algo: Option<String>,
    /// A kernel by name, the one that this machine would choose, or all that it can run
    #[arg(long, value_name = "auto|all|NAME", default_value = "auto")]
    pub kernel: String,
    /// Search threads; without it one per processor
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Seconds per row
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    pub seconds: f64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// One measured row. `header`, `start`, `hashes` and `target` say exactly what was searched, so
/// that anybody can find the same `hits`.
#[derive(Clone, Debug, Serialize)]
struct Row {
    algo: &'static str,
    kernel: &'static str,
    threads: usize,
    hashes: u64,
    hashes_per_second: f64,
    hashes_per_cpu_second: f64,
    header: String,
    start: u64,
    target: String,
    hits: Vec<u32>,
}

/// Runs a command of `cairn miner`.
///
/// # Errors
/// When an argument is wrong, a kernel does not run here, or no node answers.
pub fn run(command: &MinerCommand) -> CliResult {
    match command {
        MinerCommand::Bench(args) => bench(args),
        MinerCommand::Pause(node) => set_paused(node, true),
        MinerCommand::Resume(node) => set_paused(node, false),
        MinerCommand::Status(node) => show(node, &Client::new(&node.api)?.get("/v1/miner")?),
    }
}

fn set_paused(node: &NodeUrl, paused: bool) -> CliResult {
    let answer = Client::new(&node.api)?.post("/v1/miner", &json!({ "paused": paused }))?;
    show(node, &answer)
}

fn show(node: &NodeUrl, answer: &serde_json::Value) -> CliResult {
    if node.json {
        return output::json(answer);
    }
    let miner: MinerStatus = typed(answer)?;
    let state = match (miner.enabled, miner.paused) {
        (false, _) => "off (the node was started without --mine)",
        (true, true) => "paused",
        (true, false) => "mining",
    };
    output::line(output::pairs(&[
        ("miner", state.to_owned()),
        ("function", output::plain(&miner.algo, 20)),
        ("kernel", output::plain(&miner.kernel, 40)),
        ("threads", miner.threads.to_string()),
        ("hashes/s", format!("{:.0}", miner.hashes_per_second)),
        ("hashes", miner.hashes.to_string()),
        ("blocks found", miner.blocks_found.to_string()),
        (
            "rewards to",
            output::plain(miner.address.as_deref().unwrap_or("nobody"), 100),
        ),
    ]))
}

fn bench(args: &BenchArgs) -> CliResult {
    let threads = args
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    if !(1..=THREADS_MAX).contains(&threads) {
        return Err(CliError::usage("that is no number of threads")
            .value(threads)
            .expected(format!("1 to {THREADS_MAX}")));
    }
    if !(args.seconds > 0.0 && args.seconds <= SECONDS_MAX) {
        return Err(CliError::usage("that is no duration of a row")
            .value(args.seconds)
            .expected(format!("more than 0 and at most {SECONDS_MAX} seconds")));
    }
    let mut rows = Vec::new();
    for function in functions(args.algo.as_deref())? {
        for kernel in kernels(&args.kernel, function)? {
            let row = measure(
                function,
                kernel,
                threads,
                Duration::from_secs_f64(args.seconds),
            )?;
            if !args.json {
                output::line(format!(
                    "{:<8} {:<10} {threads:>3} threads {:>16.0} hashes/s {:>16.0} per CPU second  {} hits",
                    row.algo,
                    row.kernel,
                    row.hashes_per_second,
                    row.hashes_per_cpu_second,
                    row.hits.len()
                ))?;
            }
            rows.push(row);
        }
    }
    if args.json {
        output::json(&json!({ "results": rows }))
    } else {
        Ok(())
    }
}

fn functions(named: Option<&str>) -> Result<Vec<PowFunction>, CliError> {
    let Some(name) = named else {
        return Ok(PowFunction::ALL.to_vec());
    };
    let function = name.parse().map_err(|error| {
        CliError::usage(error)
            .expected("sha256d or blake3")
            .next("cairn miner bench")
    })?;
    Ok(vec![function])
}

/// The kernels to measure; none means the machine's own choice.
fn kernels(named: &str, function: PowFunction) -> Result<Vec<Option<Kernel>>, CliError> {
    let runs = |kernel: &Kernel| kernel.implements(function) && kernel.is_available();
    match named {
        "auto" => Ok(vec![None]),
        "all" => Ok(Kernel::ALL.into_iter().filter(runs).map(Some).collect()),
        name => {
            let kernel: Kernel = name
                .parse()
                .map_err(|error| CliError::usage(error).next("cairn miner bench --kernel all"))?;
            // A kernel of one function only is measured for that one.
            Ok(if kernel.implements(function) {
                vec![Some(kernel)]
            } else {
                Vec::new()
            })
        }
    }
}

fn measure(
    function: PowFunction,
    kernel: Option<Kernel>,
    threads: usize,
    duration: Duration,
) -> Result<Row, CliError> {
    let settings = Settings {
        threads: Some(threads),
        kernel,
        priority: Priority::Normal,
    };
    let miner = Miner::new(settings)
        .map_err(|error| CliError::failed(error).next("cairn miner bench --kernel auto"))?;
    // 2^-20 of all hashes hit: a big-endian number with twenty leading zero bits.
    let target = ruint::aliases::U256::MAX >> 20usize;
    let mut header = [0; 80];
    rand::fill(&mut header[..76]);
    let cancel = Cancel::new();
    let (mut next, mut hits) = (0u64, Vec::new());
    let (cpu, wall) = (cpu_time(), Instant::now());
    // Each chunk is searched to its end, so `hits` are exactly those of `start..start + hashes`.
    while wall.elapsed() < duration && next < 1 << 32 {
        let end = (next + CHUNK_NONCES * threads as u64).min(1 << 32);
        while let Some(hit) = miner.search_header(function, &header, target, next..end, &cancel) {
            hits.push(hit);
            next = u64::from(hit) + 1;
        }
        next = end;
    }
    let (seconds, cpu_seconds) = (
        wall.elapsed().as_secs_f64(),
        (cpu_time() - cpu).as_secs_f64(),
    );
    Ok(Row {
        algo: function.name(),
        kernel: miner.kernel(function).name(),
        threads,
        hashes: next,
        hashes_per_second: next as f64 / seconds,
        hashes_per_cpu_second: next as f64 / cpu_seconds.max(f64::MIN_POSITIVE),
        header: hex::encode(header),
        start: 0,
        target: format!("{target:064x}"),
        hits,
    })
}

/// CPU time of this process.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hits_of_a_row_are_all_that_it_searched_and_no_other() {
        for function in PowFunction::ALL {
            let row = measure(function, None, 2, Duration::from_millis(1)).unwrap();
            let mut header: [u8; 80] = hex::decode(&row.header).unwrap().try_into().unwrap();
            let target = ruint::aliases::U256::from_str_radix(&row.target, 16).unwrap();
            assert_eq!(row.target.len(), 64);
            assert!(row.hashes >= CHUNK_NONCES);
            let mut found = Vec::new();
            for nonce in row.start..row.start + row.hashes {
                header[76..].copy_from_slice(&(nonce as u32).to_le_bytes());
                let digest = ruint::aliases::U256::from_le_bytes(function.digest(&header));
                if digest <= target {
                    found.push(nonce as u32);
                }
            }
            assert_eq!(row.hits, found);
        }
    }

    #[test]
    fn kernels_are_named_or_all() {
        assert_eq!(kernels("auto", PowFunction::Blake3).unwrap(), vec![None]);
        let all = kernels("all", PowFunction::Sha256d).unwrap();
        assert!(all.contains(&Some(Kernel::Naive)) && all.len() >= 2);
        assert!(
            kernels("quantum", PowFunction::Sha256d)
                .unwrap_err()
                .is_usage
        );
        assert!(functions(Some("md5")).unwrap_err().is_usage);
    }
}
