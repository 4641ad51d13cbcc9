//! The few file operations that storage needs, as traits, so that one code runs on the real disk and
//! on a simulated one that loses power and fails.
//!
//! Invariant: nothing outside this module opens, writes, syncs, renames or removes a file of the
//! store. What a sync promises is what `fdatasync` promises: every write to that file that returned
//! before is on the medium. A new name is on the medium after [`Disk::sync_directory`].

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

mod fake;
mod real;

pub use fake::{FakeDisk, Fault, Loss, Operation};
pub use real::RealDisk;

/// An open file, read and written by position; safe to share between threads.
pub trait DiskFile: Debug + Send + Sync {
    /// Fills `out` from `offset`. An end of file before that is `UnexpectedEof`.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all of `data` at `offset`, growing the file if needed. Not durable before `sync`.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Size in bytes.
    fn len(&self) -> io::Result<u64>;
    /// True if the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or grows (with zeros) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Puts all written data and the size on the medium.
    fn sync(&self) -> io::Result<()>;
    /// Takes the exclusive lock of the whole file; false if somebody else has it.
    fn try_lock(&self) -> io::Result<bool>;
}

/// A file system.
pub trait Disk: Debug + Send + Sync {
    /// Creates the directory (mode 0700) and its parents if they are missing.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// Names of the files in a directory, sorted; an absent directory has none.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading and writing and creates it (mode 0600) if it is missing.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, in place of whatever had it, as one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Puts created and removed names of a directory on the medium.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
}
