//! Fee rates as exact fractions, and fee-rate diagrams: how much fee a miner earns from the first
//! `w` units of weight of an ordering, for every `w`.
//!
//! Invariant: every comparison is an integer cross multiplication in 128 bits; nothing is rounded, so
//! that two nodes never order the same chunks differently. Rule: `spec/11-mempool.md#diagrams`.

use std::cmp::Ordering;

/// What a set of transactions pays and weighs. Ordered by [`cmp_rate`](Rate::cmp_rate) only: two
/// rates of equal quotient are not equal values.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Hash)]
pub struct Rate {
    /// Sum of the fees, in pebbles.
    pub fee: u64,
    /// Sum of the weights.
    pub weight: u64,
}

impl Rate {
    /// A rate of `fee` pebbles for `weight` units.
    pub const fn new(fee: u64, weight: u64) -> Rate {
        Rate { fee, weight }
    }

    /// The rate of both together.
    ///
    /// # Panics
    /// If a sum leaves `u64`: fees are bounded by the money cap and weights by the pool's size.
    pub fn plus(self, other: Rate) -> Rate {
        Rate {
            fee: self
                .fee
                .checked_add(other.fee)
                .expect("fees stay below the money cap"),
            weight: self
                .weight
                .checked_add(other.weight)
                .expect("weights stay below the pool cap"),
        }
    }

    /// What is left when `other`, a part of `self`, is taken out.
    ///
    /// # Panics
    /// If `other` is no part of `self`.
    pub fn minus(self, other: Rate) -> Rate {
        Rate {
            fee: self
                .fee
                .checked_sub(other.fee)
                .expect("a part pays no more than the whole"),
            weight: self
                .weight
                .checked_sub(other.weight)
                .expect("a part weighs no more"),
        }
    }

    /// Compares the quotients fee / weight. Nothing at all (weight 0) ranks like rate zero.
    pub fn cmp_rate(&self, other: &Rate) -> Ordering {
        let left = u128::from(self.fee) * u128::from(other.weight.max(1));
        let right = u128::from(other.fee) * u128::from(self.weight.max(1));
        left.cmp(&right)
    }

    /// Whether `self` pays strictly more per unit than `other`.
    pub fn beats(&self, other: &Rate) -> bool {
        self.cmp_rate(other) == Ordering::Greater
    }
}

/// Sorts chunks for a diagram over several clusters: highest rate first. Chunks of one cluster keep
/// their order, because their rates never rise.
pub fn sort_chunks(chunks: &mut [Rate]) {
    chunks.sort_by(|a, b| b.cmp_rate(a));
}

/// Compares two diagrams given as chunks of falling rate. A diagram that ends is continued by a
/// level line (the rest of the block stays empty).
///
/// `Some(Greater)`: `left` is nowhere below `right` and somewhere above. `None`: each is above the
/// other somewhere.
pub fn compare(left: &[Rate], right: &[Rate]) -> Option<Ordering> {
    let (mut above, mut below) = (false, false);
    let (mut a, mut b) = (Walk::new(left), Walk::new(right));
    // Both curves are concave and piecewise linear: it is enough to look where either has a corner.
    loop {
        let next = match (a.corner(), b.corner()) {
            (None, None) => break,
            (Some(x), None) | (None, Some(x)) => x,
            (Some(x), Some(y)) => x.min(y),
        };
        match a.height_at(next).cmp_height(&b.height_at(next)) {
            Ordering::Greater => above = true,
            Ordering::Less => below = true,
            Ordering::Equal => {}
        }
        a.pass(next);
        b.pass(next);
    }
    match (above, below) {
        (true, true) => None,
        (true, false) => Some(Ordering::Greater),
        (false, true) => Some(Ordering::Less),
        (false, false) => Some(Ordering::Equal),
    }
}

/// A position on a diagram: the sum of the chunks passed and the chunks still ahead.
struct Walk<'a> {
    passed: Rate,
    ahead: &'a [Rate],
}

/// A height `whole + part.0 / part.1` pebbles.
struct Height {
    whole: u128,
    part: (u128, u128),
}

impl Height {
    fn cmp_height(&self, other: &Height) -> Ordering {
        // whole < 2^64, part.0 and part.1 < 2^64 each after `height_at`'s reduction.
        self.whole
            .cmp(&other.whole)
            .then_with(|| (self.part.0 * other.part.1).cmp(&(other.part.0 * self.part.1)))
    }
}

