//! Records inside a frame's payload: what happened to the logs of groups.
//!
//! ```text
//! record := tag u8 || group u32 || fields
//! 0 state      start u64, start term u64, end u64, last term u64, committed u64, vote length u8, vote
//! 1 entry      proposed u8 (0 or 1), term u64, lsn u64, length u32, bytes
//! 2 truncate   end u64              4 vote        length u8, vote
//! 3 purge      start u64, term u64  5 committed   end u64
//! 6 install    start u64, term u64
//! ```
//! Numbers are little-endian. A segment's first frame begins with the state of every group, so that
//! earlier segments can be dropped; so does the first frame of a run.

use super::error::{LogError, Result};
use super::position::{Group, Lsn, Point, Term};
use crate::limits::{ENTRY_BYTES_MAX, VOTE_BYTES_MAX};

/// One record, borrowing its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// A group exists and stands so.
    State {
        start: Point,
        last: Point,
        committed: Lsn,
        vote: &'a [u8],
    },
    /// The next entry. A proposed one is committed when it is durable.
    Entry {
        proposed: bool,
        term: Term,
        lsn: Lsn,
        payload: &'a [u8],
    },
    /// Entries from here on are taken back.
    Truncate(Lsn),
    /// Entries before are dropped.
    Purge(Point),
    /// The vote is now this.
    Vote(&'a [u8]),
    /// Entries before are committed.
    Committed(Lsn),
    /// A snapshot replaces all entries.
    Install(Point),
}

/// Appends a record.
pub(super) fn put(out: &mut Vec<u8>, group: Group, item: &Item<'_>) {
    let tag = match item {
        Item::State { .. } => 0,
        Item::Entry { .. } => 1,
        Item::Truncate(_) => 2,
        Item::Purge(_) => 3,
        Item::Vote(_) => 4,
        Item::Committed(_) => 5,
        Item::Install(_) => 6,
    };
    out.push(tag);
    out.extend_from_slice(&group.0.to_le_bytes());
    let mut numbers = |numbers: &[u64]| {
        for number in numbers {
            out.extend_from_slice(&number.to_le_bytes());
        }
    };
    match item {
        Item::State {
            start,
            last,
            committed,
            vote,
        } => {
            let (start, last) = ([start.end.0, start.term.0], [last.end.0, last.term.0]);
            numbers(&start);
            numbers(&last);
            numbers(&[committed.0]);
            put_vote(out, vote);
        }
        Item::Entry {
            proposed,
            term,
            lsn,
            payload,
        } => {
            out.push(u8::from(*proposed));
            out.extend_from_slice(&term.0.to_le_bytes());
            out.extend_from_slice(&lsn.0.to_le_bytes());
            out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
            out.extend_from_slice(payload);
        }
        Item::Truncate(end) | Item::Committed(end) => numbers(&[end.0]),
        Item::Purge(point) | Item::Install(point) => numbers(&[point.end.0, point.term.0]),
        Item::Vote(vote) => put_vote(out, vote),
    }
}

fn put_vote(out: &mut Vec<u8>, vote: &[u8]) {
    out.push(vote.len() as u8);
    out.extend_from_slice(vote);
}

/// The records of a payload, each with the offset at which it ends.
#[derive(Debug)]
pub(super) struct Items<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Items<'a> {
    pub fn new(payload: &'a [u8]) -> Self {
        Items {
            rest: payload,
            length: payload.len(),
        }
    }

    /// The next record and its end; none at the end of the payload.
    ///
    /// # Errors
    /// `Damaged`: the frame's digest was right, so a program wrote what no program should.
    pub fn next(&mut self) -> Result<Option<(Group, Item<'a>, usize)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let at = self.length - self.rest.len();
        let (group, item) = self.read().ok_or_else(|| {
            LogError::Damaged(format!("the record at offset {at} of a frame is none"))
        })?;
        Ok(Some((group, item, self.length - self.rest.len())))
    }

    fn read(&mut self) -> Option<(Group, Item<'a>)> {
        let tag = self.take(1)?[0];
        let group = Group(self.u32()?);
        let item = match tag {
            0 => Item::State {
                start: self.point()?,
                last: self.point()?,
                committed: Lsn(self.u64()?),
                vote: self.vote()?,
            },
            1 => {
                let proposed = match self.take(1)?[0] {
                    0 => false,
                    1 => true,
                    _ => return None,
                };
                let (term, lsn) = (Term(self.u64()?), Lsn(self.u64()?));
                let length = self.u32()? as usize;
                let payload = (length <= ENTRY_BYTES_MAX).then(|| self.take(length))??;
                Item::Entry {
                    proposed,
                    term,
                    lsn,
                    payload,
                }
            }
            2 => Item::Truncate(Lsn(self.u64()?)),
            3 => Item::Purge(self.point()?),
            4 => Item::Vote(self.vote()?),
            5 => Item::Committed(Lsn(self.u64()?)),
            6 => Item::Install(self.point()?),
            _ => return None,
        };
        Some((group, item))
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn point(&mut self) -> Option<Point> {
        Some(Point {
            end: Lsn(self.u64()?),
            term: Term(self.u64()?),
        })
    }

    fn vote(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.take(1)?[0]);
        (length <= VOTE_BYTES_MAX).then(|| self.take(length))?
    }
}
