//! The kernels of this machine, measured: `cargo run --release -p cairn-miner --example bench`.
//! Arguments: kernel (`auto`, `all` or a name), seconds per row, threads.

use std::time::Duration;

use cairn_miner::bench::{BenchRequest, run};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let request = BenchRequest {
        kernel: next("all").parse()?,
        time: Duration::from_secs_f64(next("2").parse()?),
        threads: next("1").parse()?,
        algo: None,
        header: std::array::from_fn(|i| i as u8),
    };
    let report = run(&request, |row| {
        let [wall, cpu] = [row.hashes_per_second, row.hashes_per_cpu_second].map(|r| r / 1e6);
        println!(
            "{:8} {:16} {wall:8.2} MH/s {cpu:8.2} MH per CPU second, {} hits",
            row.algo.name(),
            row.kernel.name(),
            row.hits.len()
        );
    })?;
    for limit in report.limits {
        println!(
            "{:8} limit of {:9} {:8.2} MH per CPU second at {:.1} operations a hash",
            limit.algo.name(),
            limit.kernel.name(),
            limit.hashes_per_cpu_second / 1e6,
            limit.operations_per_hash
        );
    }
    for other in report.comparisons {
        let speed = other.hashes_per_cpu_second / 1e6;
        println!(
            "{:8} {:18} {speed:8.2} MH per CPU second",
            other.algo.name(),
            other.name
        );
    }
    Ok(())
}
