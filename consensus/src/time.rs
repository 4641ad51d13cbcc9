//! Median time past and the bound on the future: the two rules for the time of a proof-of-work block.
//!
//! Invariant: our own clock is an input of the second rule only, and its verdict is *held*, never *invalid*: two nodes
//! whose clocks differ may disagree on when a block may be taken, not on whether it is valid.
//!
//! Rule: `spec/06-proof-of-work.md#time`.

/// How many headers the median looks back over, at most.
pub const MEDIAN_SPAN: usize = 11;

/// The median of the times of the last `min(11, n)` headers, in any order; the upper one of an even count.
///
/// # Panics
/// If `times` is empty or holds more than [`MEDIAN_SPAN`] entries: every block but genesis has an ancestor.
#[must_use]
pub fn median_time(times: &[u32]) -> u32 {
    assert!(
        !times.is_empty() && times.len() <= MEDIAN_SPAN,
        "{} times for a median",
        times.len()
    );
    let mut sorted = [0u32; MEDIAN_SPAN];
    let sorted = &mut sorted[..times.len()];
    sorted.copy_from_slice(times);
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

/// Whether a block of this time must wait: its time is more than `max_future_s` ahead of the node's clock.
#[must_use]
pub fn is_too_far_ahead(time: u32, now: u32, max_future_s: u32) -> bool {
    time > now.saturating_add(max_future_s)
}

/// The time of a new block: not before the clock, and always after the median of its ancestors.
///
/// `None` at the end of the 32-bit range, when no time is greater than the median.
#[must_use]
pub fn template_time(median_time_past: u32, now: u32) -> Option<u32> {
    Some(median_time_past.checked_add(1)?.max(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_one_to_eleven() {
        assert_eq!(median_time(&[7]), 7);
        assert_eq!(median_time(&[9, 3]), 9);
        assert_eq!(median_time(&[9, 3, 5]), 5);
        assert_eq!(median_time(&[4, 1, 3, 2]), 3);
        assert_eq!(median_time(&[11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]), 6);
        assert_eq!(median_time(&[u32::MAX; 11]), u32::MAX);
    }

    #[test]
    #[should_panic(expected = "12 times for a median")]
    fn median_of_twelve_is_a_bug() {
        let _ = median_time(&[0; 12]);
    }

    #[test]
    fn the_future_begins_after_the_bound() {
        assert!(!is_too_far_ahead(1_600, 1_000, 600));
        assert!(is_too_far_ahead(1_601, 1_000, 600));
        assert!(!is_too_far_ahead(u32::MAX, u32::MAX - 5, 600));
    }

    #[test]
    fn a_template_is_after_the_median_also_when_the_clock_is_behind() {
        assert_eq!(template_time(100, 500), Some(500));
        assert_eq!(template_time(100, 50), Some(101));
        assert_eq!(template_time(100, 100), Some(101));
        assert_eq!(template_time(u32::MAX, 5), None);
    }
}
