//! The keystore file: a versioned JSON document around one sealed secret.
//!
//! ```json
//! {"format": "cairn keystore", "version": 1, "network": "devnet", "open": false,
//!  "kdf": {"name": "argon2id", "memory_kib": 65536, "passes": 3, "lanes": 4, "salt": "…"},
//!  "cipher": {"name": "xchacha20poly1305", "nonce": "…"}, "payload": "…", "check": "…"}
//! ```
//!
//! Invariants:
//! * the header (all but `payload` and `check`, as the compact JSON this file writes) is the
//!   associated data of the seal: no parameter can be exchanged without the seal breaking;
//! * parameters weaker than [`KDF_MIN`] or dearer than [`KDF_MAX`] are refused before any hashing;
//! * `check` is an unkeyed hash of all other content. It exists to tell damage from a wrong password
//!   in plain words and says nothing about the password: anybody can compute it from the file;
//! * `"open": true` (the secret lies in the file unsealed) exists for the devnet's own wallets only
//!   and is refused on every other network.

use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use cairn_protocol::address::Network;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

use super::private_file::{FileError, create_private_file, read_private_file};
use super::secret::{Secret, fill_random};

const FORMAT: &str = "cairn keystore";
const VERSION: u32 = 1;
const KDF_NAME: &str = "argon2id";
const CIPHER_NAME: &str = "xchacha20poly1305";
const CHECK_CONTEXT: &str = "cairn v1 keystore check";
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
/// No keystore is near this size; a larger file is not one of ours.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// The largest secret: 32 bytes of entropy are stored today, the room is for other kinds of key.
const SECRET_BYTES_MAX: usize = 4096;

/// Cost of turning a password into a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdfCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Independent lanes.
    pub lanes: u32,
}

/// What is written, and the least that is accepted: RFC 9106's second recommended set.
pub const KDF_MIN: KdfCost = KdfCost {
    memory_kib: 64 * 1024,
    passes: 3,
    lanes: 4,
};
/// The most that is accepted: a hostile file may cost 1 GiB and seconds, not the machine.
pub const KDF_MAX: KdfCost = KdfCost {
    memory_kib: 1024 * 1024,
    passes: 16,
    lanes: 16,
};

/// Why a keystore was not made or not opened.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not a document of this format, or not all of it.
    #[error("the keystore is damaged or not a keystore: {0}; restore the wallet from its words")]
    Damaged(String),
    /// A later program wrote it.
    #[error("the keystore has version {0}, this program reads version {VERSION}; upgrade cairn")]
    Version(u32),
    /// The key derivation is outside the accepted range.
    #[error("keystore parameter {name} is {value}, accepted are {min} to {max}")]
    KdfCost {
        /// Which parameter.
        name: &'static str,
        /// Its value in the file.
        value: u32,
        /// Least accepted value.
        min: u32,
        /// Greatest accepted value.
        max: u32,
    },
    /// The file is whole, the password is not the one it was sealed with.
    #[error("wrong password")]
    WrongPassword,
    /// A password was needed and none was given.
    #[error("this keystore needs a password")]
    PasswordNeeded,
    /// An unsealed keystore outside a devnet.
    #[error(
        "the keystore is open (no password) on network {0}; only a devnet's own wallets may be"
    )]
    OpenOutsideDevnet(Network),
}

/// How the secret of a new keystore is protected.
pub enum Protection<'a> {
    /// Sealed with a password.
    Password(&'a Secret),
    /// Not at all: devnets only.
    Open,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    version: u32,
    network: Network,
    open: bool,
    kdf: Option<Kdf>,
    cipher: Option<Cipher>,
    payload: String,
    check: String,
}

impl Drop for Document {
    fn drop(&mut self) {
        self.payload.zeroize();
    }
}

#[derive(Serialize, Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Kdf {
    name: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    #[serde(with = "hex")]
    salt: [u8; SALT_BYTES],
}

#[derive(Serialize, Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Cipher {
    name: String,
    #[serde(with = "hex")]
    nonce: [u8; NONCE_BYTES],
}

/// The part of the document that the seal covers as associated data.
#[derive(Serialize)]
struct Header<'a> {
    format: &'a str,
    version: u32,
    network: Network,
    open: bool,
    kdf: &'a Option<Kdf>,
    cipher: &'a Option<Cipher>,
}

