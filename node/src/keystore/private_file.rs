//! Files that only their owner may read, replaced whole or not at all.
//!
//! Invariants: created with `O_EXCL`, `O_NOFOLLOW` and mode 0600 whatever the umask says; read only
//! when the opened file is regular, ours and closed to group and others; after a crash the old or
//! the new content is there, never a mixture and never none (temp file, fsync, rename or link, fsync
//! of the directory).

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::secret::fill_random;

/// Permission bits of group and others: none may be set on a private file.
const OTHERS_MASK: u32 = 0o077;
/// Write bits of group and others: none may be set on a directory that holds a private file.
const OTHERS_WRITE_MASK: u32 = 0o022;

/// Why a private file or directory was not touched.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The name is a symbolic link, a device or a directory.
    #[error("{path} is not a regular file; links are not followed to secrets", path = path.display())]
    NotRegular {
        /// The name.
        path: PathBuf,
    },
    /// Somebody else could read or change the file or directory.
    #[error("{path} has mode {mode:04o}, at most {allowed:04o} is accepted; run: chmod {allowed:04o} '{path}'", path = path.display())]
    TooOpen {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The loosest accepted permission bits.
        allowed: u32,
    },
    /// The file belongs to another user.
    #[error("{path} belongs to user {owner}, this process runs as user {expected}", path = path.display())]
    ForeignOwner {
        /// The file or directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user of this process.
        expected: u32,
    },
    /// The file is there already and may not be replaced.
    #[error("{path} exists already and is never overwritten", path = path.display())]
    Exists {
        /// The name.
        path: PathBuf,
    },
    /// The file is larger than anything this program writes there.
    #[error("{path} holds more than {bytes_max} bytes", path = path.display())]
    TooLarge {
        /// The name.
        path: PathBuf,
        /// The bound.
        bytes_max: u64,
    },
}

impl FileError {
    /// Whether the file is simply not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_path_buf();
    move |source| FileError::Io {
        action,
        path,
        source,
    }
}

/// Creates `path` (and its parents) with mode 0700, or checks that the existing directory is ours
/// and that nobody else may write to it.
pub fn create_private_directory(path: &Path) -> Result<(), FileError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => return check_directory(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io_error("inspect", path)(error)),
    }
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        std::fs::create_dir_all(parent).map_err(io_error("create directory", parent))?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(io_error("create directory", path)(error))
        }
        _ => check_directory(path),
    }
}

fn check_directory(path: &Path) -> Result<(), FileError> {
    let metadata = std::fs::metadata(path).map_err(io_error("inspect", path))?;
    check_owner(path, metadata.uid())?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS_WRITE_MASK != 0 {
        return Err(FileError::TooOpen {
            path: path.into(),
            mode,
            allowed: 0o700,
        });
    }
    Ok(())
}

fn check_owner(path: &Path, owner: u32) -> Result<(), FileError> {
    let expected = rustix::process::geteuid().as_raw();
    if owner != expected {
        return Err(FileError::ForeignOwner {
            path: path.into(),
            owner,
            expected,
        });
    }
    Ok(())
}

/// Writes a new private file; an existing name is an error and stays as it is.
pub fn create_private_file(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let directory = directory_of(path);
    check_directory(&directory)?;
    let temporary = write_temporary(path, bytes)?;
    // A hard link fails when the name exists, a rename would replace it.
    let linked = std::fs::hard_link(&temporary, path);
    let removed = std::fs::remove_file(&temporary);
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(FileError::Exists { path: path.into() });
        }
        linked => linked.map_err(io_error("create", path))?,
    }
    removed.map_err(io_error("remove", &temporary))?;
    sync_directory(&directory)
}

/// Writes a private file, replacing an old one in a single step.
pub fn replace_private_file(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let directory = directory_of(path);
    check_directory(&directory)?;
    let temporary = write_temporary(path, bytes)?;
    if let Err(error) = std::fs::rename(&temporary, path) {
        let _ = std::fs::remove_file(&temporary);
        return Err(io_error("replace", path)(error));
    }
    sync_directory(&directory)
}

/// Reads a private file of at most `bytes_max` bytes; the buffer is wiped when dropped.
pub fn read_private_file(path: &Path, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let file = open_private(path)?;
    let metadata = file.metadata().map_err(io_error("inspect", path))?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular { path: path.into() });
    }
    check_owner(path, metadata.uid())?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS_MASK != 0 {
        return Err(FileError::TooOpen {
            path: path.into(),
            mode,
            allowed: 0o600,
        });
    }
    check_directory(&directory_of(path))?;
    // Room for one byte too many, so that the buffer never moves and leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        metadata.len().min(bytes_max) as usize + 1,
    ));
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(io_error("read", path))?;
    if bytes.len() as u64 > bytes_max {
        return Err(FileError::TooLarge {
            path: path.into(),
            bytes_max,
        });
    }
    Ok(bytes)
}

