//! What the store knows of itself: how far the log is applied, the horizon, the catalog's version.

use super::engine::{EngineWriter, Tree};
use super::{EngineReader, Result, StoreError};
use crate::version::CommitTs;

const APPLIED: u8 = b'a';
const HORIZON: &[u8] = b"horizon";
const CATALOG: &[u8] = b"catalog";
const INCARNATION: &[u8] = b"incarnation";

/// How far a group's log is in the store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Number of entries: the lsn of the next one.
    pub next_lsn: u64,
    /// Of the last entry.
    pub ts: CommitTs,
    /// The frontier of the group's tree over those entries.
    pub frontier: Vec<u8>,
}

impl Applied {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + self.frontier.len());
        bytes.extend_from_slice(&self.next_lsn.to_le_bytes());
        bytes.extend_from_slice(&self.ts.0.to_le_bytes());
        bytes.extend_from_slice(&self.frontier);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (Some(lsn), Some(ts)) = (
            bytes.first_chunk(),
            bytes.get(8..).and_then(<[u8]>::first_chunk),
        ) else {
            return Err(StoreError::damaged("the applied position is too short"));
        };
        Ok(Applied {
            next_lsn: u64::from_le_bytes(*lsn),
            ts: CommitTs(u64::from_le_bytes(*ts)),
            frontier: bytes[16..].to_vec(),
        })
    }
}

/// All of it, for one group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// How far the log is applied.
    pub applied: Applied,
    /// Nothing below it can be read.
    pub horizon: CommitTs,
    /// When the catalog last changed.
    pub catalog_ts: CommitTs,
    /// Of the log; zeros before its first entry.
    pub incarnation: [u8; 16],
}

fn applied_key(group: u32) -> [u8; 5] {
    let [a, b, c, d] = group.to_be_bytes();
    [APPLIED, a, b, c, d]
}

impl Meta {
    pub(super) fn read(reader: &dyn EngineReader, group: u32) -> Result<Self> {
        let timestamp = |key| -> Result<CommitTs> {
            let Some(bytes) = reader.get(Tree::Meta, key)? else {
                return Ok(CommitTs(0));
            };
            let bytes = bytes.try_into();
            let bytes = bytes.map_err(|_| StoreError::damaged("a timestamp has not 8 bytes"))?;
            Ok(CommitTs(u64::from_le_bytes(bytes)))
        };
        let applied = reader.get(Tree::Meta, &applied_key(group))?;
        let incarnation = match reader.get(Tree::Meta, INCARNATION)? {
            None => [0; 16],
            Some(bytes) => bytes
                .try_into()
                .map_err(|_| StoreError::damaged("an incarnation has not 16 bytes"))?,
        };
        Ok(Meta {
            applied: applied.map_or(Ok(Applied::default()), |bytes| Applied::from_bytes(&bytes))?,
            horizon: timestamp(HORIZON)?,
            catalog_ts: timestamp(CATALOG)?,
            incarnation,
        })
    }

    /// Writes what differs from `before`; the applied position always.
    pub(super) fn write(
        &self,
        writer: &mut dyn EngineWriter,
        group: u32,
        before: &Meta,
    ) -> Result<()> {
        writer.put(Tree::Meta, &applied_key(group), &self.applied.to_bytes())?;
        if self.horizon != before.horizon {
            writer.put(Tree::Meta, HORIZON, &self.horizon.0.to_le_bytes())?;
        }
        if self.catalog_ts != before.catalog_ts {
            writer.put(Tree::Meta, CATALOG, &self.catalog_ts.0.to_le_bytes())?;
        }
        if self.incarnation != before.incarnation {
            writer.put(Tree::Meta, INCARNATION, &self.incarnation)?;
        }
        Ok(())
    }
}
