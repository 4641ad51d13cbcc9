//! One change of an entry.
//!
//! ```text
//! tag 0 catalog put     key, row                 5 row removal     storage, key
//!     1 catalog removal key                      6 index put       storage, key, value
//!     2 sequence        id, reserved i64 LE      7 index removal   storage, key
//!     3 horizon         commit_ts u64 LE         8 notification    channel, payload
//!     4 row put         storage, key, row        9 membership
//! ```
//! storage and sequence ids are varints; keys, rows, values and texts stand behind their length.
//!
//! Invariant: changes stand in the order catalog, sequences, horizon, rows and indexes, notifications,
//! membership; inside the first four by id and key, each at most once. So one key has one change, a
//! store applies them in the order of its trees, and two neighbours prove that a key between them was
//! not touched. Plain indexes follow from the rows and are not in the entry.

use super::codec::{Reader, put_bytes, put_varint};
use super::error::EntryError;
use super::header::CommitTs;
use super::membership::Membership;
use crate::limits::{CHANNEL_BYTES_MAX, KEY_BYTES_MAX, NOTIFICATION_BYTES_MAX, ROW_BYTES_MAX};

/// Names the rows of a table or the entries of an index in the store; a rewritten table gets another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StorageId(pub u64);

/// One change, borrowing its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<'a> {
    /// A row of the catalog is now this.
    CatalogPut {
        /// Its key.
        key: &'a [u8],
        /// Its bytes.
        row: &'a [u8],
    },
    /// A row of the catalog is gone.
    CatalogDelete {
        /// Its key.
        key: &'a [u8],
    },
    /// Values up to this one may be handed out.
    Sequence {
        /// The sequence.
        id: u64,
        /// The last reserved value in the direction of the sequence.
        reserved: i64,
    },
    /// Nobody reads below this timestamp any more.
    Horizon(CommitTs),
    /// A row is now this.
    RowPut {
        /// The table's storage.
        storage: StorageId,
        /// The row's key.
        key: &'a [u8],
        /// Its bytes.
        row: &'a [u8],
    },
    /// A row is gone.
    RowDelete {
        /// The table's storage.
        storage: StorageId,
        /// The row's key.
        key: &'a [u8],
    },
    /// An entry of an expression or partial index is now this.
    IndexPut {
        /// The index's storage.
        storage: StorageId,
        /// The entry's key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// An entry of an expression or partial index is gone.
    IndexDelete {
        /// The index's storage.
        storage: StorageId,
        /// The entry's key.
        key: &'a [u8],
    },
    /// A NOTIFY.
    Notify {
        /// The channel.
        channel: &'a str,
        /// The payload.
        payload: &'a str,
    },
    /// The members of the group.
    Membership(Membership),
}

/// Where a change sorts: class, id, key. Notifications keep the order of their statements.
pub(super) type SortKey<'a> = (u8, u64, &'a [u8]);

impl<'a> Change<'a> {
    /// Where it sorts; none for notifications, which may repeat.
    pub(super) fn sort_key(&self) -> (SortKey<'a>, bool) {
        match self {
            Change::CatalogPut { key, .. } | Change::CatalogDelete { key } => ((0, 0, key), true),
            Change::Sequence { id, .. } => ((1, *id, &[]), true),
            Change::Horizon(_) => ((2, 0, &[]), true),
            Change::RowPut { storage, key, .. }
            | Change::RowDelete { storage, key }
            | Change::IndexPut { storage, key, .. }
            | Change::IndexDelete { storage, key } => ((3, storage.0, key), true),
            Change::Notify { .. } => ((4, 0, &[]), false),
            Change::Membership(_) => ((5, 0, &[]), true),
        }
    }

