//! Locks: who may change what, who waits for whom, and who must give way.
//!
//! ```text
//!   manager   thin shell: a mutex, wakers, the clock's deadlines, cancellation
//!      │
//!   table     the pure state machine: holders, fair queues, waits-for graph, savepoint marks
//!      │
//!   mode      what conflicts with what
//! ```
//!
//! Invariants:
//! * two owners never hold conflicting modes of one target;
//! * a request waits behind every earlier conflicting request, so nobody starves; only an owner that
//!   already holds the target goes ahead of the queue, for it blocks the queue anyway;
//! * a cycle is found in the moment its last member blocks, and its youngest member is the victim.

mod deadlock;
mod manager;
mod mode;
mod table;

pub use manager::{LockManager, LockWait};
pub use mode::{Mode, Modes};
pub use table::{Event, LockTable, Mark, OwnerId, Reply, Target, Wait};

/// Row locks of one transaction on one table before they become one lock of the table: at some 120
/// bytes each the bound keeps a transaction's locks under 12 MiB.
pub const ROW_LOCKS_MAX: usize = 100_000;

/// Why a lock was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// `NOWAIT`, or the lock timeout passed.
    #[error("could not obtain lock: {0}")]
    NotAvailable(&'static str),
    /// The youngest in a cycle.
    #[error("deadlock detected: this transaction is the youngest in a cycle")]
    Deadlock,
    /// The statement was cancelled.
    #[error("canceling statement while it waited for a lock")]
    Cancelled,
}

#[cfg(test)]
mod tests;
