//! What is known of each group's log: the fold of the records in the files.
//!
//! Invariant: recovery and the running writer use the same fold, so that memory is what a reopen finds.

use super::error::{LogError, Result};
use super::position::{Group, Lsn, Point, Term, Watermarks};
use super::record::{Item, Items, put};
use super::segment::Place;
use std::collections::{BTreeMap, VecDeque};

/// Where an entry's bytes are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub place: Place,
    /// Range of the frame's payload.
    pub from: u32,
    pub length: u32,
    pub term: Term,
}

/// One group's log.
#[derive(Debug, Clone, Default)]
pub(super) struct GroupLog {
    /// Entries before are purged; the term is that of the last of them.
    pub start: Point,
    /// While files are read: entries from the start on that were in segments which are gone. A later
    /// record must purge or truncate all of them.
    missing: u64,
    /// The term of the last missing entry; zero if it is not known.
    missing_term: Term,
    /// The entries behind them.
    pub slots: VecDeque<Slot>,
    pub committed: Lsn,
    pub vote: Vec<u8>,
}

impl GroupLog {
    fn first_slot(&self) -> u64 {
        self.start.end.0 + self.missing
    }

    pub fn end(&self) -> Lsn {
        Lsn(self.first_slot() + self.slots.len() as u64)
    }

    /// Place and term behind the last entry.
    pub fn last(&self) -> Point {
        let before = match self.missing {
            0 => self.start.term,
            _ => self.missing_term,
        };
        Point {
            end: self.end(),
            term: self.slots.back().map_or(before, |slot| slot.term),
        }
    }

    /// The slot of an entry that is kept.
    pub fn slot(&self, lsn: Lsn) -> Option<&Slot> {
        let index = lsn.0.checked_sub(self.first_slot())?;
        self.slots.get(index as usize)
    }

    pub fn watermarks(&self) -> Watermarks {
        Watermarks {
            durable: self.end(),
            committed: self.committed,
        }
    }

    /// The term of the entry before `end`, if it is known.
    pub fn term_before(&self, end: Lsn) -> Option<Term> {
        if end == self.start.end {
            return Some(self.start.term);
        }
        let lsn = Lsn(end.0.checked_sub(1)?);
        self.slot(lsn).map(|slot| slot.term)
    }

    /// Why a record cannot be the next, if it cannot.
    pub fn refuse(&self, item: &Item<'_>) -> Option<String> {
        let last = self.last();
        let (end, start, committed) = (last.end, self.start.end, self.committed);
        match item {
            Item::Entry { term, lsn, .. } if *lsn != end || *term < last.term => Some(format!(
                "entry {lsn} of term {} does not follow end {end} of term {}",
                term.0, last.term.0
            )),
            Item::Truncate(to) if *to < committed || *to < start || *to > end => Some(format!(
                "cannot truncate to {to}: start {start}, committed {committed}, end {end}"
            )),
            Item::Purge(to) if to.end < start || to.end > committed => Some(format!(
                "cannot purge to {}: start {start}, committed {committed}",
                to.end
            )),
            Item::Purge(to)
                if to.end.0 > self.first_slot() && self.term_before(to.end) != Some(to.term) =>
            {
                Some(format!(
                    "cannot purge to {} of term {}: that is not its term",
                    to.end, to.term.0
                ))
            }
            Item::Committed(to) if *to < committed || *to > end => Some(format!(
                "cannot commit to {to}: committed {committed}, end {end}"
            )),
            Item::Install(to) if to.end < committed => Some(format!(
                "cannot install a snapshot of end {}: committed {committed}",
                to.end
            )),
            _ => None,
        }
    }

