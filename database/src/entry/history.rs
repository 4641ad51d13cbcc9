//! What the entries of one log must keep among each other.
//!
//! Invariant: timestamps rise, all entries are of one incarnation which entry 0 opens, parts of a
//! chain come in order and are resolved once. Used by replay and by `cairn db verify`.

use super::change::Change;
use super::error::EntryError;
use super::header::{CommitTs, Incarnation, Kind, Resolution, TransactionId};
use super::view::Entry;
use std::collections::BTreeMap;

/// What is known of the entries before the first that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// Of all entries of the log.
    pub incarnation: Incarnation,
    /// Of the last entry before.
    pub commit_ts: CommitTs,
    /// Of the last entry before.
    pub closed_ts: CommitTs,
}

/// The state after some entries of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    last: Option<Base>,
    /// Parts so far of transactions that are not resolved.
    open: BTreeMap<TransactionId, u32>,
    /// The beginning of the log was not seen.
    partial: bool,
}

impl History {
    /// From entry 0 on.
    pub fn new() -> Self {
        History::default()
    }

    /// Goes on behind purged entries; chains that began there are taken as they come.
    pub fn after(base: Base) -> Self {
        History {
            last: Some(base),
            partial: true,
            ..History::default()
        }
    }

    /// Begins with an entry behind purged ones, as if all before it fitted.
    pub fn before(entry: &Entry<'_>) -> Self {
        let stamp = &entry.header.stamp;
        History::after(Base {
            incarnation: stamp.incarnation,
            commit_ts: CommitTs(stamp.commit_ts.0.saturating_sub(1)),
            closed_ts: CommitTs(0),
        })
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// The rule that it breaks; the history is then as before.
    pub fn push(&mut self, entry: &Entry<'_>) -> Result<(), EntryError> {
        let stamp = &entry.header.stamp;
        self.check_incarnation(entry)?;
        if let Some(last) = &self.last {
            if stamp.commit_ts <= last.commit_ts {
                return Err(time("commit_ts", stamp.commit_ts, last.commit_ts));
            }
            if stamp.closed_ts < last.closed_ts {
                return Err(time("closed_ts", stamp.closed_ts, last.closed_ts));
            }
        }
        self.check_chain(&entry.header.kind)?;
        self.last = Some(Base {
            incarnation: stamp.incarnation,
            commit_ts: stamp.commit_ts,
            closed_ts: stamp.closed_ts,
        });
        Ok(())
    }

    fn check_incarnation(&self, entry: &Entry<'_>) -> Result<(), EntryError> {
        let is_membership = entry.header.kind == Kind::Membership;
        let Some(last) = &self.last else {
            if !is_membership {
                return Err(EntryError::Incarnation("entry 0 is not a membership"));
            }
            return Ok(());
        };
        if entry.header.stamp.incarnation != last.incarnation {
            return Err(EntryError::Incarnation(
                "the entry is of another incarnation than the one before",
            ));
        }
        let names_origin = |change| match change {
            Change::Membership(membership) => membership.origin.is_some(),
            _ => false,
        };
        if is_membership && entry.changes().any(names_origin) {
            return Err(EntryError::Incarnation("only entry 0 may name an origin"));
        }
        Ok(())
    }

    fn check_chain(&mut self, kind: &Kind) -> Result<(), EntryError> {
        let wrong = |what, found, expected| {
            Err(EntryError::Chain {
                what,
                found,
                expected,
            })
        };
        match *kind {
            Kind::Commit | Kind::Membership => Ok(()),
            Kind::Prewrite { txn, part } => {
                let known = self.open.get(&txn).copied();
                let expected = match known {
                    None if self.partial => part,
                    known => known.unwrap_or(0),
                };
                if part != expected {
                    return wrong("part of a prewrite", part, expected);
                }
                self.open.insert(txn, part + 1);
                Ok(())
            }
            Kind::Resolve { txn, resolution } => {
                let known = self.open.get(&txn).copied();
                let parts = match resolution {
                    Resolution::Abort => known,
                    Resolution::Commit { parts, .. } => Some(parts),
                };
                match (known, parts) {
                    (None, _) if !self.partial => wrong("parts before a resolve", 0, 1),
                    (Some(known), Some(parts)) if known != parts => {
                        wrong("parts of a resolve", parts, known)
                    }
                    _ => {
                        self.open.remove(&txn);
                        Ok(())
                    }
                }
            }
        }
    }

    /// The last entry's numbers.
    pub fn last(&self) -> Option<Base> {
        self.last
    }

    /// Transactions with prewrites and no resolve: recovery aborts them.
    pub fn unresolved(&self) -> impl Iterator<Item = (TransactionId, u32)> + '_ {
        self.open.iter().map(|(txn, parts)| (*txn, *parts))
    }
}

fn time(what: &'static str, found: CommitTs, before: CommitTs) -> EntryError {
    EntryError::Time {
        what,
        found: found.0,
        before: before.0,
    }
}
