//! A disk that is full: the node stops promising, says so and ends; with room again it goes on with
//! all that it had told.
//!
//! Two ways to fill a disk. A small file system of its own, filled by somebody else, needs the right
//! to mount (CI runs as root); without it the test says that it did not run. A limit on the size of
//! the node's files needs no right at all, and fails its writes in the same place.

use crate::kill::SINK;
use crate::node::{Node, easy_chain, node_command};
use crate::partition::verify;
use crate::wait::until;
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Blocks mined before the disk is full.
const BLOCKS: usize = 10;
/// Blocks asked for one by one on the full disk. Each takes some 500 bytes of log, and at most the
/// rest of one page of 4 KiB was left.
const TRIES_MAX: usize = 200;
/// A node that cannot go on ends within the time that a stop may take, on a busy machine.
const END_MAX: Duration = Duration::from_secs(30);

/// A file system of some megabytes, unmounted at the end.
struct Small(PathBuf);

impl Small {
    /// Mounts one at `path`; none without the right to.
    fn mount(path: &Path) -> Option<Small> {
        fs::create_dir(path).expect("the folder is ours");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=32m,mode=700", "tmpfs"])
            .arg(path)
            .stderr(Stdio::null())
            .status();
        mount
            .is_ok_and(|status| status.success())
            .then(|| Small(path.to_owned()))
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("room for a name");
        let mut piece = vec![0x5a; 1 << 20];
        while !piece.is_empty() {
            match ballast.write(&piece) {
                Ok(written) if written > 0 => {}
                Ok(_) => piece.clear(),
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    piece.truncate(piece.len() / 2);
                }
                Err(error) => panic!("filling the disk: {error}"),
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a process that is being killed may still hold a file.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A node whose log goes to a file.
fn start(data_dir: &Path, chain: &str, log: &Path, command: Command) -> Node {
    let mut command = command;
    let log = OpenOptions::new().create(true).append(true).open(log);
    node_command(&mut command, data_dir, chain, &[]);
    command.stderr(log.expect("the folder is ours"));
    Node::spawn(&mut command, data_dir)
}

/// Mines until the node no longer can; answers with the blocks that it told of.
fn mine_until_it_fails(node: &Node) -> Vec<Value> {
    let mut told = Vec::new();
    for _ in 0..TRIES_MAX {
        let body = json!({
            "jsonrpc": "2.0", "id": 1, "method": "generatetoaddress", "params": [1, SINK],
        });
        match node.api.post("/rpc", &body) {
            Some((200, answer)) if answer["error"].is_null() => {
                told.push(answer["result"][0].clone());
            }
            // Refused, or the node is gone already.
            _ => return told,
        }
    }
    panic!("{TRIES_MAX} blocks on a full disk were acknowledged");
}

/// The whole story; `command` starts the program, `fill` takes the room away, `free` gives it back.
fn story(
    folder: &Path,
    data_dir: &Path,
    command: impl Fn() -> Command,
    fill: impl FnOnce(&Node),
    free: impl FnOnce(),
) {
    let chain = easy_chain(folder, 9);
    let chain = chain.to_str().expect("a text");
    let log = folder.join("node.log");
    let node = start(data_dir, chain, &log, command());
    // One at a time: each waits for the disk, and an answer has a deadline.
    let mut told: Vec<Value> = (0..BLOCKS)
        .map(|_| node.api.rpc("generatetoaddress", json!([1, SINK]))[0].clone())
        .collect();
    fill(&node);
    told.extend(mine_until_it_fails(&node));
    // It stops by itself, with the exit code of a failure.
    let readiness = node.api.text("/readyz");
    let status = node.ended(END_MAX);
    assert_eq!(
        status.code(),
        Some(1),
        "readiness before the end: {readiness:?}"
    );
    let words = fs::read_to_string(&log).expect("a log");
    assert!(words.contains("the node cannot go on"), "{words}");
    let full = ["No space left on device", "File too large"];
    assert!(full.iter().any(|cause| words.contains(cause)), "{words}");
    println!("{} blocks told before the end", told.len());

    free();
    let node = start(data_dir, chain, &log, crate::node::cairn());
    for (height, id) in told.iter().enumerate() {
        let block = node.api.get(&format!("/v1/blocks/{}", height + 1));
        assert_eq!(&block.expect("a block that was told")["id"], id);
    }
    node.api.rpc("generatetoaddress", json!([1, SINK]));
    assert!(node.stop().success());
    verify(data_dir, chain);
}

#[test]
fn a_full_file_system_stops_the_node_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(small) = Small::mount(&folder.path().join("small")) else {
        println!("not run: mounting a small file system needs root");
        return;
    };
    let data_dir = small.0.join("node");
    story(
        folder.path(),
        &data_dir,
        crate::node::cairn,
        |_| small.fill(),
        || fs::remove_file(small.ballast()).expect("ours"),
    );
}

#[test]
fn a_file_that_may_not_grow_stops_the_node_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("node");
    // The signal that comes with the limit would end the process before it can say anything.
    let command = || {
        let program = crate::node::cairn();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(program.get_program());
        shell
    };
    let limit = |node: &Node| {
        let segment = node.data_dir.join("chain/log/00000000.seg");
        let bytes = fs::metadata(&segment).expect("a segment").len() + 600;
        let limited = Command::new("prlimit")
            .args([format!("--fsize={bytes}"), format!("--pid={}", node.pid())])
            .status();
        assert!(limited.is_ok_and(|status| status.success()), "prlimit runs");
    };
    story(folder.path(), &data_dir, command, limit, || {});
}

/// With no room from the beginning, a start fails and names the cause.
#[test]
fn a_start_on_a_full_file_system_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(small) = Small::mount(&folder.path().join("small")) else {
        println!("not run: mounting a small file system needs root");
        return;
    };
    small.fill();
    let chain = easy_chain(folder.path(), 10);
    let mut command = crate::node::cairn();
    node_command(
        &mut command,
        &small.0.join("node"),
        chain.to_str().expect("a text"),
        &[],
    );
    let output = command.output().expect("the program starts");
    let text = crate::node::text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("No space left on device"), "{text}");
    until("the room comes back", END_MAX, || {
        fs::remove_file(small.ballast()).ok()
    });
    let mut command = crate::node::cairn();
    let data_dir = small.0.join("node");
    node_command(
        &mut command,
        &data_dir,
        chain.to_str().expect("a text"),
        &[],
    );
    let node = Node::spawn(&mut command, &data_dir);
    assert_eq!(node.api.height(), Some(0));
    assert!(node.stop().success());
}
