//! What can go wrong with the log and the files beside it.
//!
//! All of it is a *fault*: our disk, our bug, or a caller that broke a rule. A failed write or sync
//! stops the log for good, because the disk may hold less than a later successful sync would suggest;
//! what waited for that sync has an unknown outcome (SQLSTATE 08007), not a failed one.

use std::io;
use std::path::{Path, PathBuf};

/// Result of an operation of the log.
pub type Result<T, E = LogError> = std::result::Result<T, E>;

/// A fault of the log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system refused a file operation.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was attempted, as a verb phrase ("write", "sync directory").
        doing: &'static str,
        /// File or directory concerned.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Stored bytes are not what was written, at a place that had been acknowledged.
    #[error(
        "damaged data: {0}; commits that were acknowledged are lost or changed, so nothing was \
         touched; run `cairn db verify` to see the extent and restore from a backup"
    )]
    Damaged(String),
    /// An earlier write or sync failed.
    #[error("the log stopped after an earlier failure ({first}); restart the node to recover")]
    Stopped {
        /// The failure that stopped it.
        first: String,
    },
    /// A value is larger than its place allows.
    #[error("{what} is {found} bytes, at most {bound} fit")]
    TooLarge {
        /// The value.
        what: &'static str,
        /// Its size in bytes.
        found: usize,
        /// The bound in bytes.
        bound: usize,
    },
    /// The group has no log here.
    #[error("group {0} has no log on this node")]
    NoGroup(u32),
    /// The records are there no more.
    #[error("group {group} is purged up to lsn {base}, lsn {asked} was asked for")]
    Purged {
        /// The group.
        group: u32,
        /// The last purged place.
        base: u64,
        /// The first place asked for.
        asked: u64,
    },
    /// The caller asked for what the state of the log does not allow.
    #[error("{0}")]
    Misuse(String),
}

impl LogError {
    /// A second copy for those who wait behind the one that failed.
    pub(crate) fn stopped(first: &str) -> Self {
        LogError::Stopped {
            first: first.to_owned(),
        }
    }
}

/// Attaches the path and the verb to an I/O error.
pub(crate) trait IoContext<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| LogError::Io {
            doing,
            path: path.to_owned(),
            source,
        })
    }
}
