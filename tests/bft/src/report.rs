//! What a run did: a suite that did too little fails.

use std::collections::BTreeMap;

/// Counts by name.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Report(pub BTreeMap<&'static str, u64>);

impl Report {
    /// One more.
    pub fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    /// How many.
    #[must_use]
    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Report) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// One line each.
    #[must_use]
    pub fn lines(&self) -> String {
        let line = |(what, count): (&&str, &u64)| format!("{count:>12} {what}\n");
        self.0.iter().map(line).collect()
    }
}
