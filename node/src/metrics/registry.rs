//! Every metric that this node counts, under the names of the project's interface page.
//!
//! Invariant: names and labels are a contract. A label whose values are known beforehand (a
//! direction, a queue, a kernel, a store) has all its series from the start, at zero, so that an
//! alert on a missing series means a missing node.

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::openmetrics;

/// Label values that other parts know beforehand.
#[derive(Clone, Debug, Default)]
pub struct KnownLabels {
    /// Pairs of proof-of-work function and kernel, such as `("sha256d", "sha-ni")`.
    pub kernels: Vec<(String, String)>,
    /// The bounded queues that may drop.
    pub queues: Vec<String>,
    /// The files and directories whose size is shown.
    pub stores: Vec<String>,
}

/// The node's metrics. Fields are handles: cloning one shares the number.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// `cairn_chain_height`: height of the tip.
    pub chain_height: IntGauge,
    /// `cairn_chain_finalized_height`: highest height that can no longer be reorganised away.
    pub chain_finalized_height: IntGauge,
    /// `cairn_chain_blocks_connected_total`: blocks connected, those connected again included.
    pub chain_blocks_connected: IntCounter,
    /// `cairn_chain_reorgs_total`: reorganisations.
    pub chain_reorgs: IntCounter,
    /// `cairn_chain_reorg_depth_blocks`: blocks disconnected by a reorganisation.
    pub chain_reorg_depth: Histogram,
    /// `cairn_block_connect_seconds`: time to check a block and change the state by it.
    pub block_connect_seconds: Histogram,
    /// `cairn_peers{direction}`: connected peers.
    pub peers: IntGaugeVec,
    /// `cairn_mempool_transactions`: transactions that wait for a block.
    pub mempool_transactions: IntGauge,
    /// `cairn_mempool_bytes`: their bytes.
    pub mempool_bytes: IntGauge,
    /// `cairn_miner_hashes_total{algo,kernel}`: headers hashed by this node's miner.
    pub miner_hashes: IntCounterVec,
    /// `cairn_miner_hashes_per_second{algo,kernel,window}`: over the last 10 s, 60 s and 15 minutes.
    pub miner_hash_rate: GaugeVec,
    /// `cairn_miner_hashes_per_cpu_second{algo,kernel}`: hashes over the processor time they took.
    pub miner_hashes_per_cpu_second: GaugeVec,
    /// `cairn_network_hashes_per_second`: the growth of the chain's work over its last blocks.
    pub network_hash_rate: Gauge,
    /// `cairn_sync_blocks_remaining`: blocks known by header and not yet connected.
    pub sync_blocks_remaining: IntGauge,
    /// `cairn_net_dropped_total{queue}`: messages dropped at a full queue.
    pub net_dropped: IntCounterVec,
    /// `cairn_storage_bytes{store}`: bytes on disk.
    pub storage_bytes: IntGaugeVec,
    /// `cairn_storage_sync_seconds`: time of one sync to disk.
    pub storage_sync_seconds: Histogram,
}

/// The windows of `cairn_miner_hashes_per_second`.
pub const RATE_WINDOWS: [&str; 3] = ["10s", "60s", "15m"];

/// Buckets of `cairn_block_connect_seconds`: an empty block takes some 50 µs, the largest some
/// seconds when no signature is cached.
const CONNECT_BUCKETS: &[f64] = &[
    0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0,
];
/// Buckets of `cairn_storage_sync_seconds`: from an SSD's 100 µs to a disk in trouble.
const SYNC_BUCKETS: &[f64] = &[
    0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0,
];
/// Buckets of `cairn_chain_reorg_depth_blocks`.
const DEPTH_BUCKETS: &[f64] = &[1.0, 2.0, 3.0, 6.0, 12.0, 25.0, 50.0, 100.0, 1000.0];

