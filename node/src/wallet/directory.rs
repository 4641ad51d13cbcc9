//! A wallet's own directory: keystore, state and lock.
//!
//! Invariants: `keystore.json` is written once and never changed; `wallet.json` is replaced whole;
//! both are touched only under an exclusive lock, so two commands on one wallet take turns.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cairn_protocol::address::Network;
use rustix::fs::{FlockOperation, flock};

use super::derivation::{Branch, KeyRing};
use super::error::WalletError;
use super::state::{STATE_VERSION, WalletState};
use super::words::Words;
use crate::keystore::{
    FileError, KeystoreFile, PasswordError, Protection, Secret, create_private_directory,
    read_private_file, replace_private_file,
};

const KEYSTORE_FILE: &str = "keystore.json";
const STATE_FILE: &str = "wallet.json";
const LOCK_FILE: &str = "wallet.lock";
/// The lock file of a node's data directory.
const NODE_LOCK_FILE: &str = "lock";
/// 10,000 payments of 700 inputs would be some 2 GB of hex; usual wallets have kilobytes.
const STATE_BYTES_MAX: u64 = 4 << 30;
/// Hashing a password takes a second and a node may take thirty to answer.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// How a new wallet's key is protected.
pub enum KeyProtection {
    /// By a password.
    Password(Secret),
    /// Not at all: a devnet's own wallets.
    Open,
}

/// An open wallet directory, locked for this process.
pub struct Wallet {
    path: PathBuf,
    keystore: KeystoreFile,
    state: WalletState,
    _lock: File,
}

impl Wallet {
    /// Makes a wallet from words in a directory that has none.
    pub fn create(
        path: &Path,
        network: Network,
        words: &Words,
        protection: &KeyProtection,
    ) -> Result<Self, WalletError> {
        refuse_node_directory(path)?;
        if path.join(KEYSTORE_FILE).symlink_metadata().is_ok() {
            return Err(WalletError::Exists(path.into()));
        }
        create_private_directory(path)?;
        let lock = lock(path)?;
        let state = WalletState::new(network, &KeyRing::new(&words.seed()[..], network));
        let protection = match protection {
            KeyProtection::Password(password) => Protection::Password(password),
            KeyProtection::Open => Protection::Open,
        };
        let keystore_path = path.join(KEYSTORE_FILE);
        // State first: a crash between the two leaves no wallet rather than half of one.
        write_state(path, &state)?;
        KeystoreFile::create(&keystore_path, network, &words.entropy(), protection)?;
        let keystore = KeystoreFile::read(&keystore_path)?;
        Ok(Self {
            path: path.into(),
            keystore,
            state,
            _lock: lock,
        })
    }

    /// Opens an existing wallet, waiting for another command on it to end.
    pub fn open(path: &Path) -> Result<Self, WalletError> {
        if let Err(error) = path.join(KEYSTORE_FILE).symlink_metadata()
            && error.kind() == std::io::ErrorKind::NotFound
        {
            return Err(WalletError::Missing(path.into()));
        }
        let lock = lock(path)?;
        let keystore = KeystoreFile::read(&path.join(KEYSTORE_FILE))?;
        let state = read_state(path)?;
        if state.network != keystore.network() {
            let reason = format!(
                "it is for {}, the key for {}",
                state.network,
                keystore.network()
            );
            return Err(WalletError::StateDamaged {
                path: path.join(STATE_FILE),
                reason,
            });
        }
        Ok(Self {
            path: path.into(),
            keystore,
            state,
            _lock: lock,
        })
    }

    /// Whether a directory holds a wallet.
    pub fn exists(path: &Path) -> bool {
        path.join(KEYSTORE_FILE).is_file()
    }

    /// Which network's addresses it has.
    pub fn network(&self) -> Network {
        self.state.network
    }

    /// What the wallet remembers.
    pub fn state(&self) -> &WalletState {
        &self.state
    }

    /// Changes what the wallet remembers and makes it durable.
    pub fn update<T>(
        &mut self,
        change: impl FnOnce(&mut WalletState) -> T,
    ) -> Result<T, WalletError> {
        let mut next = self.state.clone();
        let answer = change(&mut next);
        if next != self.state {
            write_state(&self.path, &next)?;
            self.state = next;
        }
        Ok(answer)
    }

    /// The words, unsealed; `password` is called only when one is needed.
    pub fn words(
        &self,
        password: impl FnOnce() -> Result<Secret, PasswordError>,
    ) -> Result<Words, WalletError> {
        let password = if self.keystore.is_open() {
            None
        } else {
            Some(password()?)
        };
        Ok(Words::from_entropy(
            &self.keystore.unseal(password.as_ref())?,
        )?)
    }

    /// The keys, unsealed; `password` is called only when one is needed.
    pub fn keys(
        &self,
        password: impl FnOnce() -> Result<Secret, PasswordError>,
    ) -> Result<KeyRing, WalletError> {
        let words = self.words(password)?;
        Ok(KeyRing::new(&words.seed()[..], self.network()))
    }

    /// Makes addresses of a branch until there are `count`.
    pub fn extend(
        &mut self,
        keys: &KeyRing,
        branch: Branch,
        count: usize,
    ) -> Result<(), WalletError> {
        self.update(|state| state.extend(keys, branch, count))
    }
}

