//! What SQL counts, on the metrics page.
//!
//! Invariant: every label value exists from the start.

use cairn_database::wire::{Observer, QueryKind, Registry};
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Buckets of `cairn_sql_query_seconds`: from a point select's 50 µs to a report's minute.
const BUCKETS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0,
];

/// The counters.
pub struct SqlMetrics {
    sessions: IntGauge,
    queries: IntCounterVec,
    seconds: Histogram,
    commits: IntCounter,
    deadlocks: IntCounter,
    registry: OnceLock<Arc<Registry>>,
}

impl SqlMetrics {
    /// Registers them.
    pub fn new(registry: &prometheus::Registry) -> prometheus::Result<SqlMetrics> {
        let metrics = SqlMetrics {
            sessions: IntGauge::new("cairn_sql_sessions", "SQL sessions.")?,
            queries: IntCounterVec::new(
                Opts::new("cairn_sql_queries_total", "SQL statements."),
                &["kind", "outcome"],
            )?,
            seconds: Histogram::with_opts(
                HistogramOpts::new("cairn_sql_query_seconds", "Time of an SQL statement.")
                    .buckets(BUCKETS.to_vec()),
            )?,
            commits: IntCounter::new(
                "cairn_sql_commits_total",
                "Transactions of SQL sessions that were committed.",
            )?,
            deadlocks: IntCounter::new(
                "cairn_sql_deadlocks_total",
                "Transactions aborted to end a deadlock.",
            )?,
            registry: OnceLock::new(),
        };
        registry.register(Box::new(metrics.sessions.clone()))?;
        registry.register(Box::new(metrics.queries.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.commits.clone()))?;
        registry.register(Box::new(metrics.deadlocks.clone()))?;
        for kind in QueryKind::ALL {
            for outcome in ["ok", "error"] {
                metrics
                    .queries
                    .with_label_values(&[kind.label(), outcome])
                    .inc_by(0);
            }
        }
        Ok(metrics)
    }

    /// Whose sessions are counted.
    pub fn watch(&self, registry: &Arc<Registry>) {
        let _ = self.registry.set(registry.clone());
    }

    /// Brings the gauge up to date.
    pub fn refresh(&self) {
        if let Some(registry) = self.registry.get() {
            self.sessions
                .set(i64::try_from(registry.len()).unwrap_or(i64::MAX));
        }
    }
}

impl Observer for SqlMetrics {
    fn statement(&self, kind: QueryKind, succeeded: bool, elapsed: Duration) {
        let outcome = if succeeded { "ok" } else { "error" };
        self.queries
            .with_label_values(&[kind.label(), outcome])
            .inc();
        self.seconds.observe(elapsed.as_secs_f64());
    }

    fn commit(&self) {
        self.commits.inc();
    }

    fn deadlock(&self) {
        self.deadlocks.inc();
    }
}
