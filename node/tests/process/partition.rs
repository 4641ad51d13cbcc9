//! Two halves that do not know of each other mine apart and meet: one chain wins.

use crate::http::Api;
use crate::node::{Node, cairn, easy_chain, json};
use crate::wait::{equal, until};
use serde_json::{Value, json as value};
use std::path::Path;
use std::time::Duration;

const MEET_MAX: Duration = Duration::from_secs(120);

/// A wallet without a password prompt; answers with its address.
fn wallet(folder: &Path) -> String {
    let password = folder.with_extension("password");
    std::fs::write(&password, "correct horse").expect("the folder is ours");
    let words = cairn()
        .args([
            "wallet",
            "new",
            "--network",
            "devnet",
            "--json",
            "--data-dir",
        ])
        .arg(folder)
        .arg("--password-file")
        .arg(&password)
        .output()
        .expect("the program starts");
    assert!(words.status.success(), "{}", crate::node::text(&words));
    let address = json(
        cairn()
            .args(["wallet", "address", "--json", "--data-dir"])
            .arg(folder)
            .arg("--password-file")
            .arg(&password),
    );
    address["address"].as_str().expect("an address").to_owned()
}

fn send(folder: &Path, to: &str, amount: &str, api: &Api) -> String {
    let sent = json(
        cairn()
            .args([
                "wallet",
                "send",
                to,
                amount,
                "--json",
                "--api",
                api.url(),
                "--data-dir",
            ])
            .arg(folder)
            .arg("--password-file")
            .arg(folder.with_extension("password")),
    );
    sent["txid"].as_str().expect("an id").to_owned()
}

fn mine(api: &Api, blocks: u32, to: &str) {
    let ids = api.rpc("generatetoaddress", value!([blocks, to]));
    assert_eq!(ids.as_array().map(Vec::len), Some(blocks as usize));
}

#[test]
fn halves_that_mined_apart_agree_and_lose_no_payment() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = easy_chain(folder.path(), 1);
    let chain = chain.to_str().expect("a text");
    let wallet_dir = folder.path().join("wallet");
    let address = wallet(&wallet_dir);
    let left = Node::start(&folder.path().join("left"), chain, &[]);
    mine(&left.api, 20, &address);

    // The right half learns the common part, then goes its own way.
    let right_dir = folder.path().join("right");
    let right = Node::start(&right_dir, chain, &["--bootnode", &left.p2p]);
    equal("the common part", MEET_MAX, || {
        vec![left.api.tip(), right.api.tip()]
    });
    assert!(right.stop().success());
    // Without its address book it does not know where the left half is.
    std::fs::remove_file(right_dir.join("peers.redb")).expect("the book was saved");
    let right = Node::start(&right_dir, chain, &[]);
    let left_dir = left.data_dir.clone();
    let payment = send(&wallet_dir, &address, "1.25", &left.api);
    mine(&left.api, 50, &address);
    let block = left
        .api
        .get(&format!("/v1/transactions/{payment}"))
        .expect("known");
    assert!(
        block["block"]["height"].as_u64().is_some(),
        "the left half confirmed it: {block}"
    );
    assert!(left.stop().success());
    assert_eq!(right.api.height(), Some(20), "the halves are apart");
    mine(&right.api, 60, &address);
    assert_eq!(right.api.height(), Some(80));

    // They meet: the right half has more work.
    let left = Node::start(&left_dir, chain, &["--bootnode", &right.p2p]);
    equal("one tip", MEET_MAX, || {
        vec![left.api.tip(), right.api.tip()]
    });
    assert_eq!(left.api.height(), Some(80));
    let depth = left.api.metric("cairn_chain_reorg_depth_blocks_sum");
    assert_eq!(depth, Some(50.0));
    // The payment of the lost branch waits again and confirms on the one that won.
    let waiting = until("the payment returns to the mempool", MEET_MAX, || {
        left.api.get(&format!("/v1/transactions/{payment}"))
    });
    assert_eq!(waiting["block"], Value::Null);
    mine(&left.api, 1, &address);
    let confirmed = left
        .api
        .get(&format!("/v1/transactions/{payment}"))
        .expect("known");
    assert_eq!(confirmed["block"]["height"].as_u64(), Some(81));

    // What is stored equals a replay of the blocks.
    assert!(left.stop().success());
    verify(&left_dir, chain);
}

/// `chain verify` recomputes everything from block bytes.
pub fn verify(data_dir: &Path, chain: &str) {
    let output = cairn()
        .args(["chain", "verify", "--chain", chain, "--data-dir"])
        .arg(data_dir)
        .output()
        .expect("the program starts");
    assert!(
        output.status.success(),
        "chain verify: {}",
        crate::node::text(&output)
    );
}

#[test]
fn another_genesis_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (easy_chain(folder.path(), 1), easy_chain(folder.path(), 2));
    let one = Node::start(
        &folder.path().join("one"),
        one.to_str().expect("a text"),
        &[],
    );
    let two = Node::start(
        &folder.path().join("two"),
        two.to_str().expect("a text"),
        &["--bootnode", &one.p2p],
    );
    let refused = "cairn_net_refused_total{reason=\"wrong_network\"}";
    until("the refusal is counted", MEET_MAX, || {
        let counts = [&one, &two].map(|node| node.api.metric(refused).unwrap_or(0.0));
        (counts.iter().sum::<f64>() > 0.0).then_some(())
    });
    assert_eq!(two.api.status("peers"), Some(value!(0)));
    assert_eq!(one.api.status("peers"), Some(value!(0)));
}
