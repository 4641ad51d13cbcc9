//! `cairn miner bench | pause | resume | status`.

use std::time::Duration;

use cairn_miner::PowFunction;
use cairn_miner::bench::{self, BenchRequest, BenchRow, KernelChoice};
use clap::{Args, Subcommand};
use serde_json::json;

use super::client::{Client, NodeUrl, typed};
use super::error::{CliError, CliResult};
use super::output;
use crate::api::model::miner::MinerStatus;
use crate::config::THREADS_MAX;

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
    output::line(output::pairs(&status_pairs(&miner)))
}

fn status_pairs(miner: &MinerStatus) -> Vec<(&'static str, String)> {
    let state = match (miner.enabled, miner.paused) {
        (false, _) => "off (the node was started without --mine)".to_owned(),
        (true, true) => format!("paused: {}", output::plain(&miner.pauses.join(", "), 80)),
        (true, false) => "mining".to_owned(),
    };
    let mut pairs = vec![
        ("miner", state),
        ("function", output::plain(&miner.algo, 20)),
        ("kernel", output::plain(&miner.kernel, 40)),
        ("threads", miner.threads.to_string()),
        ("hashes", miner.hashes.to_string()),
        (
            "network hashes/s",
            format!("{:.0}", miner.network_hashes_per_second),
        ),
        ("blocks found", miner.blocks_found.to_string()),
        (
            "rewards to",
            output::plain(miner.address.as_deref().unwrap_or("nobody"), 100),
        ),
    ];
    for rate in &miner.rates {
        let [ten, minute, quarter] = [
            rate.hashes_per_second_10s,
            rate.hashes_per_second_60s,
            rate.hashes_per_second_15m,
        ];
        pairs.push((
            "hashes/s",
            format!(
                "{ten:.0} over 10 s, {minute:.0} over 60 s, {quarter:.0} over 15 min, \
                 {:.0} per CPU second ({} {})",
                rate.hashes_per_cpu_second,
                output::plain(&rate.algo, 20),
                output::plain(&rate.kernel, 40),
            ),
        ));
    }
    pairs
}

fn bench(args: &BenchArgs) -> CliResult {
    let request = request(args)?;
    let mut printed = Ok(());
    let report = bench::run(&request, |row| {
        if !args.json && printed.is_ok() {
            printed = output::line(row_text(row));
        }
    })
    .map_err(|error| CliError::failed(error).next("cairn miner bench --kernel all"))?;
    printed?;
    if args.json {
        return output::json(&report);
    }
    for limit in &report.limits {
        output::line(format!(
            "{:<8} {:<10} limit: {:.0} per CPU second at {:.1} vector operations a hash",
            limit.algo.name(),
            limit.kernel.name(),
            limit.hashes_per_cpu_second,
            limit.operations_per_hash
        ))?;
    }
    for other in &report.comparisons {
        output::line(format!(
            "{:<8} {:<10} for comparison: {:.0} per CPU second",
            other.algo.name(),
            other.name,
            other.hashes_per_cpu_second
        ))?;
    }
    Ok(())
}

fn row_text(row: &BenchRow) -> String {
    format!(
        "{:<8} {:<10} {:>3} threads {:>16.0} hashes/s {:>16.0} per CPU second  {} hits",
        row.algo.name(),
        row.kernel.name(),
        row.threads,
        row.hashes_per_second,
        row.hashes_per_cpu_second,
        row.hits.len()
    )
}

/// What the arguments ask for, over a random header.
fn request(args: &BenchArgs) -> Result<BenchRequest, CliError> {
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
    let algo = args.algo.as_deref().map(str::parse::<PowFunction>);
    let algo = algo.transpose().map_err(|error| {
        CliError::usage(error)
            .expected("sha256d or blake3")
            .next("cairn miner bench")
    })?;
    let kernel = args
        .kernel
        .parse::<KernelChoice>()
        .map_err(|error| CliError::usage(error).next("cairn miner bench --kernel all"))?;
    Ok(BenchRequest {
        algo,
        kernel,
        threads,
        time: Duration::from_secs_f64(args.seconds),
        header: std::array::from_fn(|_| rand::random()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_miner::Kernel;

    fn args(algo: Option<&str>, kernel: &str) -> BenchArgs {
        BenchArgs {
            algo: algo.map(str::to_owned),
            kernel: kernel.to_owned(),
            threads: Some(2),
            seconds: 0.001,
            json: true,
        }
    }

    #[test]
    fn the_status_names_the_reasons_to_rest_and_every_rate() {
        let status = serde_json::from_value(json!({
            "enabled": true, "paused": true, "pauses": ["syncing", "on_battery"],
            "algo": "blake3", "kernel": "avx512", "threads": 2, "hashes_per_second": 2.0,
            "network_hashes_per_second": 7.0, "hashes": 9, "blocks_found": 0, "address": null,
            "rates": [{
                "algo": "blake3", "kernel": "avx512", "hashes": 9, "hashes_per_second_10s": 1.0,
                "hashes_per_second_60s": 2.0, "hashes_per_second_15m": 3.0,
                "hashes_per_cpu_second": 4.0
            }]
        }));
        let pairs = status_pairs(&status.unwrap());
        let text = |name: &str| &pairs.iter().find(|pair| pair.0 == name).unwrap().1;
        assert_eq!(text("miner"), "paused: syncing, on_battery");
        assert_eq!(text("network hashes/s"), "7");
        assert_eq!(
            text("hashes/s"),
            "1 over 10 s, 2 over 60 s, 3 over 15 min, 4 per CPU second (blake3 avx512)"
        );
    }

    #[test]
    fn arguments_become_a_request() {
        let all = request(&args(None, "all")).unwrap();
        assert_eq!((all.algo, all.kernel), (None, KernelChoice::All));
        assert_eq!((all.threads, all.time), (2, Duration::from_millis(1)));
        let one = request(&args(Some("blake3"), "naive")).unwrap();
        assert_eq!(one.algo, Some(PowFunction::Blake3));
        assert_eq!(one.kernel, KernelChoice::One(Kernel::Naive));
        assert_ne!(one.header, all.header, "nobody knows the hits beforehand");
        assert!(request(&args(None, "quantum")).unwrap_err().is_usage);
        assert!(request(&args(Some("md5"), "auto")).unwrap_err().is_usage);
    }

    /// The contract of `--json`: anybody can find the same hits from what a row says.
    #[test]
    fn the_hits_of_a_row_are_all_that_it_searched_and_no_other() {
        let request = request(&args(None, "auto")).unwrap();
        let report = serde_json::to_value(bench::run(&request, |_| ()).unwrap()).unwrap();
        let rows = report["results"].as_array().unwrap();
        assert_eq!(rows.len(), PowFunction::ALL.len());
        for row in rows {
            let text = |field: &str| row[field].as_str().unwrap();
            let number = |field: &str| row[field].as_u64().unwrap();
            let function: PowFunction = text("algo").parse().unwrap();
            let mut header: [u8; 80] = hex::decode(text("header")).unwrap().try_into().unwrap();
            let target = ruint::aliases::U256::from_str_radix(text("target"), 16).unwrap();
            assert_eq!(text("target").len(), 64);
            let mut found = Vec::new();
            for nonce in number("start")..number("start") + number("hashes") {
                header[76..].copy_from_slice(&(nonce as u32).to_le_bytes());
                if function.digest(&header) <= target {
                    found.push(nonce);
                }
            }
            assert_eq!(row["hits"], json!(found));
        }
    }
}
