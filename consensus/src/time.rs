//! The bound on the future, and the time of a new block. (The median of the last eleven is
//! `cairn_protocol::state::median`.)
//!
//! Invariant: our own clock decides nothing that lasts. The verdict of the bound is *held*, never
//! *invalid*: two nodes whose clocks differ may disagree on when a block may be taken, not on
//! whether it is valid.
//!
//! Rule: `spec/06-proof-of-work.md#time`.

/// Whether a block of this time must wait: its time is more than `max_future_s` ahead of the node's
/// clock.
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