    fn apply(&mut self, place: Place, item: &Item<'_>, item_end: usize) {
        match item {
            Item::State { .. } => {}
            Item::Entry {
                proposed,
                term,
                lsn,
                payload,
            } => {
                self.slots.push_back(Slot {
                    place,
                    from: (item_end - payload.len()) as u32,
                    length: payload.len() as u32,
                    term: *term,
                });
                if *proposed {
                    self.committed = lsn.next();
                }
            }
            Item::Truncate(to) => match to.0.checked_sub(self.first_slot()) {
                Some(kept) => self.slots.truncate(kept as usize),
                None => {
                    self.slots.clear();
                    self.missing = to.0 - self.start.end.0;
                    self.missing_term = Term(0);
                }
            },
            Item::Purge(to) => {
                let count = to.end.0 - self.start.end.0;
                let of_slots = count.saturating_sub(self.missing);
                self.slots.drain(..of_slots as usize);
                self.missing = self.missing.saturating_sub(count);
                self.start = *to;
            }
            Item::Vote(vote) => self.vote = vote.to_vec(),
            Item::Committed(to) => self.committed = *to,
            Item::Install(to) => {
                self.slots.clear();
                self.missing = 0;
                self.start = *to;
                self.committed = to.end;
            }
        }
    }
}

/// All groups of a node.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups(pub BTreeMap<Group, GroupLog>);

impl Groups {
    /// Applies the records of a frame.
    ///
    /// # Errors
    /// `Damaged` if one of them is none or cannot be the next of its group.
    pub fn fold(&mut self, place: Place, payload: &[u8]) -> Result<()> {
        let mut items = Items::new(payload);
        while let Some((group, item, end)) = items.next()? {
            let wrong = |why: String| {
                LogError::Damaged(format!(
                    "segment {} offset {}, group {}: {why}",
                    place.segment, place.offset, group.0
                ))
            };
            if let Item::State { .. } = item {
                self.fold_state(group, &item).map_err(wrong)?;
                continue;
            }
            let Some(log) = self.0.get_mut(&group) else {
                return Err(wrong("a record of a group that was not opened".to_owned()));
            };
            if let Some(why) = log.refuse(&item) {
                return Err(wrong(why));
            }
            log.apply(place, &item, end);
        }
        Ok(())
    }

    /// A state opens a group, says what earlier segments said, or repeats what is known.
    fn fold_state(&mut self, group: Group, item: &Item<'_>) -> Result<(), String> {
        let Item::State {
            start,
            last,
            committed,
            vote,
        } = *item
        else {
            return Ok(());
        };
        let Some(log) = self.0.get(&group) else {
            let missing = (last.end.0.checked_sub(start.end.0))
                .ok_or_else(|| format!("a state of start {}, end {}", start.end, last.end))?;
            let log = GroupLog {
                start,
                missing,
                missing_term: last.term,
                slots: VecDeque::new(),
                committed,
                vote: vote.to_vec(),
            };
            self.0.insert(group, log);
            return Ok(());
        };
        if (log.start, log.last(), log.committed, &log.vote[..]) != (start, last, committed, vote) {
            return Err(format!(
                "a state of start {}, end {}, committed {committed} where start {}, end {}, committed {} are known",
                start.end,
                last.end,
                log.start.end,
                log.end(),
                log.committed
            ));
        }
        Ok(())
    }

    /// What must hold when all files were read.
    ///
    /// # Errors
    /// `Damaged` if entries that were not purged are in no segment.
    pub fn check_complete(&self) -> Result<()> {
        match self.0.iter().find(|(_, log)| log.missing > 0) {
            None => Ok(()),
            Some((group, log)) => Err(LogError::Damaged(format!(
                "group {}: entries {} to {} are in no segment",
                group.0,
                log.start.end,
                log.first_slot()
            ))),
        }
    }

    /// Appends the state of all groups.
    pub fn put_state(&self, out: &mut Vec<u8>) {
        for (group, log) in &self.0 {
            let item = Item::State {
                start: log.start,
                last: log.last(),
                committed: log.committed,
                vote: &log.vote,
            };
            put(out, *group, &item);
        }
    }

    /// The first segment that somebody needs; `tail` if it is the one that is written.
    pub fn first_needed(&self, tail: u64) -> u64 {
        let firsts = self.0.values().filter_map(|log| log.slots.front());
        firsts
            .map(|slot| slot.place.segment)
            .min()
            .unwrap_or(tail)
            .min(tail)
    }
}
