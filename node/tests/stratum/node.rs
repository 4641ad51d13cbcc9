//! One `cairn node` process with a Stratum listener.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Time for a node to start, and for anything it does, on a busy machine.
pub const WAIT: Duration = Duration::from_secs(60);

/// The easiest bits: two hashes a block.
pub const EASIEST: &str = "0x207fffff";

/// The program under test, without the settings of the person who runs the tests.
pub fn cairn() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CAIRN_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// What a command printed.
pub fn text(output: &Output) -> String {
    let streams = [&output.stdout, &output.stderr];
    streams
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}

/// A devnet of its own with these bits and this function.
pub fn chain(folder: &Path, bits: &str, function: &str) -> PathBuf {
    let template = include_str!("../../../spec/chains/devnet.toml");
    let seed = format!("devnet = true\nseed = \"{}\"", "5a".repeat(32));
    let text = template
        .replace("devnet = true", &seed)
        .replace("hashes_per_second = 8192", "hashes_per_second = 0")
        .replace("sha256d", function)
        .replace("0x1f00ffff", bits);
    let path = folder.join("chain.toml");
    std::fs::write(&path, text).expect("the folder is ours");
    path
}

/// A new address of the devnet.
pub fn address(folder: &Path, name: &str) -> String {
    let dir = folder.join(name);
    let password = folder.join("password");
    std::fs::write(&password, "a password of tests\n").expect("the folder is ours");
    let run = |arguments: &[&str]| {
        let output = cairn()
            .args(["wallet"])
            .args(arguments)
            .args(["--json", "--data-dir"])
            .arg(&dir)
            .arg("--password-file")
            .arg(&password)
            .output()
            .expect("the program starts");
        assert!(output.status.success(), "{}", text(&output));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    run(&["new", "--network", "devnet"]);
    let answer = run(&["address"]);
    answer["address"].as_str().expect("an address").to_owned()
}

/// A running node. Dropping it kills it.
pub struct Node {
    child: Child,
    pub api: String,
    pub stratum: String,
    agent: ureq::Agent,
    _folder: tempfile::TempDir,
}

impl Node {
    /// Starts a node on a chain of its own with these bits.
    pub fn start(bits: &str, more: &[&str]) -> Node {
        let folder = tempfile::tempdir().expect("a folder");
        let chain = chain(folder.path(), bits, "sha256d");
        let mut child = cairn()
            .args(["node", "--api", "127.0.0.1:0", "--stratum", "127.0.0.1:0"])
            .args(["--p2p", "/ip4/127.0.0.1/tcp/0", "--chain"])
            .arg(chain)
            .arg("--data-dir")
            .arg(folder.path().join("node"))
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // Nobody may listen any more; the pipe is emptied all the same.
                let _ = sender.send(line);
            }
        });
        let (mut api, mut stratum) = (None, None);
        while api.is_none() || stratum.is_none() {
            let line = lines.recv_timeout(WAIT).expect("the node starts");
            if let Some(address) = line.strip_prefix("stratum stratum+tcp://") {
                stratum = Some(address.to_owned());
            } else if let Some(address) = line.strip_prefix("api http://") {
                api = Some(address.to_owned());
            }
        }
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(WAIT))
            .http_status_as_error(false)
            .build();
        let node = Node {
            child,
            api: api.expect("found"),
            stratum: stratum.expect("found"),
            agent: config.into(),
            _folder: folder,
        };
        until("the node is level", || {
            (node.get("/v1/status")["syncing"] == false).then_some(())
        });
        node
    }

    /// `GET` as JSON.
    pub fn get(&self, path: &str) -> Value {
        let url = format!("http://{}{path}", self.api);
        let mut answer = self.agent.get(url).call().expect("the node answers");
        answer.body_mut().read_json().expect("JSON")
    }

    /// The metrics page's line with this name.
    pub fn metric(&self, name: &str) -> f64 {
        let url = format!("http://{}/metrics", self.api);
        let mut answer = self.agent.get(url).call().expect("the node answers");
        let page = answer.body_mut().read_to_string().expect("text");
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is missing"))
            .parse()
            .expect("a number")
    }

    /// `POST /rpc` with a body and headers: the answer's headers that matter, and the answer.
    pub fn post(&self, query: &str, user: Option<&str>, body: &Value) -> (Headers, Value) {
        let url = format!("http://{}/rpc{query}", self.api);
        let mut request = self.agent.post(url);
        if let Some(user) = user {
            request = request.header("authorization", basic(user));
        }
        let mut answer = request.send_json(body).expect("the node answers");
        let header = |name: &str| {
            let value = answer.headers().get(name)?;
            Some(value.to_str().ok()?.to_owned())
        };
        let headers = Headers {
            long_polling: header("x-long-polling"),
            reject_reason: header("x-reject-reason"),
        };
        (headers, answer.body_mut().read_json().expect("JSON"))
    }

    /// A call in the old form.
    pub fn rpc(&self, method: &str, params: Value) -> Value {
        let body = json!({"id": 1, "method": method, "params": params});
        self.post("", None, &body).1
    }

    /// Height of the tip.
    pub fn height(&self) -> u64 {
        self.get("/v1/status")["height"].as_u64().expect("a height")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Headers of an answer to getwork.
pub struct Headers {
    pub long_polling: Option<String>,
    pub reject_reason: Option<String>,
}

/// The header of a miner's user.
fn basic(user: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("Basic ");
    for chunk in format!("{user}:x").as_bytes().chunks(3) {
        let mut word = [0; 3];
        word[..chunk.len()].copy_from_slice(chunk);
        let number = u32::from_be_bytes([0, word[0], word[1], word[2]]);
        for place in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * place)) as usize & 63];
            text.push(if place > chunk.len() {
                '='
            } else {
                letter as char
            });
        }
    }
    text
}

/// Calls `look` until it answers.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < WAIT, "not within {WAIT:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
