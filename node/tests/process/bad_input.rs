//! What users and machines get wrong: a taken port, a locked or damaged directory, another chain,
//! an address of another network. Each ends with a clear message and an exit code.

use crate::kill::SINK;
use crate::node::{Node, cairn, easy_chain, text};
use serde_json::json;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

/// A whole address, but of the test network.
const OTHER: &str = "tcrn1qqg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zqhusjx";

fn run(data_dir: &Path, chain: &str, more: &[&str]) -> Output {
    let api = ["--api", "127.0.0.1:0", "--p2p", "/ip4/127.0.0.1/tcp/0"];
    cairn()
        .args(["node", "--chain", chain, "--data-dir"])
        .arg(data_dir)
        .args(if more.contains(&"--api") || more.contains(&"--p2p") {
            &[][..]
        } else {
            &api
        })
        .args(more)
        .output()
        .expect("the program starts")
}

fn fails(output: &Output, code: i32, words: &[&str]) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "expected `{word}` in: {text}");
    }
}

#[test]
fn a_taken_port_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let more = ["--api", &address, "--p2p", "/ip4/127.0.0.1/tcp/0"];
    fails(
        &run(&folder.path().join("a"), "devnet", &more),
        1,
        &[&address],
    );
    let p2p = format!(
        "/ip4/127.0.0.1/tcp/{}",
        taken.local_addr().expect("bound").port()
    );
    let more = ["--p2p", &p2p, "--api", "127.0.0.1:0"];
    fails(&run(&folder.path().join("b"), "devnet", &more), 1, &[&p2p]);
}

#[test]
fn a_directory_in_use_is_refused_and_names_its_holder() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("node");
    let _node = Node::start(&data_dir, "devnet", &[]);
    fails(&run(&data_dir, "devnet", &[]), 1, &["in use by process"]);
}

#[test]
fn a_directory_of_another_chain_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("node");
    let chain = easy_chain(folder.path(), 4);
    let node = Node::start(&data_dir, chain.to_str().expect("a text"), &[]);
    assert!(node.stop().success());
    fails(&run(&data_dir, "devnet", &[]), 1, &["genesis"]);
}

#[test]
fn wrong_settings_exit_with_2_and_say_what_is_expected() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("node");
    fails(&run(&dir, "nowhere.toml", &[]), 2, &["nowhere.toml"]);
    fails(
        &run(&dir, "devnet", &["--bootnode", "example.org:7000"]),
        2,
        &["multiaddress"],
    );
    fails(&run(&dir, "devnet", &["--mine"]), 2, &["--mine-to"]);
    fails(
        &run(&dir, "devnet", &["--mine", "--mine-to", OTHER]),
        2,
        &["--mine-to"],
    );
    let spec = folder.path().join("pos.toml");
    let template = include_str!("../../../spec/chains/devnet.toml");
    std::fs::write(
        &spec,
        template.replace("engine = \"pow\"", "engine = \"pos\""),
    )
    .unwrap();
    fails(
        &run(&dir, spec.to_str().expect("a text"), &[]),
        2,
        &["`pos`", "does not have yet"],
    );
}

#[test]
fn the_api_refuses_what_is_no_transaction() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::start(&folder.path().join("node"), "devnet", &[]);
    for hex in ["", "00", "zz", &"ff".repeat(1000)] {
        let answer = node.api.post("/v1/transactions", &json!({ "hex": hex }));
        let (status, problem) = answer.expect("it answers");
        assert!((400..500).contains(&status), "{hex}: {status} {problem}");
        assert!(problem["code"].is_string(), "{problem}");
    }
    assert_eq!(node.api.height(), Some(0));
}

#[test]
fn a_damaged_log_is_told_and_nothing_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = easy_chain(folder.path(), 5);
    let chain = chain.to_str().expect("a text");
    let data_dir = folder.path().join("node");
    let node = Node::start(&data_dir, chain, &[]);
    node.api.rpc("generatetoaddress", json!([30, SINK]));
    assert!(node.stop().success());
    // One bit in the middle of the first segment.
    let segment = data_dir.join("chain/log/00000000.seg");
    let mut bytes = std::fs::read(&segment).expect("a segment");
    let used = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("not empty");
    bytes[used / 2] ^= 1;
    std::fs::write(&segment, bytes).expect("ours");
    let verified = cairn()
        .args(["chain", "verify", "--chain", chain, "--data-dir"])
        .arg(&data_dir)
        .output()
        .expect("the program starts");
    assert_eq!(verified.status.code(), Some(1), "{}", text(&verified));
}

