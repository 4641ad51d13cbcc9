//! An entry as it is read: checked whole, then looked at in place.

use super::builder::{Seed, change_leaf, salt};
use super::change::Change;
use super::codec::Reader;
use super::error::EntryError;
use super::header::{Header, Kind};
use crate::limits::ENTRY_BYTES_MAX;
use crate::tree::{Frontier, Hash, ProofError, leaf_hash, prove_inclusion, verify_inclusion};

/// A decoded entry. What it borrows was checked: bounds, spelling, order, count and root.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// Its header.
    pub header: Header,
    header_bytes: &'a [u8],
    seed: Seed,
    body: &'a [u8],
}

/// The changes of an entry, in order.
#[derive(Debug, Clone)]
pub struct Changes<'a>(Reader<'a>);

/// Shows that a change is in an entry, and nothing else of the entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeProof {
    /// Index of the change.
    pub index: u32,
    /// Its salt.
    pub salt: [u8; 16],
    /// Its bytes.
    pub change: Vec<u8>,
    /// The way to the changes root.
    pub path: Vec<Hash>,
}

impl<'a> Entry<'a> {
    /// Reads an entry that is all of `bytes`.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EntryError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLong {
                found: bytes.len(),
                bound: ENTRY_BYTES_MAX,
            });
        }
        let mut reader = Reader(bytes);
        let header = Header::read(&mut reader)?;
        let header_bytes = &bytes[..bytes.len() - reader.0.len()];
        let seed = match header.changes {
            0 => Seed::default(),
            _ => reader.array("seed")?,
        };
        let entry = Entry {
            header,
            header_bytes,
            seed,
            body: reader.0,
        };
        let root = entry.check_body()?;
        if root != header.changes_root {
            return Err(EntryError::Root);
        }
        Ok(entry)
    }

    fn check_body(&self) -> Result<Hash, EntryError> {
        let mut frontier = Frontier::default();
        let mut last = None;
        let mut is_membership = false;
        let mut reader = Reader(self.body);
        for index in 0..self.header.changes {
            let counted = self.header.changes;
            if reader.0.is_empty() {
                return Err(EntryError::Count {
                    counted,
                    found: index,
                });
            }
            let start = reader.0;
            let change = Change::read(&mut reader)?;
            let (key, once) = change.sort_key();
            if last.is_some_and(|last| key < last || (once && key == last)) {
                return Err(EntryError::Order { index });
            }
            last = Some(key);
            is_membership = matches!(change, Change::Membership(_));
            let bytes = &start[..start.len() - reader.0.len()];
            frontier.push(change_leaf(&salt(&self.seed, index), bytes));
        }
        if !reader.0.is_empty() {
            return Err(EntryError::Count {
                counted: self.header.changes,
                found: self.header.changes.saturating_add(1),
            });
        }
        check_membership(&self.header.kind, is_membership)?;
        Ok(frontier.root())
    }

    /// The bytes of the header.
    pub fn header_bytes(&self) -> &'a [u8] {
        self.header_bytes
    }

    /// The leaf of the group's tree.
    pub fn leaf(&self) -> Hash {
        leaf_hash(&[self.header_bytes])
    }

    /// Its changes.
    pub fn changes(&self) -> Changes<'a> {
        Changes(Reader(self.body))
    }

    /// A proof of one change; none if there is no such change.
    pub fn prove(&self, index: u32) -> Option<ChangeProof> {
        let mut leaves = Vec::new();
        let mut proven = None;
        let mut reader = Reader(self.body);
        for at in 0..self.header.changes {
            let start = reader.0;
            Change::read(&mut reader).ok()?;
            let bytes = &start[..start.len() - reader.0.len()];
            let salt = salt(&self.seed, at);
            leaves.push(change_leaf(&salt, bytes));
            if at == index {
                proven = Some((salt, bytes.to_vec()));
            }
        }
        let (salt, change) = proven?;
        Some(ChangeProof {
            index,
            salt,
            change,
            path: prove_inclusion(u64::from(index), &leaves),
        })
    }
}

impl ChangeProof {
    /// Checks that the change is in the entry of this header.
    ///
    /// # Errors
    /// What does not hold.
    pub fn verify(&self, header: &Header) -> Result<(), ProofError> {
        verify_inclusion(
            &change_leaf(&self.salt, &self.change),
            u64::from(self.index),
            u64::from(header.changes),
            &self.path,
            &header.changes_root,
        )
    }

    /// The change that it shows.
    ///
    /// # Errors
    /// The rule that its bytes break.
    pub fn change(&self) -> Result<Change<'_>, EntryError> {
        let mut reader = Reader(&self.change);
        let change = Change::read(&mut reader)?;
        if !reader.0.is_empty() {
            return Err(EntryError::NotCanonical("change"));
        }
        Ok(change)
    }
}

impl<'a> Iterator for Changes<'a> {
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Change<'a>> {
        if self.0.0.is_empty() {
            return None;
        }
        Some(Change::read(&mut self.0).expect("the entry was checked when it was decoded"))
    }
}

/// A membership change stands in membership entries, alone, and nowhere else. (It sorts last, so it is
/// enough to know the last change.)
pub(super) fn check_membership(kind: &Kind, last_is_membership: bool) -> Result<(), EntryError> {
    if matches!(kind, Kind::Membership) != last_is_membership {
        return Err(EntryError::Kind(
            "a membership change stands in a membership entry and nowhere else",
        ));
    }
    Ok(())
}
