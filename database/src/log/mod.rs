//! The append-only log of a node and the logs of its groups in it.
//!
//! ```text
//!  proposals ──► queue ──► writer: one frame, one sync ──► tickets, watermarks
//!                            │
//!   0000.log  [head][frame n][frame n+1]...........   16 MiB, allocated before it is used
//!   0001.log  [head][frame]                           next: the file that comes then
//! ```
//!
//! All groups of a node share one file sequence and one writer, so that one sync carries what all of
//! them have to say. [`Log`] is what the rest of the database knows: whether the entries of a group are
//! agreed on by one node ([`LocalLog`]) or by many is hidden behind it, and [`HostileLog`] shows in
//! tests what the latter may do to a caller.
//!
//! Three invariants carry the durability of a commit:
//! * batch n + 1 is not written before the sync of batch n returned, so a frame that is not intact and
//!   has no intact one behind it was acknowledged to nobody: it is dropped whole; any other is damage,
//!   and the node stops;
//! * each run begins with a synced frame of a higher generation, and an idle writer seals, so that the
//!   last acknowledged frame has one behind it;
//! * a failed write or sync is the last: outcomes that waited for it are unknown, and the next run finds
//!   out.
//!
//! Bytes and rules: `spec/13-database.md#log`.

pub mod error;
mod frame;
mod group;
mod group_tree;
mod hostile;
mod local;
mod position;
mod promise;
mod record;
mod recovery;
mod segment;
mod verify;
mod writer;

pub use error::{LogError, Result};
pub use group_tree::GroupTree;
pub use hostile::{HostileLog, Hostility};
pub use local::LocalLog;
pub use position::{Group, Lsn, Point, Record, Term, Watermarks};
pub use promise::{Keeper, Promise, promise};
pub use verify::{GroupReport, LogReport, verify};
pub use writer::{LogOptions, Recovery};

use std::fmt::Debug;
use std::time::Duration;

/// What became of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is entry `lsn` for ever, proposed in `term`.
    Committed {
        /// The term of the leader that proposed it.
        term: Term,
        /// Its index.
        lsn: Lsn,
    },
    /// It is not in the log and never will be: another node leads.
    NotLeader,
    /// It may be in the log or not, now or later: SQLSTATE 08007, never a plain failure.
    Unknown,
}

/// A proposal on its way.
pub type Ticket = Promise<Outcome>;

/// A change on its way to the disk: `Err` with the reason if it may not have got there.
pub type Receipt = Promise<Result<(), std::sync::Arc<LogError>>>;

/// The log of each group, whoever agrees on it.
///
/// Calls take effect in the order in which they return. Tickets may resolve in any order.
pub trait Log: Debug + Send + Sync {
    /// Offers an entry. It waits while too many bytes wait before it.
    ///
    /// # Errors
    /// If the entry cannot be offered at all; then it is not in the log.
    fn propose(&self, group: Group, payload: Vec<u8>) -> Result<Ticket>;

    /// Appends entries of a leader, which are not committed by that.
    fn append(&self, group: Group, records: Vec<Record>) -> Result<Receipt>;

    /// Takes back all entries from `end` on, none of them committed.
    fn truncate_to(&self, group: Group, end: Lsn) -> Result<Receipt>;

    /// Drops the entries before `end`, all of them committed.
    fn purge_to(&self, group: Group, end: Lsn) -> Result<Receipt>;

    /// Keeps a vote, opaque bytes.
    fn save_vote(&self, group: Group, vote: Vec<u8>) -> Result<Receipt>;

    /// The vote that was kept last; empty if there was none.
    fn vote(&self, group: Group) -> Result<Vec<u8>>;

    /// Says that entries before `end` are committed.
    fn commit_to(&self, group: Group, end: Lsn) -> Result<Receipt>;

    /// Durable entries from `from` on, in order, until they have `bytes_max` bytes or more.
    ///
    /// # Errors
    /// `Purged` if `from` is there no more.
    fn read(&self, group: Group, from: Lsn, bytes_max: usize) -> Result<Vec<Record>>;

    /// How far the group has come.
    fn watermarks(&self, group: Group) -> Result<Watermarks>;

    /// Waits until a watermark differs from `known`, or for `limit`.
    fn watch(&self, group: Group, known: Watermarks, limit: Duration) -> Result<Watermarks>;

    /// Where the kept entries begin.
    fn start(&self, group: Group) -> Result<Point>;

    /// Where a copy of the group's state that is made now goes on: behind the last committed entry.
    fn snapshot(&self, group: Group) -> Result<Point>;

    /// Replaces all entries by a snapshot that was installed.
    fn install(&self, group: Group, point: Point) -> Result<Receipt>;
}