/// A body that cannot be read any more costs the questions about it, not the list of blocks, which
/// reads no bodies.
#[test]
fn a_damaged_body_fails_only_what_needs_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = easy_chain(folder.path(), 6);
    let data_dir = folder.path().join("node");
    let node = Node::start(&data_dir, chain.to_str().expect("a text"), &[]);
    node.api.rpc("generatetoaddress", json!([30, SINK]));
    let at = |height: u64| {
        node.api
            .text(&format!("/v1/blocks/{height}"))
            .expect("an answer")
    };
    assert!(at(1).contains("\"fees\""), "{}", at(1));
    // Every byte behind the log's head, while the node runs: its bodies are gone.
    let segment = data_dir.join("chain/log/00000000.seg");
    let mut bytes = std::fs::read(&segment).expect("a segment");
    for byte in bytes.iter_mut().skip(64) {
        *byte ^= 0x5a;
    }
    std::fs::write(&segment, bytes).expect("ours");
    assert!(
        at(1).contains("problem") || at(1).contains("code"),
        "{}",
        at(1)
    );
    let page = node.api.get("/v1/blocks?limit=100").expect("the list");
    let blocks = page["blocks"].as_array().expect("a list");
    assert_eq!(blocks.len(), 31, "{page}");
    for block in blocks {
        assert!(
            block["transactions"].is_u64() && block["bytes"].is_u64(),
            "{block}"
        );
        assert!(
            block["engine"] == "pow" && block["finalized"].is_boolean(),
            "{block}"
        );
    }
}

#[test]
fn damaged_tables_and_a_later_format_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = easy_chain(folder.path(), 7);
    let chain = chain.to_str().expect("a text");
    let data_dir = folder.path().join("node");
    let node = Node::start(&data_dir, chain, &[]);
    node.api.rpc("generatetoaddress", json!([5, SINK]));
    assert!(node.stop().success());
    let tables = data_dir.join("chain/tables.redb");
    let whole = std::fs::read(&tables).expect("the tables");
    let mut damaged = whole.clone();
    damaged[..4096].fill(0xa5);
    std::fs::write(&tables, damaged).expect("ours");
    fails(&run(&data_dir, chain, &[]), 1, &["tables.redb"]);
    std::fs::write(&tables, whole).expect("ours");
    let format = data_dir.join("format");
    let before = std::fs::read_to_string(&format).expect("the directory's format");
    std::fs::write(&format, "cairn data format 999\n").expect("ours");
    fails(&run(&data_dir, chain, &[]), 1, &["format"]);
    std::fs::write(&format, before).expect("ours");
    let node = Node::start(&data_dir, chain, &[]);
    assert_eq!(node.api.height(), Some(5));
}

#[test]
fn an_address_of_another_network_is_refused_everywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::start(&folder.path().join("node"), "devnet", &[]);
    for path in ["", "/utxos", "/transactions"] {
        let text = node.api.text(&format!("/v1/addresses/{OTHER}{path}"));
        let problem: serde_json::Value =
            serde_json::from_str(&text.expect("an answer")).expect("a problem document");
        assert_eq!(problem["status"], 400, "{problem}");
        assert!(
            problem["detail"].to_string().contains("testnet"),
            "{problem}"
        );
    }
    let password = folder.path().join("password");
    std::fs::write(&password, "a password").expect("ours");
    let wallet = |arguments: &[&str]| {
        cairn()
            .arg("wallet")
            .args(arguments)
            .arg("--data-dir")
            .arg(folder.path().join("wallet"))
            .arg("--password-file")
            .arg(&password)
            .output()
            .expect("the program starts")
    };
    std::fs::set_permissions(
        &password,
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .expect("ours");
    assert!(wallet(&["new", "--network", "devnet"]).status.success());
    let sent = wallet(&["send", OTHER, "1", "--api", node.api.url()]);
    assert!(matches!(sent.status.code(), Some(1 | 2)), "{}", text(&sent));
    assert!(text(&sent).contains("testnet"), "{}", text(&sent));
    let mut call = json!({"jsonrpc": "2.0", "id": 1, "method": "generatetoaddress"});
    call["params"] = json!([1, OTHER]);
    let (_, answer) = node.api.post("/rpc", &call).expect("an answer");
    assert!(!answer["error"].is_null(), "{answer}");
    assert_eq!(node.api.height(), Some(0));
}
