//! The dependency graph of one cluster: at most 64 transactions joined by spends of each other's
//! outputs.
//!
//! Invariant: a transaction's ancestors and descendants include itself, and the relation has no
//! cycle (an outpoint names its transaction by a hash, so a cycle cannot be built).

use super::diagram::Rate;
use super::members::{CLUSTER_COUNT_MAX, Members};

/// Fees, weights and the closed ancestor relation of a cluster's transactions by position.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    rates: Vec<Rate>,
    ancestors: Vec<Members>,
    descendants: Vec<Members>,
}

impl Graph {
    /// Builds the closed relation from each position's rate and direct parents.
    ///
    /// # Panics
    /// If there are more than [`CLUSTER_COUNT_MAX`] positions, a parent out of range, or a cycle.
    pub fn new(nodes: &[(Rate, Members)]) -> Graph {
        let count = nodes.len();
        assert!(
            count <= CLUSTER_COUNT_MAX,
            "{count} transactions exceed a cluster"
        );
        let mut ancestors: Vec<Members> = Vec::with_capacity(count);
        for (position, (_, parents)) in nodes.iter().enumerate() {
            assert!(
                parents.is_subset_of(Members::first_n(count)),
                "parent out of range"
            );
            assert!(
                !parents.contains(position),
                "transaction {position} spends itself"
            );
            ancestors.push(*parents | Members::one(position));
        }
        // Warshall's closure: after step k, paths through positions 0..=k are known.
        for k in 0..count {
            let through = ancestors[k];
            for reach in &mut ancestors {
                if reach.contains(k) {
                    *reach |= through;
                }
            }
        }
        let mut descendants = vec![Members::EMPTY; count];
        for (position, reach) in ancestors.iter().enumerate() {
            for ancestor in reach.iter() {
                descendants[ancestor].insert(position);
            }
        }
        for position in 0..count {
            let both = ancestors[position] & descendants[position];
            assert_eq!(
                both,
                Members::one(position),
                "transactions spend each other in a circle"
            );
        }
        Graph {
            rates: nodes.iter().map(|(rate, _)| *rate).collect(),
            ancestors,
            descendants,
        }
    }

    /// How many transactions the graph has.
    pub fn count(&self) -> usize {
        self.rates.len()
    }

    /// All positions.
    pub fn all(&self) -> Members {
        Members::first_n(self.count())
    }

    /// What the transaction itself pays and weighs.
    pub fn rate(&self, position: usize) -> Rate {
        self.rates[position]
    }

    /// What the set pays and weighs.
    pub fn rate_of(&self, set: Members) -> Rate {
        set.iter().fold(Rate::default(), |sum, position| {
            sum.plus(self.rates[position])
        })
    }

    /// The transaction and everything it depends on.
    pub fn ancestors(&self, position: usize) -> Members {
        self.ancestors[position]
    }

    /// The transaction and everything that depends on it.
    pub fn descendants(&self, position: usize) -> Members {
        self.descendants[position]
    }

    /// The union of the ancestors of a set.
    pub fn ancestors_of(&self, set: Members) -> Members {
        set.iter().fold(Members::EMPTY, |sum, position| {
            sum | self.ancestors[position]
        })
    }

    /// The connected part of `within` that holds its lowest position; joined by ancestry inside
    /// `within`. `None` when `within` is empty.
    pub fn component(&self, within: Members) -> Option<Members> {
        let mut part = Members::one(within.first()?);
        loop {
            let grown = part.iter().fold(part, |sum, position| {
                sum | ((self.ancestors[position] | self.descendants[position]) & within)
            });
            if grown == part {
                return Some(part);
            }
            part = grown;
        }
    }
}
