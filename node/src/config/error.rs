//! Why settings cannot be used.
//!
//! Invariant: every error names the place (flag, variable, or key and file) and what would have been
//! right.

use std::path::PathBuf;

use super::CONFIG_FILE_BYTES_MAX;
use super::key::{KEYS, key, variable};

/// Why the settings cannot be used. Always the user's to mend: exit code 2.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The file is larger than any configuration is.
    #[error("the configuration file {path} has {bytes} bytes, more than {CONFIG_FILE_BYTES_MAX}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The file is not TOML.
    #[error("the configuration file {path} is not TOML: {cause}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and column.
        cause: String,
    },
    /// The file has a key that no setting bears.
    #[error("unknown key `{key}` in {path}")]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key as written.
        key: String,
    },
    /// The file gives one setting twice, once with `-` and once with `_`.
    #[error("key `{key}` stands twice in {path}, with `-` and with `_`")]
    DuplicateKey {
        /// The file.
        path: PathBuf,
        /// The setting.
        key: String,
    },
    /// A value is not of its setting's form.
    #[error("{name} is {value}")]
    Invalid {
        /// The flag, variable or key, as its source writes it.
        name: String,
        /// The value as given.
        value: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// A setting without default was given nowhere.
    #[error("no {key} given")]
    Missing {
        /// The setting.
        key: &'static str,
        /// What would have been right.
        expected: &'static str,
    },
}

impl ConfigError {
    /// A setting that was given nowhere.
    pub(super) fn missing(name: &'static str) -> Self {
        let key = key(name);
        Self::Missing {
            key: key.name,
            expected: key.expected,
        }
    }

    /// What would have been right, for the error's second line.
    pub fn expected(&self) -> String {
        match self {
            Self::Unreadable { .. } => "a readable TOML file".into(),
            Self::TooLarge { .. } => format!("at most {CONFIG_FILE_BYTES_MAX} bytes"),
            Self::Syntax { .. } => "lines such as `api = \"127.0.0.1:8080\"`".into(),
            Self::UnknownKey { .. } | Self::DuplicateKey { .. } => {
                let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
                format!("one each of {}", names.join(", "))
            }
            Self::Invalid { expected, .. } => (*expected).into(),
            Self::Missing { key, expected } => format!(
                "--{} or {} or the file's key `{key}`: {expected}",
                key.replace('_', "-"),
                variable(key)
            ),
        }
    }
}
