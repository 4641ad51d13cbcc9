//! K06 at the socket: foreign hosts, foreign pages, writes without a token.

use std::os::unix::fs::PermissionsExt;

use cairn_node::api::limits::Limits;
use cairn_node::api::{ApiServer, ApiSettings, StartError};

use crate::client::{exchange, request};
use crate::memory::*;

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_rebound_name_reaches_nothing() {
    let node = MemoryNode::new(1);
    let served = serve(&node, Limits::default()).await;
    for path in ["/", "/v1/status", "/metrics", "/v1/events", "/nothing"] {
        let answer = request(served.at, "GET", path, &[("host", "evil.example")], &[]).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (403, "host_not_allowed"),
            "{path}"
        );
    }
    let headers = [("host", "evil.example:8080"), JSON];
    let answer = request(
        served.at,
        "POST",
        "/v1/transactions",
        &headers,
        br#"{"hex":"01"}"#,
    )
    .await;
    assert_eq!(answer.problem(), "host_not_allowed");
    let headers = [("origin", "http://evil.example"), JSON];
    let answer = request(
        served.at,
        "POST",
        "/v1/transactions",
        &headers,
        br#"{"hex":"01"}"#,
    )
    .await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (403, "origin_not_allowed")
    );
    assert!(node.submitted.lock().unwrap().is_empty());
    let at = served.at.to_string();
    let answer = request(served.at, "GET", "/v1/status", &[("host", &at)], &[]).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_request_without_host_is_refused() {
    let served = serve(&MemoryNode::new(1), Limits::default()).await;
    let answer = exchange(
        served.at,
        b"GET /v1/status HTTP/1.1\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (400, "bad_host")
    );
    let answer = exchange(served.at, b"GET /v1/status HTTP/1.0\r\n\r\n").await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (400, "bad_host")
    );
}

#[tokio::test]
async fn a_form_of_a_foreign_page_cannot_write() {
    let node = MemoryNode::new(1);
    let served = serve(&node, Limits::default()).await;
    // What a browser sends for a form without asking first.
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "",
    ] {
        let headers = [("content-type", kind)];
        let answer = request(
            served.at,
            "POST",
            "/v1/miner",
            &headers,
            br#"{"paused":true}"#,
        )
        .await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (415, "unsupported_media_type")
        );
    }
    assert!(!node.is_paused.load(std::sync::atomic::Ordering::SeqCst));
}

#[tokio::test]
async fn a_public_listener_needs_the_token_for_writes() {
    let node = MemoryNode::new(1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "correct-horse-battery\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let with = serve_on(&node, "0.0.0.0:0", Some(path), Limits::default()).await;
    let without = serve_on(&node, "0.0.0.0:0", None, Limits::default()).await;
    let loopback =
        |at: std::net::SocketAddr| std::net::SocketAddr::from(([127, 0, 0, 1], at.port()));
    let (with, without) = (loopback(with.at), loopback(without.at));
    let host = ("host", "node.example");
    for at in [with, without] {
        let answer = request(at, "GET", "/v1/status", &[host], &[]).await;
        assert_eq!(answer.status, 200, "reads are open");
    }
    let body = br#"{"paused":true}"#;
    for (path, body) in [
        ("/v1/miner", &body[..]),
        ("/v1/transactions", br#"{"hex":"01"}"#),
        ("/rpc", br#"{"method":"getblocktemplate"}"#),
        ("/v1/sql", br#"{"sql":"SELECT 1"}"#),
    ] {
        let answer = request(without, "POST", path, &[host, JSON], body).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (403, "writes_not_served"),
            "{path}"
        );
        let answer = request(with, "POST", path, &[host, JSON], body).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (401, "unauthorized"),
            "{path}"
        );
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        let wrong = ("authorization", "Bearer wrong-horse-battery");
        let answer = request(with, "POST", path, &[host, JSON, wrong], body).await;
        assert_eq!(answer.status, 401, "{path}");
    }
    let right = ("authorization", "Bearer correct-horse-battery");
    let answer = request(with, "POST", "/v1/miner", &[host, JSON, right], body).await;
    assert_eq!(answer.status, 200);
    assert!(node.is_paused.load(std::sync::atomic::Ordering::SeqCst));
}

#[tokio::test]
async fn a_taken_port_and_an_open_token_file_are_told_at_the_start() {
    let node = MemoryNode::new(1);
    let served = serve(&node, Limits::default()).await;
    let start = |listen, token_file| {
        let settings = ApiSettings {
            listen,
            token_file,
            limits: Limits::default(),
        };
        let node = std::sync::Arc::clone(&node);
        async move {
            let (events, metrics) = (node.events.clone(), node.metrics.clone());
            ApiServer::start(settings, node, events, metrics)
                .await
                .err()
                .unwrap()
        }
    };
    let error = start(served.at, None).await;
    assert!(matches!(error, StartError::Listen { .. }));
    assert!(
        error.to_string().contains(&served.at.to_string()),
        "{error}"
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "correct-horse-battery").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = start("127.0.0.1:0".parse().unwrap(), Some(path)).await;
    assert!(error.to_string().contains("0644"), "{error}");
}