    /// Appends its bytes.
    pub(super) fn put(&self, out: &mut Vec<u8>) -> Result<(), EntryError> {
        match self {
            Change::CatalogPut { key, row } => {
                out.push(0);
                put_bytes(out, "key", key, KEY_BYTES_MAX)?;
                put_bytes(out, "row", row, ROW_BYTES_MAX)
            }
            Change::CatalogDelete { key } => {
                out.push(1);
                put_bytes(out, "key", key, KEY_BYTES_MAX)
            }
            Change::Sequence { id, reserved } => {
                out.push(2);
                put_varint(out, *id);
                out.extend_from_slice(&reserved.to_le_bytes());
                Ok(())
            }
            Change::Horizon(commit_ts) => {
                out.push(3);
                out.extend_from_slice(&commit_ts.0.to_le_bytes());
                Ok(())
            }
            Change::RowPut { storage, key, row } => put_pair(out, 4, *storage, key, "row", row),
            Change::RowDelete { storage, key } => put_place(out, 5, *storage, key),
            Change::IndexPut {
                storage,
                key,
                value,
            } => put_pair(out, 6, *storage, key, "value", value),
            Change::IndexDelete { storage, key } => put_place(out, 7, *storage, key),
            Change::Notify { channel, payload } => {
                out.push(8);
                put_bytes(out, "channel", channel.as_bytes(), CHANNEL_BYTES_MAX)?;
                put_bytes(
                    out,
                    "notification",
                    payload.as_bytes(),
                    NOTIFICATION_BYTES_MAX,
                )
            }
            Change::Membership(membership) => {
                out.push(9);
                membership.put(out)
            }
        }
    }

    /// Reads one change.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, EntryError> {
        Ok(match reader.u8("change")? {
            0 => Change::CatalogPut {
                key: reader.bytes("key", KEY_BYTES_MAX)?,
                row: reader.bytes("row", ROW_BYTES_MAX)?,
            },
            1 => Change::CatalogDelete {
                key: reader.bytes("key", KEY_BYTES_MAX)?,
            },
            2 => Change::Sequence {
                id: reader.varint("sequence")?,
                reserved: i64::from_le_bytes(reader.array("sequence")?),
            },
            3 => Change::Horizon(CommitTs(reader.u64("horizon")?)),
            4 => Change::RowPut {
                storage: StorageId(reader.varint("storage id")?),
                key: reader.bytes("key", KEY_BYTES_MAX)?,
                row: reader.bytes("row", ROW_BYTES_MAX)?,
            },
            5 => Change::RowDelete {
                storage: StorageId(reader.varint("storage id")?),
                key: reader.bytes("key", KEY_BYTES_MAX)?,
            },
            6 => Change::IndexPut {
                storage: StorageId(reader.varint("storage id")?),
                key: reader.bytes("key", KEY_BYTES_MAX)?,
                value: reader.bytes("value", ROW_BYTES_MAX)?,
            },
            7 => Change::IndexDelete {
                storage: StorageId(reader.varint("storage id")?),
                key: reader.bytes("key", KEY_BYTES_MAX)?,
            },
            8 => Change::Notify {
                channel: reader.text("channel", CHANNEL_BYTES_MAX)?,
                payload: reader.text("notification", NOTIFICATION_BYTES_MAX)?,
            },
            9 => Change::Membership(Membership::read(reader)?),
            found => {
                return Err(EntryError::Unknown {
                    what: "change",
                    found,
                });
            }
        })
    }
}

fn put_place(out: &mut Vec<u8>, tag: u8, storage: StorageId, key: &[u8]) -> Result<(), EntryError> {
    out.push(tag);
    put_varint(out, storage.0);
    put_bytes(out, "key", key, KEY_BYTES_MAX)
}

fn put_pair(
    out: &mut Vec<u8>,
    tag: u8,
    storage: StorageId,
    key: &[u8],
    what: &'static str,
    value: &[u8],
) -> Result<(), EntryError> {
    put_place(out, tag, storage, key)?;
    put_bytes(out, what, value, ROW_BYTES_MAX)
}
