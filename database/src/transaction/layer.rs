//! One layer of writes: sorted, in memory, and beyond a bound in sorted runs of a temporary file.
//!
//! Invariant: of several writes at one place the last one counts; newer runs are asked before older
//! ones, memory before all.

use super::run::Run;
use crate::version::{StorageId, split_place};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

/// What becomes of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The row, or nothing.
    pub row: Option<Arc<[u8]>>,
    /// What it belongs to.
    pub kind: WriteKind,
}

/// What a write belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKind {
    /// A row of a table, of the catalog or of the sequences.
    Row,
    /// An entry of an index that does not follow from the row's columns alone, or that a backfill makes.
    Index,
    /// An entry of a plain index: it follows from a row and is not in the log.
    Derived,
}

/// Bytes that a write takes beside its key and row: nodes of the maps.
const OVERHEAD_BYTES: usize = 96;

/// Places touched, for the validation of others.
#[derive(Debug, Clone, Default)]
pub struct Touched {
    /// One by one.
    pub places: BTreeSet<Vec<u8>>,
    /// Whole storages.
    pub storages: BTreeSet<StorageId>,
}

/// A layer.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    writes: BTreeMap<Vec<u8>, Write>,
    touched: Touched,
    runs: Vec<Arc<Run>>,
    bytes: usize,
}

impl Layer {
    /// True if nothing was written.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.runs.is_empty()
    }

    /// Bytes in memory.
    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }

    /// What was touched.
    pub fn touched(&self) -> &Touched {
        &self.touched
    }

    pub(super) fn write(&mut self, place: Vec<u8>, write: Write) {
        let size = |key: usize, write: &Write| key + write.row.as_ref().map_or(0, |row| row.len());
        self.bytes += OVERHEAD_BYTES + size(place.len(), &write);
        let key = place.len();
        if let Some(before) = self.writes.insert(place, write) {
            self.bytes -= OVERHEAD_BYTES + size(key, &before);
        }
    }

    pub(super) fn touch(&mut self, place: Vec<u8>) {
        if !self.touched.storages.is_empty()
            && split_place(&place).is_some_and(|(id, _)| self.touched.storages.contains(&id))
        {
            return;
        }
        let length = place.len();
        if self.touched.places.insert(place) {
            self.bytes += OVERHEAD_BYTES + length;
        }
    }

    /// Takes in a layer from above.
    pub(super) fn absorb(&mut self, upper: Layer) {
        if upper.runs.is_empty() {
            for (place, write) in upper.writes {
                self.write(place, write);
            }
        } else {
            // Its runs are newer than our memory: ours goes under them as a run in memory.
            let lower = std::mem::replace(&mut self.writes, upper.writes);
            self.runs.push(Arc::new(Run::in_memory(lower)));
            self.runs.extend(upper.runs);
            self.bytes += upper.bytes;
        }
        for storage in upper.touched.storages {
            self.touched.storages.insert(storage);
        }
        for place in upper.touched.places {
            self.touch(place);
        }
    }

    /// Moves the writes in memory to the end of a temporary file; what was touched coarsens to whole
    /// storages.
    pub(super) fn spill(&mut self, directory: &Path) -> io::Result<()> {
        if self.writes.is_empty() {
            return Ok(());
        }
        let run = Run::write(directory, &self.writes)?;
        self.runs.push(Arc::new(run));
        self.writes.clear();
        let places = std::mem::take(&mut self.touched.places);
        let storages = places.iter().filter_map(|place| split_place(place));
        self.touched
            .storages
            .extend(storages.map(|(storage, _)| storage));
        self.bytes = 0;
        Ok(())
    }

    /// The write at a place.
    pub(super) fn get(&self, place: &[u8]) -> io::Result<Option<Write>> {
        if let Some(write) = self.writes.get(place) {
            return Ok(Some(write.clone()));
        }
        for run in self.runs.iter().rev() {
            if let Some(write) = run.get(place)? {
                return Ok(Some(write));
            }
        }
        Ok(None)
    }

    /// The first write beyond `after` (or at `from`) below `to`, or the last one in reverse.
    pub(super) fn next(
        &self,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        reverse: bool,
    ) -> io::Result<Option<(Vec<u8>, Write)>> {
        if is_empty(bounds) {
            return Ok(None);
        }
        let mut range = self.writes.range::<[u8], _>(bounds);
        let found = if reverse {
            range.next_back()
        } else {
            range.next()
        };
        let mut best = found.map(|(place, write)| (place.clone(), write.clone()));
        for run in self.runs.iter().rev() {
            let Some((place, write)) = run.next(bounds, reverse)? else {
                continue;
            };
            let better = match &best {
                None => true,
                Some((known, _)) if reverse => place > *known,
                Some((known, _)) => place < *known,
            };
            if better {
                best = Some((place, write));
            }
        }
        Ok(best)
    }

    /// All writes in order.
    pub fn for_each<E: From<io::Error>>(
        &self,
        mut visit: impl FnMut(&[u8], &Write) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.runs.is_empty() {
            return self
                .writes
                .iter()
                .try_for_each(|(place, write)| visit(place, write));
        }
        let mut after: Option<Vec<u8>> = None;
        loop {
            let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let Some((place, write)) = self.next((from, Bound::Unbounded), false)? else {
                return Ok(());
            };
            visit(&place, &write)?;
            after = Some(place);
        }
    }
}

/// True if no place is between the bounds; a `BTreeMap` panics there.
fn is_empty(bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match bounds {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from), Bound::Excluded(to))
        | (Bound::Excluded(from), Bound::Included(to))
        | (Bound::Excluded(from), Bound::Excluded(to)) => from >= to,
    }
}
