//! `POST /rpc`: both dialects of JSON-RPC, batches, and what is not available.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use cairn_node::api::limits::{GENERATE_BLOCKS_MAX, Limits, RPC_BATCH_MAX};
use serde_json::{Value, json};

use crate::client::{get_json, post_json, request};
use crate::memory::*;

async fn call(at: SocketAddr, method: &str, params: Value) -> Value {
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
    let answer = post_json(at, "/rpc", &body).await;
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    assert_eq!(
        (&answer["jsonrpc"], &answer["id"]),
        (&json!("2.0"), &json!(7))
    );
    answer
}

#[tokio::test]
async fn the_methods_answer() {
    let node = MemoryNode::new(3);
    let served = serve(&node, Limits::default()).await;
    let answer = call(served.at, "generatetoaddress", json!([2, ADDRESS])).await;
    assert_eq!(
        answer["result"],
        json!([block_id(4, 0).to_string(), block_id(5, 0).to_string()])
    );
    let named = json!({ "nblocks": 1, "address": ADDRESS });
    let answer = call(served.at, "generatetoaddress", named).await;
    assert_eq!(answer["result"], json!([block_id(6, 0).to_string()]));
    assert_eq!(get_json(served.at, "/v1/status").await["height"], 6);
    let answer = call(served.at, "getblocktemplate", json!([])).await;
    assert_eq!(answer["result"]["height"], 7);
    assert_eq!(
        call(served.at, "submitblock", json!(["01"])).await["result"],
        Value::Null
    );
    assert_eq!(
        call(served.at, "submitblock", json!(["02"])).await["result"],
        "high-hash"
    );
    let data = "00".repeat(128);
    assert_eq!(
        call(served.at, "getwork", json!([data])).await["result"],
        true
    );
}

#[tokio::test]
async fn what_is_not_available_says_so() {
    let node = MemoryNode::new(3);
    let served = serve(&node, Limits::default()).await;
    let error = call(served.at, "getwork", json!([])).await["error"].clone();
    assert_eq!(error["code"], -32601);
    assert!(error["message"].as_str().unwrap().contains("blake3"));
    let error = call(served.at, "getblockhash", json!([1])).await["error"].clone();
    assert_eq!(error["code"], -32601);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("getblocktemplate"),
        "{error}"
    );
    node.is_devnet.store(false, Ordering::SeqCst);
    let error = call(served.at, "generatetoaddress", json!([1, ADDRESS])).await["error"].clone();
    assert_eq!(error["code"], -32601);
    assert!(error["message"].as_str().unwrap().contains("devnets only"));
    assert_eq!(get_json(served.at, "/v1/status").await["height"], 3);
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let served = serve(&MemoryNode::new(3), Limits::default()).await;
    let too_many = u64::from(GENERATE_BLOCKS_MAX) + 1;
    let cases = [
        ("generatetoaddress", json!([]), "nblocks"),
        ("generatetoaddress", json!([0, ADDRESS]), "nblocks"),
        ("generatetoaddress", json!([too_many, ADDRESS]), "nblocks"),
        ("generatetoaddress", json!([-1, ADDRESS]), "nblocks"),
        ("generatetoaddress", json!(["1", ADDRESS]), "nblocks"),
        ("generatetoaddress", json!([1]), "address"),
        ("generatetoaddress", json!([1, FOREIGN_ADDRESS]), "tcrn"),
        ("submitblock", json!([]), "hexdata"),
        ("submitblock", json!(["zz"]), "hexdata"),
        ("submitblock", json!("01"), "hexdata"),
        ("getwork", json!([1]), "data"),
    ];
    for (method, params, name) in cases {
        let error = call(served.at, method, params.clone()).await["error"].clone();
        assert_eq!(error["code"], -32602, "{method} {params}");
        assert!(error["message"].as_str().unwrap().contains(name), "{error}");
    }
}

#[tokio::test]
async fn the_old_dialect_gets_result_and_error_both() {
    let served = serve(&MemoryNode::new(3), Limits::default()).await;
    // What old miners send: no version, perhaps no content type.
    let body = br#"{"method":"getblocktemplate","params":[],"id":0}"#;
    let answer = request(served.at, "POST", "/rpc", &[], body).await.json();
    assert_eq!(
        answer,
        json!({ "result": { "height": 4 }, "error": null, "id": 0 })
    );
    let body = br#"{"method":"nothing","id":"a"}"#;
    let answer = request(served.at, "POST", "/rpc", &[], body).await.json();
    assert_eq!(
        (&answer["result"], &answer["error"]["code"]),
        (&Value::Null, &json!(-32601))
    );
}

#[tokio::test]
async fn batches_and_notifications() {
    let served = serve(&MemoryNode::new(3), Limits::default()).await;
    let one = json!({ "jsonrpc": "2.0", "id": 1, "method": "getblocktemplate" });
    let note = json!({ "jsonrpc": "2.0", "method": "getblocktemplate" });
    let answer = post_json(served.at, "/rpc", &json!([one, note, 5]))
        .await
        .json();
    assert_eq!(answer.as_array().unwrap().len(), 2);
    assert_eq!(answer[0]["result"]["height"], 4);
    assert_eq!(answer[1]["error"]["code"], -32600);
    let answer = post_json(served.at, "/rpc", &note).await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    let answer = post_json(served.at, "/rpc", &json!([note, note])).await;
    assert_eq!(answer.status, 204);
    let bomb = Value::Array(vec![one.clone(); RPC_BATCH_MAX + 1]);
    for batch in [bomb, json!([])] {
        let answer = post_json(served.at, "/rpc", &batch).await.json();
        assert_eq!(answer["error"]["code"], -32600);
    }
    let full = Value::Array(vec![one; RPC_BATCH_MAX]);
    let answer = post_json(served.at, "/rpc", &full).await.json();
    assert_eq!(answer.as_array().unwrap().len(), RPC_BATCH_MAX);
}

#[tokio::test]
async fn what_is_no_call_is_an_error_with_null_id() {
    let served = serve(&MemoryNode::new(3), Limits::default()).await;
    let cases = [
        ("", -32700),
        ("{", -32700),
        ("5", -32600),
        ("{}", -32600),
        (r#"{"method":5}"#, -32600),
    ];
    for (body, code) in cases {
        let headers = [("content-type", "application/json")];
        let answer = request(served.at, "POST", "/rpc", &headers, body.as_bytes()).await;
        let answer = answer.json();
        assert_eq!(
            (&answer["error"]["code"], &answer["id"]),
            (&json!(code), &Value::Null),
            "{body}"
        );
    }
    let deep = "[".repeat(100_000);
    let answer = request(served.at, "POST", "/rpc", &[], deep.as_bytes())
        .await
        .json();
    assert_eq!(answer["error"]["code"], -32700);
}
