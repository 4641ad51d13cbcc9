//! What can go wrong with a wallet, in words for its owner.

use std::path::PathBuf;

use cairn_protocol::address::{AddressError, Network};
use cairn_protocol::units::AmountError;

use super::node_client::ClientError;
use super::selection::SelectionError;
use super::words::WordsError;
use crate::keystore::{FileError, KeystoreError, PasswordError};

/// Why a wallet command was not done.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The keystore.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// A file of the wallet.
    #[error(transparent)]
    File(#[from] FileError),
    /// No password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// Not a wallet's words.
    #[error(transparent)]
    Words(#[from] WordsError),
    /// The node.
    #[error(transparent)]
    Node(#[from] ClientError),
    /// No coins pay for it.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The recipient is not an address of this network.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The amount is not a number of CRN.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// Nothing to pay.
    #[error("the amount is 0; expected at least {dust} pebbles, what it costs to spend it again")]
    NothingToPay {
        /// The least amount that makes sense.
        dust: u64,
    },
    /// There is no wallet.
    #[error("no wallet in {path}; make one with: cairn wallet new --data-dir '{path}'", path = .0.display())]
    Missing(PathBuf),
    /// There is a wallet already.
    #[error("{path} holds a wallet already; choose another --data-dir", path = .0.display())]
    Exists(PathBuf),
    /// Another process holds the wallet's lock.
    #[error("the wallet in {path} is in use by another process for {seconds} s; try again", path = path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// The directory lies in a node's data directory.
    #[error("{path} belongs to a node ({marker} is there); a wallet has a directory of its own", path = path.display(), marker = marker.display())]
    InsideNode {
        /// The directory asked for.
        path: PathBuf,
        /// The file that tells.
        marker: PathBuf,
    },
    /// The state file cannot be understood.
    #[error("{path} is damaged: {reason}; restore the wallet from its words", path = path.display())]
    StateDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The node follows another chain than the one this wallet has used.
    #[error(
        "the node at {api} is on chain {found}, this wallet on {expected}; ask a node of its chain or use another wallet"
    )]
    OtherChain {
        /// Whom was asked.
        api: String,
        /// The node's genesis.
        found: String,
        /// The wallet's genesis.
        expected: String,
    },
    /// The node's network has other addresses.
    #[error("the node at {api} is on {found}, this wallet is for {expected}")]
    OtherNetwork {
        /// Whom was asked.
        api: String,
        /// The node's network.
        found: Network,
        /// The wallet's.
        expected: Network,
    },
    /// The operating system.
    #[error("{action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// The cause.
        source: std::io::Error,
    },
}

impl WalletError {
    /// Whether the command line itself is wrong (exit code 2).
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Address(_) | Self::Amount(_) | Self::NothingToPay { .. } | Self::Words(_)
        )
    }
}
