//! A disk in memory that loses power, tears and reorders what was not synced, fills up and fails.
//!
//! It is the detector for "durable before visible": a store is run on it, stopped at any operation,
//! and reopened from what such a stop may leave on a medium. The model is a page cache over a disk
//! with atomic 512-byte sectors:
//!
//! * what was written before a successful sync of that file is there;
//! * of later writes each sector holds the old bytes or those of any later write to it, sector by
//!   sector, file by file, in no order; the file's length may lag behind;
//! * names created or removed since the last sync of their directory survive as a prefix;
//! * a failed sync forgets what it should have saved: a later successful sync does not bring it back
//!   (what Linux does).
//!
//! Invariant: a choice is a function of the seed, so each image can be made again.

use super::{Disk, DiskFile};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const PAGE_BYTES: usize = 4096;
const SECTOR_BYTES: u64 = 512;

/// An error to inject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `EIO`.
    Io,
    /// `ENOSPC`.
    Full,
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Fault::Io => io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()),
            Fault::Full => io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()),
        }
    }
}

/// What a crash takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing: the process was killed, the system lives on.
    Nothing,
    /// Everything that was not synced.
    Unsynced,
    /// Any part of what was not synced, chosen by the seed.
    Random,
}

/// Kinds of operation that count and can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A write to a file.
    Write,
    /// A change of a file's length.
    SetLen,
    /// A sync of a file.
    Sync,
    /// A file created or removed.
    Name,
    /// A sync of a directory.
    SyncDirectory,
}

/// The simulated disk. Clones share one disk.
#[derive(Debug, Clone, Default)]
pub struct FakeDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct FakeFile {
    state: Arc<Mutex<State>>,
    id: usize,
    holds_lock: AtomicBool,
}

#[derive(Debug, Clone, Default)]
struct State {
    files: Vec<FileState>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    pending_names: Vec<Vec<NameChange>>,
    operations: u64,
    plan: Option<Plan>,
    fired: u64,
    capture_every: Option<u64>,
    captured: Vec<(u64, State)>,
}

/// A name and the file it then means, if any.
type NameChange = (PathBuf, Option<usize>);

#[derive(Debug, Clone, Copy)]
struct Plan {
    at: u64,
    fault: Fault,
    only: Option<Operation>,
    for_ever: bool,
}

#[derive(Debug, Clone, Default)]
struct FileState {
    live: Image,
    durable: Image,
    pending: Vec<Pending>,
    locked: bool,
}

#[derive(Debug, Clone)]
enum Pending {
    /// Offset, bytes, and whether it made the file longer.
    Write(u64, Arc<[u8]>, bool),
    SetLen(u64),
}

#[derive(Debug, Clone, Default)]
struct Image {
    len: u64,
    pages: Vec<Arc<[u8; PAGE_BYTES]>>,
}

impl Image {
    fn set_len(&mut self, len: u64) {
        let pages = len.div_ceil(PAGE_BYTES as u64) as usize;
        if len < self.len {
            self.pages.truncate(pages);
            let tail = (len % PAGE_BYTES as u64) as usize;
            if tail > 0 {
                Arc::make_mut(&mut self.pages[pages - 1])[tail..].fill(0);
            }
        } else if pages > self.pages.len() {
            let zero = Arc::new([0u8; PAGE_BYTES]);
            self.pages.resize(pages, zero);
        }
        self.len = len;
    }

