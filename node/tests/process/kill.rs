//! `kill -9` at random moments under load: every start succeeds, nothing that was confirmed and
//! told is lost, and the stores equal a replay.
//!
//! `CAIRN_TEST_BUDGET=full` kills 100 times, the default is 12. The seed is printed; set
//! `CAIRN_TEST_SEED` to repeat it.

use crate::node::{Node, easy_chain};
use crate::partition::verify;
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An address of the devnet network that nobody has a key of: the chain only has to grow.
pub const SINK: &str = "dcrn1qqg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3z96fz2g";

/// The seed of this run.
pub fn seed() -> u64 {
    let given = std::env::var("CAIRN_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        u64::from(now.subsec_nanos())
    })
}

/// Numbers that differ from run to run and are the same for one seed (SplitMix64).
pub fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn still_there(node: &Node, at: u64, id: &Value, when: &str) {
    let block = node.api.get(&format!("/v1/blocks/{at}"));
    let block = block.expect("it answers");
    assert_eq!(&block["id"], id, "height {at}, {when}");
}

#[test]
fn killed_under_load_a_node_returns_with_all_it_told() {
    let full = std::env::var("CAIRN_TEST_BUDGET").is_ok_and(|budget| budget == "full");
    let kills = if full { 100 } else { 12 };
    let seed = seed();
    println!("seed {seed}, {kills} kills");
    let mut random = seed;
    let folder = tempfile::tempdir().expect("a folder");
    let chain = easy_chain(folder.path(), 3);
    let chain = chain.to_str().expect("a text");
    let data_dir = folder.path().join("node");
    let mut told: Vec<(u64, Value)> = Vec::new();
    let mut asked = 0;
    for kill in 0..kills {
        let node = Node::start(&data_dir, chain, &[]);
        let height = node.api.height().expect("it answers");
        // No other node competes: what was told to be on the chain is on it for ever.
        // Each life asks for what the last one told; the end asks for all.
        for (at, id) in &told[asked..] {
            still_there(
                &node,
                *at,
                id,
                &format!("kill {kill}, a return to {height}"),
            );
        }
        asked = told.len();
        let api = node.api.clone();
        let load = thread::spawn(move || {
            let mut mined = Vec::new();
            loop {
                let body = json!({
                    "jsonrpc": "2.0", "id": 1, "method": "generatetoaddress", "params": [1, SINK],
                });
                match api.post("/rpc", &body) {
                    Some((200, answer)) if answer["error"].is_null() => {
                        let id = answer["result"][0].clone();
                        if let Some(block) =
                            api.get(&format!("/v1/blocks/{}", id.as_str().expect("an id")))
                        {
                            mined.push((block["height"].as_u64().expect("a height"), id));
                        }
                    }
                    _ => return mined,
                }
            }
        });
        thread::sleep(Duration::from_millis(next(&mut random) % 400));
        node.kill();
        told.extend(load.join().expect("the load ends with the node"));
    }
    println!("{} blocks told", told.len());
    assert!(
        told.len() >= kills,
        "too little load: {} blocks in {kills} lives",
        told.len()
    );
    let node = Node::start(&data_dir, chain, &[]);
    for (at, id) in &told {
        still_there(&node, *at, id, "at the end");
    }
    assert!(node.stop().success());
    verify(&data_dir, chain);
}
