//! The straight way: a client mines blocks, each byte checked, and its address is paid.

use crate::client::{Client, sha256d};
use crate::node::{EASIEST, Node, address, cairn, chain, text, until};
use serde_json::json;

/// The id of a block in the form of the API: bytes in wire order.
fn id(header: &[u8; 80]) -> String {
    hex::encode(sha256d(header))
}

#[test]
fn blocks_pay_the_address_that_the_miner_names() {
    let folder = tempfile::tempdir().unwrap();
    let (mine, other) = (address(folder.path(), "a"), address(folder.path(), "b"));
    let node = Node::start(EASIEST, &["--mine-to", &other]);
    let user = format!("{mine}.rig-1");
    let mut client = Client::working(&node.stratum, &user);
    assert!(
        client.difficulty <= 65_535.0 / 65_536.0 / 2f64.powi(31) * 1.001,
        "{}",
        client.difficulty
    );
    for height in 1..=3 {
        let job = client.job.clone().unwrap();
        let tip = node.get("/v1/status")["tip"].as_str().unwrap().to_owned();
        assert_eq!(hex::encode(&job.parent), tip, "height {height}");
        assert_eq!(job.coinbase_1.len(), 12);
        assert_eq!(job.coinbase_1[4..], u64::to_le_bytes(height));
        assert_eq!(job.branch.len(), 2);
        assert!(job.clean, "each is for a new tip");
        let share = client.search(&job, height, true);
        let answer = client.submit(&user, &share);
        assert_eq!(answer["result"], true, "{answer}");
        assert!(answer["error"].is_null());
        until("the block is on the chain", || {
            (node.height() == height).then_some(())
        });
        let block = node.get(&format!("/v1/blocks/{height}"));
        assert_eq!(block["id"], id(&share.header));
        if client.jobs == height {
            client.next_job();
        }
    }
    // Ten CRN each, to the miner's own address and not to the node's.
    let balance = |address: &str| node.get(&format!("/v1/addresses/{address}"))["balance"].clone();
    assert_eq!(
        (balance(&mine), balance(&other)),
        (json!("3000000000"), json!("0"))
    );

    let stratum = node.get("/v1/miner")["stratum"].clone();
    assert_eq!(stratum["listen"], node.stratum);
    let worker = &stratum["workers"][0];
    assert_eq!(
        (&worker["address"], &worker["worker"]),
        (&json!(mine), &json!("rig-1"))
    );
    assert_eq!(
        (&worker["accepted"], &worker["blocks_found"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(
        node.metric("cairn_stratum_shares_total{verdict=\"accepted\"}"),
        3.0
    );
    assert_eq!(
        node.metric("cairn_foreign_blocks_total{protocol=\"stratum\"}"),
        3.0
    );
    assert_eq!(node.metric("cairn_stratum_connections"), 1.0);
}

#[test]
fn stale_and_duplicate_shares_are_refused_by_their_codes() {
    let folder = tempfile::tempdir().unwrap();
    let user = address(folder.path(), "a");
    let node = Node::start(EASIEST, &[]);
    let mut client = Client::working(&node.stratum, &user);
    let old = client.job.clone().unwrap();
    let share = client.search(&old, 1, true);
    let low = client.search(&old, 2, false);
    assert_eq!(client.submit(&user, &low)["error"][0], 23);
    assert_eq!(client.submit("somebody", &share)["error"][0], 24);
    let mut early = Client::connect(&node.stratum);
    assert_eq!(early.submit(&user, &share)["error"][0], 25);
    assert_eq!(client.submit(&user, &share)["result"], true);
    let next = match client.job.clone() {
        Some(job) if job.id != old.id => job,
        _ => client.next_job(),
    };
    assert!(next.clean && next.parent != old.parent);
    // The same share again, and another one of the old tip.
    assert_eq!(client.submit(&user, &share)["error"][0], 21);
    let late = client.search(&old, 3, true);
    assert_eq!(client.submit(&user, &late)["error"][0], 21);
    assert_eq!(
        node.metric("cairn_stratum_shares_total{verdict=\"stale\"}"),
        2.0
    );
    assert_eq!(node.height(), 1);
}

/// A share that is no block stays a duplicate: the tip does not move on it.
#[test]
fn a_share_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let user = address(folder.path(), "a");
    // 16 million hashes a block, a thousand a share.
    let node = Node::start("0x1e00ffff", &[]);
    let mut client = Client::connect(&node.stratum);
    client.subscribe();
    let easy = 1024.0 / 2f64.powi(32);
    client.ask("mining.authorize", json!([user, format!("d={easy}")]));
    let job = client.next_job();
    assert_eq!(job.difficulty, easy);
    let share = client.search(&job, 7, true);
    assert_eq!(client.submit(&user, &share)["result"], true);
    assert_eq!(client.submit(&user, &share)["error"][0], 22);
    assert_eq!(node.height(), 0);
    let worker = node.get("/v1/miner")["stratum"]["workers"][0].clone();
    assert_eq!(
        (&worker["accepted"], &worker["duplicate"]),
        (&json!(1), &json!(1))
    );
}

#[test]
fn a_new_tip_from_elsewhere_comes_with_clean_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let user = address(folder.path(), "a");
    let node = Node::start(EASIEST, &[]);
    let mut client = Client::working(&node.stratum, &user);
    let answer = node.rpc("generatetoaddress", json!([1, user]));
    let block = answer["result"][0].as_str().unwrap().to_owned();
    let job = client.next_job();
    assert!(job.clean);
    assert_eq!(hex::encode(&job.parent), block);
}

#[test]
fn version_rolling_makes_a_block() {
    let folder = tempfile::tempdir().unwrap();
    let user = address(folder.path(), "a");
    let node = Node::start(EASIEST, &[]);
    let mut client = Client::connect(&node.stratum);
    let options = json!({"version-rolling.mask": "ffffffff", "version-rolling.min-bit-count": 2});
    let answer = client.ask("mining.configure", json!([["version-rolling"], options]));
    assert_eq!(
        answer["result"]["version-rolling.mask"], "1fffe000",
        "{answer}"
    );
    client.subscribe();
    client.ask("mining.authorize", json!([user, "x"]));
    let mut job = client.next_job();
    job.version |= 0x0123_4000 & 0x1fff_e000;
    let share = client.search(&job, 1, true);
    let mut params = Client::params(&user, &share);
    params
        .as_array_mut()
        .unwrap()
        .push(json!(format!("{:08x}", job.version & 0x1fff_e000)));
    let answer = client.ask("mining.submit", params);
    assert_eq!(answer["result"], true, "{answer}");
    until("the block is on the chain", || {
        (node.height() == 1).then_some(())
    });
    assert_eq!(node.get("/v1/blocks/1")["id"], id(&share.header));
}

#[test]
fn a_chain_of_another_function_refuses_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let chain = chain(folder.path(), EASIEST, "blake3");
    let output = cairn()
        .args(["node", "--api", "127.0.0.1:0", "--stratum", "127.0.0.1:0"])
        .args(["--p2p", "/ip4/127.0.0.1/tcp/0", "--chain"])
        .arg(chain)
        .arg("--data-dir")
        .arg(folder.path().join("node"))
        .output()
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let said = text(&output);
    assert!(
        said.contains("blake3") && said.contains("sha256d"),
        "{said}"
    );
}
