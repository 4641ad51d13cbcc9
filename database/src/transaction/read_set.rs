//! What a serializable transaction has read: ranges of places.
//!
//! A range is the one given to a storage iterator when it was opened, before LIMIT and filters: the
//! answer may depend on all of it, also where it is empty.

use crate::version::{StorageId, place, split_place};
use std::collections::BTreeSet;

/// Ranges in one set; more coarsen to whole storages.
pub const READ_RANGES_MAX: usize = 10_000;

/// The set. Ranges are `[from, to)`.
#[derive(Debug, Clone, Default)]
pub struct ReadSet {
    ranges: BTreeSet<(Vec<u8>, Vec<u8>)>,
    storages: BTreeSet<StorageId>,
}

impl ReadSet {
    /// Adds a range of one storage.
    pub fn add(&mut self, from: &[u8], to: &[u8]) {
        let Some((storage, _)) = split_place(from) else {
            return;
        };
        if self.storages.contains(&storage) {
            return;
        }
        self.ranges.insert((from.to_vec(), to.to_vec()));
        if self.ranges.len() > READ_RANGES_MAX {
            let ranges = std::mem::take(&mut self.ranges);
            let storages = ranges.iter().filter_map(|(from, _)| split_place(from));
            self.storages.extend(storages.map(|(storage, _)| storage));
        }
    }

    /// Adds one place.
    pub fn add_place(&mut self, place: &[u8]) {
        // Keys are prefix-free: nothing is between a place and it with a zero byte behind.
        let mut to = place.to_vec();
        to.push(0);
        self.add(place, &to);
    }

    /// All ranges, those of whole storages too.
    pub fn ranges(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
        let whole = self
            .storages
            .iter()
            .map(|storage| (place(*storage, &[]), place(StorageId(storage.0 + 1), &[])));
        self.ranges.iter().cloned().chain(whole)
    }

    /// True if nothing was read.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.storages.is_empty()
    }
}
