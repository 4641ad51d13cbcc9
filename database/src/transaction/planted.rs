//! Faults to build in, so that tests see that they would be found. All of them are off outside tests.

/// Which.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Planted {
    /// The touched set leaves out indexes whose key did not change.
    pub touched_omits_unchanged_index: bool,
    /// Members of one batch are not validated against each other.
    pub same_batch_ignored: bool,
    /// A scan's range ends at the last row it gave out.
    pub range_after_limit: bool,
    /// Locks go when the proposal is made.
    pub early_unlock: bool,
    /// A view is one timestamp ahead of its snapshot.
    pub visibility_off_by_one: bool,
    /// A stale row is read again instead of the whole statement.
    pub reread_of_the_row: bool,
}