fn refuse_node_directory(path: &Path) -> Result<(), WalletError> {
    let full = std::path::absolute(path).map_err(|source| WalletError::Io {
        action: format!("find {}", path.display()),
        source,
    })?;
    let marker = full
        .ancestors()
        .map(|directory| directory.join(NODE_LOCK_FILE));
    match marker.into_iter().find(|marker| marker.is_file()) {
        Some(marker) => Err(WalletError::InsideNode {
            path: path.into(),
            marker,
        }),
        None => Ok(()),
    }
}

fn lock(path: &Path) -> Result<File, WalletError> {
    let name = path.join(LOCK_FILE);
    let failed = |source| WalletError::Io {
        action: format!("lock {}", name.display()),
        source,
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(failed)?;
    let started = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed(error.into())),
        }
        if started.elapsed() > LOCK_WAIT {
            return Err(WalletError::Locked {
                path: path.into(),
                seconds: LOCK_WAIT.as_secs(),
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn write_state(path: &Path, state: &WalletState) -> Result<(), FileError> {
    let mut bytes =
        serde_json::to_vec_pretty(state).expect("strings and numbers serialise into memory");
    bytes.push(b'\n');
    replace_private_file(&path.join(STATE_FILE), &bytes)
}

fn read_state(path: &Path) -> Result<WalletState, WalletError> {
    let name = path.join(STATE_FILE);
    let bytes = read_private_file(&name, STATE_BYTES_MAX)?;
    let damaged = |reason: String| WalletError::StateDamaged {
        path: name.clone(),
        reason,
    };
    let state: WalletState =
        serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if state.version != STATE_VERSION {
        return Err(damaged(format!(
            "version {} is not {STATE_VERSION}",
            state.version
        )));
    }
    if state.receive.is_empty() {
        return Err(damaged("it has no receive address".into()));
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_password() -> Result<Secret, PasswordError> {
        panic!("an open wallet asks for no password")
    }

    fn open_wallet(path: &Path) -> Wallet {
        Wallet::create(
            path,
            Network::Devnet,
            &Words::generate(),
            &KeyProtection::Open,
        )
        .unwrap()
    }

    #[test]
    fn a_wallet_is_there_again_with_the_same_addresses() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("wallet");
        let mut wallet = open_wallet(&path);
        let keys = wallet.keys(no_password).unwrap();
        wallet.extend(&keys, Branch::Receive, 5).unwrap();
        let state = wallet.state().clone();
        drop(wallet);
        let again = Wallet::open(&path).unwrap();
        assert_eq!(again.state(), &state);
        assert_eq!(again.network(), Network::Devnet);
    }

    #[test]
    fn a_sealed_wallet_opens_with_its_password_only() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("wallet");
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        let protection = KeyProtection::Password(secret("right"));
        let words = Words::generate();
        let wallet = Wallet::create(&path, Network::Testnet, &words, &protection).unwrap();
        let first = wallet.state().current_address().address.clone();
        let keys = wallet.keys(|| Ok(secret("right"))).ok().unwrap();
        assert_eq!(keys.address(Branch::Receive, 0).to_string(), first);
        let error = wallet.keys(|| Ok(secret("wrong"))).err().unwrap();
        assert_eq!(error.to_string(), "wrong password");
    }

    #[test]
    fn a_second_wallet_never_replaces_the_first() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("wallet");
        let address = open_wallet(&path).state().current_address().address.clone();
        let words = Words::generate();
        let result = Wallet::create(&path, Network::Devnet, &words, &KeyProtection::Open);
        assert!(matches!(result, Err(WalletError::Exists(_))));
        assert_eq!(
            Wallet::open(&path)
                .unwrap()
                .state()
                .current_address()
                .address,
            address
        );
    }

    #[test]
    fn no_wallet_and_a_damaged_state_are_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("wallet");
        assert!(matches!(Wallet::open(&path), Err(WalletError::Missing(_))));
        drop(open_wallet(&path));
        replace_private_file(&path.join(STATE_FILE), b"{\"version\": 1").unwrap();
        assert!(matches!(
            Wallet::open(&path),
            Err(WalletError::StateDamaged { .. })
        ));
    }

    #[test]
    fn a_node_directory_is_no_place_for_a_wallet() {
        let root = tempfile::tempdir().unwrap();
        let node = root.path().join("data");
        std::fs::create_dir(&node).unwrap();
        std::fs::write(node.join(NODE_LOCK_FILE), "").unwrap();
        for path in [node.clone(), node.join("wallet")] {
            let words = Words::generate();
            let result = Wallet::create(&path, Network::Devnet, &words, &KeyProtection::Open);
            assert!(
                matches!(result, Err(WalletError::InsideNode { .. })),
                "{}",
                path.display()
            );
        }
    }

    #[test]
    fn a_failed_update_is_not_remembered() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("wallet");
        let mut wallet = open_wallet(&path);
        std::fs::rename(&path, root.path().join("moved")).unwrap();
        let before = wallet.state().clone();
        assert!(
            wallet
                .update(|state| state.receive[0].label = Some("x".into()))
                .is_err()
        );
        assert_eq!(wallet.state(), &before);
    }
}
