//! What the pipeline needs of a group's log.

use crate::store::StoreError;

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It stands in the log for good.
    Committed {
        /// Where.
        lsn: u64,
    },
    /// It never will, and neither will any proposal after it that this leader made.
    NotLeader,
    /// The log did not take it.
    Refused(String),
    /// Nobody can say.
    Unknown(String),
}

/// A proposal on its way.
pub trait Ticket: Send {
    /// The outcome, if it is known.
    fn try_outcome(&mut self) -> Option<Outcome>;
    /// The outcome, as soon as it is known.
    fn wait(&mut self) -> Outcome;
}

/// Takes an entry and its place.
pub type Visit<'a> = dyn FnMut(u64, &[u8]) -> Result<(), StoreError> + 'a;

/// A group's log. Proposals are committed in the order in which they were made.
pub trait CommitLog: Send + Sync {
    /// Proposes an entry.
    fn propose(&self, entry: Vec<u8>) -> Box<dyn Ticket>;
    /// Gives all committed entries from `lsn` on to `visit`, in order.
    ///
    /// # Errors
    /// Those of `visit`; entries that are purged or damaged.
    fn replay(&self, lsn: u64, visit: &mut Visit<'_>) -> Result<(), StoreError>;
    /// Entries below `lsn` are not needed any more.
    fn purge(&self, lsn: u64);
}
