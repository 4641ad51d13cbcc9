//! Processes of `cairn node` and their HTTP, for the benchmarks of whole processes.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The program under test.
pub const CAIRN: &str = env!("CARGO_BIN_EXE_cairn");

/// A running node, stopped when it is dropped.
pub struct Node {
    child: Child,
    /// `host:port` of its API.
    pub api: String,
    /// The multiaddress it listens on.
    pub p2p: String,
}

impl Node {
    pub fn start(data_dir: &Path, spec: &Path, more: &[&str]) -> Node {
        let mut child = Command::new(CAIRN)
            .args([
                "node",
                "--api",
                "127.0.0.1:0",
                "--p2p",
                "/ip4/127.0.0.1/tcp/0",
                "--chain",
            ])
            .arg(spec)
            .arg("--data-dir")
            .arg(data_dir)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (mut api, mut p2p) = (None, None);
        while api.is_none() || p2p.is_none() {
            let line = lines.next().expect("the node goes on").expect("text");
            api = api.or_else(|| line.strip_prefix("api http://").map(str::to_owned));
            p2p = p2p.or_else(|| line.strip_prefix("listening ").map(str::to_owned));
        }
        std::thread::spawn(move || while lines.next().is_some() {});
        Node {
            child,
            api: api.expect("found"),
            p2p: p2p.expect("found"),
        }
    }

    pub fn tip(&self) -> Option<(u64, String)> {
        tip(&self.api)
    }

    pub fn pool(&self) -> u64 {
        let status = get(&self.api, "/v1/status");
        status.map_or(0, |status| {
            status["mempool_transactions"].as_u64().unwrap_or(0)
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

pub fn stop(child: &mut Child) {
    let pid = child.id().to_string();
    // It may have ended already.
    let _ = Command::new("kill").args(["-TERM", &pid]).status();
    let _ = child.wait();
}

pub fn tip(api: &str) -> Option<(u64, String)> {
    let status = get(api, "/v1/status")?;
    Some((
        status["height"].as_u64()?,
        status["tip"].as_str()?.to_owned(),
    ))
}

/// The body of an answer with status 200.
pub fn text(api: &str, path: &str) -> Option<String> {
    ureq::get(format!("http://{api}{path}"))
        .call()
        .ok()?
        .body_mut()
        .read_to_string()
        .ok()
}

pub fn get(api: &str, path: &str) -> Option<Value> {
    ureq::get(format!("http://{api}{path}"))
        .call()
        .ok()?
        .body_mut()
        .read_json()
        .ok()
}

pub fn post(api: &str, path: &str, body: &Value) -> Option<Value> {
    let answer = ureq::post(format!("http://{api}{path}")).send_json(body);
    answer.ok()?.body_mut().read_json().ok()
}
