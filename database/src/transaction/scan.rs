//! Ranges of rows as a transaction sees them: the view with its layers over it.

use super::error::{Error, Result};
use super::layer::{Layer, Write};
use super::read_set::ReadSet;
use crate::catalog::{self, Relation};
use crate::entry::CommitTs;
use crate::store::Effect;
use crate::types::Value;
use crate::version::{Snapshot, VersionRange, place, split_place};
use parking_lot::Mutex;
use std::cmp::Ordering;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

/// A layer's next write, if there is one.
type Head = Option<(Vec<u8>, Write)>;

/// Places and bytes of a range. It holds what it reads by itself.
pub struct Scan {
    rows: Peekable<VersionRange>,
    layers: Vec<Arc<Layer>>,
    /// Each layer's next write, once it was asked.
    heads: Vec<Option<Head>>,
    from: Vec<u8>,
    to: Vec<u8>,
    reverse: bool,
    /// The last place given out: layers go on behind it.
    last: Option<Vec<u8>>,
    planted_reads: Option<Arc<Mutex<ReadSet>>>,
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan")
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl Scan {
    pub(super) fn new(
        rows: VersionRange,
        layers: Vec<Arc<Layer>>,
        from: &[u8],
        to: &[u8],
        reverse: bool,
    ) -> Self {
        let layers: Vec<_> = layers
            .into_iter()
            .filter(|layer| !layer.is_empty())
            .collect();
        Scan {
            rows: rows.peekable(),
            heads: layers.iter().map(|_| None).collect(),
            layers,
            from: from.to_vec(),
            to: to.to_vec(),
            reverse,
            last: None,
            planted_reads: None,
        }
    }

    pub(super) fn recording(mut self, reads: Arc<Mutex<ReadSet>>) -> Self {
        self.planted_reads = Some(reads);
        self
    }

    fn fill_heads(&mut self) -> Result<()> {
        for (head, layer) in self.heads.iter_mut().zip(&self.layers) {
            if head.is_some() {
                continue;
            }
            let bounds = match &self.last {
                None => (
                    Bound::Included(&self.from[..]),
                    Bound::Excluded(&self.to[..]),
                ),
                Some(last) if self.reverse => {
                    (Bound::Included(&self.from[..]), Bound::Excluded(&last[..]))
                }
                Some(last) => (Bound::Excluded(&last[..]), Bound::Excluded(&self.to[..])),
            };
            *head = Some(layer.next(bounds, self.reverse)?);
        }
        Ok(())
    }

    fn is_before(&self, a: &[u8], b: &[u8]) -> bool {
        let order = if self.reverse { b.cmp(a) } else { a.cmp(b) };
        order == Ordering::Less
    }

    /// The next place and what the topmost layer, or the view, has there.
    fn step(&mut self) -> Result<Option<Effect>> {
        self.fill_heads()?;
        let mut next: Option<Vec<u8>> = match self.rows.peek() {
            None => None,
            Some(Ok((place, _))) => Some(place.clone()),
            Some(Err(_)) => match self.rows.next() {
                Some(Err(error)) => return Err(error.into()),
                _ => return Err(Error::Fault("a scan changed under its reader".into())),
            },
        };
        for head in self.heads.iter().flatten().flatten() {
            if next
                .as_ref()
                .is_none_or(|next| self.is_before(&head.0, next))
            {
                next = Some(head.0.clone());
            }
        }
        let Some(next) = next else {
            return Ok(None);
        };
        let mut found = None;
        if let Some(Ok((place, _))) = self.rows.peek()
            && *place == next
            && let Some(row) = self.rows.next()
        {
            found = Some(row?.1);
        }
        for head in &mut self.heads {
            if let Some(Some((place, _))) = head
                && *place == next
                && let Some(Some((_, write))) = head.take()
            {
                found = write.row.map(|row| row.to_vec());
            }
        }
        self.last = Some(next.clone());
        Ok(Some((next, found)))
    }
}

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step() {
                Ok(None) => return None,
                Ok(Some((place, Some(row)))) => {
                    if let Some(reads) = &self.planted_reads {
                        reads.lock().add_place(&place);
                    }
                    return Some(Ok((place, row)));
                }
                Ok(Some((_, None))) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Row keys and rows of a range of an index.
#[derive(Debug)]
pub struct IndexScan {
    entries: Scan,
    relation: Arc<Relation>,
    snapshot: Arc<Snapshot>,
    at: CommitTs,
    layers: Vec<Arc<Layer>>,
}

impl IndexScan {
    pub(super) fn new(
        entries: Scan,
        relation: Arc<Relation>,
        snapshot: Arc<Snapshot>,
        at: CommitTs,
        layers: Vec<Arc<Layer>>,
    ) -> Self {
        IndexScan {
            entries,
            relation,
            snapshot,
            at,
            layers,
        }
    }

    fn row(&self, entry: &[u8], value: &[u8]) -> Result<(Vec<u8>, Vec<Value>)> {
        let damaged = || Error::Damaged("an index entry points to no row".to_owned());
        let (_, key) = split_place(entry).ok_or_else(damaged)?;
        let key = catalog::row_key_of(key, value)?;
        let place = place(self.relation.table.storage(), key);
        for layer in self.layers.iter().rev() {
            if let Some(write) = layer.get(&place)? {
                let row = write.row.ok_or_else(damaged)?;
                return Ok((key.to_vec(), catalog::values(&self.relation.table, &row)?));
            }
        }
        let row = self.snapshot.get(&place, self.at)?.ok_or_else(damaged)?;
        Ok((key.to_vec(), catalog::values(&self.relation.table, &row)?))
    }
}

impl Iterator for IndexScan {
    type Item = Result<(Vec<u8>, Vec<Value>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entries.next()?;
        Some(entry.and_then(|(entry, value)| self.row(&entry, &value)))
    }
}
