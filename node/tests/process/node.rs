//! One `cairn node` process.

use crate::http::Api;
use crate::wait::until;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Time for a node to start on a busy machine.
pub const START_MAX: Duration = Duration::from_secs(60);

/// The program under test.
pub fn cairn() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    // A setting of the person who runs the tests must not change them.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CAIRN_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Gives a program the arguments of a node on free ports.
pub fn node_command(command: &mut Command, data_dir: &Path, chain: &str, more: &[&str]) {
    command
        .args(["node", "--chain", chain, "--api", "127.0.0.1:0"])
        .args(["--p2p", "/ip4/127.0.0.1/tcp/0", "--data-dir"])
        .arg(data_dir)
        .args(more);
}

/// Runs a command to its end and gives its output as JSON; panics if it fails.
pub fn json(command: &mut Command) -> serde_json::Value {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{command:?}: {error}: {}", text(&output)))
}

/// What a command printed.
pub fn text(output: &Output) -> String {
    let streams = [&output.stdout, &output.stderr];
    streams
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}

/// A running node. Dropping it kills it.
pub struct Node {
    child: Child,
    /// Its API.
    pub api: Api,
    /// Where it listens for peers, with its peer id.
    pub p2p: String,
    /// Its data directory.
    pub data_dir: PathBuf,
}

impl Node {
    /// Starts a node on free ports and waits until it answers.
    pub fn start(data_dir: &Path, chain: &str, more: &[&str]) -> Node {
        let mut command = cairn();
        node_command(&mut command, data_dir, chain, more);
        Node::spawn(&mut command, data_dir)
    }

    /// Starts the node of a command made by [`node_command`] and waits until it answers.
    pub fn spawn(command: &mut Command, data_dir: &Path) -> Node {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let lines = lines_of(&mut child);
        let find = |prefix: &str| {
            until(prefix, START_MAX, || {
                let line = lines.recv_timeout(START_MAX).expect("the node goes on");
                line.strip_prefix(prefix).map(str::to_owned)
            })
        };
        let (mut p2p, mut api) = (None, None);
        while p2p.is_none() || api.is_none() {
            let line = find("");
            if let Some(address) = line.strip_prefix("listening ") {
                p2p = Some(address.to_owned());
            } else if let Some(address) = line.strip_prefix("api http://") {
                api = Some(address.to_owned());
            }
        }
        // Someone must go on reading, or the node blocks on a full pipe.
        thread::spawn(move || while lines.recv().is_ok() {});
        let (p2p, api) = (p2p.expect("found"), Api::at(&api.expect("found")));
        until("the API answers", START_MAX, || api.height());
        Node {
            child,
            api,
            p2p,
            data_dir: data_dir.to_owned(),
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for it to end by itself.
    pub fn ended(mut self, deadline: Duration) -> ExitStatus {
        until("the node ends", deadline, || {
            self.child.try_wait().expect("ours")
        })
    }

    /// Ends it by `SIGKILL`.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ran");
    }

    /// Ends it by `SIGTERM`.
    pub fn stop(mut self) -> ExitStatus {
        signal(self.child.id(), "TERM");
        until("the node stops", Duration::from_secs(30), || {
            self.child.try_wait().expect("ours")
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines of a child's standard output, as they come.
pub fn lines_of(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    let output = BufReader::new(child.stdout.take().expect("piped"));
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                // Nobody listens any more; the pipe is still emptied.
            }
        }
    });
    lines
}

/// Sends a signal by its name.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status();
    assert!(status.expect("kill runs").success(), "kill -{name} {pid}");
}

/// A devnet specification file of its own chain: height 1 and all others unthrottled, an easy
/// target.
pub fn easy_chain(folder: &Path, seed: u8) -> PathBuf {
    let template = include_str!("../../../spec/chains/devnet.toml");
    let text = template
        .replace(
            "devnet = true",
            &format!(
                "devnet = true\nseed = \"{}\"",
                format!("{seed:02x}").repeat(32)
            ),
        )
        .replace("hashes_per_second = 8192", "hashes_per_second = 0")
        .replace("0x1f00ffff", "0x207fffff");
    let path = folder.join(format!("chain-{seed}.toml"));
    std::fs::write(&path, text).expect("the folder is ours");
    path
}
