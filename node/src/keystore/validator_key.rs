//! A validator's key: a file of its own, never the node's key.
//!
//! Invariant: private file (0600, never overwritten); one process on this machine votes with a key,
//! however often its file was copied. Rules: `spec/09-bft.md#durability`.

use super::private_file::{FileError, create_private_file, read_private_file};
use cairn_protocol::hash::BlockId;
use cairn_protocol::signature::PublicKey;
use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// 64 hexadecimal digits and a line feed; some editors add more.
const FILE_BYTES_MAX: u64 = 256;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum ValidatorKeyError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is none.
    #[error(
        "validator key {} does not exist; make one with: cairn validator key --new {}",
        path.display(),
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Its content.
    #[error(
        "validator key {}: expected 64 hexadecimal digits; make one with: cairn validator key --new {}",
        path.display(),
        path.display()
    )]
    Content {
        /// The file.
        path: PathBuf,
    },
    /// Another process votes with it.
    #[error("another process on this machine votes with validator key {key}; stop it first")]
    InUse {
        /// The public key.
        key: String,
    },
}

/// A key, ready to sign.
pub struct ValidatorKey {
    /// Signs.
    pub signing: SigningKey,
    /// Names the validator.
    pub public: PublicKey,
    /// The file it came from.
    pub path: PathBuf,
}

impl ValidatorKey {
    /// Reads a key file.
    pub fn read(path: &Path) -> Result<ValidatorKey, ValidatorKeyError> {
        let content = || ValidatorKeyError::Content {
            path: path.to_owned(),
        };
        let bytes = match read_private_file(path, FILE_BYTES_MAX) {
            Err(error) if error.is_not_found() => {
                let path = path.to_owned();
                return Err(ValidatorKeyError::Missing { path });
            }
            other => other?,
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| content())?;
        let mut seed = Zeroizing::new([0u8; 32]);
        hex::decode_to_slice(text.trim(), seed.as_mut()).map_err(|_| content())?;
        let signing = SigningKey::from(*seed);
        Ok(ValidatorKey {
            public: public_key(&signing),
            signing,
            path: path.to_owned(),
        })
    }

    /// Writes a key file that does not exist yet; answers its public key.
    pub fn create(path: &Path, seed: &Zeroizing<[u8; 32]>) -> Result<PublicKey, ValidatorKeyError> {
        let text = Zeroizing::new(format!("{}\n", hex::encode(seed.as_ref())));
        create_private_file(path, text.as_bytes())?;
        Ok(public_key(&SigningKey::from(**seed)))
    }

    /// The file of its promises, beside it: an older data directory does not bring older promises.
    pub fn safety_file(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".safety");
        PathBuf::from(name)
    }

    /// Keeps other processes of this machine from voting with this key on this chain while the guard
    /// lives.
    pub fn guard(&self, chain_id: &BlockId) -> Result<KeyGuard, ValidatorKeyError> {
        let in_use = || ValidatorKeyError::InUse {
            key: hex::encode(self.public.0),
        };
        KeyGuard::take(&self.public, chain_id).ok_or_else(in_use)
    }
}

fn public_key(signing: &SigningKey) -> PublicKey {
    PublicKey(VerificationKeyBytes::from(signing).into())
}

/// A name of the machine's abstract sockets: gone with the process, whatever ends it. Elsewhere than
/// on Linux only the lock of the safety file guards the key.
pub struct KeyGuard {
    #[cfg(target_os = "linux")]
    _name: std::os::unix::net::UnixListener,
}

impl KeyGuard {
    #[cfg(target_os = "linux")]
    fn take(key: &PublicKey, chain_id: &BlockId) -> Option<KeyGuard> {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixListener};
        let chain = hex::encode(&chain_id.as_bytes()[..8]);
        let name = format!("cairn-validator-{chain}-{}", hex::encode(key.0));
        let address = SocketAddr::from_abstract_name(name).ok()?;
        let _name = UnixListener::bind_addr(&address).ok()?;
        Some(KeyGuard { _name })
    }

    #[cfg(not(target_os = "linux"))]
    fn take(_: &PublicKey, _: &BlockId) -> Option<KeyGuard> {
        Some(KeyGuard {})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_once_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("validator.key");
        let seed = Zeroizing::new([7; 32]);
        let public = ValidatorKey::create(&path, &seed).unwrap();
        let key = ValidatorKey::read(&path).unwrap();
        assert_eq!(key.public, public);
        assert!(ValidatorKey::create(&path, &seed).is_err(), "never again");
        assert!(key.safety_file().to_string_lossy().ends_with(".key.safety"));
    }

    #[test]
    fn a_file_that_is_not_there_is_named_with_the_way_to_make_it() {
        let error = ValidatorKey::read(Path::new("/nowhere/a.key"))
            .err()
            .unwrap();
        let text = error.to_string();
        assert!(
            text.ends_with("cairn validator key --new /nowhere/a.key"),
            "{text}"
        );
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("validator.key");
        create_private_file(&path, b"my cat's name").unwrap();
        let error = ValidatorKey::read(&path).err().unwrap();
        assert!(error.to_string().contains("cairn validator key"), "{error}");
    }

    #[test]
    fn one_process_votes_with_a_key() {
        let directory = tempfile::tempdir().unwrap();
        let seed = Zeroizing::new(rand::random::<[u8; 32]>());
        let (one, copy) = (directory.path().join("one"), directory.path().join("copy"));
        ValidatorKey::create(&one, &seed).unwrap();
        ValidatorKey::create(&copy, &seed).unwrap();
        let (chain, other) = (BlockId([1; 32]), BlockId([2; 32]));
        let guard = ValidatorKey::read(&one).unwrap().guard(&chain).unwrap();
        let copy = ValidatorKey::read(&copy).unwrap();
        assert!(matches!(
            copy.guard(&chain),
            Err(ValidatorKeyError::InUse { .. })
        ));
        assert!(copy.guard(&other).is_ok(), "another chain, another guard");
        drop(guard);
        assert!(copy.guard(&chain).is_ok());
    }
}
