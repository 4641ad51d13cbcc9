//! Opening the chain of a data directory, and knowing which chain it is.
//!
//! A node leaves the specification of its chain in its data directory, so that the commands that
//! read the directory later need not be told. A devnet's stands one level higher, for all nodes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_protocol::signature::{CachedCheck, Ed25519, SignatureCache};
use cairn_protocol::spec::{ChainParams, builtin};
use cairn_storage::chain::{ChainStore, StoreOptions};
use cairn_storage::disk::RealDisk;
use cairn_storage::{DataDirectory, StorageError};

use super::{StoredChain, specification};
use crate::cli::error::{CliError, CliResult};

/// The file with the chain's specification in a data directory.
pub const SPECIFICATION_FILE: &str = "chain.toml";
/// The chain's directory in a data directory.
const CHAIN_DIRECTORY: &str = "chain";
/// Signatures remembered while blocks are connected one after another: none is asked for twice.
const SIGNATURES_REMEMBERED: usize = 2;

/// A locked data directory with its chain open.
pub(super) struct OpenChain {
    pub params: Arc<ChainParams>,
    pub store: ChainStore,
    /// Held for as long as the store is used.
    pub directory: DataDirectory,
}

/// A failure of the store, with what to do next.
pub(super) fn storage_error(error: StorageError) -> CliError {
    let next = match &error {
        StorageError::Locked { .. } => "stop the node that uses the directory, then try again",
        StorageError::Damaged { .. } => "cairn chain verify --data-dir DIR",
        _ => "cairn doctor --data-dir DIR",
    };
    CliError::failed(error).next(next)
}

/// Checks signatures as a node does.
pub(super) fn signature_check() -> CachedCheck<Ed25519> {
    CachedCheck::new(
        Ed25519,
        SignatureCache::new(SIGNATURES_REMEMBERED, rand::random()),
    )
}

/// Opens the chain of a data directory that exists.
pub(super) fn open(stored: &StoredChain) -> Result<OpenChain, CliError> {
    if !stored.data_dir.join(CHAIN_DIRECTORY).is_dir() {
        return Err(CliError::failed("there is no chain in this data directory")
            .value(stored.data_dir.display())
            .expected("the data directory of a node")
            .next("cairn node --chain devnet --data-dir DIR"));
    }
    open_or_create(stored)
}

/// Opens the chain of a data directory, which is made if it is missing.
pub(super) fn open_or_create(stored: &StoredChain) -> Result<OpenChain, CliError> {
    let params = Arc::new(params(stored)?);
    let directory = DataDirectory::open(&stored.data_dir).map_err(storage_error)?;
    let options = StoreOptions {
        sync_each_block: false,
        ..StoreOptions::default()
    };
    let path = directory.join(CHAIN_DIRECTORY);
    let store = ChainStore::open(Arc::new(RealDisk), &path, Arc::clone(&params), options)
        .map_err(storage_error)?;
    Ok(OpenChain {
        params,
        store,
        directory,
    })
}

fn params(stored: &StoredChain) -> Result<ChainParams, CliError> {
    if let Some(named) = stored.chain.as_deref() {
        return match builtin::by_name(named) {
            Some(params) => Ok(params),
            None => specification::read(Path::new(named)),
        };
    }
    match specification_file(&stored.data_dir) {
        Some(path) => specification::read(&path),
        None => Err(
            CliError::usage("which chain this directory holds is not known")
                .value(stored.data_dir.display())
                .expected(format!(
                    "--chain devnet|testnet|FILE, or a {SPECIFICATION_FILE} in it"
                ))
                .next("cairn chain verify --data-dir DIR --chain FILE"),
        ),
    }
}

/// The specification left in the directory or, for a devnet's node, above it.
fn specification_file(data_dir: &Path) -> Option<PathBuf> {
    let own = data_dir.join(SPECIFICATION_FILE);
    let above = data_dir
        .canonicalize()
        .ok()?
        .parent()?
        .join(SPECIFICATION_FILE);
    [own, above].into_iter().find(|path| path.is_file())
}

/// Leaves the specification in a node's data directory.
///
/// # Errors
/// When the directory cannot be used.
pub fn remember_specification(data_dir: &Path, params: &ChainParams) -> CliResult {
    let directory = DataDirectory::open(data_dir).map_err(storage_error)?;
    let path = directory.join(SPECIFICATION_FILE);
    let text = params.file().to_toml();
    if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let temporary = directory.join("chain.toml.new");
    let written = std::fs::write(&temporary, text).and_then(|()| std::fs::rename(temporary, &path));
    written.map_err(|error| {
        CliError::failed(format!("cannot write the chain's specification: {error}"))
            .value(path.display())
    })
}
