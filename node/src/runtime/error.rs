//! Why a node does not start, or stops by itself.

use crate::api::StartError;
use crate::keystore::ValidatorKeyError;
use crate::stratum::StratumError;
use cairn_network::NetworkError;
use cairn_protocol::address::AddressError;
use cairn_protocol::ledger::Fault;
use cairn_protocol::spec::SpecError;
use cairn_storage::StorageError;
use std::io;
use std::path::PathBuf;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The specification file cannot be read.
    #[error("cannot read the chain specification {path}: {error}")]
    SpecFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The specification is refused.
    #[error("{path}: {error}")]
    Spec {
        /// The file.
        path: PathBuf,
        /// Why.
        error: SpecError,
    },
    /// `--mine-to` is no address of this chain.
    #[error("--mine-to: {0}")]
    RewardAddress(AddressError),
    /// `--mine` without an address.
    #[error("--mine needs --mine-to ADDRESS: make an address with `cairn wallet new`")]
    NoRewardAddress,
    /// A listener or bootnode that is no multiaddress.
    #[error("{flag} {text} is no multiaddress: {reason}; expected such as /ip4/127.0.0.1/tcp/7000")]
    Multiaddr {
        /// The flag.
        flag: &'static str,
        /// The text.
        text: String,
        /// Why not.
        reason: String,
    },
    /// A part that is not in this program.
    #[error("{0} is not part of this version of cairn")]
    Missing(&'static str),
    /// The miner cannot start.
    #[error("{0}")]
    Miner(String),
    /// The data directory or a store cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The validator's key cannot be used.
    #[error(transparent)]
    ValidatorKey(#[from] ValidatorKeyError),
    /// The file of a validator's promises cannot be relied upon.
    #[error("safety file {}: {reason}", path.display())]
    SafetyFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The swarm cannot start.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The API cannot start.
    #[error(transparent)]
    Api(#[from] StartError),
    /// Stratum cannot be served.
    #[error(transparent)]
    Stratum(#[from] StratumError),
    /// The database cannot be opened.
    #[error("the database in {}: {cause}", path.display())]
    Database {
        /// Its directory.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// SQL cannot be served.
    #[error(transparent)]
    Sql(#[from] cairn_database::wire::WireError),
    /// A file that SQL needs cannot be used.
    #[error("{0}")]
    SqlFile(String),
    /// Stratum is asked for where no foreign miner can mine.
    #[error("--stratum: {0}")]
    ForeignMiners(String),
    /// Threads, signals or timers cannot be had.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    /// Our own fault while running.
    #[error("{0}")]
    Fault(Fault),
    /// A task that lives as long as the node has ended.
    #[error("the {part} task ended: {why}")]
    Part {
        /// Which.
        part: &'static str,
        /// What it said.
        why: String,
    },
}

impl NodeError {
    /// Whether the command line or a setting is at fault (exit code 2).
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            NodeError::SpecFile { .. }
                | NodeError::Spec { .. }
                | NodeError::RewardAddress(_)
                | NodeError::NoRewardAddress
                | NodeError::Multiaddr { .. }
                | NodeError::Missing(_)
                | NodeError::ForeignMiners(_)
                | NodeError::SqlFile(_)
                | NodeError::Sql(cairn_database::wire::WireError::TrustBeyondLoopback(_))
        )
    }
}