    fn write(&mut self, offset: u64, mut data: &[u8]) {
        let end = offset + data.len() as u64;
        if end > self.len {
            self.set_len(end);
        }
        let mut at = offset as usize;
        while !data.is_empty() {
            let inside = at % PAGE_BYTES;
            let count = data.len().min(PAGE_BYTES - inside);
            let page = Arc::make_mut(&mut self.pages[at / PAGE_BYTES]);
            page[inside..inside + count].copy_from_slice(&data[..count]);
            data = &data[count..];
            at += count;
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset
            .checked_add(out.len() as u64)
            .is_none_or(|end| end > self.len)
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut at = offset as usize;
        let mut done = 0;
        while done < out.len() {
            let inside = at % PAGE_BYTES;
            let count = (out.len() - done).min(PAGE_BYTES - inside);
            out[done..done + count]
                .copy_from_slice(&self.pages[at / PAGE_BYTES][inside..inside + count]);
            done += count;
            at += count;
        }
        Ok(())
    }

    fn apply(&mut self, pending: &Pending) {
        match pending {
            Pending::Write(offset, data, _) => self.write(*offset, data),
            Pending::SetLen(len) => self.set_len(*len),
        }
    }
}

/// SplitMix64: enough to choose what a crash keeps.
struct Choice(u64);

impl Choice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

impl FileState {
    fn crashed(&self, loss: Loss, choice: &mut Choice) -> Image {
        match loss {
            Loss::Nothing => self.live.clone(),
            Loss::Unsynced => self.durable.clone(),
            Loss::Random => self.torn(choice),
        }
    }

    /// Old bytes, or those of some later write, for each sector by itself. Explicit changes of the
    /// length survive as a prefix and as a whole; the length that appending writes give may stop
    /// anywhere.
    fn torn(&self, choice: &mut Choice) -> Image {
        let mut image = self.durable.clone();
        let style = choice.below(4);
        let total = self.pending.len() as u64;
        let kept_ops = choice.below(total + 1);
        let cuts = self
            .pending
            .iter()
            .filter(|pending| matches!(pending, Pending::SetLen(_)));
        let mut cuts_kept = choice.below(cuts.count() as u64 + 1);
        // In style 2 a sector stops taking writes at its own moment.
        let mut cut: BTreeMap<u64, u64> = BTreeMap::new();
        let mut grew = false;
        for (index, pending) in (0u64..).zip(&self.pending) {
            let (offset, data, grows) = match pending {
                Pending::Write(offset, data, grows) => (*offset, data, *grows),
                Pending::SetLen(len) => {
                    if cuts_kept > 0 {
                        cuts_kept -= 1;
                        image.set_len(*len);
                    }
                    continue;
                }
            };
            let whole = match style {
                0 => index < kept_ops,
                1 => choice.coin(),
                2 => true,
                _ => choice.below(8) != 0,
            };
            let torn = style == 0 && index == kept_ops;
            if !whole && !torn {
                continue;
            }
            grew |= grows;
            let mut at = 0u64;
            while at < data.len() as u64 {
                let sector = (offset + at) / SECTOR_BYTES;
                let end = ((sector + 1) * SECTOR_BYTES - offset).min(data.len() as u64);
                let keep = match style {
                    2 => index < *cut.entry(sector).or_insert_with(|| choice.below(total + 1)),
                    _ => !torn || choice.coin(),
                };
                // Behind a length that did not survive there is nothing.
                let reachable = grows || offset + end <= image.len;
                if keep && reachable {
                    image.write(offset + at, &data[at as usize..end as usize]);
                }
                at = end;
            }
        }
        if grew && image.len > self.durable.len && choice.below(3) == 0 {
            let extra = choice.below(image.len - self.durable.len + 1);
            image.set_len(self.durable.len + extra);
        }
        image
    }
}

impl State {
    /// Counts an operation, captures if asked to, and says whether it fails.
    fn operation(&mut self, kind: Operation) -> io::Result<()> {
        if let Some(every) = self.capture_every
            && self.operations.is_multiple_of(every)
        {
            let captured = std::mem::take(&mut self.captured);
            let copy = State {
                capture_every: None,
                plan: None,
                ..self.clone()
            };
            self.captured = captured;
            self.captured.push((self.operations, copy));
        }
        self.operations += 1;
        if let Some(plan) = self.plan
            && self.operations >= plan.at
            && plan.only.is_none_or(|only| only == kind)
        {
            if !plan.for_ever {
                self.plan = None;
            }
            self.fired += 1;
            return Err(plan.fault.error());
        }
        Ok(())
    }

