//! A set of at most 64 positions of one cluster, kept in the bits of a `u64`.
//!
//! Invariant: bit `i` stands for position `i` of the [`Graph`](super::graph::Graph) the set was made
//! for; sets of different graphs never meet. Iteration is in ascending position order.

use std::ops::{BitAnd, BitAndAssign, BitOr, BitOrAssign, Not};

/// The most transactions one cluster may hold: what fits the bits of a [`Members`].
pub const CLUSTER_COUNT_MAX: usize = 64;

/// A set of positions below [`CLUSTER_COUNT_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Hash)]
pub struct Members(u64);

impl Members {
    /// No position.
    pub const EMPTY: Members = Members(0);

    /// The positions `0..count`.
    ///
    /// # Panics
    /// If `count` exceeds [`CLUSTER_COUNT_MAX`].
    pub fn first_n(count: usize) -> Members {
        assert!(
            count <= CLUSTER_COUNT_MAX,
            "{count} positions do not fit 64 bits"
        );
        if count == CLUSTER_COUNT_MAX {
            Members(u64::MAX)
        } else {
            Members((1 << count) - 1)
        }
    }

    /// The set of one position.
    pub fn one(position: usize) -> Members {
        assert!(
            position < CLUSTER_COUNT_MAX,
            "position {position} does not fit 64 bits"
        );
        Members(1 << position)
    }

    /// Adds one position.
    pub fn insert(&mut self, position: usize) {
        *self |= Members::one(position);
    }

    /// Whether the position is in the set.
    pub fn contains(self, position: usize) -> bool {
        position < CLUSTER_COUNT_MAX && self.0 >> position & 1 == 1
    }

    /// How many positions the set has.
    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether the set has no position.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the two sets share a position.
    pub fn meets(self, other: Members) -> bool {
        self.0 & other.0 != 0
    }

    /// The positions of `self` that `other` lacks.
    pub fn without(self, other: Members) -> Members {
        Members(self.0 & !other.0)
    }

    /// Whether every position of `self` is in `other`.
    pub fn is_subset_of(self, other: Members) -> bool {
        self.0 & !other.0 == 0
    }

    /// The lowest position.
    pub fn first(self) -> Option<usize> {
        (self.0 != 0).then(|| self.0.trailing_zeros() as usize)
    }

    /// The positions in ascending order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let position = Members(rest).first()?;
            rest &= rest - 1;
            Some(position)
        })
    }
}

impl BitOr for Members {
    type Output = Members;
    fn bitor(self, other: Members) -> Members {
        Members(self.0 | other.0)
    }
}

impl BitOrAssign for Members {
    fn bitor_assign(&mut self, other: Members) {
        self.0 |= other.0;
    }
}

impl BitAnd for Members {
    type Output = Members;
    fn bitand(self, other: Members) -> Members {
        Members(self.0 & other.0)
    }
}

impl BitAndAssign for Members {
    fn bitand_assign(&mut self, other: Members) {
        self.0 &= other.0;
    }
}

impl Not for Members {
    type Output = Members;
    fn not(self) -> Members {
        Members(!self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_set_has_all_64_positions() {
        let all = Members::first_n(64);
        assert_eq!(all.count(), 64);
        assert_eq!(all.iter().collect::<Vec<_>>(), (0..64).collect::<Vec<_>>());
        assert!(all.contains(63));
        assert!(!all.contains(64));
    }

    #[test]
    fn set_algebra() {
        let mut set = Members::EMPTY;
        assert!(set.is_empty() && set.first().is_none());
        set.insert(5);
        set.insert(63);
        assert_eq!(set.first(), Some(5));
        assert!(set.meets(Members::one(63)));
        assert_eq!(set.without(Members::one(5)), Members::one(63));
        assert!(Members::one(5).is_subset_of(set));
        assert!(!set.is_subset_of(Members::one(5)));
    }
}