impl<'a> Walk<'a> {
    fn new(chunks: &'a [Rate]) -> Walk<'a> {
        Walk {
            passed: Rate::default(),
            ahead: chunks,
        }
    }

    /// The weight at which the current chunk ends.
    fn corner(&self) -> Option<u64> {
        self.ahead
            .first()
            .map(|chunk| self.passed.plus(*chunk).weight)
    }

    /// The exact height at a weight inside the current chunk or at its ends.
    fn height_at(&self, weight: u64) -> Height {
        let Some(chunk) = self.ahead.first() else {
            return Height {
                whole: u128::from(self.passed.fee),
                part: (0, 1),
            };
        };
        let inside = u128::from(weight - self.passed.weight);
        let length = u128::from(chunk.weight.max(1));
        let gained = u128::from(chunk.fee) * inside;
        Height {
            whole: u128::from(self.passed.fee) + gained / length,
            part: (gained % length, length),
        }
    }

    /// Leaves every chunk that ends at or before `weight`.
    fn pass(&mut self, weight: u64) {
        while self.corner().is_some_and(|corner| corner <= weight) {
            self.passed = self.passed.plus(self.ahead[0]);
            self.ahead = &self.ahead[1..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn r(fee: u64, weight: u64) -> Rate {
        Rate::new(fee, weight)
    }

    #[test]
    fn rates_compare_exactly_where_floats_would_not() {
        // Both quotients round to the same f64.
        let a = r(9_007_199_254_740_993, 9_007_199_254_740_992);
        let b = r(9_007_199_254_740_992, 9_007_199_254_740_991);
        assert!(b.beats(&a));
        assert!(!a.beats(&b));
        assert_eq!(r(2, 4).cmp_rate(&r(1, 2)), Ordering::Equal);
    }

    #[test]
    fn known_comparisons() {
        use Ordering::*;
        let cases: &[(&[Rate], &[Rate], Option<Ordering>)] = &[
            (&[], &[], Some(Equal)),
            (&[r(1, 10)], &[], Some(Greater)),
            (&[r(0, 10)], &[], Some(Equal)),
            (&[r(10, 10)], &[r(10, 20)], Some(Greater)),
            (&[r(10, 10)], &[r(11, 20)], None),
            (&[r(20, 20)], &[r(10, 10), r(10, 10)], Some(Equal)),
            (&[r(12, 10), r(8, 10)], &[r(20, 20)], Some(Greater)),
            // The same total, the better start.
            (
                &[r(30, 10), r(10, 30)],
                &[r(20, 10), r(20, 30)],
                Some(Greater),
            ),
            // A tenth of a pebble below, between the corners of the left one.
            (&[r(3, 3)], &[r(2, 1), r(1, 2)], Some(Less)),
        ];
        for (left, right, expected) in cases {
            assert_eq!(
                compare(left, right),
                *expected,
                "{left:?} against {right:?}"
            );
            assert_eq!(compare(right, left), expected.map(Ordering::reverse));
        }
    }

    /// The height of a diagram at every weight, as numerators over a common denominator.
    fn sampled(chunks: &[Rate], upto: u64, denominator: u128) -> Vec<u128> {
        let mut heights = Vec::new();
        for weight in 0..=upto {
            let (mut height, mut left) = (0u128, weight);
            for chunk in chunks {
                let part = left.min(chunk.weight);
                height += u128::from(chunk.fee) * u128::from(part) * denominator
                    / u128::from(chunk.weight);
                left -= part;
            }
            heights.push(height);
        }
        heights
    }

    fn chunk_list() -> impl Strategy<Value = Vec<Rate>> {
        proptest::collection::vec((0u64..30, 1u64..=6), 0..6).prop_map(|pairs| {
            let mut chunks: Vec<Rate> = pairs.into_iter().map(|(f, w)| r(f, w)).collect();
            sort_chunks(&mut chunks);
            chunks
        })
    }

    proptest! {
        #[test]
        fn agrees_with_sampling_every_weight(a in chunk_list(), b in chunk_list()) {
            // 60 is divisible by every weight of a chunk, so that sampling is exact.
            let (x, y) = (sampled(&a, 40, 60), sampled(&b, 40, 60));
            let above = x.iter().zip(&y).any(|(x, y)| x > y);
            let below = x.iter().zip(&y).any(|(x, y)| x < y);
            let expected = match (above, below) {
                (true, true) => None,
                (true, false) => Some(Ordering::Greater),
                (false, true) => Some(Ordering::Less),
                (false, false) => Some(Ordering::Equal),
            };
            prop_assert_eq!(compare(&a, &b), expected);
        }
    }
}
