//! Every endpoint's success and failure, as the interface page promises them.

use cairn_node::api::limits::Limits;
use serde_json::{Value, json};

use crate::client::{get, get_json, post_json, request};
use crate::memory::*;

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn status_has_the_promised_fields() {
    let served = serve(&MemoryNode::new(3), Limits::default()).await;
    let status = get_json(served.at, "/v1/status").await;
    let mut promised = vec![
        "chain",
        "genesis",
        "version",
        "peer_id",
        "consensus",
        "height",
        "tip",
        "finalized_height",
        "syncing",
        "peers",
        "mempool_transactions",
        "hashes_per_second",
    ];
    promised.sort_unstable();
    assert_eq!(keys(&status), promised);
    assert_eq!(status["height"], 3);
    assert_eq!(status["tip"], block_id(3, 0).to_string());
}

#[tokio::test]
async fn blocks_come_highest_first_in_pages() {
    let served = serve(&MemoryNode::new(25), Limits::default()).await;
    let page = get_json(served.at, "/v1/blocks").await;
    let heights: Vec<u64> = page["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["height"].as_u64().unwrap())
        .collect();
    assert_eq!(heights, (6..=25).rev().collect::<Vec<u64>>());
    assert_eq!(page["next_before"], 6);
    let page = get_json(served.at, "/v1/blocks?before=6&limit=100").await;
    assert_eq!(page["blocks"].as_array().unwrap().len(), 6);
    assert_eq!(page["next_before"], Value::Null);
    let page = get_json(served.at, "/v1/blocks?before=0").await;
    assert_eq!(page, json!({ "blocks": [], "next_before": null }));
    let page = get_json(served.at, "/v1/blocks?limit=1000000").await;
    assert_eq!(page["blocks"].as_array().unwrap().len(), 26);
    for (query, code) in [
        ("limit=0", "bad_limit"),
        ("limit=x", "bad_query"),
        ("befor=1", "bad_query"),
    ] {
        let answer = get(served.at, &format!("/v1/blocks?{query}")).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (400, code),
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_block_is_found_by_height_and_by_id_also_off_the_main_chain() {
    let node = MemoryNode::new(5);
    let served = serve(&node, Limits::default()).await;
    let by_height = get_json(served.at, "/v1/blocks/5").await;
    let by_id = get_json(served.at, &format!("/v1/blocks/{}", block_id(5, 0))).await;
    assert_eq!(by_height, by_id);
    for field in [
        "id",
        "height",
        "parent",
        "time",
        "engine",
        "transactions",
        "finalized",
        "txids",
    ] {
        assert!(by_height.get(field).is_some(), "{field} is missing");
    }
    assert_eq!(by_height["transactions"], 1, "a count");
    assert_eq!(by_height["fees"], "10", "an amount is a string");
    node.change(|chain| chain.reorganise(4, 9, 2));
    let stale = get_json(served.at, &format!("/v1/blocks/{}", block_id(5, 0))).await;
    assert_eq!(
        (&stale["main_chain"], &stale["confirmations"]),
        (&json!(false), &json!(0))
    );
    let raw = get(served.at, "/v1/blocks/5/raw").await;
    assert_eq!(raw.header("content-type"), "application/octet-stream");
    assert_eq!(raw.body, vec![5; 300]);
    let unknown = format!("/v1/blocks/{}", "ab".repeat(32));
    let cases = [
        ("/v1/blocks/7", 404, "block_not_found"),
        (unknown.as_str(), 404, "block_not_found"),
        ("/v1/blocks/7/raw", 404, "block_not_found"),
        ("/v1/blocks/tip", 400, "bad_block"),
        ("/v1/blocks/-1", 400, "bad_block"),
        ("/v1/blocks/99999999999999999999", 400, "bad_block"),
        ("/v1/blocks/%ff", 400, "bad_path"),
        ("/v1/headers/7/seal", 404, "block_not_found"),
        ("/v1/headers/5/seal", 404, "no_seal"),
    ];
    for (path, status, code) in cases {
        let answer = get(served.at, path).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, code),
            "{path}"
        );
    }
}

#[tokio::test]
async fn headers_come_lowest_first_in_pages() {
    let served = serve(&MemoryNode::new(30), Limits::default()).await;
    let page = get_json(served.at, "/v1/headers?from=25&limit=3").await;
    let heights: Vec<&Value> = page["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|header| &header["height"])
        .collect();
    assert_eq!(heights, [25, 26, 27]);
    assert_eq!(page["next_from"], 28);
    assert_eq!(page["headers"][0]["header"].as_str().unwrap().len(), 160);
    let page = get_json(served.at, "/v1/headers?from=28&limit=3").await;
    assert_eq!(page["next_from"], Value::Null);
    let page = get_json(served.at, "/v1/headers?from=18446744073709551615").await;
    assert_eq!(page, json!({ "headers": [], "next_from": null }));
}

#[tokio::test]
async fn transactions_are_found_in_the_chain_and_in_the_mempool() {
    let served = serve(&MemoryNode::new(5), Limits::default()).await;
    let confirmed = get_json(served.at, &format!("/v1/transactions/{}", txid(4))).await;
    assert_eq!(confirmed["block"]["height"], 4);
    assert_eq!(confirmed["confirmations"], 2);
    assert_eq!(
        confirmed["inputs"][0]["value"],
        u64::MAX.to_string(),
        "resolved, as a string"
    );
    assert_eq!(confirmed["outputs"][0]["lock"]["type"], "after");
    let pending = get_json(served.at, &format!("/v1/transactions/{}", waiting(1).txid)).await;
    assert_eq!(
        (&pending["block"], &pending["confirmations"]),
        (&Value::Null, &json!(0))
    );
    let proof = get_json(served.at, &format!("/v1/transactions/{}/proof", txid(4))).await;
    assert!(!proof["hex"].as_str().unwrap().is_empty());
    let waiting_proof = format!("/v1/transactions/{}/proof", waiting(1).txid);
    let unknown = format!("/v1/transactions/{}", "cd".repeat(32));
    let cases = [
        (unknown.as_str(), 404, "transaction_not_found"),
        (waiting_proof.as_str(), 404, "transaction_not_confirmed"),
        ("/v1/transactions/abc", 400, "bad_txid"),
        ("/v1/transactions/abc/proof", 400, "bad_txid"),
    ];
    for (path, status, code) in cases {
        let answer = get(served.at, path).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, code),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_transaction_is_taken_with_202_or_refused_by_its_kind() {
    let node = MemoryNode::new(1);
    let served = serve(&node, Limits::default()).await;
    let answer = post_json(served.at, "/v1/transactions", &json!({ "hex": "0102" })).await;
    assert_eq!(
        (answer.status, answer.json()),
        (202, json!({ "txid": "01".repeat(32) }))
    );
    assert_eq!(*node.submitted.lock().unwrap(), vec![vec![1, 2]]);
    let cases = [
        (UNDECODABLE, 400, "transaction_undecodable"),
        (INVALID, 422, "transaction_invalid"),
        (CONFLICT, 409, "transaction_conflict"),
        (REFUSED, 422, "transaction_refused"),
        (BUSY, 503, "busy"),
        (FAULT, 500, "fault"),
        (PANIC, 500, "fault"),
    ];
    for (first, status, code) in cases {
        let body = json!({ "hex": hex::encode([first]) });
        let answer = post_json(served.at, "/v1/transactions", &body).await;
        assert_eq!((answer.status, answer.problem().as_str()), (status, code));
        if code == "transaction_invalid" {
            assert_eq!(answer.json()["rule"], "TX-03");
        }
    }
    let bodies = [
        "",
        "{",
        "[]",
        "{}",
        r#"{"hex":"0"}"#,
        r#"{"hex":"zz"}"#,
        r#"{"hex":1}"#,
        r#"{"hex":"00","fee":1}"#,
        "\u{0}",
    ];
    for body in bodies {
        let headers = [("content-type", "application/json")];
        let answer = request(
            served.at,
            "POST",
            "/v1/transactions",
            &headers,
            body.as_bytes(),
        )
        .await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (400, "malformed_json"),
            "{body}"
        );
    }
    assert_eq!(
        node.submitted.lock().unwrap().len(),
        1,
        "nothing else was taken"
    );
    assert_eq!(
        get(served.at, "/v1/status").await.status,
        200,
        "the panic ended one request only"
    );
}

#[tokio::test]
async fn addresses_show_balance_pending_coins_and_transactions() {
    let served = serve(&MemoryNode::new(4), Limits::default()).await;
    let summary = get_json(served.at, &format!("/v1/addresses/{ADDRESS}")).await;
    let expected = json!({
        "address": ADDRESS, "balance": u64::MAX.to_string(), "pending": "-7", "transactions": 5
    });
    assert_eq!(summary, expected);
    for (list, field) in [("utxos", "utxos"), ("transactions", "transactions")] {
        let path = format!("/v1/addresses/{ADDRESS}/{list}");
        let first = get_json(served.at, &format!("{path}?limit=3")).await;
        assert_eq!(first[field].as_array().unwrap().len(), 3);
        let cursor = first["next_cursor"].as_str().unwrap();
        let second = get_json(served.at, &format!("{path}?limit=3&cursor={cursor}")).await;
        assert_eq!(second[field].as_array().unwrap().len(), 2);
        assert_eq!(second["next_cursor"], Value::Null);
        let answer = get(served.at, &format!("{path}?cursor=elsewhere")).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (400, "bad_cursor")
        );
    }
    let waiting = get_json(served.at, &format!("/v1/addresses/{ADDRESS}/mempool")).await;
    assert_eq!(waiting["transactions"].as_array().unwrap().len(), 3);
    assert_eq!(waiting["transactions"][0]["block"], Value::Null);
    for suffix in ["", "/utxos", "/transactions", "/mempool"] {
        let foreign = get(
            served.at,
            &format!("/v1/addresses/{FOREIGN_ADDRESS}{suffix}"),
        )
        .await;
        assert_eq!(
            (foreign.status, foreign.problem().as_str()),
            (400, "address_other_network")
        );
        let broken = get(served.at, &format!("/v1/addresses/x{suffix}")).await;
        assert_eq!(
            (broken.status, broken.problem().as_str()),
            (400, "address_malformed")
        );
    }
}

#[tokio::test]
async fn the_node_shows_mempool_fees_peers_supply_schedule_and_validators() {
    let served = serve(&MemoryNode::new(1), Limits::default()).await;
    let mempool = get_json(served.at, "/v1/mempool").await;
    assert_eq!(
        (&mempool["count"], &mempool["fees"]),
        (&json!(3), &json!("30"))
    );
    assert_eq!(mempool["transactions"].as_array().unwrap().len(), 3);
    let mempool = get_json(served.at, "/v1/mempool?limit=1").await;
    assert_eq!(mempool["transactions"].as_array().unwrap().len(), 1);
    let fees = get_json(served.at, "/v1/fees").await;
    assert_eq!(fees["targets"][0], json!({ "blocks": 1, "fee_rate": "20" }));
    let peers = get_json(served.at, "/v1/peers").await;
    assert_eq!(peers["peers"][0]["direction"], "inbound");
    let supply = get_json(served.at, "/v1/supply").await;
    assert_eq!(
        (&supply["issued"], &supply["supply"]),
        (&json!("100"), &json!("99"))
    );
    let schedule = get_json(served.at, "/v1/schedule").await;
    assert_eq!(schedule["entries"][0]["engine"], "pow");
    let validators = get_json(served.at, "/v1/validators").await;
    assert_eq!(validators["validators"], json!([]));
}

#[tokio::test]
async fn the_miner_is_paused_and_resumed() {
    let node = MemoryNode::new(1);
    let served = serve(&node, Limits::default()).await;
    let miner = get_json(served.at, "/v1/miner").await;
    assert_eq!(
        (&miner["paused"], &miner["pauses"]),
        (&json!(false), &json!([]))
    );
    assert_eq!(miner["rates"][0]["hashes_per_cpu_second"], 4000.0);
    assert_eq!(miner["network_hashes_per_second"], 3000.0);
    for paused in [true, false] {
        let answer = post_json(served.at, "/v1/miner", &json!({ "paused": paused })).await;
        assert_eq!(
            (answer.status, &answer.json()["paused"]),
            (200, &json!(paused))
        );
        assert_eq!(get_json(served.at, "/v1/miner").await["paused"], paused);
    }
    let answer = post_json(served.at, "/v1/miner", &json!({ "paused": "yes" })).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (400, "malformed_json")
    );
}

