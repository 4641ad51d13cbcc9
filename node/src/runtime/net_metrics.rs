//! What the swarm refused, limited and could not use, on the metrics page.
//!
//! Invariant: every label value exists from the start; a count never goes back.

use cairn_network::NetCounters;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use std::collections::BTreeMap;

/// Families beside `cairn_net_dropped_total`, which the metrics themselves hold, and their help.
const FAMILIES: [(&str, &str); 3] = [
    (
        "cairn_net_refused_total",
        "Connections refused or ended by this node.",
    ),
    (
        "cairn_net_bad_input_total",
        "Input of peers that could not be used.",
    ),
    ("cairn_net_limited_total", "Requests beyond a peer's quota."),
];

/// The swarm's counters as Prometheus families.
#[derive(Debug)]
pub struct NetMetrics {
    families: BTreeMap<&'static str, IntCounterVec>,
    banned: IntCounter,
}

impl NetMetrics {
    /// Registers the families with all their labels at zero.
    pub fn new(registry: &Registry, counters: &NetCounters) -> prometheus::Result<NetMetrics> {
        let mut families = BTreeMap::new();
        let samples = counters.snapshot();
        for (name, help) in FAMILIES {
            let Some(sample) = samples.iter().find(|sample| sample.family == name) else {
                continue;
            };
            let family = IntCounterVec::new(Opts::new(name, help), &[sample.label])?;
            registry.register(Box::new(family.clone()))?;
            families.insert(name, family);
        }
        let banned = IntCounter::new("cairn_net_banned_total", "Peers banned by this node.")?;
        registry.register(Box::new(banned.clone()))?;
        let metrics = NetMetrics { families, banned };
        metrics.refresh(counters);
        Ok(metrics)
    }

    /// Brings the families up to date.
    pub fn refresh(&self, counters: &NetCounters) {
        for sample in counters.snapshot() {
            if let Some(family) = self.families.get(sample.family) {
                raise(&family.with_label_values(&[sample.value]), sample.count);
            }
        }
        raise(&self.banned, counters.banned_count());
    }
}

fn raise(counter: &IntCounter, count: u64) {
    counter.inc_by(count.saturating_sub(counter.get()));
}
