//! A devnet of validators, as a user runs it: payments are final at once, any node may be killed or
//! frozen, a newcomer without a key follows, nobody votes twice.
//!
//! `CAIRN_TEST_BUDGET=full` kills 200 times and freezes 50 times, the default is 8 and 3.

use crate::devnet::{Devnet, ONE_DEVNET, balance, confirmed};
use crate::http::Api;
use crate::kill::{next, seed};
use crate::node::{Node, cairn, signal, text};
use crate::partition::verify;
use crate::wait::until;
use std::path::Path;
use std::process::Stdio;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

/// Time for some decisions on a busy machine, lost rounds included.
const DECISIONS_MAX: Duration = Duration::from_secs(120);

fn grows(what: &str, apis: &[Api], by: u64) {
    let from = apis.iter().filter_map(Api::height).max().unwrap_or(0);
    for api in apis {
        until(what, DECISIONS_MAX, || {
            api.height().filter(|height| *height >= from + by)
        });
    }
}

/// All nodes have one block at every height that all have.
fn agree(apis: &[Api]) {
    let common = apis.iter().filter_map(Api::height).min().expect("heights");
    for height in 1..=common {
        let id = |api: &Api| {
            api.get(&format!("/v1/blocks/{height}"))?["id"]
                .as_str()
                .map(str::to_owned)
        };
        let ids: Vec<_> = apis.iter().map(id).collect();
        assert!(
            ids.iter().all(|id| id.is_some() && *id == ids[0]),
            "height {height}: {ids:?}"
        );
    }
}

fn nobody_is_named(apis: &[Api]) {
    for api in apis {
        assert_eq!(api.metric("cairn_consensus_equivocations_total"), Some(0.0));
    }
}