#[tokio::test]
async fn health_and_readiness_are_two_things() {
    let node = MemoryNode::new(1);
    let served = serve(&node, Limits::default()).await;
    assert_eq!(get(served.at, "/healthz").await.text(), "ok\n");
    assert_eq!(get_json(served.at, "/readyz").await["ready"], true);
    node.is_ready
        .store(false, std::sync::atomic::Ordering::SeqCst);
    let answer = get(served.at, "/readyz").await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "not_ready")
    );
    assert_eq!(answer.json()["detail"], "12 blocks behind");
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(get(served.at, "/healthz").await.status, 200);
}

#[tokio::test]
async fn sql_is_named_as_missing() {
    let served = serve(&MemoryNode::new(1), Limits::default()).await;
    let answer = post_json(served.at, "/v1/sql", &json!({ "sql": "SELECT 1" })).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (501, "not_built")
    );
    assert!(answer.json()["detail"].as_str().unwrap().contains("SQL"));
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems_too() {
    let served = serve(&MemoryNode::new(1), Limits::default()).await;
    for path in [
        "/nothing",
        "/v1",
        "/v1/",
        "/v1/status/",
        "/v2/status",
        "/v1/blocks/1/nothing",
        "//",
    ] {
        let answer = get(served.at, path).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (404, "unknown_endpoint"),
            "{path}"
        );
    }
    let cases = [
        ("POST", "/v1/status", "GET"),
        ("DELETE", "/v1/miner", "GET"),
        ("GET", "/rpc", "POST"),
        ("GET", "/v1/sql", "POST"),
        ("OPTIONS", "/v1/transactions", "POST"),
        ("BREW", "/", "GET"),
    ];
    for (method, path, allowed) in cases {
        let answer = request(served.at, method, path, &[], &[]).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (405, "method_not_allowed"),
            "{path}"
        );
        assert!(
            answer.header("allow").contains(allowed),
            "{method} {path}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn head_answers_like_get_without_a_body() {
    let served = serve(&MemoryNode::new(1), Limits::default()).await;
    let answer = request(served.at, "HEAD", "/v1/status", &[], &[]).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}

#[tokio::test]
async fn the_explorer_is_whole_and_loads_nothing_from_elsewhere() {
    let served = serve(&MemoryNode::new(1), Limits::default()).await;
    let page = get(served.at, "/").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy").to_owned();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    let html = page.text();
    for (path, kind) in [
        ("/explorer.js", "text/javascript"),
        ("/explorer.css", "text/css"),
    ] {
        assert!(html.contains(path));
        let file = get(served.at, path).await;
        assert!(file.header("content-type").starts_with(kind));
        assert!(file.body.len() > 500);
    }
    let script = get(served.at, "/explorer.js").await.text();
    for text in [&html, &script] {
        assert!(
            !text.contains("http://") && !text.contains("https://"),
            "no foreign address"
        );
    }
    assert!(
        !script.contains("innerHTML"),
        "texts of strangers are never markup"
    );
    // Everything the page links to is served.
    for link in html
        .split("href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
    {
        if link.starts_with('/') {
            assert_eq!(get(served.at, link).await.status, 200, "{link}");
        }
    }
}
