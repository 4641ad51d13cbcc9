//! What can go wrong in storage, told so that an operator knows which file, which record and what to
//! do next.
//!
//! Everything here is a *fault* in the sense of the protocol: our disk or our bug, never the fault of
//! whoever sent us data. A fault that may have left the disk behind what memory believes (a failed
//! write or sync) stops the store for good: see [`StorageError::Stopped`].

use std::io;
use std::path::PathBuf;

/// Result of a storage operation.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// A fault of the disk, of its contents, or of how the store is used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
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
    /// The table engine failed.
    #[error("table store, {doing}: {cause}")]
    Table {
        /// What was attempted.
        doing: &'static str,
        /// The engine's answer.
        cause: String,
    },
    /// Stored bytes are not what was written, or contradict each other.
    #[error("damaged data: {what}; {advice}")]
    Damaged {
        /// The record, by name and place, and what is wrong with it.
        what: String,
        /// What the operator can do.
        advice: &'static str,
    },
    /// The record was there once and has been pruned.
    #[error("{what} has been pruned from this node")]
    Pruned {
        /// The record asked for.
        what: String,
    },
    /// A record that the caller named does not exist.
    #[error("{what} is not in the store")]
    Missing {
        /// The record asked for.
        what: String,
    },
    /// A value is larger than its place allows.
    #[error("{what} is {found} bytes, at most {bound} fit")]
    TooLarge {
        /// The value.
        what: &'static str,
        /// Its size in bytes.
        found: u64,
        /// The bound in bytes.
        bound: u64,
    },
    /// An earlier write or sync failed, so the store takes no more changes until it is reopened.
    #[error("the store stopped after an earlier failure ({first}); restart the node to recover")]
    Stopped {
        /// The failure that stopped it.
        first: String,
    },
    /// A snapshot outlived its cap, its reader has been taken back.
    #[error("this view of the chain is too old and has been released; take a new snapshot")]
    SnapshotExpired,
    /// Another process holds the data directory.
    #[error(
        "data directory {} is in use by {}; stop that process or choose another --data-dir",
        path.display(),
        holder_text(*holder)
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Process id written in the lock file, if it could be read.
        holder: Option<u32>,
    },
    /// The data directory was written by a newer program.
    #[error(
        "data directory {} has format {found}, this program knows up to {known}; use a newer cairn \
         or another --data-dir",
        path.display()
    )]
    FormatTooNew {
        /// The directory.
        path: PathBuf,
        /// Version found.
        found: u32,
        /// Newest version known.
        known: u32,
    },
    /// No upgrade leads from the found version to the current one.
    #[error(
        "data directory {} has format {found} and no upgrade leads from it to {known}; export the \
         chain with the program that wrote it and import it here",
        path.display()
    )]
    FormatTooOld {
        /// The directory.
        path: PathBuf,
        /// Version found.
        found: u32,
        /// Current version.
        known: u32,
    },
    /// Files of the directory can be written by anybody.
    #[error("{} has mode {mode:o} and can be changed by other users; run chmod {wanted:o} on it", path.display())]
    TooOpen {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Permission bits expected.
        wanted: u32,
    },
    /// A safety file cannot be used: who votes without it might contradict itself.
    #[error("safety file {}: {reason}", path.display())]
    SafetyFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The caller asked for a change that does not fit the present state.
    #[error("{0}")]
    Misuse(String),
}

impl StorageError {
    /// Damage of a record, with the usual way out.
    pub fn damaged(what: impl Into<String>) -> Self {
        StorageError::Damaged {
            what: what.into(),
            advice: REINDEX,
        }
    }

    /// True if the disk may have lost something that memory holds: the store must stop.
    pub fn is_write_failure(&self) -> bool {
        matches!(self, StorageError::Io { .. } | StorageError::Table { .. })
    }
}

/// How to come back from damage: said in every message about it.
pub const REINDEX: &str = "stop the node and run `cairn chain verify` to see the extent; tables are rebuilt from the block \
     log if you remove the file tables.redb; a damaged log is replaced by a fresh --data-dir, filled by \
     sync or by `cairn chain export` of what is readable and `cairn chain import`";

fn holder_text(holder: Option<u32>) -> String {
    match holder {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

/// Attaches the path and the verb to an I/O error.
pub(crate) trait IoContext<T> {
    fn at(self, doing: &'static str, path: &std::path::Path) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &std::path::Path) -> Result<T> {
        self.map_err(|source| StorageError::Io {
            doing,
            path: path.to_owned(),
            source,
        })
    }
}