/// The process of a node as of now: it changes with each start.
fn pid(folder: &Path, index: usize) -> u32 {
    let text = std::fs::read(folder.join("devnet.json")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    let pid = manifest["nodes"][index]["pid"].as_u64().expect("a pid");
    u32::try_from(pid).expect("32 bits")
}

fn start_node(folder: &Path, name: &str) {
    // The supervisor may not have seen yet that the process was killed.
    until(&format!("{name} starts"), DECISIONS_MAX, || {
        let output = cairn()
            .args(["devnet", "start-node", name, "--json", "--data-dir"])
            .arg(folder)
            .output()
            .expect("the program starts");
        let still_there = text(&output).contains("runs already");
        assert!(output.status.success() || still_there, "{}", text(&output));
        output.status.success().then_some(())
    });
}

#[test]
fn validators_decide_die_return_and_agree() {
    let _alone = ONE_DEVNET.lock().unwrap_or_else(PoisonError::into_inner);
    let full = std::env::var("CAIRN_TEST_BUDGET").is_ok_and(|budget| budget == "full");
    let (kills, freezes) = if full { (200, 50) } else { (8, 3) };
    let mut random = seed();
    println!("seed {random}, {kills} kills, {freezes} freezes");
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("devnet");
    let more = ["--consensus", "pbft", "--block-time", "100ms"];
    let devnet = Devnet::start_with(&folder, &more);
    let apis = devnet.apis();
    grows("the first decisions", &apis, 3);

    // A payment is final with its block.
    let to = devnet.node(1)["address"]
        .as_str()
        .expect("an address")
        .to_owned();
    let (txid, _) = devnet.pay(&to, "1.5", &apis[0]);
    let height = until("the payment is confirmed", DECISIONS_MAX, || {
        confirmed(&apis[3], &txid)
    });
    assert_eq!(balance(&apis[3], &to), Some(150_000_000));
    let final_height = apis[3].status("finalized_height").expect("a status");
    assert!(
        final_height.as_u64() >= Some(height),
        "{final_height} below {height}"
    );
    assert_eq!(apis[3].status("consensus"), Some("pbft".into()));

    // The seal says who signed.
    let seal = apis[2]
        .get(&format!("/v1/headers/{height}/seal"))
        .expect("a seal");
    let signers = seal["certificate"]["signers"]
        .as_array()
        .expect("a list")
        .len();
    assert!(signers >= 3, "{seal}");
    assert_eq!(
        seal["validator_set"]["validators"]
            .as_array()
            .expect("a list")
            .len(),
        4
    );
    let validators = apis[2].get("/v1/validators").expect("validators");
    assert_eq!(validators["set_hash"], seal["validator_set"]["hash"]);

    // One is killed, and killed again while it catches up.
    for kill in 0..kills {
        let index = next(&mut random) as usize % 4;
        thread::sleep(Duration::from_millis(next(&mut random) % 400));
        signal(pid(&folder, index), "KILL");
        let others: Vec<Api> = (0..4)
            .filter(|i| *i != index)
            .map(|i| devnet.api(i))
            .collect();
        grows(&format!("kill {kill}: three go on"), &others, 2);
        start_node(&folder, &format!("node-{index}"));
        until(&format!("kill {kill}: it follows"), DECISIONS_MAX, || {
            let best = others[0].height()?;
            devnet
                .api(index)
                .height()
                .filter(|height| height + 5 >= best)
        });
    }
    nobody_is_named(&apis);
    for _ in 0..freezes {
        let index = next(&mut random) as usize % 4;
        signal(pid(&folder, index), "STOP");
        let others: Vec<Api> = (0..4)
            .filter(|i| *i != index)
            .map(|i| devnet.api(i))
            .collect();
        grows("three go on without a frozen one", &others, 3);
        signal(pid(&folder, index), "CONT");
    }
    grows("all go on", &apis, 3);

    // Without a quorum the chain stands still; with one it goes on.
    for index in [1, 2] {
        signal(pid(&folder, index), "STOP");
    }
    thread::sleep(Duration::from_millis(500));
    let stands = apis[0].height().expect("it answers");
    thread::sleep(Duration::from_secs(2));
    assert!(
        apis[0].height().expect("it answers") <= stands + 1,
        "two of four decided"
    );
    for index in [1, 2] {
        signal(pid(&folder, index), "CONT");
    }
    grows("decisions resume", &apis, 3);

    // All stop at once, in the middle of votes: what was decided or prepared is still there.
    for stop in 0..if full { 20 } else { 3 } {
        thread::sleep(Duration::from_millis(next(&mut random) % 200));
        for index in 0..4 {
            signal(pid(&folder, index), "KILL");
        }
        for index in 0..4 {
            start_node(&folder, &format!("node-{index}"));
        }
        grows(&format!("stop {stop}: decisions resume"), &apis, 2);
    }
    agree(&apis);
    for api in &apis {
        assert_eq!(api.get("/readyz").expect("an answer")["ready"], true);
    }

    // A newcomer without a key, from a bootnode only.
    let chain = folder.join("chain.toml");
    let chain = chain.to_str().expect("a text").to_owned();
    let bootnode = devnet.node(0)["p2p"]
        .as_str()
        .expect("an address")
        .to_owned();
    let newcomer = folder.join("newcomer");
    let node = Node::start(&newcomer, &chain, &["--bootnode", &bootnode]);
    until("the newcomer follows", DECISIONS_MAX, || {
        let best = apis[0].height()?;
        node.api.height().filter(|height| height + 5 >= best)
    });
    let both = [
        Api::at(devnet.node(0)["api"].as_str().expect("an address")),
        Api::at(node.api.url().trim_start_matches("http://")),
    ];
    agree(&both);
    assert!(node.stop().success());
    verify(&newcomer, &chain);

    // A second process with one of the keys is refused.
    let key = folder.join("keys/node-0.key");
    let second = cairn()
        .args([
            "node",
            "--chain",
            &chain,
            "--p2p",
            "/ip4/127.0.0.1/tcp/0",
            "--api",
            "127.0.0.1:0",
        ])
        .arg("--data-dir")
        .arg(folder.join("second"))
        .arg("--validator-key")
        .arg(&key)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    assert_eq!(second.status.code(), Some(1), "{}", text(&second));
    assert!(
        text(&second).contains("another process"),
        "{}",
        text(&second)
    );
    devnet.stop();
}
