//! What users and machines get wrong: a taken port, a locked or damaged directory, another chain,
//! an address of another network. Each ends with a clear message and an exit code.

use crate::kill::SINK;
use crate::node::{Node, cairn, easy_chain, text};
use serde_json::json;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

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
    let other = "tcrn1qqg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zqhusjx";
    fails(
        &run(&dir, "devnet", &["--mine", "--mine-to", other]),
        2,
        &["--mine-to"],
    );
    let spec = folder.path().join("pbft.toml");
    let template = include_str!("../../../spec/chains/devnet.toml");
    std::fs::write(
        &spec,
        template.replace("engine = \"pow\"", "engine = \"pbft\""),
    )
    .unwrap();
    fails(
        &run(&dir, spec.to_str().expect("a text"), &[]),
        2,
        &["pbft", "only `pow` is built"],
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
