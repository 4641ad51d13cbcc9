//! Metrics of the engine.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

/// From a decision on loopback to the longest round.
const DECISION_BUCKETS: &[f64] = &[
    0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0,
];

/// Handles: cloning one shares the numbers.
#[derive(Clone, Debug)]
pub struct BftMetrics {
    /// `cairn_consensus_round`: round of the instance under way.
    pub round: IntGauge,
    /// `cairn_consensus_decision_seconds`: from the beginning of the deciding round here.
    pub decision_seconds: Histogram,
    /// `cairn_consensus_view_changes_total`: rounds after the first that this node entered.
    pub view_changes: IntCounter,
    /// `cairn_consensus_missed_votes_total`: decisions whose seal lacks this validator.
    pub missed_votes: IntCounter,
    /// `cairn_consensus_equivocations_total`: validators that were proven guilty here.
    pub equivocations: IntCounter,
}

impl BftMetrics {
    /// Registers the families.
    pub fn new(registry: &Registry) -> Result<BftMetrics, prometheus::Error> {
        let decisions = HistogramOpts::new(
            "cairn_consensus_decision_seconds",
            "Time from the beginning of the deciding round to the decision.",
        );
        let metrics = BftMetrics {
            round: IntGauge::new("cairn_consensus_round", "Round of the instance under way.")?,
            decision_seconds: Histogram::with_opts(decisions.buckets(DECISION_BUCKETS.to_vec()))?,
            view_changes: IntCounter::new(
                "cairn_consensus_view_changes_total",
                "Rounds after the first that this node entered.",
            )?,
            missed_votes: IntCounter::new(
                "cairn_consensus_missed_votes_total",
                "Decisions whose seal lacks the signature of this validator.",
            )?,
            equivocations: IntCounter::new(
                "cairn_consensus_equivocations_total",
                "Validators whose contradiction this node has proven.",
            )?,
        };
        registry.register(Box::new(metrics.round.clone()))?;
        registry.register(Box::new(metrics.decision_seconds.clone()))?;
        registry.register(Box::new(metrics.view_changes.clone()))?;
        registry.register(Box::new(metrics.missed_votes.clone()))?;
        registry.register(Box::new(metrics.equivocations.clone()))?;
        Ok(metrics)
    }

    /// A decision was made.
    pub fn decided(&self, took_ms: u64) {
        self.decision_seconds.observe(took_ms as f64 / 1e3);
    }
}
