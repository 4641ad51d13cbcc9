//! Hashes of a group's tree in files that outlive the log's entries.
//!
//! ```text
//! DIR/00-00000000.tiles   leaf hashes 0 .. 65535, 32 bytes each, nothing between
//! DIR/00-00000001.tiles   leaf hashes 65536 ..
//! DIR/08-00000000.tiles   roots of 256 leaves each: nodes of level 8
//! DIR/16-00000000.tiles   nodes of level 16, and so on
//! ```
//! 256 hashes are a tile; a node inside a tile is computed from it, so a proof over 2^32 leaves reads
//! at most 4 tiles and one partial tile of each level.
//!
//! Invariant: what lies before the frontier that the caller stored is on the medium if the caller
//! stored it after [`TileFiles::sync`]; what lies behind it is of no meaning and is written again.

use super::frontier::Frontier;
use super::hash::{Hash, node_hash};
use crate::limits::LEAVES_BUFFERED_MAX;
use crate::log::error::{IoContext, LogError, Result};
use cairn_storage::disk::{Disk, DiskFile};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Hashes of a tile.
pub const TILE_LEAVES: u64 = 1 << TILE_LEVELS;
const TILE_LEVELS: u32 = 8;
/// Hashes of a file: 256 tiles, 2 MiB.
const FILE_HASHES: u64 = 1 << 16;

/// The tiles of one group.
#[derive(Debug)]
pub struct TileFiles {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    frontier: Frontier,
    /// Nodes that are in no file yet, by level and index.
    pending: BTreeMap<(u32, u64), Hash>,
    open: BTreeMap<(u32, u64), Arc<dyn DiskFile>>,
    unsynced: Vec<(u32, u64)>,
    new_names: bool,
    durable: u64,
    stopped: Option<String>,
}

impl TileFiles {
    /// Opens the tiles in `directory` (created if missing) of a tree whose frontier the caller has
    /// stored, and checks their right edge against it.
    ///
    /// # Errors
    /// `Damaged` if the edge is not the frontier's.
    pub fn open(disk: Arc<dyn Disk>, directory: PathBuf, frontier: Frontier) -> Result<Self> {
        let mut tiles = Self::unchecked(disk, directory, frontier)?;
        tiles.check_edge()?;
        Ok(tiles)
    }

    /// Opens the tiles of a tree of which only the size was kept, and takes the frontier from them.
    ///
    /// # Errors
    /// `Damaged` if they have fewer leaves.
    pub fn recover(disk: Arc<dyn Disk>, directory: PathBuf, size: u64) -> Result<Self> {
        let Ok(blank) = Frontier::of(size, |_, _| Ok::<_, std::convert::Infallible>([0; 32]));
        let mut tiles = Self::unchecked(disk, directory, blank)?;
        tiles.frontier = Frontier::of(size, |level, index| tiles.node(level, index))?;
        Ok(tiles)
    }

    fn unchecked(disk: Arc<dyn Disk>, directory: PathBuf, frontier: Frontier) -> Result<Self> {
        disk.create_directory(&directory)
            .at("create directory", &directory)?;
        Ok(TileFiles {
            disk,
            directory,
            durable: frontier.size(),
            frontier,
            pending: BTreeMap::new(),
            open: BTreeMap::new(),
            unsynced: Vec::new(),
            new_names: false,
            stopped: None,
        })
    }

    /// Adds the leaf hash of the next entry.
    pub fn push(&mut self, leaf: Hash) -> Result<()> {
        let pending = &mut self.pending;
        self.frontier.push_with(leaf, |level, index, hash| {
            if level % TILE_LEVELS == 0 {
                pending.insert((level, index), *hash);
            }
        });
        if self.pending.len() < LEAVES_BUFFERED_MAX {
            return Ok(());
        }
        let outcome = self.write_pending();
        if let Err(error) = &outcome {
            self.stopped.get_or_insert(error.to_string());
        }
        outcome
    }

    /// The frontier with all leaves so far.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Number of leaves that a power cut does not take.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// Puts all leaves on the medium. Only then may a frontier with them be stored durably, and their
    /// entries be purged.
    ///
    /// # Errors
    /// `Stopped` after an earlier failure: a later sync says nothing about what that one lost.
    pub fn sync(&mut self) -> Result<()> {
        if let Some(first) = &self.stopped {
            return Err(LogError::stopped(first));
        }
        let outcome = self.try_sync();
        self.stopped = outcome.as_ref().err().map(ToString::to_string);
        outcome
    }

