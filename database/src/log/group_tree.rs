//! The tree of one group over its log: leaf hashes go into tile files before their entries are purged.
//!
//! Invariant: the tiles hold every leaf that the log no longer can give. So the tree of any size up to
//! the last committed entry can be proven, however much of the log is gone.

use super::error::{LogError, Result};
use super::position::{Group, Lsn};
use super::{Log, Receipt};
use crate::entry::Entry;
use crate::limits::BATCH_BYTES;
use crate::tree::{Frontier, Hash, TileFiles, consistency_proof, inclusion_proof};
use cairn_storage::disk::Disk;
use std::path::PathBuf;
use std::sync::Arc;

/// The tree of one group.
#[derive(Debug)]
pub struct GroupTree {
    log: Arc<dyn Log>,
    group: Group,
    tiles: TileFiles,
}

impl GroupTree {
    /// Opens the tiles in `directory`. The log's start says how many leaves they must have; the leaves
    /// behind it are taken from the log again.
    ///
    /// # Errors
    /// `Damaged` if purged entries have no leaf.
    pub fn open(
        log: Arc<dyn Log>,
        group: Group,
        disk: Arc<dyn Disk>,
        directory: PathBuf,
    ) -> Result<Self> {
        let start = log.start(group)?;
        let tiles = TileFiles::recover(disk, directory, start.end.0)?;
        Ok(GroupTree { log, group, tiles })
    }

    /// Takes the leaves of committed entries up to `end`, not durably.
    ///
    /// # Errors
    /// `Misuse` if fewer are committed; `Damaged` if an entry does not decode.
    pub fn extend_to(&mut self, end: Lsn) -> Result<()> {
        let committed = self.log.watermarks(self.group)?.committed;
        if end > committed {
            return Err(LogError::Misuse(format!(
                "the tree cannot have {end} leaves, {committed} entries are committed"
            )));
        }
        while self.size() < end {
            let records = self.log.read(self.group, self.size(), BATCH_BYTES)?;
            if records.is_empty() {
                return Err(LogError::Misuse(format!(
                    "entry {} is committed and not here",
                    self.size()
                )));
            }
            for record in records.iter().filter(|record| record.lsn < end) {
                let entry = Entry::decode(&record.payload).map_err(|error| {
                    LogError::Damaged(format!(
                        "group {} entry {}: {error}",
                        self.group.0, record.lsn
                    ))
                })?;
                self.tiles.push(entry.leaf())?;
            }
        }
        Ok(())
    }

    /// Number of leaves so far.
    pub fn size(&self) -> Lsn {
        Lsn(self.tiles.frontier().size())
    }

    /// The frontier of the leaves so far.
    pub fn frontier(&self) -> &Frontier {
        self.tiles.frontier()
    }

    /// Puts the leaves before `end` on the disk, then drops the entries before it.
    pub fn purge_to(&mut self, end: Lsn) -> Result<Receipt> {
        self.extend_to(end)?;
        if self.tiles.durable() < end.0 {
            self.tiles.sync()?;
        }
        self.log.purge_to(self.group, end)
    }

    /// The root of the tree of `size` leaves.
    pub fn root(&mut self, size: Lsn) -> Result<Hash> {
        self.extend_to(size)?;
        let tiles = &mut self.tiles;
        Ok(Frontier::of(size.0, |level, index| tiles.node(level, index))?.root())
    }

    /// Proof that entry `lsn` is in the tree of `size` leaves.
    pub fn inclusion(&mut self, lsn: Lsn, size: Lsn) -> Result<Vec<Hash>> {
        self.extend_to(size)?;
        inclusion_proof(lsn.0, size.0, &mut |level, index| {
            self.tiles.node(level, index)
        })
    }

    /// Proof that the tree of `old` leaves is the beginning of that of `size`.
    pub fn consistency(&mut self, old: Lsn, size: Lsn) -> Result<Vec<Hash>> {
        self.extend_to(size)?;
        consistency_proof(old.0, size.0, &mut |level, index| {
            self.tiles.node(level, index)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Change, CommitTs, EntryBuilder, Kind, Membership, Stamp};
    use crate::log::{LocalLog, LogOptions};
    use crate::tree::{verify_consistency, verify_inclusion};
    use cairn_storage::disk::{FakeDisk, Loss};
    use std::path::Path;

    const GROUP: Group = Group(0);

    fn entry(at: u64) -> Vec<u8> {
        let kind = if at == 1 {
            Kind::Membership
        } else {
            Kind::Commit
        };
        let mut builder = EntryBuilder::new(kind, [at as u8; 16]);
        if at == 1 {
            let change = Change::Membership(Membership::alone(*b"me", None));
            builder.push(&change).unwrap();
        }
        let stamp = Stamp {
            commit_ts: CommitTs(at),
            ..Stamp::default()
        };
        builder.finish(stamp).unwrap()
    }

    fn open(disk: &FakeDisk) -> GroupTree {
        let fake: Arc<dyn Disk> = Arc::new(disk.clone());
        let options = LogOptions {
            segment_bytes: 32 << 10,
            block_bytes: 512,
            prepare_ahead: false,
        };
        let log = LocalLog::open(fake.clone(), Path::new("/log"), options, &[]).unwrap();
        if log.groups().is_empty() {
            log.create_group(GROUP, entry(1)).unwrap();
        }
        GroupTree::open(Arc::new(log), GROUP, fake, "/tree".into()).unwrap()
    }

    fn leaf(lsn: u64) -> Hash {
        Entry::decode(&entry(lsn + 1)).unwrap().leaf()
    }

    #[test]
    fn purged_entries_are_proven_also_after_a_power_cut() {
        let disk = FakeDisk::new();
        let mut tree = open(&disk);
        for at in 2..=700 {
            tree.log.propose(GROUP, entry(at)).unwrap();
        }
        let last = tree.log.propose(GROUP, entry(701)).unwrap();
        last.wait();
        assert!(tree.extend_to(Lsn(702)).is_err());
        for end in [1, 255, 256, 600] {
            let receipt = tree.purge_to(Lsn(end)).unwrap();
            receipt.wait().unwrap();
        }
        assert!(tree.log.read(GROUP, Lsn(599), 1).is_err());
        let root = tree.root(Lsn(701)).unwrap();
        let old = tree.root(Lsn(300)).unwrap();
        drop(tree);
        for (loss, seed) in [(Loss::Nothing, 0), (Loss::Unsynced, 0), (Loss::Random, 5)] {
            let mut tree = open(&disk.crashed(loss, seed));
            assert_eq!(tree.size(), Lsn(600));
            assert_eq!(tree.root(Lsn(701)).unwrap(), root);
            for lsn in [0, 255, 300, 599, 600, 700] {
                let proof = tree.inclusion(Lsn(lsn), Lsn(701)).unwrap();
                verify_inclusion(&leaf(lsn), lsn, 701, &proof, &root).unwrap();
            }
            let proof = tree.consistency(Lsn(300), Lsn(701)).unwrap();
            verify_consistency(300, 701, &old, &root, &proof).unwrap();
        }
        // A log whose leaves are gone is told.
        disk.remove(Path::new("/tree/00-00000000.tiles")).unwrap();
        let fake: Arc<dyn Disk> = Arc::new(disk.clone());
        let log = LocalLog::open(fake.clone(), Path::new("/log"), LogOptions::default(), &[]);
        let refused = GroupTree::open(Arc::new(log.unwrap()), GROUP, fake, "/tree".into());
        assert!(matches!(refused, Err(LogError::Damaged(_))));
    }
}