fn open_private(path: &Path) -> Result<File, FileError> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| {
            if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
                FileError::NotRegular { path: path.into() }
            } else {
                io_error("open", path)(error)
            }
        })
}

fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.into(),
        _ => PathBuf::from("."),
    }
}

fn write_temporary(path: &Path, bytes: &[u8]) -> Result<PathBuf, FileError> {
    let mut nonce = [0u8; 8];
    fill_random(&mut nonce);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", hex::encode(nonce)));
    let temporary = path.with_file_name(name);
    let written = write_exclusive(&temporary, bytes);
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written.map_err(io_error("write", &temporary))?;
    Ok(temporary)
}

fn write_exclusive(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> Result<(), FileError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(io_error("sync", path))
}

#[cfg(test)]
mod tests {
    //! Catalogue rows K02 (permissions, links) and K04 (a crash while writing).

    use std::os::unix::fs::symlink;

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    /// The umask belongs to the whole process, so this runs in one of its own.
    #[test]
    fn new_files_and_directories_are_private_under_any_umask() {
        let output = std::process::Command::new("sh")
            .args(["-c", "umask 000 && exec \"$0\" --exact --ignored \"$1\""])
            .arg(std::env::current_exe().unwrap())
            .arg(format!(
                "{}::under_umask_000",
                module_path!().split_once("::").unwrap().1
            ))
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && printed.contains("1 passed"),
            "{printed}"
        );
    }

    #[test]
    #[ignore = "runs inside new_files_and_directories_are_private_under_any_umask"]
    fn under_umask_000() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("a/b");
        create_private_directory(&directory).unwrap();
        create_private_file(&directory.join("key"), b"secret").unwrap();
        replace_private_file(&directory.join("other"), b"secret").unwrap();
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join("key")), 0o600);
        assert_eq!(mode(&directory.join("other")), 0o600);
    }

    #[test]
    fn creation_never_overwrites() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("key");
        create_private_file(&path, b"first").unwrap();
        assert!(matches!(
            create_private_file(&path, b"second"),
            Err(FileError::Exists { .. })
        ));
        assert_eq!(&read_private_file(&path, 100).unwrap()[..], b"first");
        assert_eq!(
            std::fs::read_dir(root.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn creation_does_not_write_through_a_link() {
        let root = tempfile::tempdir().unwrap();
        let (target, link) = (root.path().join("target"), root.path().join("key"));
        symlink(&target, &link).unwrap();
        assert!(matches!(
            create_private_file(&link, b"x"),
            Err(FileError::Exists { .. })
        ));
        assert!(!target.exists());
    }

    #[test]
    fn loose_modes_and_links_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("key");
        create_private_file(&path, b"secret").unwrap();
        for bits in [0o644, 0o640, 0o604, 0o660, 0o601] {
            set_mode(&path, bits);
            let error = read_private_file(&path, 100).unwrap_err();
            assert!(
                matches!(error, FileError::TooOpen { mode, .. } if mode == bits),
                "{error}"
            );
        }
        set_mode(&path, 0o600);
        let link = root.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(
            read_private_file(&link, 100),
            Err(FileError::NotRegular { .. })
        ));
        assert!(matches!(
            read_private_file(root.path(), 100),
            Err(FileError::NotRegular { .. })
        ));
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("key");
        create_private_file(&path, b"secret").unwrap();
        set_mode(root.path(), 0o777);
        assert!(matches!(
            read_private_file(&path, 100),
            Err(FileError::TooOpen { .. })
        ));
        assert!(matches!(
            replace_private_file(&path, b"x"),
            Err(FileError::TooOpen { .. })
        ));
        assert!(matches!(
            create_private_directory(root.path()),
            Err(FileError::TooOpen { .. })
        ));
        set_mode(root.path(), 0o700);
        assert_eq!(&read_private_file(&path, 100).unwrap()[..], b"secret");
    }

    #[test]
    fn a_crash_before_the_rename_leaves_the_old_content() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("key");
        create_private_file(&path, b"old").unwrap();
        // What a crash leaves behind: a temporary file, whole or cut off.
        write_temporary(&path, b"new con").unwrap();
        assert_eq!(&read_private_file(&path, 100).unwrap()[..], b"old");
        replace_private_file(&path, b"new content").unwrap();
        assert_eq!(&read_private_file(&path, 100).unwrap()[..], b"new content");
    }

    #[test]
    fn a_file_over_its_bound_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("key");
        create_private_file(&path, &[7; 101]).unwrap();
        assert!(matches!(
            read_private_file(&path, 100),
            Err(FileError::TooLarge { .. })
        ));
        assert_eq!(read_private_file(&path, 101).unwrap().len(), 101);
    }
}
