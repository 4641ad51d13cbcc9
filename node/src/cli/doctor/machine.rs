//! Checks of the machine: clock, open files, memory, processor, kernel, ports, a running node.

use std::net::{SocketAddr, TcpListener};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Check, Verdict};
use crate::api::model::chain::Status;
use crate::cli::client::{Client, typed};
use crate::cli::output::plain;

/// 2025-01-01: no node of this program ran before.
const CLOCK_MIN_S: u64 = 1_735_689_600;
/// 2100-01-01: header times are 32 bits and end in 2106.
const CLOCK_MAX_S: u64 = 4_102_444_800;
/// Files that a node with full peer slots, API and stores may have open.
const FILES_WARN: u64 = 4_096;
/// Fewer and a devnet node runs out.
const FILES_FAIL: u64 = 512;
/// Memory below which a public node swaps.
const MEMORY_WARN_BYTES: u64 = 1 << 30;

/// Whether the system's clock can be right.
pub(super) fn clock() -> Check {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    judge_clock(now)
}

fn judge_clock(now_s: u64) -> Check {
    const NAME: &str = "clock";
    if (CLOCK_MIN_S..CLOCK_MAX_S).contains(&now_s) {
        return Check::new(NAME, Verdict::Ok, format!("{now_s} s since 1970"));
    }
    Check::new(
        NAME,
        Verdict::Fail,
        format!("{now_s} s since 1970 cannot be right"),
    )
    .next("set the clock; blocks are judged by it")
}

/// The limit of open files.
pub(super) fn files() -> Check {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    judge_files(limit.unwrap_or(u64::MAX))
}

fn judge_files(limit: u64) -> Check {
    const NAME: &str = "open files";
    let check = |verdict| Check::new(NAME, verdict, format!("at most {limit}"));
    match limit {
        ..FILES_FAIL => check(Verdict::Fail).next(format!("ulimit -n {FILES_WARN}")),
        FILES_FAIL..FILES_WARN => check(Verdict::Warn).next(format!("ulimit -n {FILES_WARN}")),
        _ => check(Verdict::Ok),
    }
}

/// How much memory the machine has.
pub(super) fn memory() -> Check {
    const NAME: &str = "memory";
    let Some(bytes) = memory_bytes() else {
        return Check::new(NAME, Verdict::Ok, "not known on this system");
    };
    let detail = format!("{} MiB", bytes >> 20);
    if bytes < MEMORY_WARN_BYTES {
        return Check::new(NAME, Verdict::Warn, detail).next("use --max-memory");
    }
    Check::new(NAME, Verdict::Ok, detail)
}

fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The processor's number of threads and the instructions that hashing and signatures use.
pub(super) fn processor() -> Check {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let features = features();
    let named = if features.is_empty() {
        "none of note".into()
    } else {
        features.join(", ")
    };
    Check::new(
        "processor",
        Verdict::Ok,
        format!("{threads} threads, instructions: {named}"),
    )
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    [
        ("sse4.1", std::is_x86_feature_detected!("sse4.1")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512ifma", std::is_x86_feature_detected!("avx512ifma")),
        ("sha", std::is_x86_feature_detected!("sha")),
    ]
    .into_iter()
    .filter_map(|(name, is_there)| is_there.then_some(name))
    .collect()
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<&'static str> {
    [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("sha2", std::arch::is_aarch64_feature_detected!("sha2")),
    ]
    .into_iter()
    .filter_map(|(name, is_there)| is_there.then_some(name))
    .collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<&'static str> {
    Vec::new()
}

/// The operating system's kernel, and whether it hides other users' processes' memory.
pub(super) fn kernel() -> Check {
    let system = rustix::system::uname();
    let name = system.sysname().to_string_lossy();
    let release = system.release().to_string_lossy();
    let detail = format!("{name} {release}");
    if name != "Linux" {
        return Check::new("kernel", Verdict::Warn, detail).next("this program is tested on Linux");
    }
    Check::new("kernel", Verdict::Ok, detail)
}

/// Whether a node could listen on an address.
pub(super) fn port(address: SocketAddr) -> Check {
    const NAME: &str = "port";
    match TcpListener::bind(address) {
        Ok(_) => Check::new(NAME, Verdict::Ok, format!("{address} is free")),
        Err(e) => Check::new(NAME, Verdict::Warn, format!("{address}: {e}"))
            .next("another node, perhaps; a second one needs other --p2p and --api"),
    }
}

/// Whether a node answers.
pub(super) fn node(api: &str) -> Check {
    const NAME: &str = "running node";
    let asked = Client::new(api).and_then(|client| client.get("/v1/status"));
    match asked.and_then(|answer| typed::<Status>(&answer)) {
        Ok(status) => {
            let chain = plain(&status.chain, 40);
            let detail = format!(
                "{chain} at height {}, {} peers",
                status.height, status.peers
            );
            Check::new(NAME, Verdict::Ok, detail)
        }
        Err(error) => Check::new(NAME, Verdict::Ok, format!("none at {api}: {}", error.cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_of_another_century_fail() {
        for wrong in [0, CLOCK_MIN_S - 1, CLOCK_MAX_S, u64::MAX] {
            assert_eq!(judge_clock(wrong).verdict, Verdict::Fail, "{wrong}");
        }
        assert_eq!(judge_clock(CLOCK_MIN_S).verdict, Verdict::Ok);
    }

    #[test]
    fn few_files_warn_and_fewer_fail() {
        assert_eq!(judge_files(FILES_FAIL - 1).verdict, Verdict::Fail);
        assert_eq!(judge_files(FILES_WARN - 1).verdict, Verdict::Warn);
        assert_eq!(judge_files(FILES_WARN).verdict, Verdict::Ok);
    }

    #[test]
    fn a_taken_port_is_told() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let check = port(address);
        assert_eq!(check.verdict, Verdict::Warn);
        assert!(check.detail.contains(&address.to_string()));
        drop(taken);
    }

    #[test]
    fn no_node_is_no_failure() {
        let closed = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let check = node(&format!("http://{closed}"));
        assert_eq!(check.verdict, Verdict::Ok);
        assert!(check.detail.starts_with("none at"));
    }
}