    fn try_sync(&mut self) -> Result<()> {
        self.write_pending()?;
        for place in std::mem::take(&mut self.unsynced) {
            let path = self.path(place);
            self.open[&place].sync().at("sync", &path)?;
        }
        if std::mem::take(&mut self.new_names) {
            self.disk
                .sync_directory(&self.directory)
                .at("sync directory", &self.directory)?;
        }
        self.durable = self.frontier.size();
        // Old files are read rarely: the newest of each level stay open.
        let newest: Vec<_> = self.open.keys().copied().collect();
        self.open
            .retain(|place, _| !newest.contains(&(place.0, place.1 + 1)));
        Ok(())
    }

    /// A full subtree's root: level 0 is a leaf.
    ///
    /// # Errors
    /// `Misuse` if the tree has no such full subtree yet.
    pub fn node(&mut self, level: u32, index: u64) -> Result<Hash> {
        let leaves = index.checked_add(1).map(|count| u128::from(count) << level);
        if leaves.is_none_or(|leaves| leaves > u128::from(self.frontier.size())) {
            return Err(LogError::Misuse(format!(
                "the tree of {} leaves has no node {index} at level {level}",
                self.frontier.size()
            )));
        }
        let inner = level % TILE_LEVELS;
        let mut row = self.stored(level - inner, index << inner, 1 << inner)?;
        while row.len() > 1 {
            row = row
                .chunks(2)
                .map(|two| node_hash(&two[0], &two[1]))
                .collect();
        }
        Ok(row[0])
    }

    /// The hashes of `count` leaves from `first` on.
    pub fn leaves(&mut self, first: u64, count: u64) -> Result<Vec<Hash>> {
        self.stored(0, first, count)
    }

    /// Reads hashes of a stored level, from memory or from files.
    fn stored(&mut self, level: u32, first: u64, count: u64) -> Result<Vec<Hash>> {
        let mut hashes = Vec::with_capacity(count as usize);
        let mut at = first;
        while at < first + count {
            if let Some(hash) = self.pending.get(&(level, at)) {
                hashes.push(*hash);
                at += 1;
                continue;
            }
            // Up to the end of the file, of the range, or of what is in files.
            let next_pending = self.pending.range((level, at)..(level + 1, 0)).next();
            let in_files = next_pending.map_or(u64::MAX, |((_, index), _)| *index);
            let end = (first + count)
                .min((at / FILE_HASHES + 1) * FILE_HASHES)
                .min(in_files);
            let mut bytes = vec![0; (end - at) as usize * 32];
            let place = (level, at / FILE_HASHES);
            let path = self.path(place);
            self.file(place, false)?
                .read_at(at % FILE_HASHES * 32, &mut bytes)
                .map_err(|error| missing(error, &path, at))?;
            hashes.extend_from_slice(bytes.as_chunks::<32>().0);
            at = end;
        }
        Ok(hashes)
    }

    fn write_pending(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let mut run: Vec<u8> = Vec::new();
        let mut start = (0, 0);
        for (&(level, index), hash) in &pending {
            let next = start.1 + run.len() as u64 / 32;
            if !run.is_empty() && (level != start.0 || index != next || index % FILE_HASHES == 0) {
                self.write_run(start, &run)?;
                run.clear();
            }
            if run.is_empty() {
                start = (level, index);
            }
            run.extend_from_slice(hash);
        }
        if !run.is_empty() {
            self.write_run(start, &run)?;
        }
        Ok(())
    }

    fn write_run(&mut self, (level, index): (u32, u64), bytes: &[u8]) -> Result<()> {
        let place = (level, index / FILE_HASHES);
        let path = self.path(place);
        self.file(place, true)?
            .write_at(index % FILE_HASHES * 32, bytes)
            .at("write", &path)?;
        if !self.unsynced.contains(&place) {
            self.unsynced.push(place);
        }
        Ok(())
    }

