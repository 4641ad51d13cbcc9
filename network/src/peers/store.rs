//! The peers file: what the address book and the scores knew when the node last stopped.
//!
//! Invariant: losing or damaging this file costs only time. A file that cannot be read is set
//! aside and a new one begun. One redb table: peer id bytes to a postcard record; a record that
//! does not decode is skipped.

use std::{
    fs::{OpenOptions, Permissions},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use libp2p::{Multiaddr, PeerId};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, backends::FileBackend};
use serde::{Deserialize, Serialize};

use super::book::{Direction, Entry};

const PEERS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("peers-1");
/// The file is some megabytes at most.
const CACHE_BYTES: usize = 1024 * 1024;
/// The owner only.
const MODE: u32 = 0o600;

/// One peer on disk. Fields are only ever added under a new table name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    addresses: Vec<Vec<u8>>,
    last_ok_ms: u64,
    direction: Direction,
    failures: u32,
    is_anchor: bool,
    score: f64,
    score_at_ms: u64,
    ban_until_ms: u64,
}

/// The parts of a [`Record`] that concern the score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SavedScore {
    /// Score when it was last changed.
    pub score: f64,
    /// When that was.
    pub at_ms: u64,
    /// Banned until then.
    pub ban_until_ms: u64,
}

impl Record {
    /// A record from what is known in memory.
    pub fn new(entry: Option<&Entry>, score: SavedScore) -> Self {
        Self {
            addresses: entry
                .map(|entry| entry.addresses.iter().map(Multiaddr::to_vec).collect())
                .unwrap_or_default(),
            last_ok_ms: entry.map_or(0, |entry| entry.last_ok_ms),
            direction: entry.map_or(Direction::Inbound, |entry| entry.direction),
            failures: entry.map_or(0, |entry| entry.failures),
            is_anchor: entry.is_some_and(|entry| entry.is_anchor),
            score: score.score,
            score_at_ms: score.at_ms,
            ban_until_ms: score.ban_until_ms,
        }
    }

    /// The address book's part; `None` if there was no address.
    pub fn entry(&self) -> Option<Entry> {
        let addresses: Vec<_> = self
            .addresses
            .iter()
            .filter_map(|bytes| Multiaddr::try_from(bytes.clone()).ok())
            .collect();
        (!addresses.is_empty()).then_some(Entry {
            addresses,
            last_ok_ms: self.last_ok_ms,
            direction: self.direction,
            failures: self.failures,
            next_dial_ms: 0,
            is_anchor: self.is_anchor,
            is_pinned: false,
        })
    }

    /// The score's part.
    pub fn score(&self) -> SavedScore {
        SavedScore {
            score: self.score,
            at_ms: self.score_at_ms,
            ban_until_ms: self.ban_until_ms,
        }
    }
}

/// The file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("peers file {path}: {source}")]
pub struct StoreError {
    path: PathBuf,
    #[source]
    source: Box<redb::Error>,
}

/// The open peers file.
#[derive(Debug)]
pub struct PeersFile {
    path: PathBuf,
    database: Database,
}

impl PeersFile {
    /// Opens or creates the file. A damaged one is renamed to `<name>.damaged` first; one that
    /// another process holds is an error.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        match Self::create(path) {
            Ok(database) => Ok(Self {
                path: path.into(),
                database,
            }),
            Err(redb::Error::DatabaseAlreadyOpen) => {
                Err(Self::error(path, redb::Error::DatabaseAlreadyOpen))
            }
            Err(first) if path.exists() => {
                let aside = path.with_extension("damaged");
                tracing::warn!(path = %path.display(), error = %first, aside = %aside.display(),
                    "peers file cannot be read, starting a new one");
                std::fs::rename(path, aside)
                    .map_err(|error| Self::error(path, redb::Error::Io(error)))?;
                let database = Self::create(path).map_err(|error| Self::error(path, error))?;
                Ok(Self {
                    path: path.into(),
                    database,
                })
            }
            Err(error) => Err(Self::error(path, error)),
        }
    }

    fn error(path: &Path, source: redb::Error) -> StoreError {
        StoreError {
            path: path.into(),
            source: Box::new(source),
        }
    }

    fn create(path: &Path) -> Result<Database, redb::Error> {
        // Whom this node talks to is its own affair, in a directory that is not as well.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(MODE)
            .open(path)?;
        file.set_permissions(Permissions::from_mode(MODE))?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(FileBackend::new(file)?)?;
        let write = database.begin_write()?;
        write.open_table(PEERS)?;
        write.commit()?;
        Ok(database)
    }

    /// Everything that decodes, in the order of the ids.
    pub fn load(&self) -> Result<Vec<(PeerId, Record)>, StoreError> {
        self.read().map_err(|error| Self::error(&self.path, error))
    }

    fn read(&self) -> Result<Vec<(PeerId, Record)>, redb::Error> {
        let table = self.database.begin_read()?.open_table(PEERS)?;
        let mut records = Vec::new();
        for row in table.iter()? {
            let (key, value) = row?;
            let peer = PeerId::from_bytes(key.value()).ok();
            let record = postcard::from_bytes::<Record>(value.value()).ok();
            records.extend(peer.zip(record));
        }
        Ok(records)
    }

    /// Replaces the content.
    pub fn save(&self, records: &[(PeerId, Record)]) -> Result<(), StoreError> {
        self.write(records)
            .map_err(|error| Self::error(&self.path, error))
    }

    fn write(&self, records: &[(PeerId, Record)]) -> Result<(), redb::Error> {
        let write = self.database.begin_write()?;
        {
            let mut table = write.open_table(PEERS)?;
            table.retain(|_, _| false)?;
            for (peer, record) in records {
                let value = postcard::to_stdvec(record).expect("a record of plain fields encodes");
                table.insert(peer.to_bytes().as_slice(), value.as_slice())?;
            }
        }
        write.commit()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let entry = Entry {
            addresses: vec!["/ip4/1.2.3.4/tcp/5".parse().unwrap()],
            last_ok_ms: 7,
            direction: Direction::Outbound,
            failures: 2,
            next_dial_ms: 0,
            is_anchor: true,
            is_pinned: false,
        };
        Record::new(
            Some(&entry),
            SavedScore {
                score: -12.5,
                at_ms: 8,
                ban_until_ms: 9,
            },
        )
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.redb");
        let peer = PeerId::random();
        let file = PeersFile::open(&path).unwrap();
        file.save(&[(PeerId::random(), record())]).unwrap();
        file.save(&[(peer, record())]).unwrap();
        drop(file);
        let loaded = PeersFile::open(&path).unwrap().load().unwrap();
        assert_eq!(loaded, [(peer, record())]);
        let entry = loaded[0].1.entry().unwrap();
        assert!(entry.is_anchor && entry.last_ok_ms == 7);
        assert_eq!(loaded[0].1.score().score, -12.5);
    }

    #[test]
    fn only_the_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.redb");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        drop(PeersFile::open(&path).unwrap());
        assert_eq!(mode(), 0o600, "a new file");
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        drop(PeersFile::open(&path).unwrap());
        assert_eq!(mode(), 0o600, "a file of an older version");
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.redb");
        std::fs::write(&path, b"this is no database, whatever its name says").unwrap();
        let file = PeersFile::open(&path).unwrap();
        assert!(file.load().unwrap().is_empty());
        assert!(path.with_extension("damaged").exists());
    }

    #[test]
    fn a_file_in_use_is_an_error_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.redb");
        let _file = PeersFile::open(&path).unwrap();
        assert!(PeersFile::open(&path).is_err());
        assert!(!path.with_extension("damaged").exists());
    }
}
