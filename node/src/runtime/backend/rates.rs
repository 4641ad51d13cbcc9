//! Hash rates as the API and the metrics show them.
//!
//! Invariant: one miner has one set of numbers; the API's rows and the metrics' series are both made
//! from it. The network's rate is the growth of the chain's total work over its last blocks, by
//! their own times.

use crate::api::model::miner::KernelRate;
use crate::metrics::Metrics;
use cairn_miner::{HashRate, network_hash_rate};
use cairn_protocol::pow::Work;
use cairn_storage::StorageError;
use cairn_storage::chain::{ChainSnapshot, HeaderMeta};
use std::time::Duration;

/// Blocks of the network's rate: enough that luck evens out to a tenth.
const BLOCKS: u64 = 120;

/// Hashes per second that the chain's last blocks stand for; 0 before there are two.
pub(super) fn of_network(snapshot: &ChainSnapshot) -> Result<f64, StorageError> {
    let (height, _) = snapshot.tip();
    let point = |meta: HeaderMeta| (meta.header.time, meta.work);
    let first = snapshot.header_at(first_height(height))?.map(point);
    let last = snapshot.header_at(height)?.map(point);
    Ok(first
        .zip(last)
        .map_or(0.0, |(first, last)| between(first, last)))
}

/// Genesis is never the first: its time is that of the specification, not of a search.
fn first_height(tip: u64) -> u64 {
    tip.saturating_sub(BLOCKS).max(1).min(tip)
}

fn between((from, less): (u32, Work), (to, more): (u32, Work)) -> f64 {
    let seconds = Duration::from_secs(to.saturating_sub(from).into());
    network_hash_rate(more.saturating_sub(less), seconds)
}

/// What all kernels together hashed per second, over the shortest window.
pub(super) fn latest(rates: &[HashRate]) -> u64 {
    let sum: f64 = rates.iter().map(|rate| rate.per_second_10s).sum();
    sum.round() as u64
}

/// The kernels that have hashed anything.
pub(super) fn of_kernels(rates: &[HashRate]) -> Vec<KernelRate> {
    let row = |rate: &HashRate| KernelRate {
        algo: rate.algo.name().to_owned(),
        kernel: rate.kernel.name().to_owned(),
        hashes: rate.hashes,
        hashes_per_second_10s: rate.per_second_10s,
        hashes_per_second_60s: rate.per_second_60s,
        hashes_per_second_15m: rate.per_second_15m,
        hashes_per_cpu_second: rate.per_cpu_second,
    };
    let busy = rates.iter().filter(|rate| rate.hashes > 0);
    busy.map(row).collect()
}

/// Brings the gauges of all kernels up to date.
pub(super) fn refresh(metrics: &Metrics, rates: &[HashRate]) {
    for rate in rates {
        let (algo, kernel) = (rate.algo.name(), rate.kernel.name());
        let per_cpu_second = &metrics.miner_hashes_per_cpu_second;
        per_cpu_second
            .with_label_values(&[algo, kernel])
            .set(rate.per_cpu_second);
        let windows = [
            rate.per_second_10s,
            rate.per_second_60s,
            rate.per_second_15m,
        ];
        for (window, hashes) in crate::metrics::RATE_WINDOWS.into_iter().zip(windows) {
            let gauge = &metrics.miner_hash_rate;
            gauge.with_label_values(&[algo, kernel, window]).set(hashes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::KnownLabels;
    use cairn_miner::{Kernel, PowFunction};

    fn rate(hashes: u64) -> HashRate {
        HashRate {
            algo: PowFunction::Blake3,
            kernel: Kernel::Scalar,
            hashes,
            per_second_10s: 1.0,
            per_second_60s: 2.0,
            per_second_15m: 3.0,
            per_cpu_second: 4.0,
        }
    }

    #[test]
    fn the_networks_rate_is_work_over_the_blocks_own_time() {
        let work = |n: u64| Work::from(n);
        assert_eq!(between((100, work(5)), (160, work(6005))), 100.0);
        assert_eq!(between((100, work(5)), (100, work(6005))), 0.0);
        assert_eq!(between((100, work(5)), (90, work(6005))), 0.0);
    }

    #[test]
    fn genesis_is_not_part_of_the_networks_rate() {
        assert_eq!(
            [0, 1, 2, 120, 121, 500].map(first_height),
            [0, 1, 1, 1, 1, 380]
        );
    }

    #[test]
    fn api_and_metrics_show_every_window() {
        let rates = [rate(7), rate(0)];
        assert_eq!(latest(&rates), 2);
        let rows = of_kernels(&rates);
        assert_eq!(rows.len(), 1, "a kernel that never ran is no row");
        let row = &rows[0];
        assert_eq!(
            (row.algo.as_str(), row.kernel.as_str()),
            ("blake3", "scalar")
        );
        assert_eq!(
            [
                row.hashes_per_second_10s,
                row.hashes_per_second_60s,
                row.hashes_per_second_15m,
                row.hashes_per_cpu_second
            ],
            [1.0, 2.0, 3.0, 4.0]
        );
        let metrics = Metrics::new(&KnownLabels::default());
        refresh(&metrics, &rates);
        let page = metrics.render("");
        for (window, value) in [("10s", 1), ("60s", 2), ("15m", 3)] {
            let series = format!(
                "cairn_miner_hashes_per_second{{algo=\"blake3\",kernel=\"scalar\",window=\"{window}\"}} {value}"
            );
            assert!(page.lines().any(|line| line == series), "{page}");
        }
    }
}
