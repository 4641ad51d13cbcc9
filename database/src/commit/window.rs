//! What recent commits touched, for the validation of serializable transactions.
//!
//! Invariant: for every commit above `floor`, in flight or applied, each place it touched is here with
//! the greatest such timestamp. A snapshot below the floor cannot be validated and is refused.

use crate::entry::{CommitTs, StorageId};
use crate::transaction::{ReadSet, Touched};
use crate::version::split_place;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Places in the window: at some 100 bytes each under 100 MiB in the worst case, and two million
/// places are seconds of the busiest load.
pub const WINDOW_PLACES_MAX: usize = 1_000_000;

/// The window.
#[derive(Debug, Default)]
pub struct Window {
    places: BTreeMap<Vec<u8>, CommitTs>,
    storages: HashMap<StorageId, CommitTs>,
    by_time: VecDeque<(CommitTs, Vec<Vec<u8>>)>,
    count: usize,
    floor: CommitTs,
}

impl Window {
    /// A window that begins at a timestamp.
    pub fn new(floor: CommitTs) -> Self {
        Window {
            floor,
            ..Window::default()
        }
    }

    /// True if nothing in the read set changed after the snapshot.
    pub fn is_valid(&self, reads: &ReadSet, snapshot: CommitTs) -> bool {
        if snapshot < self.floor {
            return false;
        }
        reads.ranges().all(|(from, to)| {
            let whole = split_place(&from).and_then(|(storage, _)| self.storages.get(&storage));
            let whole_changed = whole.is_some_and(|ts| *ts > snapshot);
            let changed = || self.places.range(from..to).any(|(_, ts)| *ts > snapshot);
            !whole_changed && !changed()
        })
    }

    /// Adds a commit.
    pub fn add(&mut self, ts: CommitTs, touched: &Touched) {
        for storage in &touched.storages {
            self.storages.insert(*storage, ts);
        }
        if touched.places.is_empty() {
            return;
        }
        let places: Vec<Vec<u8>> = touched.places.iter().cloned().collect();
        for place in &places {
            self.places.insert(place.clone(), ts);
        }
        self.count += places.len();
        self.by_time.push_back((ts, places));
        while self.count > WINDOW_PLACES_MAX {
            let Some((oldest, _)) = self.by_time.front() else {
                break;
            };
            self.trim(*oldest);
        }
    }

    /// Forgets commits at or below a timestamp: no snapshot below it will be validated.
    pub fn trim(&mut self, oldest_snapshot: CommitTs) {
        while let Some((ts, places)) = self.by_time.pop_front_if(|(ts, _)| *ts <= oldest_snapshot) {
            self.count -= places.len();
            for place in places {
                if self.places.get(&place) == Some(&ts) {
                    self.places.remove(&place);
                }
            }
        }
        self.storages.retain(|_, ts| *ts > oldest_snapshot);
        self.floor = self.floor.max(oldest_snapshot);
    }

    /// Number of places.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}
