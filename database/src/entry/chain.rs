//! A transaction of any size: one entry, or a chain of prewrites and a resolve.
//!
//! Invariant: the changes are those that were pushed, in order; it is one `Commit` exactly if they fit
//! one entry.

use super::builder::{EntryBuilder, Seed};
use super::change::Change;
use super::error::EntryError;
use super::header::{Kind, Resolution, Stamp, TransactionId};
use crate::limits::CHAIN_PARTS_MAX;

/// Takes the changes of a transaction.
#[derive(Debug)]
pub struct ChainBuilder<R> {
    txn: TransactionId,
    random_seed: R,
    parts: Vec<EntryBuilder>,
    current: EntryBuilder,
}

/// The entries of a transaction, not stamped yet.
#[derive(Debug)]
pub struct Chain {
    txn: TransactionId,
    parts: Vec<EntryBuilder>,
}

impl<R: FnMut() -> Seed> ChainBuilder<R> {
    /// A transaction without changes. `txn` is used only if it takes more than one entry.
    pub fn new(txn: TransactionId, mut random_seed: R) -> Self {
        // A prewrite's header is the longer one: what fits it also fits a commit.
        let kind = Kind::Prewrite { txn, part: 0 };
        ChainBuilder {
            txn,
            current: EntryBuilder::new(kind, random_seed()),
            random_seed,
            parts: Vec::new(),
        }
    }

    /// Appends a change.
    ///
    /// # Errors
    /// `Order` and `Bound` as for one entry; `Chain` if it takes more parts than a chain may have.
    pub fn push(&mut self, change: &Change<'_>) -> Result<(), EntryError> {
        match self.current.push(change) {
            Err(EntryError::TooLong { .. }) if !self.current.is_empty() => {}
            outcome => return outcome,
        }
        let part = self.parts.len() as u32 + 1;
        if part >= CHAIN_PARTS_MAX {
            return Err(EntryError::Chain {
                what: "too many parts",
                found: part + 1,
                expected: CHAIN_PARTS_MAX,
            });
        }
        let kind = Kind::Prewrite {
            txn: self.txn,
            part,
        };
        let mut next = EntryBuilder::new(kind, (self.random_seed)());
        next.push(change)?;
        self.parts.push(std::mem::replace(&mut self.current, next));
        Ok(())
    }

    /// The entries that it takes.
    pub fn finish(mut self) -> Chain {
        if self.parts.is_empty() {
            self.current.become_commit();
        }
        self.parts.push(self.current);
        Chain {
            txn: self.txn,
            parts: self.parts,
        }
    }
}

impl Chain {
    /// Number of entries: 1, or the prewrites and the resolve.
    pub fn entries(&self) -> usize {
        match self.parts.len() {
            1 => 1,
            parts => parts + 1,
        }
    }

    /// The entries' bytes. `stamp` gives the stamp of each, in order, with rising timestamps; that of
    /// the last one is the version of the rows.
    ///
    /// # Errors
    /// As [`EntryBuilder::finish`].
    pub fn stamp(self, mut stamp: impl FnMut() -> Stamp) -> Result<Vec<Vec<u8>>, EntryError> {
        let parts = self.parts.len() as u32;
        let mut entries = Vec::with_capacity(self.entries());
        for part in self.parts {
            entries.push(part.finish(stamp())?);
        }
        if parts > 1 {
            let stamp = stamp();
            let resolution = Resolution::Commit {
                commit_ts: stamp.commit_ts,
                parts,
            };
            let kind = Kind::Resolve {
                txn: self.txn,
                resolution,
            };
            entries.push(EntryBuilder::new(kind, Seed::default()).finish(stamp)?);
        }
        Ok(entries)
    }
}
