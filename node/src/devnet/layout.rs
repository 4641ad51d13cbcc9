//! Where a devnet keeps what, and the lock that makes it the only one there.
//!
//! Invariant: nothing outside the names of this file is created or removed in the directory, so
//! that `--fresh` in a wrong directory costs nothing but a devnet.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::error::DevnetError;
use crate::keystore::create_private_directory;

/// The lock file in a node's data directory, held while a node uses it.
const NODE_LOCK_FILE: &str = "lock";
/// How long a killed node may take to disappear.
const OLD_NODE_TIMEOUT: Duration = Duration::from_secs(10);

/// A devnet's directory.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// For a directory that need not exist; paths in it are absolute.
    pub fn new(root: &Path) -> Result<Self, DevnetError> {
        let root = std::path::absolute(root).map_err(DevnetError::io("find", root))?;
        Ok(Self { root })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The chain specification that all nodes read.
    pub fn chain_file(&self) -> PathBuf {
        self.root.join("chain.toml")
    }

    /// The specification as given with `--spec`.
    pub fn given_spec_file(&self) -> PathBuf {
        self.root.join("spec.toml")
    }

    /// What scripts read.
    pub fn manifest_file(&self) -> PathBuf {
        self.root.join("devnet.json")
    }

    /// Where a running devnet listens for `cairn devnet stop` and the like.
    pub fn control_socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// A node's data directory.
    pub fn node_directory(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A node's log.
    pub fn log_file(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }

    /// A wallet: "faucet", "miner", or a node's name.
    pub fn wallet_directory(&self, name: &str) -> PathBuf {
        self.root.join("wallets").join(name)
    }

    fn lock_file(&self) -> PathBuf {
        self.root.join("devnet.lock")
    }

    /// Makes the directory and takes its lock, which the kernel releases when this process ends.
    pub fn lock(&self) -> Result<DevnetLock, DevnetError> {
        create_private_directory(&self.root)?;
        let path = self.lock_file();
        let failed = || DevnetError::io("lock", &path);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed())?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let _ = (&mut file).take(20).read_to_string(&mut pid);
                let pid = pid.trim().to_owned();
                return Err(DevnetError::Running {
                    path: self.root.clone(),
                    pid,
                });
            }
            Err(error) => return Err(failed()(error.into())),
        }
        file.set_len(0).map_err(failed())?;
        file.rewind().map_err(failed())?;
        writeln!(file, "{}", std::process::id()).map_err(failed())?;
        Ok(DevnetLock(file))
    }

    /// The key that a node votes with; the file of its promises is beside it.
    pub fn validator_key(&self, name: &str) -> PathBuf {
        self.root.join("keys").join(format!("{name}.key"))
    }

    /// Makes the directories for keys, logs and wallets.
    pub fn create_directories(&self) -> Result<(), DevnetError> {
        for name in ["keys", "logs", "wallets"] {
            create_private_directory(&self.root.join(name))?;
        }
        Ok(())
    }

    /// Removes an earlier devnet. The caller holds the lock, the lock file stays.
    pub fn clear(&self) -> Result<(), DevnetError> {
        // The chain first: without it what is left counts as nothing.
        for path in [
            self.chain_file(),
            self.given_spec_file(),
            self.manifest_file(),
            self.control_socket(),
        ] {
            remove(&path, |path| fs::remove_file(path))?;
        }
        for name in self.node_names()? {
            remove(&self.node_directory(&name), |path| fs::remove_dir_all(path))?;
        }
        for name in ["keys", "logs", "wallets"] {
            remove(&self.root.join(name), |path| fs::remove_dir_all(path))?;
        }
        Ok(())
    }

    /// Waits until no process holds the data directory of a node any more: children of a supervisor
    /// that was killed are being killed too, which may take the kernel a moment.
    pub fn wait_for_old_nodes(&self) -> Result<(), DevnetError> {
        let deadline = Instant::now() + OLD_NODE_TIMEOUT;
        for name in self.node_names()? {
            let path = self.node_directory(&name).join(NODE_LOCK_FILE);
            let Ok(file) = File::open(&path) else {
                continue;
            };
            while let Err(TryLockError::WouldBlock) = file.try_lock_shared() {
                if Instant::now() >= deadline {
                    let pid = fs::read_to_string(&path)
                        .unwrap_or_default()
                        .trim()
                        .to_owned();
                    return Err(DevnetError::NodeRuns { node: name, pid });
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(())
    }

    /// Names of the nodes that have a data directory, `node-0` first.
    pub fn node_names(&self) -> Result<Vec<String>, DevnetError> {
        let entries = fs::read_dir(&self.root).map_err(DevnetError::io("read", &self.root))?;
        let mut numbers = Vec::new();
        for entry in entries {
            let entry = entry.map_err(DevnetError::io("read", &self.root))?;
            let number = entry.file_name().to_str().and_then(node_number);
            if let Some(number) = number.filter(|_| entry.path().is_dir()) {
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        Ok(numbers.into_iter().map(node_name).collect())
    }
}

/// The lock of a devnet's directory, held as long as this value lives.
pub struct DevnetLock(#[expect(dead_code, reason = "held for its lock")] File);

/// The name of node `number`.
pub fn node_name(number: usize) -> String {
    format!("node-{number}")
}

/// The number of a node by its name; other names and odd spellings are none.
pub fn node_number(name: &str) -> Option<usize> {
    let number: usize = name.strip_prefix("node-")?.parse().ok()?;
    (node_name(number) == name).then_some(number)
}

fn remove(path: &Path, remove: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), DevnetError> {
    match remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DevnetError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_devnet_per_directory() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(&root.path().join("devnet")).unwrap();
        let lock = layout.lock().unwrap();
        let error = layout.lock().err().unwrap();
        let own = std::process::id().to_string();
        assert!(
            matches!(&error, DevnetError::Running { pid, .. } if *pid == own),
            "{error}"
        );
        drop(lock);
        layout.lock().unwrap();
    }

    #[test]
    fn a_start_waits_for_nodes_that_are_still_dying() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path()).unwrap();
        fs::create_dir(layout.node_directory("node-0")).unwrap();
        let path = layout.node_directory("node-0").join(NODE_LOCK_FILE);
        layout.wait_for_old_nodes().unwrap();
        let held = File::create(&path).unwrap();
        held.lock().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let waiting = std::thread::spawn(move || {
            layout.wait_for_old_nodes().unwrap();
            sender.send(()).unwrap();
        });
        let early = receiver.recv_timeout(Duration::from_millis(100));
        assert!(early.is_err(), "the lock was held");
        drop(held);
        waiting.join().unwrap();
    }

    #[test]
    fn fresh_removes_what_a_devnet_made_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path()).unwrap();
        let _lock = layout.lock().unwrap();
        layout.create_directories().unwrap();
        for name in ["node-0", "node-10", "node-2", "node-x", "node-01", "notes"] {
            fs::create_dir(root.path().join(name)).unwrap();
            fs::write(root.path().join(name).join("file"), "x").unwrap();
        }
        fs::write(layout.chain_file(), "x").unwrap();
        fs::write(layout.manifest_file(), "x").unwrap();
        fs::write(root.path().join("node-5"), "a file, no directory").unwrap();
        assert_eq!(
            layout.node_names().unwrap(),
            ["node-0", "node-2", "node-10"]
        );
        layout.clear().unwrap();
        let mut left: Vec<String> = fs::read_dir(root.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(
            left,
            ["devnet.lock", "node-01", "node-5", "node-x", "notes"]
        );
        layout.clear().unwrap();
    }
}
