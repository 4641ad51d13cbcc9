//! A range of rows as of a timestamp: the two trees merged by key.

use super::{CommitTs, Snapshot, split_ended, split_value};
use crate::store::{Result, Rows, Tree};
use std::cmp::Ordering;
use std::iter::Peekable;

/// A visible row: its place in the store and its bytes.
pub type Versioned = (Vec<u8>, Vec<u8>);

/// Visible rows, one at a time.
pub struct VersionRange {
    at: CommitTs,
    reverse: bool,
    current: Peekable<Rows>,
    /// `None` when the snapshot is as of `at`: then nothing that ended is visible.
    history: Option<Peekable<Rows>>,
}

impl VersionRange {
    pub(super) fn open(
        snapshot: &Snapshot,
        from: &[u8],
        to: &[u8],
        at: CommitTs,
        reverse: bool,
    ) -> Result<Self> {
        let reader = &snapshot.reader;
        let current = reader.range(Tree::Current, (from, to), reverse)?.peekable();
        let history = if at < snapshot.ts {
            Some(reader.range(Tree::History, (from, to), reverse)?.peekable())
        } else {
            None
        };
        Ok(VersionRange {
            at,
            reverse,
            current,
            history,
        })
    }

    fn next_current(&mut self) -> Result<Option<Versioned>> {
        let Some(row) = self.current.next() else {
            return Ok(None);
        };
        let (place, mut value) = row?;
        let (begin, _) = split_value(&value)?;
        if begin > self.at {
            return Ok(None);
        }
        value.drain(..super::BEGIN_BYTES);
        Ok(Some((place, value)))
    }

    fn next_historic(&mut self) -> Result<Option<Versioned>> {
        let Some(row) = self.history.as_mut().and_then(Iterator::next) else {
            return Ok(None);
        };
        let (mut key, mut value) = row?;
        let (place, end) = split_ended(&key)?;
        let (begin, _) = split_value(&value)?;
        if begin > self.at || end <= self.at {
            return Ok(None);
        }
        let length = place.len();
        key.truncate(length);
        value.drain(..super::BEGIN_BYTES);
        Ok(Some((key, value)))
    }

    /// Which tree has the next place. Of equal places at most one version is visible, so the order
    /// between them does not matter.
    fn side(&mut self) -> Result<Option<bool>> {
        let current = match self.current.peek() {
            Some(Ok((place, _))) => Some(place),
            Some(Err(_)) => return Ok(Some(true)),
            None => None,
        };
        let history = match self.history.as_mut().and_then(|rows| rows.peek()) {
            Some(Ok((key, _))) => Some(split_ended(key)?.0),
            Some(Err(_)) => return Ok(Some(false)),
            None => None,
        };
        Ok(match (current, history) {
            (None, None) => None,
            (Some(_), None) => Some(true),
            (None, Some(_)) => Some(false),
            (Some(a), Some(b)) => {
                let order = a.as_slice().cmp(b);
                let order = if self.reverse { order.reverse() } else { order };
                Some(order != Ordering::Greater)
            }
        })
    }

    fn step(&mut self) -> Result<Option<Option<Versioned>>> {
        Ok(match self.side()? {
            None => None,
            Some(true) => Some(self.next_current()?),
            Some(false) => Some(self.next_historic()?),
        })
    }
}

impl Iterator for VersionRange {
    type Item = Result<Versioned>;

    fn next(&mut self) -> Option<Result<Versioned>> {
        loop {
            match self.step() {
                Ok(None) => return None,
                Ok(Some(None)) => {}
                Ok(Some(Some(row))) => return Some(Ok(row)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
