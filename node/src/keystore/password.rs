//! Where a password comes from: a file, the environment, or a person at a terminal; in that order.
//!
//! Invariant: a prompt appears only when standard input is a terminal, and never echoes.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::Secret;

/// The environment variable that may hold the password.
pub const PASSWORD_VARIABLE: &str = "CAIRN_WALLET_PASSWORD";
/// Longest accepted password: far above any phrase a person types, small enough to hash at once.
const PASSWORD_BYTES_MAX: usize = 1024;

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Nobody gave one and there is nobody to ask.
    #[error(
        "no password: pass --password-file FILE, set CAIRN_WALLET_PASSWORD, or run on a terminal"
    )]
    Missing,
    /// An empty password protects nothing.
    #[error("the password is empty; a wallet without protection is not offered")]
    Empty,
    /// The password is absurdly long.
    #[error("the password is {bytes} bytes long, at most {PASSWORD_BYTES_MAX} are accepted")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The two entries at the prompt differ.
    #[error("the two passwords differ; nothing was written")]
    Mismatch,
    /// The password file or the terminal could not be read.
    #[error("read password from {from}: {source}")]
    Io {
        /// File name or "terminal".
        from: String,
        /// The cause.
        source: io::Error,
    },
}

/// The place the user named, if any.
#[derive(Debug, Default, Clone)]
pub struct PasswordSource {
    /// `--password-file`.
    pub file: Option<PathBuf>,
}

impl PasswordSource {
    /// The password of an existing keystore.
    pub fn read(&self) -> Result<Secret, PasswordError> {
        match self.unattended()? {
            Some(password) => Ok(password),
            None => prompt("Wallet password: "),
        }
    }

    /// The password of a keystore to be made: a person types it twice.
    pub fn choose(&self) -> Result<Secret, PasswordError> {
        if let Some(password) = self.unattended()? {
            return Ok(password);
        }
        let password = prompt("New wallet password: ")?;
        let again = prompt("The same again: ")?;
        if password.expose() != again.expose() {
            return Err(PasswordError::Mismatch);
        }
        Ok(password)
    }

    fn unattended(&self) -> Result<Option<Secret>, PasswordError> {
        if let Some(path) = &self.file {
            return from_file(path).map(Some);
        }
        match std::env::var_os(PASSWORD_VARIABLE) {
            Some(value) => checked(value.into_encoded_bytes()).map(Some),
            None => Ok(None),
        }
    }
}

fn from_file(path: &Path) -> Result<Secret, PasswordError> {
    let failed = |source| PasswordError::Io {
        from: path.display().to_string(),
        source,
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSWORD_BYTES_MAX + 3));
    let file = File::open(path).map_err(failed)?;
    file.take(PASSWORD_BYTES_MAX as u64 + 3)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    checked(without_line_end(&bytes).to_vec())
}

/// One line feed at the end, with or without carriage return, is the editor's, not the password's.
fn without_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

fn checked(bytes: Vec<u8>) -> Result<Secret, PasswordError> {
    let password = Secret::new(bytes);
    match password.expose().len() {
        0 => Err(PasswordError::Empty),
        bytes if bytes > PASSWORD_BYTES_MAX => Err(PasswordError::TooLong { bytes }),
        _ => Ok(password),
    }
}

fn prompt(text: &str) -> Result<Secret, PasswordError> {
    if !io::stdin().is_terminal() {
        return Err(PasswordError::Missing);
    }
    let failed = |source| PasswordError::Io {
        from: "terminal".into(),
        source,
    };
    eprint!("{text}");
    io::stderr().flush().map_err(failed)?;
    let line = {
        let _silence = Silence::new().map_err(failed)?;
        read_line().map_err(failed)?
    };
    eprintln!();
    checked(without_line_end(&line).to_vec())
}

/// Reads byte by byte, so that no buffered reader keeps a copy.
fn read_line() -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(PASSWORD_BYTES_MAX + 2));
    let mut byte = Zeroizing::new([0u8; 1]);
    while line.len() <= PASSWORD_BYTES_MAX {
        match rustix::io::read(io::stdin(), &mut byte[..]) {
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) => line.push(byte[0]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(line)
}

/// Turns the terminal's echo off and puts the old state back when dropped.
struct Silence(Termios);

impl Silence {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO;
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(content: &[u8]) -> (tempfile::TempDir, PasswordSource) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("password");
        std::fs::write(&path, content).unwrap();
        (root, PasswordSource { file: Some(path) })
    }

    #[test]
    fn one_line_end_of_a_file_is_not_part_of_the_password() {
        for (content, expected) in [
            (&b"hunter2"[..], &b"hunter2"[..]),
            (b"hunter2\n", b"hunter2"),
            (b"hunter2\r\n", b"hunter2"),
            (b" two words \n\n", b" two words \n"),
        ] {
            let (_root, source) = source(content);
            assert_eq!(source.read().ok().unwrap().expose(), expected);
        }
    }

    #[test]
    fn empty_and_endless_passwords_are_refused() {
        for content in [&b""[..], b"\n", b"\r\n"] {
            let (_root, source) = source(content);
            assert!(matches!(source.choose(), Err(PasswordError::Empty)));
        }
        let (_root, source) = source(&[b'x'; 5000]);
        assert!(matches!(source.read(), Err(PasswordError::TooLong { .. })));
    }

    #[test]
    fn a_missing_file_is_named() {
        let source = PasswordSource {
            file: Some("no/such/file".into()),
        };
        let message = source.read().err().unwrap().to_string();
        assert!(message.contains("no/such/file"), "{message}");
    }
}
