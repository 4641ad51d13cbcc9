//! Batches of a range, claimed by workers in ascending order.
//!
//! Invariant: every position below [`Claims::next`] belongs to exactly one claimed batch, and no
//! batch starts above the lowest hit reported so far. So when all workers have finished what they
//! claimed, the lowest reported hit is the lowest of the range, however many workers there were.
//! Batches lie on a grid, so none straddles a change of the rolled extra-nonce.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// The unclaimed rest of a range, and the lowest hit.
#[derive(Debug)]
pub(crate) struct Claims {
    next: AtomicU64,
    end: u64,
    batch: u64,
    lowest: AtomicU64,
}

impl Claims {
    /// Nothing claimed yet. `batch` divides 2^32.
    pub(crate) fn new(range: Range<u64>, batch: u64) -> Self {
        assert!(
            batch.is_power_of_two() && batch <= 1 << 32,
            "batch {batch} leaves the grid"
        );
        Self {
            next: AtomicU64::new(range.start),
            end: range.end,
            batch,
            lowest: AtomicU64::new(u64::MAX),
        }
    }

    /// The next batch, unless nothing is left that could hold a lower hit.
    pub(crate) fn claim(&self) -> Option<Range<u64>> {
        let batch_end = |start: u64| (start | (self.batch - 1)).saturating_add(1).min(self.end);
        let bound = self.end.min(self.lowest.load(Ordering::SeqCst));
        self.next
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |start| {
                (start < bound).then(|| batch_end(start))
            })
            .ok()
            .map(|start| start..batch_end(start))
    }

    /// Reports a hit.
    pub(crate) fn hit(&self, position: u64) {
        self.lowest.fetch_min(position, Ordering::SeqCst);
    }

    /// The lowest hit so far. `u64::MAX` is never searched, so it stands for none.
    pub(crate) fn lowest(&self) -> Option<u64> {
        Some(self.lowest.load(Ordering::SeqCst)).filter(|&position| position != u64::MAX)
    }

    /// The lowest position that nobody claimed.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::SeqCst)
    }

    /// Whether everything was claimed.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.next() >= self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_lie_on_the_grid_and_cover_the_range_once() {
        let claims = Claims::new(5..35, 16);
        let batches: Vec<_> = std::iter::from_fn(|| claims.claim()).collect();
        assert_eq!(batches, [5..16, 16..32, 32..35]);
        assert!(claims.is_exhausted());
    }

    #[test]
    fn nothing_above_a_hit_is_claimed_but_lower_batches_are() {
        let claims = Claims::new(0..64, 16);
        let (first, second) = (claims.claim().unwrap(), claims.claim().unwrap());
        claims.hit(second.start + 3);
        assert_eq!(claims.claim(), None);
        claims.hit(first.start + 9);
        claims.hit(second.start);
        assert_eq!(claims.lowest(), Some(9));
        assert_eq!(claims.next(), 32);
    }

    #[test]
    fn the_end_of_the_space_does_not_overflow() {
        let claims = Claims::new(u64::MAX - 20..u64::MAX, 16);
        assert_eq!(claims.claim(), Some(u64::MAX - 20..u64::MAX - 15));
        assert_eq!(claims.claim(), Some(u64::MAX - 15..u64::MAX));
        assert_eq!(claims.claim(), None);
    }

    #[test]
    fn an_empty_range_has_no_batch() {
        assert_eq!(Claims::new(7..7, 16).claim(), None);
    }
}
