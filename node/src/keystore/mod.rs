//! Keys at rest: one secret, one file, one password.
//!
//! ```text
//!   words ──entropy──▶ Secret ──seal──▶ keystore.json (0600) in its own directory (0700)
//!                         ▲                   │
//!                         └──────open─────────┘  argon2id(password, salt) → key
//!                                                XChaCha20-Poly1305(key, nonce, header as AAD)
//! ```
//!
//! Invariants of the folder:
//! * a secret never implements `Debug`, `Clone` or `Serialize`, and is wiped when dropped (`secret`);
//! * a file that holds a secret is created with `O_EXCL` and mode 0600, is replaced whole or not at
//!   all, and is refused when anybody else could read it or when its name is a link (`private_file`);
//! * every byte of a sealed file counts: a changed one is reported as damage, never opened (`sealed`).
//!
//! Sources: RFC 9106 section 4 (second recommended parameter set), draft-irtf-cfrg-xchacha-03.

mod password;
mod private_file;
mod sealed;
mod secret;
mod validator_key;

pub use password::{PasswordError, PasswordSource};
pub use private_file::{FileError, create_private_directory, create_private_file};
pub use private_file::{read_private_file, replace_private_file};
pub use sealed::{KeystoreError, KeystoreFile, Protection};
pub use secret::Secret;
pub use validator_key::{KeyGuard, ValidatorKey, ValidatorKeyError};