impl Metrics {
    /// Makes every metric, with the series of the known labels at zero.
    pub fn new(known: &KnownLabels) -> Self {
        let registry = Registry::new();
        let metrics = Self {
            chain_height: gauge(&registry, "cairn_chain_height", "Height of the tip."),
            chain_finalized_height: gauge(
                &registry,
                "cairn_chain_finalized_height",
                "Highest height that can no longer be reorganised away.",
            ),
            chain_blocks_connected: counter(
                &registry,
                "cairn_chain_blocks_connected_total",
                "Blocks connected to the chain, those connected again included.",
            ),
            chain_reorgs: counter(
                &registry,
                "cairn_chain_reorgs_total",
                "Reorganisations of the chain.",
            ),
            chain_reorg_depth: histogram(
                &registry,
                "cairn_chain_reorg_depth_blocks",
                "Blocks disconnected by a reorganisation.",
                DEPTH_BUCKETS,
            ),
            block_connect_seconds: histogram(
                &registry,
                "cairn_block_connect_seconds",
                "Time to check a block and to change the state by it.",
                CONNECT_BUCKETS,
            ),
            peers: gauges(&registry, "cairn_peers", "Connected peers.", &["direction"]),
            mempool_transactions: gauge(
                &registry,
                "cairn_mempool_transactions",
                "Transactions that wait for a block.",
            ),
            mempool_bytes: gauge(
                &registry,
                "cairn_mempool_bytes",
                "Bytes of the transactions that wait for a block.",
            ),
            miner_hashes: counters(
                &registry,
                "cairn_miner_hashes_total",
                "Headers hashed by this node's miner.",
                &["algo", "kernel"],
            ),
            miner_hash_rate: float_gauges(
                &registry,
                "cairn_miner_hashes_per_second",
                "Headers hashed per second over the window, by this node's miner.",
                &["algo", "kernel", "window"],
            ),
            miner_hashes_per_cpu_second: float_gauges(
                &registry,
                "cairn_miner_hashes_per_cpu_second",
                "Headers hashed per second of processor time, by this node's miner.",
                &["algo", "kernel"],
            ),
            network_hash_rate: float_gauge(
                &registry,
                "cairn_network_hashes_per_second",
                "Hashes per second that the chain's last blocks stand for.",
            ),
            sync_blocks_remaining: gauge(
                &registry,
                "cairn_sync_blocks_remaining",
                "Blocks known by their header and not yet connected.",
            ),
            net_dropped: counters(
                &registry,
                "cairn_net_dropped_total",
                "Messages dropped at a full queue.",
                &["queue"],
            ),
            storage_bytes: gauges(
                &registry,
                "cairn_storage_bytes",
                "Bytes on disk.",
                &["store"],
            ),
            storage_sync_seconds: histogram(
                &registry,
                "cairn_storage_sync_seconds",
                "Time of one sync to disk.",
                SYNC_BUCKETS,
            ),
            registry,
        };
        metrics.start_series(known);
        metrics
    }

    fn start_series(&self, known: &KnownLabels) {
        for direction in ["inbound", "outbound"] {
            self.peers.with_label_values(&[direction]).set(0);
        }
        for (algo, kernel) in &known.kernels {
            self.miner_hashes
                .with_label_values(&[algo, kernel])
                .inc_by(0);
            self.miner_hashes_per_cpu_second
                .with_label_values(&[algo, kernel])
                .set(0.0);
            for window in RATE_WINDOWS {
                self.miner_hash_rate
                    .with_label_values(&[algo.as_str(), kernel, window])
                    .set(0.0);
            }
        }
        for queue in &known.queues {
            self.net_dropped.with_label_values(&[queue]).inc_by(0);
        }
        for store in &known.stores {
            self.storage_bytes.with_label_values(&[store]).set(0);
        }
    }

    /// The registry, for parts that bring metrics of their own. Their names begin with `cairn_`.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The whole page: ours, then libp2p's OpenMetrics page rewritten under `libp2p_`.
    pub fn render(&self, libp2p_page: &str) -> String {
        let mut page = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut page)
            .expect("gathered families have names and samples");
        let mut page = String::from_utf8(page).expect("the encoder writes UTF-8");
        page.push_str(&openmetrics::to_text(libp2p_page, "libp2p_"));
        page
    }
}

