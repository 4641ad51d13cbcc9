//! A thousand miners at once; fewer in the default run, all with `CAIRN_TEST_BUDGET=full`.
//!
//! Prints how long answers took and how long a new tip took to reach everybody. The aims of time
//! are checked by `cargo bench -p cairn-node --bench stratum`, which has the machine to itself; here
//! everybody must be answered at all, rightly.

use crate::client::Client;
use crate::node::{Node, address};
use serde_json::json;
use std::collections::BTreeSet;

#[test]
fn everybody_is_answered_and_nobody_searches_the_same() {
    let full = std::env::var("CAIRN_TEST_BUDGET").is_ok_and(|budget| budget == "full");
    let miners = if full { 1_000 } else { 100 };
    let folder = tempfile::tempdir().unwrap();
    let address = address(folder.path(), "a");
    let node = Node::start("0x1e07ffff", &[]);
    let easy = 4.0 / 2f64.powi(32);
    let mut clients: Vec<(String, Client)> = (0..miners)
        .map(|i| {
            let mut client = Client::connect(&node.stratum);
            client.subscribe();
            let user = format!("{address}.{i}");
            let answer = client.ask("mining.authorize", json!([user, format!("d={easy}")]));
            assert_eq!(answer["result"], true);
            client.next_job();
            (user, client)
        })
        .collect();
    let nonces: BTreeSet<_> = clients
        .iter()
        .map(|(_, c)| c.extra_nonce_1.clone())
        .collect();
    assert_eq!(nonces.len(), miners);
    assert_eq!(node.metric("cairn_stratum_connections"), miners as f64);
    for round in 0..3 {
        for (user, client) in &mut clients {
            loop {
                let job = client.job.clone().unwrap();
                let share = client.search(&job, round, true);
                let answer = client.submit(user, &share);
                if answer["result"] == true {
                    break;
                }
                // One share in half a million is a block: then all others are stale.
                assert_eq!(answer["error"][0], 21, "{answer}");
                if client.job.as_ref().is_some_and(|now| now.id == job.id) {
                    client.next_job();
                }
            }
        }
    }
    let accepted = node.metric("cairn_stratum_shares_total{verdict=\"accepted\"}");
    assert_eq!(accepted, 3.0 * miners as f64);
    let block = node.rpc("generatetoaddress", json!([1, address]));
    let block = block["result"][0].as_str().unwrap().to_owned();
    for (_, client) in &mut clients {
        loop {
            let job = client.next_job();
            if hex::encode(&job.parent) == block {
                assert!(job.clean);
                break;
            }
        }
    }
    assert_eq!(node.get("/v1/miner")["stratum"]["workers_total"], miners);
}
