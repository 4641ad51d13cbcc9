//! getwork and getblocktemplate over `/rpc`, as old miners and scripts use them.

use crate::client::{sha256d, swap};
use crate::node::{EASIEST, Node, address, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn getwork(node: &Node, user: Option<&str>) -> Value {
    let body = json!({"method": "getwork", "params": [], "id": 0});
    let (headers, answer) = node.post("", user, &body);
    assert!(answer["error"].is_null(), "{answer}");
    let url = format!("http://{}/rpc?longpoll", node.api);
    assert_eq!(headers.long_polling, Some(url));
    answer["result"].clone()
}

/// Solves an answer of getwork: the data to send back.
fn solve(work: &Value) -> String {
    let data = hex::decode(work["data"].as_str().unwrap()).unwrap();
    let target = hex::decode(work["target"].as_str().unwrap()).unwrap();
    assert_eq!((data.len(), target.len()), (128, 32));
    let mut header = swap(&data[..80]);
    assert_eq!(data[80..84], [0, 0, 0, 0x80], "the padding of SHA-256");
    assert_eq!(data[124..], [0x80, 2, 0, 0], "640 bits");
    let is_good = |digest: &[u8; 32]| digest.iter().rev().le(target.iter().rev());
    for nonce in 0u32.. {
        header[76..].copy_from_slice(&nonce.to_le_bytes());
        if is_good(&sha256d(&header)) {
            break;
        }
    }
    hex::encode([swap(&header), data[80..].to_vec()].concat())
}

fn submit(node: &Node, data: &str) -> (Option<String>, Value) {
    let body = json!({"method": "getwork", "params": [data], "id": 1});
    let (headers, answer) = node.post("", None, &body);
    (headers.reject_reason, answer["result"].clone())
}

#[test]
fn a_round_of_getwork_pays_the_user_or_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let (user, own) = (address(folder.path(), "a"), address(folder.path(), "b"));
    let node = Node::start(EASIEST, &["--mine-to", &own]);
    let (first, second) = (getwork(&node, Some(&user)), getwork(&node, Some(&user)));
    assert_ne!(
        first["data"], second["data"],
        "each has an extra-nonce of its own"
    );
    let solved = solve(&first);
    assert_eq!(submit(&node, &solved), (None, json!(true)));
    assert_eq!(node.height(), 1);
    let (reason, result) = submit(&node, &solve(&second));
    assert_eq!(result, false);
    assert!(reason.unwrap().starts_with("stale"));
    assert_eq!(submit(&node, &solved).1, false);
    // A user that is no address: the node's own is paid.
    assert_eq!(
        submit(&node, &solve(&getwork(&node, Some("anybody")))).1,
        true
    );
    let balance = |address: &str| node.get(&format!("/v1/addresses/{address}"))["balance"].clone();
    assert_eq!(
        (balance(&user), balance(&own)),
        (json!("1000000000"), json!("1000000000"))
    );
    assert_eq!(
        node.metric("cairn_foreign_blocks_total{protocol=\"getwork\"}"),
        2.0
    );
}

#[test]
fn what_getwork_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let user = address(folder.path(), "a");
    let node = Node::start(EASIEST, &[]);
    let error = node.rpc("getwork", json!([]))["error"].clone();
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("no address to pay"),
        "{error}"
    );
    // A typing error in an address pays nobody else.
    let mut wrong = user.clone();
    wrong.replace_range(10..11, if &user[10..11] == "q" { "p" } else { "q" });
    let body = json!({"method": "getwork", "params": [], "id": 0});
    let (_, answer) = node.post("", Some(&wrong), &body);
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("ADR-01"),
        "{answer}"
    );
    let work = getwork(&node, Some(&user));
    let solved = solve(&work);
    for data in ["", "00", &solved[..158], "zz"] {
        let answer = node.rpc("getwork", json!([data]));
        assert_eq!(answer["error"]["code"], -32602, "{data}: {answer}");
    }
    assert_eq!(submit(&node, &"00".repeat(128)).1, false);
    // Another version, which is in the first word.
    let altered = format!("01000000{}", &solved[8..]);
    assert_eq!(submit(&node, &altered).1, false);
    assert_eq!((submit(&node, &solved).1, node.height()), (json!(true), 1));
}

#[test]
fn bitcoins_miners_fall_back_and_scripts_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let user = address(folder.path(), "a");
    let node = Node::start(EASIEST, &["--mine-to", &user]);
    let capabilities = json!(["coinbasetxn", "coinbasevalue", "longpoll", "workid"]);
    let request = json!([{"capabilities": capabilities, "rules": ["segwit"]}]);
    let answer = node.rpc("getblocktemplate", request);
    assert!(
        answer["result"].is_null() && answer["error"].is_object(),
        "{answer}"
    );
    for params in [json!([]), json!([{}]), json!([{"rules": ["segwit"]}])] {
        let answer = node.rpc("getblocktemplate", params);
        assert_eq!(answer["result"]["height"], 1, "{answer}");
    }
    // A script's round: the template's block, solved and sent back.
    let template = node.rpc("getblocktemplate", json!([]))["result"].clone();
    let target = hex::decode(template["target"].as_str().unwrap()).unwrap();
    let mut block = hex::decode(template["block"].as_str().unwrap()).unwrap();
    let solved = (0u32..).any(|nonce| {
        block[76..80].copy_from_slice(&nonce.to_le_bytes());
        sha256d(&block[..80]).iter().rev().le(target.iter())
    });
    assert!(solved);
    let answer = node.rpc("submitblock", json!([hex::encode(&block)]));
    assert!(
        answer["result"].is_null() && answer["error"].is_null(),
        "{answer}"
    );
    assert_eq!(node.height(), 1);
}

#[test]
fn long_polls_wait_for_a_tip() {
    let folder = tempfile::tempdir().unwrap();
    let user = address(folder.path(), "a");
    let node = Node::start(EASIEST, &["--mine-to", &user]);
    let template = node.rpc("getblocktemplate", json!([]))["result"].clone();
    let id = template["longpollid"].as_str().unwrap();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let poll = scope.spawn(|| node.rpc("getblocktemplate", json!([{"longpollid": id}])));
        let body = json!({"method": "getwork", "params": [], "id": 0});
        let work = scope.spawn({
            let (node, body) = (&node, body.clone());
            move || node.post("?longpoll", None, &body).1
        });
        // Both wait while nothing is new.
        std::thread::sleep(Duration::from_millis(1_500));
        assert!(!poll.is_finished() && !work.is_finished());
        node.rpc("generatetoaddress", json!([1, user]));
        assert_eq!(poll.join().unwrap()["result"]["height"], 2);
        assert!(work.join().unwrap()["result"]["data"].is_string());
    });
    assert!(started.elapsed() < Duration::from_secs(60));
    // An old id and one that no template had are answered at once.
    for id in [id, "nonsense", ""] {
        let answer = node.rpc("getblocktemplate", json!([{"longpollid": id}]));
        assert_eq!(answer["result"]["height"], 2);
    }
    let batch = json!([{"id": 1, "method": "getblocktemplate", "params": [{"longpollid": id}]}]);
    let (_, answer) = node.post("", None, &batch);
    assert_eq!(answer[0]["error"]["code"], -32602, "{answer}");
    until("the node goes on", || (node.height() == 1).then_some(()));
}
