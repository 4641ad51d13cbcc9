//! Checks of the data directory: may we write there, is it free, is there room, does it sync.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Check, Verdict};

/// Less free space than this and a public node stops within weeks.
const SPACE_WARN_BYTES: u64 = 10 << 30;
/// Less than this and a node does not start: one block segment and one flush must fit.
const SPACE_FAIL_BYTES: u64 = 256 << 20;
/// A sync slower than this keeps a node from following two-second blocks comfortably.
const SYNC_WARN: Duration = Duration::from_millis(100);

/// The directory, or the nearest one above it that exists: it will be made there.
fn existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    absolute
        .ancestors()
        .find(|above| above.is_dir())
        .map_or_else(|| "/".into(), Into::into)
}

/// Whether the directory is ours and nobody else's to write.
pub(super) fn permissions(path: &Path) -> Check {
    const NAME: &str = "data directory";
    let shown = path.display();
    let metadata = match fs::metadata(path) {
        Err(_) => {
            let above = existing(path);
            return match probe(&above) {
                Ok(()) => Check::new(NAME, Verdict::Ok, format!("{shown} will be made")),
                Err(e) => Check::new(NAME, Verdict::Fail, format!("{} : {e}", above.display()))
                    .next("choose a --data-dir that you can write"),
            };
        }
        Ok(metadata) => metadata,
    };
    if !metadata.is_dir() {
        return Check::new(NAME, Verdict::Fail, format!("{shown} is not a directory"))
            .next("choose another --data-dir");
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o002 != 0 {
        return Check::new(
            NAME,
            Verdict::Fail,
            format!("{shown} has mode {mode:04o}: anybody may write"),
        )
        .next(format!("chmod 700 {shown}"));
    }
    match probe(path) {
        Ok(()) => {
            let owner = metadata.uid();
            Check::new(
                NAME,
                Verdict::Ok,
                format!("{shown} can be written (mode {mode:04o}, user {owner})"),
            )
        }
        Err(e) => Check::new(
            NAME,
            Verdict::Fail,
            format!("{shown} cannot be written: {e}"),
        )
        .next("choose a --data-dir that you can write"),
    }
}

/// Makes and removes a file.
fn probe(directory: &Path) -> std::io::Result<()> {
    let path = directory.join(format!(".cairn-doctor-{}", std::process::id()));
    let written = File::create_new(&path).and_then(|mut file| {
        file.write_all(b"doctor")?;
        file.sync_all()
    });
    let _ = fs::remove_file(&path);
    written
}

/// Whether another process uses the directory. The lock is only looked at when there is one.
pub(super) fn lock(path: &Path) -> Check {
    const NAME: &str = "directory lock";
    if !path.join("format").is_file() {
        return Check::new(NAME, Verdict::Ok, "no node has used the directory yet");
    }
    match cairn_storage::DataDirectory::open(path) {
        Ok(_) => Check::new(NAME, Verdict::Ok, "free"),
        Err(locked @ cairn_storage::StorageError::Locked { .. }) => {
            Check::new(NAME, Verdict::Warn, locked.to_string())
        }
        Err(error) => Check::new(NAME, Verdict::Fail, error.to_string()),
    }
}

/// Free space where the directory is or will be.
pub(super) fn space(path: &Path) -> Check {
    const NAME: &str = "disk space";
    let place = existing(path);
    let found = match rustix::fs::statvfs(&place) {
        Ok(found) => found,
        Err(e) => return Check::new(NAME, Verdict::Warn, format!("{} : {e}", place.display())),
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let read_only = found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
    judge_space(free, read_only)
}

fn judge_space(free: u64, read_only: bool) -> Check {
    const NAME: &str = "disk space";
    let detail = format!("{} MiB free", free >> 20);
    if read_only {
        return Check::new(NAME, Verdict::Fail, "the file system is mounted read-only")
            .next("choose a --data-dir on another one");
    }
    match free {
        ..SPACE_FAIL_BYTES => Check::new(NAME, Verdict::Fail, detail)
            .next("free some space, or choose another --data-dir"),
        SPACE_FAIL_BYTES..SPACE_WARN_BYTES => Check::new(NAME, Verdict::Warn, detail)
            .next("enough for a devnet, not for a public chain"),
        _ => Check::new(NAME, Verdict::Ok, detail),
    }
}

/// How long one small sync to this disk takes.
pub(super) fn sync_time(path: &Path) -> Check {
    const NAME: &str = "disk sync";
    let place = existing(path);
    let started = Instant::now();
    if let Err(e) = probe(&place) {
        return Check::new(NAME, Verdict::Warn, format!("{} : {e}", place.display()));
    }
    judge_sync(started.elapsed())
}

fn judge_sync(took: Duration) -> Check {
    let detail = format!("{:.1} ms", took.as_secs_f64() * 1e3);
    if took > SYNC_WARN {
        return Check::new("disk sync", Verdict::Warn, detail)
            .next("a slow disk delays blocks and payments");
    }
    Check::new("disk sync", Verdict::Ok, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_anybody_may_write_fails() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(permissions(dir.path()).verdict, Verdict::Ok);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let check = permissions(dir.path());
        assert_eq!(check.verdict, Verdict::Fail);
        assert!(check.detail.contains("0777") && check.next.unwrap().contains("chmod 700"));
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        assert_eq!(permissions(&file).verdict, Verdict::Fail);
        assert_eq!(permissions(Path::new("/proc/cairn")).verdict, Verdict::Fail);
        assert_eq!(permissions(&dir.path().join("a/b")).verdict, Verdict::Ok);
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "the probe leaves nothing");
    }

    #[test]
    fn a_directory_in_use_is_told() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(lock(dir.path()).verdict, Verdict::Ok);
        let held = cairn_storage::DataDirectory::open(dir.path()).unwrap();
        let check = lock(dir.path());
        assert_eq!(check.verdict, Verdict::Warn, "{check:?}");
        drop(held);
        assert_eq!(lock(dir.path()).verdict, Verdict::Ok);
    }

    #[test]
    fn space_and_sync_have_bounds() {
        assert_eq!(
            judge_space(SPACE_FAIL_BYTES - 1, false).verdict,
            Verdict::Fail
        );
        assert_eq!(judge_space(SPACE_FAIL_BYTES, false).verdict, Verdict::Warn);
        assert_eq!(judge_space(SPACE_WARN_BYTES, false).verdict, Verdict::Ok);
        assert_eq!(judge_space(SPACE_WARN_BYTES, true).verdict, Verdict::Fail);
        assert_eq!(judge_sync(SYNC_WARN).verdict, Verdict::Ok);
        assert_eq!(judge_sync(SYNC_WARN * 2).verdict, Verdict::Warn);
    }
}