/// A keystore read from disk: parsed and checked, not yet opened.
pub struct KeystoreFile(Document);

impl KeystoreFile {
    /// Seals `secret` and writes a new file at `path`, whose directory must be private already.
    ///
    /// # Errors
    /// The file exists, the directory is not private, or an open keystore is asked for outside a
    /// devnet.
    pub fn create(
        path: &Path,
        network: Network,
        secret: &Secret,
        protection: Protection<'_>,
    ) -> Result<(), KeystoreError> {
        let document = match protection {
            Protection::Open => open_document(network, secret)?,
            Protection::Password(password) => sealed_document(network, secret, password)?,
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize));
        serde_json::to_writer_pretty(&mut *bytes, &document)
            .expect("strings and numbers serialise into memory");
        bytes.push(b'\n');
        Ok(create_private_file(path, &bytes)?)
    }

    /// Reads a keystore and checks everything that needs no password.
    ///
    /// # Errors
    /// The file is not private, damaged, of a later version, or has unacceptable parameters.
    pub fn read(path: &Path) -> Result<Self, KeystoreError> {
        Self::parse(&read_private_file(path, FILE_BYTES_MAX)?)
    }

    /// The keystore in a file's content, checked as far as that needs no password.
    ///
    /// # Errors
    /// As [`KeystoreFile::read`], but for the file itself.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeystoreError> {
        #[derive(Deserialize)]
        struct Preface {
            format: String,
            version: u32,
        }
        let damaged = |error: serde_json::Error| KeystoreError::Damaged(error.to_string());
        let preface: Preface = serde_json::from_slice(bytes).map_err(damaged)?;
        if preface.format != FORMAT {
            return Err(KeystoreError::Damaged(format!("format is not '{FORMAT}'")));
        }
        if preface.version != VERSION {
            return Err(KeystoreError::Version(preface.version));
        }
        let document: Document = serde_json::from_slice(bytes).map_err(damaged)?;
        // Upper-case hex or a repeated key would be another file with the same meaning.
        let canonical = serde_json::to_value(&document).map_err(damaged)?;
        let is_canonical = serde_json::from_slice::<Value>(bytes).map_err(damaged)? == canonical;
        if !is_canonical || document.check != check_of(&document) {
            return Err(KeystoreError::Damaged(
                "its content does not match its check".into(),
            ));
        }
        check_shape(&document)?;
        Ok(Self(document))
    }

    /// The network whose addresses this key makes.
    pub fn network(&self) -> Network {
        self.0.network
    }

    /// Whether the secret lies in the file without a password (a devnet's own wallet).
    pub fn is_open(&self) -> bool {
        self.0.open
    }

    /// The secret; `password` is called only when one is needed.
    ///
    /// # Errors
    /// [`KeystoreError::WrongPassword`] for every failure of the seal.
    pub fn unseal(&self, password: Option<&Secret>) -> Result<Secret, KeystoreError> {
        let payload = decode_payload(&self.0.payload)?;
        let (Some(kdf), Some(cipher)) = (&self.0.kdf, &self.0.cipher) else {
            return Ok(payload);
        };
        let password = password.ok_or(KeystoreError::PasswordNeeded)?;
        let aad = header_bytes(&self.0);
        cipher_for(kdf, password)
            .decrypt(
                &XNonce::from(cipher.nonce),
                Payload {
                    msg: payload.expose(),
                    aad: &aad,
                },
            )
            .map(Secret::new)
            .map_err(|_| KeystoreError::WrongPassword)
    }
}

fn open_document(network: Network, secret: &Secret) -> Result<Document, KeystoreError> {
    if network != Network::Devnet {
        return Err(KeystoreError::OpenOutsideDevnet(network));
    }
    Ok(finished(
        network,
        true,
        None,
        None,
        hex::encode(secret.expose()),
    ))
}

