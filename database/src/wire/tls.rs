//! TLS of the wire: the certificate, and the hash by which SCRAM binds to it.

use sha2::{Digest, Sha256, Sha384, Sha512};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be used.
    #[error("{path}: {cause}; a PEM file with {expected} is expected", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// Certificate and key do not go together.
    #[error("the TLS certificate and its key: {0}")]
    Pair(#[from] tokio_rustls::rustls::Error),
}

/// TLS for the server's side.
#[derive(Clone)]
pub struct Tls {
    pub(super) acceptor: TlsAcceptor,
    pub(super) endpoint: Arc<[u8]>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(key hidden)")
    }
}

impl Tls {
    /// From the PEM files of a certificate chain and its key.
    ///
    /// # Errors
    /// Files that cannot be read, or do not go together.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let refused = |path: &Path, expected: &'static str, cause: String| TlsError::File {
            path: path.to_owned(),
            cause,
            expected,
        };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(|items| items.collect::<Result<Vec<_>, _>>())
            .map_err(|error| refused(certificate, "certificates", error.to_string()))?;
        let Some(first) = chain.first() else {
            return Err(refused(
                certificate,
                "certificates",
                "none found".to_owned(),
            ));
        };
        let endpoint = endpoint_hash(first).into();
        let key = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| refused(key, "a private key", error.to_string()))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Tls {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            endpoint,
        })
    }
}

/// `tls-server-end-point` of RFC 5929: the certificate's hash, by its own signature's hash function.
fn endpoint_hash(certificate: &[u8]) -> Vec<u8> {
    // The last arc of sha384WithRSAEncryption, sha512With…, ecdsa-with-SHA384, …-SHA512; MD5, SHA-1
    // and all others are hashed with SHA-256, as the RFC says.
    const SHA384: [&[u8]; 2] = [
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c],
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03],
    ];
    const SHA512: [&[u8]; 2] = [
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d],
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04],
    ];
    let algorithm = signature_algorithm(certificate).unwrap_or_default();
    if SHA384.contains(&algorithm) {
        Sha384::digest(certificate).to_vec()
    } else if SHA512.contains(&algorithm) {
        Sha512::digest(certificate).to_vec()
    } else {
        Sha256::digest(certificate).to_vec()
    }
}

/// Certificate ::= SEQUENCE { tbs SEQUENCE, algorithm SEQUENCE { OBJECT IDENTIFIER … }, … }
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (outer, _) = der(certificate)?;
    let (_, after_tbs) = der(outer)?;
    let (algorithm, _) = der(after_tbs)?;
    let (identifier, _) = der(algorithm)?;
    Some(identifier)
}

/// The contents of the first DER value and what follows it.
fn der(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        length @ 0..=0x7f => (usize::from(*length), rest),
        count @ 0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(count & 0x7f))?;
            let length = length
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_follows_the_signature() {
        // SEQUENCE { SEQUENCE {}, SEQUENCE { OID ecdsa-with-SHA384 } }
        let oid = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
        let mut certificate = vec![0x30, 0x0e, 0x30, 0x00, 0x30, 0x0a, 0x06, 0x08];
        certificate.extend_from_slice(&oid);
        assert_eq!(signature_algorithm(&certificate), Some(&oid[..]));
        assert_eq!(endpoint_hash(&certificate).len(), 48);
        assert_eq!(endpoint_hash(b"").len(), 32);
        for length in 0..certificate.len() {
            signature_algorithm(&certificate[..length]);
        }
    }
}
