//! The header of an entry: the leaf of the group's tree.
//!
//! ```text
//!   0  1 format = 1          24  8 commit_ts          56 16 client
//!   1  1 kind                32  8 closed_ts          72  8 sequence
//!   2  2 zero                40  8 wall_ms            80 32 changes root
//!   4  4 change count        48  8 schema version    112    part of the kind
//!   8 16 incarnation
//! ```
//! Part of the kind: nothing for Commit (0) and Membership (3); txn 16, part u32 for Prewrite (1);
//! txn 16, decision u8, parts u32, commit_ts u64 for Resolve (2). Numbers are little-endian.

use super::codec::Reader;
use super::error::EntryError;
use crate::limits::{CHAIN_PARTS_MAX, CHANGES_MAX};
use crate::tree::Hash;
use std::fmt;

/// The format of entries that this program writes.
pub const FORMAT: u8 = 1;
/// Bytes before the part of the kind.
pub(super) const FIXED_BYTES: usize = 112;
/// Bytes of the longest header.
pub const HEADER_BYTES_MAX: usize = FIXED_BYTES + 29;

/// The version of rows: the only snapshot token. It rises with each entry of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CommitTs(pub u64);

impl fmt::Display for CommitTs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A life of a log, chosen at random when it begins: by creation, restore or forced recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation(pub [u8; 16]);

/// Who asked for a transaction, so that a repeated request is known; zero says nobody told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClientId(pub [u8; 16]);

/// A transaction that takes more than one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TransactionId(pub [u8; 16]);

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole transaction.
    Commit,
    /// Changes that nobody sees before a resolve.
    Prewrite {
        /// The transaction.
        txn: TransactionId,
        /// 0, 1, ... in this log.
        part: u32,
    },
    /// The end of a transaction whose changes are in prewrites.
    Resolve {
        /// The transaction.
        txn: TransactionId,
        /// What became of it.
        resolution: Resolution,
    },
    /// The members of the group from here on.
    Membership,
}

/// What became of a transaction in prewrites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Its changes are versions of this timestamp.
    Commit {
        /// Not above that of the entry.
        commit_ts: CommitTs,
        /// Number of its prewrites in this log, at least 1.
        parts: u32,
    },
    /// Its changes never were.
    Abort,
}

/// What the writer of an entry says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Of the log.
    pub incarnation: Incarnation,
    /// Above that of every entry before.
    pub commit_ts: CommitTs,
    /// No later entry makes a version at or below it.
    pub closed_ts: CommitTs,
    /// Milliseconds since 1970, for people: nothing is decided by it.
    pub wall_ms: u64,
    /// Version of the catalog that the writer saw.
    pub schema_version: u64,
    /// Who asked.
    pub client: ClientId,
    /// The client's number of this transaction.
    pub sequence: u64,
}

/// A decoded header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the entry is.
    pub kind: Kind,
    /// What its writer says.
    pub stamp: Stamp,
    /// Number of changes.
    pub changes: u32,
    /// Root over the salted changes.
    pub changes_root: Hash,
}

impl Kind {
    fn tag(&self) -> u8 {
        match self {
            Kind::Commit => 0,
            Kind::Prewrite { .. } => 1,
            Kind::Resolve { .. } => 2,
            Kind::Membership => 3,
        }
    }

    /// Bytes of a header of this kind.
    pub(super) fn header_bytes(&self) -> usize {
        FIXED_BYTES
            + match self {
                Kind::Commit | Kind::Membership => 0,
                Kind::Prewrite { .. } => 20,
                Kind::Resolve { .. } => 29,
            }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Kind::Commit | Kind::Membership => {}
            Kind::Prewrite { txn, part } => {
                out.extend_from_slice(&txn.0);
                out.extend_from_slice(&part.to_le_bytes());
            }
            Kind::Resolve { txn, resolution } => {
                let (decision, parts, commit_ts) = match resolution {
                    Resolution::Abort => (0, 0, CommitTs(0)),
                    Resolution::Commit { commit_ts, parts } => (1, *parts, *commit_ts),
                };
                out.extend_from_slice(&txn.0);
                out.push(decision);
                out.extend_from_slice(&parts.to_le_bytes());
                out.extend_from_slice(&commit_ts.0.to_le_bytes());
            }
        }
    }

    fn read(tag: u8, reader: &mut Reader<'_>) -> Result<Self, EntryError> {
        match tag {
            0 => Ok(Kind::Commit),
            1 => {
                let txn = TransactionId(reader.array("header")?);
                let part = reader.u32("header")?;
                super::codec::check_bound("part", u64::from(part), CHAIN_PARTS_MAX as usize - 1)?;
                Ok(Kind::Prewrite { txn, part })
            }
            2 => {
                let txn = TransactionId(reader.array("header")?);
                let decision = reader.u8("header")?;
                let parts = reader.u32("header")?;
                let commit_ts = CommitTs(reader.u64("header")?);
                let resolution = resolution(decision, parts, commit_ts)?;
                Ok(Kind::Resolve { txn, resolution })
            }
            3 => Ok(Kind::Membership),
            found => Err(EntryError::Unknown {
                what: "kind",
                found,
            }),
        }
    }
}