// Names and help texts below are literals of this file: registering them fails only when two are
// equal, which the first test of this file would show.
const UNIQUE: &str = "metric names in this file are well-formed and distinct";

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    let metric = IntGauge::new(name, help).expect(UNIQUE);
    registry.register(Box::new(metric.clone())).expect(UNIQUE);
    metric
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let metric = IntGaugeVec::new(Opts::new(name, help), labels).expect(UNIQUE);
    registry.register(Box::new(metric.clone())).expect(UNIQUE);
    metric
}

fn float_gauge(registry: &Registry, name: &str, help: &str) -> Gauge {
    let metric = Gauge::new(name, help).expect(UNIQUE);
    registry.register(Box::new(metric.clone())).expect(UNIQUE);
    metric
}

fn float_gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    let metric = GaugeVec::new(Opts::new(name, help), labels).expect(UNIQUE);
    registry.register(Box::new(metric.clone())).expect(UNIQUE);
    metric
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    let metric = IntCounter::new(name, help).expect(UNIQUE);
    registry.register(Box::new(metric.clone())).expect(UNIQUE);
    metric
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let metric = IntCounterVec::new(Opts::new(name, help), labels).expect(UNIQUE);
    registry.register(Box::new(metric.clone())).expect(UNIQUE);
    metric
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    let metric = Histogram::with_opts(options).expect(UNIQUE);
    registry.register(Box::new(metric.clone())).expect(UNIQUE);
    metric
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Labels as the node would know them.
    pub(crate) fn known() -> KnownLabels {
        KnownLabels {
            kernels: vec![
                ("sha256d".into(), "naive".into()),
                ("blake3".into(), "naive".into()),
            ],
            queues: vec!["transactions".into(), "blocks".into()],
            stores: vec!["blocks".into(), "state".into()],
        }
    }

    #[test]
    fn every_promised_series_is_there_before_anything_happened() {
        let page = Metrics::new(&known()).render("");
        let promised = [
            "cairn_chain_height 0",
            "cairn_chain_finalized_height 0",
            "cairn_chain_blocks_connected_total 0",
            "cairn_chain_reorgs_total 0",
            "cairn_chain_reorg_depth_blocks_count 0",
            "cairn_block_connect_seconds_count 0",
            "cairn_peers{direction=\"inbound\"} 0",
            "cairn_peers{direction=\"outbound\"} 0",
            "cairn_mempool_transactions 0",
            "cairn_mempool_bytes 0",
            "cairn_miner_hashes_total{algo=\"blake3\",kernel=\"naive\"} 0",
            "cairn_miner_hashes_total{algo=\"sha256d\",kernel=\"naive\"} 0",
            "cairn_miner_hashes_per_cpu_second{algo=\"blake3\",kernel=\"naive\"} 0",
            "cairn_miner_hashes_per_second{algo=\"blake3\",kernel=\"naive\",window=\"10s\"} 0",
            "cairn_miner_hashes_per_second{algo=\"sha256d\",kernel=\"naive\",window=\"15m\"} 0",
            "cairn_network_hashes_per_second 0",
            "cairn_sync_blocks_remaining 0",
            "cairn_net_dropped_total{queue=\"blocks\"} 0",
            "cairn_net_dropped_total{queue=\"transactions\"} 0",
            "cairn_storage_bytes{store=\"blocks\"} 0",
            "cairn_storage_bytes{store=\"state\"} 0",
            "cairn_storage_sync_seconds_count 0",
        ];
        for series in promised {
            assert!(
                page.lines().any(|line| line == series),
                "{series} is missing:\n{page}"
            );
        }
    }

    #[test]
    fn numbers_move() {
        let metrics = Metrics::new(&known());
        metrics.chain_height.set(7);
        metrics.net_dropped.with_label_values(&["blocks"]).inc();
        metrics.block_connect_seconds.observe(0.002);
        let page = metrics.render("# HELP x X.\n# TYPE x counter\nx_total 4\n# EOF\n");
        for series in [
            "cairn_chain_height 7",
            "cairn_net_dropped_total{queue=\"blocks\"} 1",
            "cairn_block_connect_seconds_bucket{le=\"0.003\"} 1",
            "libp2p_x_total 4",
        ] {
            assert!(
                page.lines().any(|line| line == series),
                "{series} is missing:\n{page}"
            );
        }
    }
}
