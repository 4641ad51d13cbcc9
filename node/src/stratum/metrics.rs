//! What foreign miners do, on the metrics page.
//!
//! Invariant: every label value exists from the start.

use cairn_miner::stratum::Verdict;
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// The protocols by which foreign miners come.
pub const PROTOCOLS: [&str; 2] = ["stratum", "getwork"];

/// The families.
#[derive(Debug)]
pub struct ForeignMetrics {
    /// Open Stratum connections.
    pub connections: IntGauge,
    /// Stratum connections closed at once because there were too many.
    pub refused: IntCounter,
    /// Stratum clients shut out.
    pub bans: IntCounter,
    /// Workers that are known.
    pub workers: IntGauge,
    /// What the shares amount to.
    pub hashes_per_second: Gauge,
    shares: IntCounterVec,
    blocks: IntCounterVec,
}

impl ForeignMetrics {
    /// Registers all families with their labels at zero.
    pub fn new(registry: &Registry) -> prometheus::Result<ForeignMetrics> {
        let metrics = ForeignMetrics {
            connections: IntGauge::new("cairn_stratum_connections", "Open Stratum connections.")?,
            refused: IntCounter::new(
                "cairn_stratum_refused_total",
                "Stratum connections that were closed at once.",
            )?,
            bans: IntCounter::new(
                "cairn_stratum_bans_total",
                "Stratum clients that were shut out.",
            )?,
            workers: IntGauge::new("cairn_stratum_workers", "Stratum workers that are known.")?,
            hashes_per_second: Gauge::new(
                "cairn_stratum_hashes_per_second",
                "Hash rate of all Stratum workers, by their shares.",
            )?,
            shares: IntCounterVec::new(
                Opts::new("cairn_stratum_shares_total", "Shares of Stratum workers."),
                &["verdict"],
            )?,
            blocks: IntCounterVec::new(
                Opts::new(
                    "cairn_foreign_blocks_total",
                    "Blocks of the chain that foreign miners found.",
                ),
                &["protocol"],
            )?,
        };
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.bans.clone()))?;
        registry.register(Box::new(metrics.workers.clone()))?;
        registry.register(Box::new(metrics.hashes_per_second.clone()))?;
        registry.register(Box::new(metrics.shares.clone()))?;
        registry.register(Box::new(metrics.blocks.clone()))?;
        for verdict in Verdict::ALL {
            metrics.shares.with_label_values(&[verdict.label()]);
        }
        for protocol in PROTOCOLS {
            metrics.blocks.with_label_values(&[protocol]);
        }
        Ok(metrics)
    }

    /// Counts a share.
    pub fn share(&self, verdict: Verdict) {
        self.shares.with_label_values(&[verdict.label()]).inc();
    }

    /// Counts a block of a protocol.
    pub fn block(&self, protocol: &str) {
        self.blocks.with_label_values(&[protocol]).inc();
    }
}
