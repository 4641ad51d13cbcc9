//! Why a devnet did not start or do as asked.

use std::io;
use std::path::{Path, PathBuf};

use cairn_protocol::spec::SpecError;

use crate::cli::error::CliError;
use crate::keystore::{FileError, ValidatorKeyError};
use crate::wallet::WalletError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum DevnetError {
    /// The operating system.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A private file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key of a validator.
    #[error(transparent)]
    ValidatorKey(#[from] ValidatorKeyError),
    /// A wallet of the devnet.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The specification.
    #[error("{path}: {source}", path = path.display())]
    Spec {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: SpecError,
    },
    /// The specification is not one of a devnet.
    #[error("{path} is not marked devnet = true; a devnet runs no other chain", path = .0.display())]
    NotADevnet(PathBuf),
    /// The directory holds another chain than the one asked for.
    #[error(
        "{path} holds a chain with {name} {existing}, not {asked}; add --fresh to begin a new one",
        path = path.display()
    )]
    OtherChain {
        /// The directory.
        path: PathBuf,
        /// Which setting differs.
        name: &'static str,
        /// What the chain has.
        existing: String,
        /// What was asked for.
        asked: String,
    },
    /// Another supervisor runs here.
    #[error(
        "a devnet runs in {path} already (process {pid}); stop it with: cairn devnet stop --data-dir '{path}'",
        path = path.display()
    )]
    Running {
        /// The directory.
        path: PathBuf,
        /// Its process, as the lock file says.
        pid: String,
    },
    /// A node of an earlier start is still there.
    #[error("{node} of an earlier start still runs as process {pid}; end it with: kill {pid}")]
    NodeRuns {
        /// Which.
        node: String,
        /// Its process, as its lock file says.
        pid: String,
    },
    /// No supervisor runs here.
    #[error(
        "no devnet runs in {path}; start one with: cairn devnet --data-dir '{path}'",
        path = .0.display()
    )]
    NotRunning(PathBuf),
    /// A port that was asked for is taken.
    #[error("port {port} for the {what} of {node} is taken; free it, or choose another {flag}")]
    PortTaken {
        /// The port.
        port: u16,
        /// p2p, api or sql.
        what: &'static str,
        /// Whose port.
        node: String,
        /// The flag that chose it.
        flag: &'static str,
    },
    /// No port is left.
    #[error("no free port from {first} on for the {what} of {node}")]
    NoPort {
        /// Where the search began.
        first: u16,
        /// p2p, api or sql.
        what: &'static str,
        /// Whose port.
        node: String,
    },
    /// A child ended before it answered.
    #[error("{node} ended before it answered ({status}); the end of its log {log}:\n{tail}", log = log.display())]
    NodeEnded {
        /// Which.
        node: String,
        /// How it ended.
        status: String,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A child never answered.
    #[error("{node} did not answer within {seconds} s; the end of its log {log}:\n{tail}", log = log.display())]
    NodeSilent {
        /// Which.
        node: String,
        /// How long was waited.
        seconds: u64,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// The running devnet said no.
    #[error("{0}")]
    Refused(String),
    /// The control socket broke off.
    #[error("the devnet in {path} did not answer: {source}", path = path.display())]
    Control {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl DevnetError {
    /// Wraps an I/O error with what was tried on which path.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

impl From<&DevnetError> for CliError {
    fn from(error: &DevnetError) -> Self {
        match error {
            DevnetError::Spec { .. } | DevnetError::NotADevnet(_) => Self::usage(error),
            _ => Self::failed(error),
        }
    }
}