fn sealed_document(
    network: Network,
    secret: &Secret,
    password: &Secret,
) -> Result<Document, KeystoreError> {
    assert!(
        secret.expose().len() <= SECRET_BYTES_MAX,
        "a keystore holds one key, not a file"
    );
    if password.is_empty() {
        return Err(KeystoreError::PasswordNeeded);
    }
    let (mut salt, mut nonce) = ([0u8; SALT_BYTES], [0u8; NONCE_BYTES]);
    fill_random(&mut salt);
    fill_random(&mut nonce);
    let KdfCost {
        memory_kib,
        passes,
        lanes,
    } = KDF_MIN;
    let kdf = Kdf {
        name: KDF_NAME.into(),
        memory_kib,
        passes,
        lanes,
        salt,
    };
    let cipher = Cipher {
        name: CIPHER_NAME.into(),
        nonce,
    };
    let mut document = finished(
        network,
        false,
        Some(kdf.clone()),
        Some(cipher),
        String::new(),
    );
    let sealed = cipher_for(&kdf, password)
        .encrypt(
            &XNonce::from(nonce),
            Payload {
                msg: secret.expose(),
                aad: &header_bytes(&document),
            },
        )
        .expect("a few kilobytes are below the cipher's message limit");
    document.payload = hex::encode(sealed);
    document.check = check_of(&document);
    Ok(document)
}

fn finished(
    network: Network,
    open: bool,
    kdf: Option<Kdf>,
    cipher: Option<Cipher>,
    payload: String,
) -> Document {
    let (format, version) = (FORMAT.into(), VERSION);
    let mut document = Document {
        format,
        version,
        network,
        open,
        kdf,
        cipher,
        payload,
        check: String::new(),
    };
    document.check = check_of(&document);
    document
}

fn header_bytes(document: &Document) -> Vec<u8> {
    let Document {
        format,
        version,
        network,
        open,
        kdf,
        cipher,
        ..
    } = document;
    let header = Header {
        format,
        version: *version,
        network: *network,
        open: *open,
        kdf,
        cipher,
    };
    serde_json::to_vec(&header).expect("strings and numbers serialise into memory")
}

fn check_of(document: &Document) -> String {
    let header = header_bytes(document);
    let mut hasher = blake3::Hasher::new_derive_key(CHECK_CONTEXT);
    hasher.update(&(header.len() as u64).to_le_bytes());
    hasher.update(&header);
    hasher.update(document.payload.as_bytes());
    hasher.finalize().to_hex().to_string()
}

fn check_shape(document: &Document) -> Result<(), KeystoreError> {
    match (document.open, &document.kdf, &document.cipher) {
        (true, None, None) if document.network == Network::Devnet => Ok(()),
        (true, None, None) => Err(KeystoreError::OpenOutsideDevnet(document.network)),
        (false, Some(kdf), Some(cipher)) => check_algorithms(kdf, cipher),
        _ => Err(KeystoreError::Damaged(
            "'open' contradicts the presence of kdf or cipher".into(),
        )),
    }
}

fn check_algorithms(kdf: &Kdf, cipher: &Cipher) -> Result<(), KeystoreError> {
    if kdf.name != KDF_NAME || cipher.name != CIPHER_NAME {
        let names = format!(
            "algorithms '{}' and '{}' are unknown",
            kdf.name, cipher.name
        );
        return Err(KeystoreError::Damaged(names));
    }
    for (name, value, min, max) in [
        (
            "memory_kib",
            kdf.memory_kib,
            KDF_MIN.memory_kib,
            KDF_MAX.memory_kib,
        ),
        ("passes", kdf.passes, KDF_MIN.passes, KDF_MAX.passes),
        ("lanes", kdf.lanes, KDF_MIN.lanes, KDF_MAX.lanes),
    ] {
        if !(min..=max).contains(&value) {
            return Err(KeystoreError::KdfCost {
                name,
                value,
                min,
                max,
            });
        }
    }
    Ok(())
}

fn decode_payload(text: &str) -> Result<Secret, KeystoreError> {
    hex::decode(text)
        .map(Secret::new)
        .map_err(|error| KeystoreError::Damaged(format!("payload is not hex: {error}")))
}

fn cipher_for(kdf: &Kdf, password: &Secret) -> XChaCha20Poly1305 {
    let params = Params::new(kdf.memory_kib, kdf.passes, kdf.lanes, Some(32))
        .expect("parameters were checked against the accepted range");
    let mut key = Zeroizing::new([0u8; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.expose(), &kdf.salt, &mut key[..])
        .expect("salt, password and output have lengths that argon2 accepts");
    XChaCha20Poly1305::new((&*key).into())
}

#[cfg(test)]
#[path = "sealed_tests.rs"]
mod tests;
