//! Files that only their owner may read.
//!
//! Invariant: a private file is complete or absent, never half written: it is written under another
//! name, synced, renamed, and its directory synced.

use crate::error::{IoContext, Result, StorageError};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Refuses a file or directory whose mode has any of the `forbidden` bits; `wanted` is for the message.
pub fn check_private(path: &Path, forbidden: u32, wanted: u32) -> Result<()> {
    let metadata = std::fs::symlink_metadata(path).at("examine", path)?;
    let metadata = match metadata.file_type().is_symlink() {
        true => std::fs::metadata(path).at("examine", path)?,
        false => metadata,
    };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & forbidden != 0 {
        return Err(StorageError::TooOpen {
            path: path.to_owned(),
            mode,
            wanted,
        });
    }
    Ok(())
}

/// Creates a file that must not exist yet, mode 0600, following no symbolic link.
pub fn create_private_file(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .at("create", path)?;
    let mode = std::fs::Permissions::from_mode(0o600);
    file.set_permissions(mode).at("set permissions of", path)?;
    Ok(file)
}

/// Puts `contents` in place of whatever `path` was, atomically and durably, mode 0600.
pub fn write_private_file(path: &Path, contents: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).at("remove", &temporary);
        }
        _ => {}
    }
    let mut file = create_private_file(&temporary)?;
    file.write_all(contents).at("write", &temporary)?;
    file.sync_all().at("sync", &temporary)?;
    std::fs::rename(&temporary, path).at("rename to", path)?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)
        .and_then(|d| d.sync_all())
        .at("sync directory", directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_files_are_0600_and_replaced_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        write_private_file(&path, b"one").unwrap();
        write_private_file(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(create_private_file(&path).is_err());
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("open");
        write_private_file(&path, b"x").unwrap();
        check_private(&path, 0o077, 0o600).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o646)).unwrap();
        let refused = check_private(&path, 0o077, 0o600).unwrap_err();
        assert!(refused.to_string().contains("mode 646"), "{refused}");
    }
}
