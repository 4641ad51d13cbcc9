//! Builds an entry change by change.
//!
//! The changes are encoded and hashed as they come, in the session that made them; the stamp, which
//! only the commit pipeline knows, is put in at the end and costs no hash.

use super::change::Change;
use super::error::EntryError;
use super::header::{Header, Kind, Stamp};
use crate::limits::{CHANGES_MAX, ENTRY_BYTES_MAX};
use crate::tree::{Frontier, Hash, leaf_hash};
use sha2::{Digest, Sha256};

/// Secret of an entry from which the salts of its changes follow. It must come from a random source:
/// who knows it can try values against the hashes of rows that a proof does not show.
pub type Seed = [u8; 16];

const SALT_CONTEXT: &[u8] = b"cairn v1 change salt";

/// The salt of change `index`.
pub(super) fn salt(seed: &Seed, index: u32) -> [u8; 16] {
    let mut hasher = Sha256::new();
    hasher.update(SALT_CONTEXT);
    hasher.update(seed);
    hasher.update(index.to_le_bytes());
    let digest: Hash = hasher.finalize().into();
    digest[..16].try_into().expect("a digest has 32 bytes")
}

/// The leaf of a change in the entry's tree.
pub(super) fn change_leaf(salt: &[u8; 16], change: &[u8]) -> Hash {
    leaf_hash(&[salt, change])
}

/// An entry on its way.
#[derive(Debug, Clone)]
pub struct EntryBuilder {
    kind: Kind,
    seed: Seed,
    /// Room for the header, then the body.
    bytes: Vec<u8>,
    changes: u32,
    last: Option<(u8, u64, Vec<u8>)>,
    frontier: Frontier,
}

impl EntryBuilder {
    /// An entry without changes.
    pub fn new(kind: Kind, seed: Seed) -> Self {
        EntryBuilder {
            kind,
            seed,
            bytes: vec![0; kind.header_bytes()],
            changes: 0,
            last: None,
            frontier: Frontier::default(),
        }
    }

    /// Appends a change; after an error the entry is as before.
    ///
    /// # Errors
    /// `Order` if it does not sort behind the last one; `Bound` if a field of it is too long; `TooLong`
    /// if the entry would be.
    pub fn push(&mut self, change: &Change<'_>) -> Result<(), EntryError> {
        let (key, once) = change.sort_key();
        if let Some((class, id, last)) = &self.last {
            let last = (*class, *id, &last[..]);
            if key < last || (once && key == last) {
                return Err(EntryError::Order {
                    index: self.changes,
                });
            }
        }
        let before = self.bytes.len();
        if self.changes == 0 {
            self.bytes.extend_from_slice(&self.seed);
        }
        let start = self.bytes.len();
        let outcome = change.put(&mut self.bytes).and_then(|()| self.check_size());
        if outcome.is_err() {
            self.bytes.truncate(before);
            return outcome;
        }
        let salt = salt(&self.seed, self.changes);
        self.frontier.push(change_leaf(&salt, &self.bytes[start..]));
        self.changes += 1;
        let (class, id, key) = key;
        let mut kept = self
            .last
            .take()
            .map(|(_, _, kept)| kept)
            .unwrap_or_default();
        kept.clear();
        kept.extend_from_slice(key);
        self.last = Some((class, id, kept));
        Ok(())
    }

    fn check_size(&self) -> Result<(), EntryError> {
        if self.bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLong {
                found: self.bytes.len(),
                bound: ENTRY_BYTES_MAX,
            });
        }
        super::codec::check_bound(
            "change count",
            u64::from(self.changes) + 1,
            CHANGES_MAX as usize,
        )
    }

    /// Makes the first and only part of a chain a commit: the hashes do not depend on the kind.
    pub(super) fn become_commit(&mut self) {
        let room = self.kind.header_bytes() - Kind::Commit.header_bytes();
        self.bytes.drain(..room);
        self.kind = Kind::Commit;
    }

    /// Number of changes so far.
    pub fn changes(&self) -> u32 {
        self.changes
    }

    /// Bytes so far, with the header.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if there is no change.
    pub fn is_empty(&self) -> bool {
        self.changes == 0
    }

    /// The entry's bytes.
    ///
    /// # Errors
    /// `Kind` if the changes or the stamp do not fit the kind.
    pub fn finish(mut self, stamp: Stamp) -> Result<Vec<u8>, EntryError> {
        let header = Header {
            kind: self.kind,
            stamp,
            changes: self.changes,
            changes_root: self.frontier.root(),
        };
        header.check()?;
        let is_membership = self.last.as_ref().is_some_and(|(class, _, _)| *class == 5);
        super::view::check_membership(&self.kind, is_membership)?;
        let bytes = header.to_bytes();
        self.bytes[..bytes.len()].copy_from_slice(&bytes);
        Ok(self.bytes)
    }
}