    fn crashed(&self, loss: Loss, seed: u64) -> State {
        let mut choice = Choice(seed);
        let mut names = match loss {
            Loss::Nothing => self.names.clone(),
            _ => self.durable_names.clone(),
        };
        if loss == Loss::Random {
            let kept = choice.below(self.pending_names.len() as u64 + 1) as usize;
            for (path, id) in self.pending_names[..kept].iter().flatten() {
                match id {
                    Some(id) => names.insert(path.clone(), *id),
                    None => names.remove(path),
                };
            }
        }
        let mut files = Vec::new();
        for id in names.values_mut() {
            let image = self.files[*id].crashed(loss, &mut choice);
            *id = files.len();
            files.push(FileState {
                live: image.clone(),
                durable: image,
                ..FileState::default()
            });
        }
        State {
            files,
            durable_names: names.clone(),
            names,
            ..State::default()
        }
    }
}

impl FakeDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of operations so far (writes, changes of length, syncs, names).
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// How many injected errors were given out.
    pub fn faults_fired(&self) -> u64 {
        self.state.lock().fired
    }

    /// Lets operation number `at` (1 is the next on a fresh disk) fail; of kind `only` if given, then
    /// the first of that kind from `at` on; `for_ever` also all after it.
    pub fn fail(&self, at: u64, fault: Fault, only: Option<Operation>, for_ever: bool) {
        self.state.lock().plan = Some(Plan {
            at,
            fault,
            only,
            for_ever,
        });
    }

    /// Takes all planned errors back.
    pub fn heal(&self) {
        self.state.lock().plan = None;
    }

    /// Remembers the state before each `every`-th operation, for [`FakeDisk::captured`].
    pub fn capture_every(&self, every: u64) {
        self.state.lock().capture_every = Some(every.max(1));
    }

    /// Takes the remembered states: (number of operations before it, a disk stopped there). The disk
    /// is still to be crashed with [`FakeDisk::crashed`].
    pub fn captured(&self) -> Vec<(u64, FakeDisk)> {
        let captured = std::mem::take(&mut self.state.lock().captured);
        captured
            .into_iter()
            .map(|(at, state)| {
                (
                    at,
                    FakeDisk {
                        state: Arc::new(Mutex::new(state)),
                    },
                )
            })
            .collect()
    }

    /// What the medium holds after a crash now.
    pub fn crashed(&self, loss: Loss, seed: u64) -> FakeDisk {
        let state = self.state.lock().crashed(loss, seed);
        FakeDisk {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Changes one stored byte by `mask`, live and durable; false if the file is not that long.
    pub fn flip(&self, path: &Path, offset: u64, mask: u8) -> bool {
        let mut state = self.state.lock();
        let Some(&id) = state.names.get(path) else {
            return false;
        };
        let file = &mut state.files[id];
        for image in [&mut file.live, &mut file.durable] {
            let mut byte = [0u8];
            if image.read(offset, &mut byte).is_err() {
                return false;
            }
            image.write(offset, &[byte[0] ^ mask]);
        }
        true
    }

    /// The live contents of a file, if it exists.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let file = &state.files[*state.names.get(path)?];
        let mut out = vec![0; file.live.len as usize];
        file.live
            .read(0, &mut out)
            .expect("the length was taken from the image");
        Some(out)
    }

    fn file(&self, id: usize) -> Arc<dyn DiskFile> {
        Arc::new(FakeFile {
            state: self.state.clone(),
            id,
            holds_lock: AtomicBool::new(false),
        })
    }
}

impl Disk for FakeDisk {
    fn create_directory(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        let inside = state
            .names
            .keys()
            .filter(|path| path.parent() == Some(directory));
        Ok(inside
            .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
            .collect())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let id = self.state.lock().names.get(path).copied();
        id.map(|id| self.file(id))
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        if let Some(&id) = state.names.get(path) {
            drop(state);
            return Ok(self.file(id));
        }
        state.operation(Operation::Name)?;
        let id = state.files.len();
        state.files.push(FileState::default());
        state.names.insert(path.to_owned(), id);
        state.pending_names.push(vec![(path.to_owned(), Some(id))]);
        drop(state);
        Ok(self.file(id))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operation(Operation::Name)?;
        let id = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), id);
        state
            .pending_names
            .push(vec![(from.to_owned(), None), (to.to_owned(), Some(id))]);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operation(Operation::Name)?;
        state.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        state.pending_names.push(vec![(path.to_owned(), None)]);
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operation(Operation::SyncDirectory)?;
        let pending = std::mem::take(&mut state.pending_names);
        for step in pending {
            if step.iter().any(|(name, _)| name.parent() != Some(path)) {
                state.pending_names.push(step);
                continue;
            }
            for (name, id) in step {
                match id {
                    Some(id) => state.durable_names.insert(name, id),
                    None => state.durable_names.remove(&name),
                };
            }
        }
        Ok(())
    }
}

