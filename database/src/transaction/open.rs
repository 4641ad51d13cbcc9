//! Opening the database of a directory: its store, its log, the leaves of its tree.
//!
//! ```text
//!   rows.redb     the store
//!   log/          the log of the node's groups
//!   tree/         leaf hashes of the group's tree
//! ```

use super::database::{Database, DatabaseOptions};
use super::error::{Error, Result};
use crate::commit::GroupLog;
use crate::entry::{Change, CommitTs, EntryBuilder, Incarnation, Kind, Membership, Stamp};
use crate::log::{Group, LocalLog, LogError, LogOptions, Lsn};
use crate::store::{RedbEngine, Store};
use crate::tree::{Frontier, TileFiles};
use cairn_storage::disk::Disk;
use std::path::Path;
use std::sync::Arc;

/// The one group of a node by itself.
const GROUP: Group = Group(0);

/// Bytes of the store's cache: what a small node can spare.
pub const STORE_CACHE_BYTES: usize = 32 << 20;

impl Database {
    /// Opens or creates the database in a directory.
    ///
    /// # Errors
    /// `Damaged` if something that was acknowledged is not there; faults of the disk.
    pub fn open_directory(
        disk: &Arc<dyn Disk>,
        directory: &Path,
        cache_bytes: usize,
        options: DatabaseOptions,
    ) -> Result<Arc<Self>> {
        disk.create_directory(directory)?;
        let engine = RedbEngine::open(&**disk, &directory.join("rows.redb"), cache_bytes)?;
        let store = Store::open(Box::new(engine), GROUP.0)?;
        let applied = store.applied();
        let floor = (GROUP, Lsn(applied.next_lsn));
        let floors = if applied.next_lsn > 0 {
            vec![floor]
        } else {
            Vec::new()
        };
        let log_directory = directory.join("log");
        let log = LocalLog::open(disk.clone(), &log_directory, LogOptions::default(), &floors)?;
        if !log.groups().contains(&GROUP) {
            log.create_group(GROUP, first_entry()?)?;
        }
        let frontier = match applied.frontier.is_empty() {
            true => Frontier::default(),
            false => Frontier::from_bytes(&applied.frontier)
                .ok_or_else(|| Error::Damaged("the stored frontier is no frontier".into()))?,
        };
        let tiles = TileFiles::open(disk.clone(), directory.join("tree"), frontier)?;
        let log = GroupLog::new(Arc::new(log), GROUP);
        Database::open_with(store, Arc::new(log), Some(tiles), options)
    }
}

/// Entry 0: the node by itself, under an incarnation of its own.
fn first_entry() -> Result<Vec<u8>> {
    let limit = |error: crate::entry::EntryError| Error::Limit(error.to_string());
    let mut builder = EntryBuilder::new(Kind::Membership, rand::random());
    let membership = Membership::alone(b"self".to_vec(), None);
    builder
        .push(&Change::Membership(membership))
        .map_err(limit)?;
    let stamp = Stamp {
        incarnation: Incarnation(rand::random()),
        commit_ts: CommitTs(1),
        ..Stamp::default()
    };
    builder.finish(stamp).map_err(limit)
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Damaged(_) => Error::Damaged(error.to_string()),
            LogError::Stopped { first } => Error::Stopped(first),
            other => Error::Fault(other.to_string()),
        }
    }
}
