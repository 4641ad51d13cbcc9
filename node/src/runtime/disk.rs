//! The real disk, with the time of every sync counted.
//!
//! Invariant: it adds nothing but the measurement: each call is the real disk's.

use cairn_storage::disk::{Disk, DiskFile, RealDisk};
use prometheus::Histogram;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A disk whose syncs are observed.
#[derive(Debug)]
pub struct MeasuredDisk {
    real: RealDisk,
    sync_seconds: Histogram,
}

impl MeasuredDisk {
    /// Observes into `sync_seconds`.
    pub fn new(sync_seconds: Histogram) -> MeasuredDisk {
        MeasuredDisk {
            real: RealDisk,
            sync_seconds,
        }
    }

    fn measured(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(MeasuredFile {
            file,
            sync_seconds: self.sync_seconds.clone(),
        })
    }
}

impl Disk for MeasuredDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.real.create_directory(path)
    }
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.real.list(directory)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.real.open(path).map(|file| self.measured(file))
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.real.create(path).map(|file| self.measured(file))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.real.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.real.remove(path)
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let _timer = self.sync_seconds.start_timer();
        self.real.sync_directory(path)
    }
}

#[derive(Debug)]
struct MeasuredFile {
    file: Arc<dyn DiskFile>,
    sync_seconds: Histogram,
}

impl DiskFile for MeasuredFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, out)
    }
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, data)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        let _timer = self.sync_seconds.start_timer();
        self.file.sync()
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
}
