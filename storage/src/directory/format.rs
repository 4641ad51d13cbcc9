//! The version of a data directory's layout and the way from older ones to the current one.
//!
//! Invariant: the format file names the version that every file below obeys. An upgrade step either
//! leaves the directory readable by its `from` version or finishes before the file says `from + 1`;
//! a step that was interrupted is run again, so each step must bear that.

use super::private::write_private_file;
use crate::error::{IoContext, Result, StorageError};
use std::io;
use std::path::Path;

/// The version that this program writes.
pub const FORMAT_CURRENT: u32 = 1;

/// Upgrades from released versions, one step each. Version 1 is the first released one.
pub const MIGRATIONS: &[Migration] = &[];

const FORMAT_FILE: &str = "format";
const FORMAT_TEXT: &str = "cairn data format ";

/// One step from version `from` to `from + 1`.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Version before the step.
    pub from: u32,
    /// What changes, for the log.
    pub what: &'static str,
    /// Does it; called again from the beginning if it was interrupted.
    pub run: fn(&Path) -> Result<()>,
}

/// The current version and the steps that lead to it.
#[derive(Debug, Clone, Copy)]
pub struct FormatPlan<'a> {
    /// Version to end at.
    pub current: u32,
    /// Known steps.
    pub migrations: &'a [Migration],
}

impl Default for FormatPlan<'static> {
    fn default() -> Self {
        FormatPlan {
            current: FORMAT_CURRENT,
            migrations: MIGRATIONS,
        }
    }
}

impl FormatPlan<'_> {
    /// Brings a locked directory to the current version and returns the version found before.
    pub(super) fn bring_up(&self, directory: &Path) -> Result<Option<u32>> {
        let Some(found) = read_version(directory)? else {
            write_version(directory, self.current)?;
            return Ok(None);
        };
        let path = directory.to_owned();
        if found > self.current {
            return Err(StorageError::FormatTooNew {
                path,
                found,
                known: self.current,
            });
        }
        // The whole way must be known before the first step is taken.
        let step = |from| {
            self.migrations
                .iter()
                .find(|migration| migration.from == from)
        };
        if let Some(missing) = (found..self.current).find(|from| step(*from).is_none()) {
            tracing::error!(missing, "no upgrade step from this format version");
            return Err(StorageError::FormatTooOld {
                path,
                found,
                known: self.current,
            });
        }
        for from in found..self.current {
            let migration = step(from).expect("looked up just above");
            tracing::info!(
                from,
                to = from + 1,
                what = migration.what,
                "upgrading data directory"
            );
            (migration.run)(directory)?;
            write_version(directory, from + 1)?;
        }
        Ok(Some(found))
    }
}

fn read_version(directory: &Path) -> Result<Option<u32>> {
    let path = directory.join(FORMAT_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).at("read", &path),
    };
    let version = text
        .strip_prefix(FORMAT_TEXT)
        .and_then(|rest| rest.trim().parse().ok());
    version.map(Some).ok_or_else(|| StorageError::Damaged {
        what: format!(
            "{} holds {:?}, expected \"{FORMAT_TEXT}N\"",
            path.display(),
            excerpt(&text)
        ),
        advice: "this may not be a data directory; choose another --data-dir",
    })
}

fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}

fn write_version(directory: &Path, version: u32) -> Result<()> {
    let text = format!("{FORMAT_TEXT}{version}\n");
    write_private_file(&directory.join(FORMAT_FILE), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::DataDirectory;
    use std::fs;

    /// Version 1 kept one file `names`, version 2 `name-list`, version 3 has it in capitals.
    const STEPS: &[Migration] = &[
        Migration {
            from: 1,
            what: "rename names",
            run: |directory| {
                let (old, new) = (directory.join("names"), directory.join("name-list"));
                match fs::rename(&old, &new) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound && new.exists() => Ok(()),
                    other => other.at("rename", &old),
                }
            },
        },
        Migration {
            from: 2,
            what: "capitals",
            run: |directory| {
                if directory.join("interrupt").exists() {
                    return Err(StorageError::Misuse("interrupted".into()));
                }
                let path = directory.join("name-list");
                let text = fs::read_to_string(&path).at("read", &path)?;
                fs::write(&path, text.to_uppercase()).at("write", &path)
            },
        },
    ];

    fn old_directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        drop(DataDirectory::open_with(directory.path(), &plan(1)).unwrap());
        fs::write(directory.path().join("names"), "anna").unwrap();
        directory
    }

    fn plan(current: u32) -> FormatPlan<'static> {
        FormatPlan {
            current,
            migrations: STEPS,
        }
    }

    fn version(directory: &Path) -> Option<u32> {
        read_version(directory).unwrap()
    }

    #[test]
    fn an_older_directory_is_upgraded_step_by_step() {
        let directory = old_directory();
        let opened = DataDirectory::open_with(directory.path(), &plan(3)).unwrap();
        assert_eq!(opened.format_before(), Some(1));
        assert_eq!(
            fs::read_to_string(directory.path().join("name-list")).unwrap(),
            "ANNA"
        );
        assert_eq!(version(directory.path()), Some(3));
    }

    #[test]
    fn an_interrupted_upgrade_goes_on_where_it_stopped() {
        let directory = old_directory();
        fs::write(directory.path().join("interrupt"), "").unwrap();
        DataDirectory::open_with(directory.path(), &plan(3)).unwrap_err();
        assert_eq!(version(directory.path()), Some(2));
        fs::remove_file(directory.path().join("interrupt")).unwrap();
        DataDirectory::open_with(directory.path(), &plan(3)).unwrap();
        assert_eq!(
            fs::read_to_string(directory.path().join("name-list")).unwrap(),
            "ANNA"
        );
    }

    #[test]
    fn a_newer_directory_is_refused_untouched() {
        let directory = old_directory();
        drop(DataDirectory::open_with(directory.path(), &plan(3)).unwrap());
        let refused = DataDirectory::open_with(directory.path(), &plan(2)).unwrap_err();
        assert!(matches!(
            refused,
            StorageError::FormatTooNew {
                found: 3,
                known: 2,
                ..
            }
        ));
        assert_eq!(version(directory.path()), Some(3));
    }

    #[test]
    fn a_version_without_a_way_up_is_refused_before_any_step() {
        let directory = old_directory();
        let gap = FormatPlan {
            current: 4,
            migrations: STEPS,
        };
        let refused = DataDirectory::open_with(directory.path(), &gap).unwrap_err();
        assert!(matches!(
            refused,
            StorageError::FormatTooOld {
                found: 1,
                known: 4,
                ..
            }
        ));
        assert!(directory.path().join("names").exists());
    }

    #[test]
    fn a_foreign_format_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("format"), "something else").unwrap();
        let refused = DataDirectory::open(directory.path()).unwrap_err();
        assert!(refused.to_string().contains("something else"), "{refused}");
    }
}
