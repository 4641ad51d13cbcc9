//! One node's life through its commands: made, asked, stopped; its chain exported, imported, verified.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::{Value, json};

/// Blocks that the chain of this test has.
const BLOCKS: u64 = 12;

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    command
        .current_dir(dir)
        .args(args)
        .env_clear()
        .env("HOME", dir);
    command
}

fn cairn(dir: &Path, args: &[&str]) -> Output {
    command(dir, args)
        .output()
        .expect("the test builds this program")
}

/// Standard output of a command that must succeed.
fn done(dir: &Path, args: &[&str]) -> String {
    let output = cairn(dir, args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn done_json(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&done(dir, args)).unwrap_or_else(|e| panic!("{args:?}: {e}"))
}

/// Exit code and standard error of a command that must not succeed.
fn refused(dir: &Path, args: &[&str]) -> (i32, String) {
    let output = cairn(dir, args);
    let code = output.status.code().expect("it exits by itself");
    assert_ne!(
        code,
        0,
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    (code, String::from_utf8(output.stderr).unwrap())
}

/// A running node; killed when the test fails.
struct Node {
    child: Child,
    api: String,
    /// Kept open: the node may say more.
    _lines: Lines<BufReader<ChildStdout>>,
}

impl Node {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let mut child = command(dir, args).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let api = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("api ").map(str::to_owned))
            .expect("the node says where its API is");
        Self {
            child,
            api,
            _lines: lines,
        }
    }

    fn stop(mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "a clean stop");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rpc(api: &str, method: &str, params: Value) -> Value {
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let mut answer = ureq::post(format!("{api}/rpc")).send_json(call).unwrap();
    answer.body_mut().read_json().unwrap()
}

#[test]
fn a_chain_is_made_asked_moved_and_verified() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    let spec = done_json(dir, &["chain", "spec", "new", "spec.toml", "--json"]);
    assert_eq!(spec["devnet"], true);
    assert_eq!(
        spec,
        done_json(dir, &["chain", "spec", "check", "spec.toml", "--json"])
    );
    let (code, text) = refused(dir, &["chain", "spec", "new", "spec.toml"]);
    assert!(
        code == 1 && text.contains("spec.toml"),
        "nothing is overwritten: {text}"
    );
    done(dir, &["chain", "spec", "new", "other.toml"]);
    let spec = easiest(dir, "spec.toml");

    std::fs::write(dir.join("password"), "a password of this test\n").unwrap();
    let wallet = [
        "--data-dir",
        "wallet",
        "--password-file",
        "password",
        "--json",
    ];
    let made = [&["wallet", "new", "--network", "devnet"][..], &wallet].concat();
    let address = done_json(dir, &made)["address"]
        .as_str()
        .unwrap()
        .to_owned();

    let node = Node::start(
        dir,
        &[
            "node",
            "--chain",
            "spec.toml",
            "--data-dir",
            "node",
            "--api",
            "127.0.0.1:0",
            "--p2p",
            "/ip4/127.0.0.1/tcp/0",
        ],
    );
    let made = rpc(&node.api, "generatetoaddress", json!([BLOCKS, address]));
    let ids = made["result"]
        .as_array()
        .unwrap_or_else(|| panic!("{made}"))
        .clone();
    assert_eq!(ids.len() as u64, BLOCKS);
    questions(dir, &node.api, &spec, ids.last().unwrap().as_str().unwrap());
    let (code, text) = refused(dir, &["chain", "verify", "--data-dir", "node"]);
    assert!(code == 1 && text.contains("in use"), "{text}");
    let doctor = done_json(
        dir,
        &["doctor", "--data-dir", "node", "--api", &node.api, "--json"],
    );
    let running = doctor["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["name"] == "running node");
    assert!(
        running.unwrap()["detail"]
            .as_str()
            .unwrap()
            .contains("height 12"),
        "{doctor}"
    );
    node.stop();

    let exported = done_json(
        dir,
        &[
            "chain",
            "export",
            "chain.bin",
            "--data-dir",
            "node",
            "--json",
        ],
    );
    assert_eq!(
        (&exported["blocks"], &exported["tip"]),
        (&json!(BLOCKS), ids.last().unwrap())
    );
    let to = ["--data-dir", "copy", "--chain", "spec.toml", "--json"];
    let import = [&["chain", "import", "chain.bin"][..], &to].concat();
    let imported = done_json(dir, &import);
    assert_eq!(
        (&imported["new"], &imported["tip"]),
        (&json!(BLOCKS), ids.last().unwrap())
    );
    let again = done_json(dir, &import);
    assert_eq!(
        (&again["new"], &again["height"]),
        (&json!(0), &json!(BLOCKS))
    );

    let verify_copy = [&["chain", "verify"][..], &to].concat();
    let verified = done_json(dir, &verify_copy);
    assert_eq!(
        (&verified["ok"], &verified["headers"]),
        (&json!(true), &json!(BLOCKS))
    );
    assert!(verified["blocks"].as_u64() >= Some(BLOCKS) && verified["rows"].as_u64() > Some(0));
    // The node left its specification in its own directory: no --chain is needed there.
    let text = done(dir, &["chain", "verify", "--headers", "--data-dir", "node"]);
    assert!(text.starts_with("sound: 12 headers"), "{text}");
    assert!(
        !dir.join("copy/verify.scratch").exists(),
        "no scratch is left"
    );

    damage(dir, &verify_copy);
}

/// Gives a specification the easiest target there is, and tells what it is then.
fn easiest(dir: &Path, file: &str) -> Value {
    let text = std::fs::read_to_string(dir.join(file)).unwrap();
    let easy = text.replace(&0x1f00_ffff_u32.to_string(), &0x207f_ffff_u32.to_string());
    assert_ne!(text, easy, "the target is where it was");
    std::fs::write(dir.join(file), easy).unwrap();
    done_json(dir, &["chain", "spec", "check", file, "--json"])
}

/// Every question to the running node, for people and as JSON.
fn questions(dir: &Path, api: &str, spec: &Value, tip: &str) {
    let status = done_json(dir, &["status", "--json", "--api", api]);
    assert_eq!(
        (&status["height"], &status["tip"]),
        (&json!(BLOCKS), &json!(tip))
    );
    assert_eq!(status["genesis"], spec["genesis"]);
    assert!(done(dir, &["status", "--api", api]).contains(tip));
    let block = done_json(dir, &["block", "12", "--json", "--api", api]);
    assert_eq!(
        block,
        done_json(dir, &["block", tip, "--json", "--api", api])
    );
    assert!(done(dir, &["block", "12", "--api", api]).contains("main chain"));
    let coinbase = block["coinbase"].as_str().unwrap();
    let transaction = done_json(dir, &["tx", coinbase, "--json", "--api", api]);
    assert_eq!(
        (&transaction["coinbase"], &transaction["block"]["height"]),
        (&json!(true), &json!(12))
    );
    assert!(done(dir, &["tx", coinbase, "--api", api]).contains("coinbase"));
    assert_eq!(
        done_json(dir, &["mempool", "--json", "--api", api])["count"],
        0
    );
    assert!(done(dir, &["mempool", "--api", api]).contains("transactions"));
    assert_eq!(
        done_json(dir, &["peers", "--json", "--api", api])["peers"],
        json!([])
    );
    assert_eq!(done(dir, &["peers", "--api", api]), "no peers\n");
    assert_eq!(
        done_json(dir, &["miner", "status", "--json", "--api", api])["enabled"],
        false
    );
    let (code, text) = refused(dir, &["block", "13", "--api", api]);
    assert!(code == 1 && text.contains("block_not_found"), "{text}");
    let (code, text) = refused(dir, &["tx", &"ab".repeat(32), "--api", api]);
    assert!(
        code == 1 && text.contains("transaction_not_found"),
        "{text}"
    );
}

/// Files that are not what they should be.
fn damage(dir: &Path, verify_copy: &[&str]) {
    let bytes = std::fs::read(dir.join("chain.bin")).unwrap();
    std::fs::write(dir.join("cut.bin"), &bytes[..bytes.len() - 1]).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    std::fs::write(dir.join("flipped.bin"), flipped).unwrap();
    std::fs::write(dir.join("empty.bin"), "").unwrap();
    for file in ["cut.bin", "flipped.bin", "empty.bin", "absent.bin"] {
        let (code, text) = refused(
            dir,
            &[
                "chain",
                "import",
                file,
                "--data-dir",
                "new",
                "--chain",
                "spec.toml",
            ],
        );
        assert!(code == 1 && text.starts_with("error: "), "{file}: {text}");
    }
    let (code, text) = refused(
        dir,
        &[
            "chain",
            "import",
            "chain.bin",
            "--data-dir",
            "new2",
            "--chain",
            "other.toml",
        ],
    );
    assert!(code == 1 && text.contains("genesis"), "{text}");
    let (code, text) = refused(dir, &["chain", "verify", "--data-dir", "nowhere"]);
    assert!(code == 1 && text.contains("nowhere"), "{text}");
    std::fs::create_dir_all(dir.join("lost/chain")).unwrap();
    let (code, text) = refused(&dir.join("lost"), &["chain", "verify", "--data-dir", "."]);
    assert!(code == 2 && text.contains("--chain"), "{text}");
    // One flipped byte in the log of the copy.
    let log = std::fs::read_dir(dir.join("copy/chain/log"))
        .unwrap()
        .map(|e| e.unwrap().path());
    let segment = log
        .max_by_key(|path| std::fs::metadata(path).unwrap().len())
        .unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used / 2] ^= 0x10;
    std::fs::write(&segment, bytes).unwrap();
    let (code, text) = refused(dir, verify_copy);
    assert_eq!(code, 1, "{text}");
}
