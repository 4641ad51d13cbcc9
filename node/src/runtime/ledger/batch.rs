//! Syncing the log once for many bodies while the node catches up.
//!
//! A body far below the best header is known to others and is fetched again if a power cut takes it,
//! so that nothing is promised about it. Near the best header, at sealed heights and for what came
//! from this node itself, each body is on disk before anybody hears of it.
//!
//! Invariant: at most [`BODIES_MAX`] bodies, and none longer than one tick of the ledger, are stored
//! and not synced.

use cairn_protocol::units::Height;

/// Below the best header by more than this, a body may wait for its sync. Deeper than branches that
/// are announced and fought over; a wallet calls none of these blocks new.
const BEHIND_MIN: u64 = 64;

/// Bodies of one sync. One sync takes some ten times as long as to store a body of 50 transactions.
const BODIES_MAX: u32 = 64;

/// What is known of a body before it is stored.
pub(super) struct Arriving {
    /// It came from this node, or somebody waits to hear that it is on disk.
    pub(super) is_awaited: bool,
    /// The next height is decided by a vote.
    pub(super) is_sealed: bool,
    /// Height of the tip.
    pub(super) tip: Height,
    /// Height of the best header.
    pub(super) best: Height,
}

impl Arriving {
    /// Whether its sync may wait for others.
    pub(super) fn may_wait(&self) -> bool {
        !self.is_awaited && !self.is_sealed && self.best.saturating_sub(self.tip) > BEHIND_MIN
    }
}

/// The bodies stored since the last sync.
#[derive(Default)]
pub(super) struct Unsynced(u32);

impl Unsynced {
    /// Notes one body; true if the log is to be synced now.
    pub(super) fn add(&mut self) -> bool {
        self.0 += 1;
        self.0 >= BODIES_MAX
    }

    /// Whether a sync is owed. Nothing is owed afterwards.
    pub(super) fn take(&mut self) -> bool {
        std::mem::take(&mut self.0) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bodies_that_others_have_wait() {
        let far = Arriving {
            is_awaited: false,
            is_sealed: false,
            tip: 10,
            best: 75,
        };
        assert!(far.may_wait());
        assert!(!Arriving { best: 74, ..far }.may_wait());
        assert!(!Arriving { tip: 99, ..far }.may_wait(), "a tip above it");
        assert!(
            !Arriving {
                is_awaited: true,
                ..far
            }
            .may_wait()
        );
        assert!(
            !Arriving {
                is_sealed: true,
                ..far
            }
            .may_wait()
        );
    }

    #[test]
    fn a_sync_is_owed_once() {
        let mut unsynced = Unsynced::default();
        assert!(!unsynced.take());
        assert!((1..BODIES_MAX).all(|_| !unsynced.add()));
        assert!(unsynced.add());
        assert!(unsynced.take());
        assert!(!unsynced.take());
    }
}