fn resolution(decision: u8, parts: u32, commit_ts: CommitTs) -> Result<Resolution, EntryError> {
    match decision {
        0 if parts == 0 && commit_ts.0 == 0 => Ok(Resolution::Abort),
        0 => Err(EntryError::NotCanonical("abort")),
        1 => {
            super::codec::check_bound("parts", u64::from(parts), CHAIN_PARTS_MAX as usize)?;
            Ok(Resolution::Commit { commit_ts, parts })
        }
        found => Err(EntryError::Unknown {
            what: "resolution",
            found,
        }),
    }
}

impl Header {
    /// Its bytes: what the tree's leaf hash is over.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES_MAX);
        out.extend_from_slice(&[FORMAT, self.kind.tag(), 0, 0]);
        out.extend_from_slice(&self.changes.to_le_bytes());
        let stamp = &self.stamp;
        out.extend_from_slice(&stamp.incarnation.0);
        for number in [
            stamp.commit_ts.0,
            stamp.closed_ts.0,
            stamp.wall_ms,
            stamp.schema_version,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&stamp.client.0);
        out.extend_from_slice(&stamp.sequence.to_le_bytes());
        out.extend_from_slice(&self.changes_root);
        debug_assert_eq!(out.len(), FIXED_BYTES);
        self.kind.put(&mut out);
        out
    }

    /// Reads a header that is all of `bytes`: what a proof shows.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let mut reader = Reader(bytes);
        let header = Header::read(&mut reader)?;
        if !reader.0.is_empty() {
            return Err(EntryError::NotCanonical("header"));
        }
        Ok(header)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, EntryError> {
        let format = reader.u8("header")?;
        if format != FORMAT {
            return Err(EntryError::Format {
                found: format,
                known: FORMAT,
            });
        }
        let tag = reader.u8("header")?;
        if reader.array("header")? != [0, 0] {
            return Err(EntryError::NotCanonical("header"));
        }
        let changes = reader.u32("header")?;
        super::codec::check_bound("change count", u64::from(changes), CHANGES_MAX as usize)?;
        let stamp = Stamp {
            incarnation: Incarnation(reader.array("header")?),
            commit_ts: CommitTs(reader.u64("header")?),
            closed_ts: CommitTs(reader.u64("header")?),
            wall_ms: reader.u64("header")?,
            schema_version: reader.u64("header")?,
            client: ClientId(reader.array("header")?),
            sequence: reader.u64("header")?,
        };
        let changes_root = reader.array("header")?;
        let kind = Kind::read(tag, reader)?;
        let header = Header {
            kind,
            stamp,
            changes,
            changes_root,
        };
        header.check()?;
        Ok(header)
    }

    /// What a header alone must keep.
    pub(super) fn check(&self) -> Result<(), EntryError> {
        let wrong = match self.kind {
            Kind::Membership if self.changes != 1 => "a membership entry has one change",
            Kind::Resolve { .. } if self.changes != 0 => "a resolve has no changes",
            Kind::Resolve {
                resolution: Resolution::Commit { commit_ts, parts },
                ..
            } if parts == 0 || commit_ts.0 == 0 || commit_ts > self.stamp.commit_ts => {
                "a resolve commits one or more parts, at or below its own commit_ts and above 0"
            }
            Kind::Prewrite { .. } if self.changes == 0 => "a prewrite has changes",
            _ => return Ok(()),
        };
        Err(EntryError::Kind(wrong))
    }
}
