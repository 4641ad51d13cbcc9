//! Names of places in logs.
//!
//! Ends are exclusive: a log of end 5 has the entries 0 to 4. So an empty log needs no special value,
//! and an end is the size of the group's tree.

use std::fmt;

/// A replication group: one log, one tree, one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Group(pub u32);

/// The reign of a leader. A local log stays in the term it was created with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Term(pub u64);

/// Index of an entry in its group's log, and of its leaf in the group's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The place behind.
    pub fn next(self) -> Lsn {
        Lsn(self.0 + 1)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An entry with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its index.
    pub lsn: Lsn,
    /// The term in which it was proposed.
    pub term: Term,
    /// The entry's bytes.
    pub payload: Vec<u8>,
}

/// How far a group's log has come. Both ends are exclusive and the two move on their own: a follower's
/// entry is durable before it is committed, a leader's may be committed before it is durable here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watermarks {
    /// Entries before it survive a power cut here.
    pub durable: Lsn,
    /// Entries before it are never taken back.
    pub committed: Lsn,
}

/// A place from which a copy of a group goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Point {
    /// The first entry that the copy lacks.
    pub end: Lsn,
    /// The term of the entry before it.
    pub term: Term,
}