impl DiskFile for FakeFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.state.lock().files[self.id].live.read(offset, out)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let outcome = state.operation(Operation::Write);
        let file = &mut state.files[self.id];
        // A failed write may have put down its first half.
        let done = if outcome.is_ok() {
            data
        } else {
            &data[..data.len() / 2]
        };
        let grows = offset + done.len() as u64 > file.live.len;
        file.live.write(offset, done);
        file.pending
            .push(Pending::Write(offset, done.into(), grows));
        outcome
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().files[self.id].live.len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operation(Operation::SetLen)?;
        let file = &mut state.files[self.id];
        file.live.set_len(len);
        file.pending.push(Pending::SetLen(len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        let outcome = state.operation(Operation::Sync);
        let file = &mut state.files[self.id];
        let pending = std::mem::take(&mut file.pending);
        if outcome.is_ok() {
            for change in &pending {
                file.durable.apply(change);
            }
        }
        outcome
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut state = self.state.lock();
        let taken = !std::mem::replace(&mut state.files[self.id].locked, true);
        self.holds_lock.fetch_or(taken, Ordering::Relaxed);
        Ok(taken)
    }
}

impl Drop for FakeFile {
    fn drop(&mut self) {
        // As with flock(2): a lock lives as long as the handle that took it.
        if self.holds_lock.load(Ordering::Relaxed) {
            self.state.lock().files[self.id].locked = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(disk: &FakeDisk) -> Arc<dyn DiskFile> {
        let file = disk.create(Path::new("/d/f")).unwrap();
        file.write_at(0, &[1; 2000]).unwrap();
        file.sync().unwrap();
        disk.sync_directory(Path::new("/d")).unwrap();
        file.write_at(0, &[2; 2000]).unwrap();
        file
    }

    #[test]
    fn synced_bytes_survive_and_later_ones_may_tear_by_sector() {
        let disk = FakeDisk::new();
        let _file = written(&disk);
        let path = Path::new("/d/f");
        assert_eq!(
            disk.crashed(Loss::Unsynced, 0).contents(path).unwrap(),
            [1; 2000]
        );
        assert_eq!(
            disk.crashed(Loss::Nothing, 0).contents(path).unwrap(),
            [2; 2000]
        );
        let mut torn = 0;
        for seed in 0..200 {
            let bytes = disk.crashed(Loss::Random, seed).contents(path).unwrap();
            assert_eq!(bytes.len(), 2000);
            for sector in bytes.chunks(512) {
                assert!(sector.iter().all(|b| *b == sector[0]), "a sector is atomic");
            }
            torn += u32::from(bytes[0] != bytes[1999]);
        }
        assert!(torn > 20, "only {torn} of 200 images were torn");
    }

    #[test]
    fn an_unsynced_name_may_vanish_and_a_failed_sync_forgets() {
        let disk = FakeDisk::new();
        let file = disk.create(Path::new("/d/f")).unwrap();
        file.write_at(0, b"abc").unwrap();
        file.sync().unwrap();
        assert!(
            disk.crashed(Loss::Unsynced, 0)
                .contents(Path::new("/d/f"))
                .is_none()
        );
        disk.sync_directory(Path::new("/d")).unwrap();
        file.write_at(3, b"def").unwrap();
        disk.fail(disk.operations() + 1, Fault::Io, None, false);
        assert!(file.sync().is_err());
        file.sync().unwrap();
        let left = disk
            .crashed(Loss::Unsynced, 0)
            .contents(Path::new("/d/f"))
            .unwrap();
        assert_eq!(left, b"abc");
        assert_eq!(disk.faults_fired(), 1);
    }
}
