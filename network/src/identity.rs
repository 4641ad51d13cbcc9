//! The node's key: who this node is on the network, and nothing else.
//!
//! Invariant: an Ed25519 key in libp2p's protobuf encoding, readable by the owner only, written
//! whole or not at all; it never signs anything of the ledger.

use std::{
    fs,
    io::{ErrorKind, Write},
    path::Path,
};

use libp2p::identity::Keypair;

use crate::error::NetworkError;

/// Reads the key, or makes one if the file does not exist.
pub fn load_or_create(path: &Path) -> Result<Keypair, NetworkError> {
    let failed = |reason: String| NetworkError::Key {
        path: path.into(),
        reason,
    };
    match fs::read(path) {
        Ok(bytes) => {
            Keypair::from_protobuf_encoding(&bytes).map_err(|error| failed(error.to_string()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let keypair = Keypair::generate_ed25519();
            let bytes = keypair
                .to_protobuf_encoding()
                .map_err(|error| failed(error.to_string()))?;
            write_private(path, &bytes).map_err(|error| failed(error.to_string()))?;
            Ok(keypair)
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_survives_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node_key");
        let first = load_or_create(&path).unwrap();
        let again = load_or_create(&path).unwrap();
        assert_eq!(first.public(), again.public());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
    }

    #[test]
    fn a_damaged_key_is_an_error_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node_key");
        fs::write(&path, b"no key").unwrap();
        assert!(load_or_create(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"no key");
    }
}
