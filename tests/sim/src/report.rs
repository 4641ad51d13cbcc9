//! What a run did, counted: a green run that tested nothing must be visible.

use std::collections::BTreeMap;
use std::fmt;

/// Counters by name, in a fixed order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report(BTreeMap<&'static str, u64>);

impl Report {
    /// Counts one.
    pub fn count(&mut self, name: &'static str) {
        self.add(name, 1);
    }

    /// Counts several.
    pub fn add(&mut self, name: &'static str, number: u64) {
        *self.0.entry(name).or_default() += number;
    }

    /// Keeps the largest.
    pub fn at_least(&mut self, name: &'static str, number: u64) {
        let slot = self.0.entry(name).or_default();
        *slot = number.max(*slot);
    }

    /// The number of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Adds another run's numbers; names that begin with `max` keep the largest.
    pub fn merge(&mut self, other: &Report) {
        for (name, number) in &other.0 {
            if name.starts_with("max") {
                self.at_least(name, *number);
            } else {
                self.add(name, *number);
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, number) in &self.0 {
            writeln!(f, "  {number:>10}  {name}")?;
        }
        Ok(())
    }
}
