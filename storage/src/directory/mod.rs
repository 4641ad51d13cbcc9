//! A node's data directory: who holds it, in which format it is, and who may read it.
//!
//! ```text
//!  DIR/lock     held with flock(2) by the one process that uses the directory; holds its process id
//!  DIR/format   "cairn data format N"
//!  DIR/...      the stores
//! ```
//!
//! Invariant: nobody writes below the directory without holding its lock; a directory whose format is
//! newer than the program is refused untouched; an upgrade is finished, step by step, before any store
//! is opened.

use crate::error::{IoContext, Result};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

mod format;
mod lock;
mod private;

pub use format::{FORMAT_CURRENT, FormatPlan, MIGRATIONS, Migration};
pub use lock::DirectoryLock;
pub use private::{check_private, create_private_file, write_private_file};

/// An open data directory. Dropping it gives the lock back.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    format_before: Option<u32>,
    _lock: DirectoryLock,
}

impl DataDirectory {
    /// Creates the directory if needed, takes its lock and brings it to the current format.
    ///
    /// # Errors
    /// `Locked` if another process has it, `FormatTooNew`, `FormatTooOld`, `TooOpen` if anybody may
    /// write to it, `Io`.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, &FormatPlan::default())
    }

    /// Like [`DataDirectory::open`] with another table of upgrades.
    pub fn open_with(path: &Path, plan: &FormatPlan) -> Result<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .at("create directory", path)?;
        check_private(path, 0o002, 0o700)?;
        let lock = DirectoryLock::take(path)?;
        let format_before = plan.bring_up(path)?;
        Ok(DataDirectory {
            path: path.to_owned(),
            format_before,
            _lock: lock,
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of a file or directory inside.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// The format found when it was opened; none if the directory was new.
    pub fn format_before(&self) -> Option<u32> {
        self.format_before
    }
}