    fn file(&mut self, place: (u32, u64), create: bool) -> Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.open.get(&place) {
            return Ok(file.clone());
        }
        let path = self.path(place);
        let file = match self.disk.open(&path) {
            Ok(file) => file,
            Err(error) if create && error.kind() == std::io::ErrorKind::NotFound => {
                self.new_names = true;
                self.disk.create(&path).at("create", &path)?
            }
            Err(error) => return Err(missing(error, &path, place.1 * FILE_HASHES)),
        };
        self.open.insert(place, file.clone());
        Ok(file)
    }

    fn path(&self, (level, number): (u32, u64)) -> PathBuf {
        self.directory
            .join(format!("{level:02}-{number:08x}.tiles"))
    }

    /// The roots that the frontier is made of, again from the partial tile of each level.
    fn check_edge(&mut self) -> Result<()> {
        let size = self.frontier.size();
        let found = Frontier::of(size, |level, index| self.node(level, index))?;
        if found != self.frontier {
            return Err(LogError::Damaged(format!(
                "tiles in {}: the right edge is not that of the stored tree of {size} leaves",
                self.directory.display()
            )));
        }
        Ok(())
    }
}

fn missing(error: std::io::Error, path: &std::path::Path, index: u64) -> LogError {
    use std::io::ErrorKind::{NotFound, UnexpectedEof};
    match error.kind() {
        NotFound | UnexpectedEof => LogError::Damaged(format!(
            "{}: the hash of index {index} is missing",
            path.display()
        )),
        _ => LogError::Io {
            doing: "read",
            path: path.to_owned(),
            source: error,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{consistency_proof, inclusion_proof, verify_consistency, verify_inclusion};
    use cairn_storage::disk::{FakeDisk, Loss};
    use std::path::Path;

    fn leaf(index: u64) -> Hash {
        super::super::leaf_hash(&[&index.to_le_bytes()])
    }

    fn open(disk: &FakeDisk, frontier: Frontier) -> Result<TileFiles> {
        TileFiles::open(Arc::new(disk.clone()), "/t".into(), frontier)
    }

    #[test]
    fn proofs_from_tiles_hold_across_files_and_levels() {
        let disk = FakeDisk::new();
        let mut tiles = open(&disk, Frontier::default()).unwrap();
        let size = FILE_HASHES + 3 * TILE_LEAVES + 77;
        let mut roots = BTreeMap::new();
        for index in 0..size {
            tiles.push(leaf(index)).unwrap();
            if index % 9973 == 0 {
                roots.insert(index + 1, tiles.frontier().root());
            }
        }
        let root = tiles.frontier().root();
        for reopened in [false, true] {
            if reopened {
                tiles.sync().unwrap();
                tiles = open(&disk, tiles.frontier().clone()).unwrap();
            }
            for index in (0..size)
                .step_by(7919)
                .chain([size - 1, FILE_HASHES, 255, 256])
            {
                let proof =
                    inclusion_proof(index, size, &mut |level, at| tiles.node(level, at)).unwrap();
                verify_inclusion(&leaf(index), index, size, &proof, &root).unwrap();
            }
            for (old, old_root) in &roots {
                let proof =
                    consistency_proof(*old, size, &mut |level, at| tiles.node(level, at)).unwrap();
                verify_consistency(*old, size, old_root, &root, &proof).unwrap();
            }
        }
        assert!(tiles.node(0, size).is_err());
        assert_eq!(
            tiles.leaves(FILE_HASHES - 1, 2).unwrap()[1],
            leaf(FILE_HASHES)
        );
    }

    #[test]
    fn a_flipped_edge_is_damage_and_unsynced_leaves_are_written_again() {
        let disk = FakeDisk::new();
        let mut tiles = open(&disk, Frontier::default()).unwrap();
        for index in 0..300 {
            tiles.push(leaf(index)).unwrap();
        }
        tiles.sync().unwrap();
        let stored = tiles.frontier().clone();
        for index in 300..5000 {
            tiles.push(leaf(index)).unwrap();
        }
        for seed in 0..40 {
            let disk = disk.crashed(Loss::Random, seed);
            let mut again = open(&disk, stored.clone()).unwrap();
            for index in 300..5000 {
                again.push(leaf(index)).unwrap();
            }
            again.sync().unwrap();
            assert_eq!(again.frontier(), tiles.frontier());
            open(&disk, again.frontier().clone()).unwrap();
        }
        assert!(disk.flip(Path::new("/t/00-00000000.tiles"), 299 * 32, 1));
        let refused = open(&disk, stored).unwrap_err();
        assert!(matches!(refused, LogError::Damaged(_)), "{refused}");
    }
}
