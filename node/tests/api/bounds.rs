//! Bounds of size, number and time, each reached from a raw socket.

use std::time::Duration;

use cairn_node::api::limits::{BODY_BYTES_MAX, Limits, RPC_BODY_BYTES_MAX};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{PATIENCE, exchange, get, parse, post_json, request};
use crate::memory::*;

/// Reads until the server closes; fails when it does not.
async fn read_to_close(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("the server closes the connection");
    bytes
}

fn short() -> Limits {
    Limits {
        header_timeout: Duration::from_secs(1),
        body_timeout: Duration::from_millis(300),
        request_timeout: Duration::from_secs(30),
        write_stall_timeout: Duration::from_millis(200),
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_body_too_large_is_refused_with_and_without_a_length() {
    let node = MemoryNode::new(1);
    let served = serve(&node, Limits::default()).await;
    for (path, bytes_max) in [
        ("/v1/transactions", BODY_BYTES_MAX),
        ("/rpc", RPC_BODY_BYTES_MAX),
    ] {
        // Announced, and refused before a byte of it is sent.
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            bytes_max + 1
        );
        let answer = exchange(served.at, head.as_bytes()).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (413, "body_too_large"),
            "{path}"
        );
        // In chunks, without saying how many.
        let mut bytes = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n",
            bytes_max + 1
        )
        .into_bytes();
        bytes.resize(bytes.len() + bytes_max + 1, b' ');
        bytes.extend_from_slice(b"\r\n0\r\n\r\n");
        let mut stream = TcpStream::connect(served.at).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let mut got = Vec::new();
        let write = async {
            let _ = writer.write_all(&bytes).await;
        };
        let read = async {
            let _ = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut got)).await;
        };
        tokio::join!(write, read);
        let answer = parse(&got);
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (413, "body_too_large"),
            "{path}"
        );
    }
    // The largest body that is allowed is read to its end.
    let mut body = br#"{"hex":"01"}"#.to_vec();
    body.resize(BODY_BYTES_MAX, b' ');
    let headers = [("content-type", "application/json")];
    let answer = request(served.at, "POST", "/v1/transactions", &headers, &body).await;
    assert_eq!(answer.status, 202);
}

#[tokio::test]
async fn headers_too_large_are_refused() {
    let served = serve(&MemoryNode::new(1), Limits::default()).await;
    let long = "x".repeat(20 * 1024);
    let bytes = format!("GET /v1/status HTTP/1.1\r\nhost: localhost\r\nx-long: {long}\r\n\r\n");
    let answer = exchange(served.at, bytes.as_bytes()).await;
    assert_eq!(answer.status, 431);
}

#[tokio::test]
async fn slow_headers_lose_their_connection_while_others_are_served() {
    let served = serve(&MemoryNode::new(1), short()).await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(served.at).await.unwrap();
        stream.write_all(b"GET /v1/sta").await.unwrap();
        slow.push(stream);
    }
    assert_eq!(get(served.at, "/v1/status").await.status, 200);
    for stream in &mut slow {
        read_to_close(stream).await;
    }
    assert_eq!(get(served.at, "/v1/status").await.status, 200);
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let served = serve(&MemoryNode::new(1), short()).await;
    let mut silent = TcpStream::connect(served.at).await.unwrap();
    assert!(read_to_close(&mut silent).await.is_empty());
    // Also after a first request was answered.
    let mut idle = TcpStream::connect(served.at).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let bytes = read_to_close(&mut idle).await;
    assert_eq!(parse(&bytes).status, 200);
}

#[tokio::test]
async fn a_slow_body_is_told_so() {
    let served = serve(&MemoryNode::new(1), short()).await;
    let mut stream = TcpStream::connect(served.at).await.unwrap();
    let head = b"POST /v1/transactions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                 content-type: application/json\r\ncontent-length: 12\r\n\r\n{";
    stream.write_all(head).await.unwrap();
    let answer = parse(&read_to_close(&mut stream).await);
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (408, "body_too_slow")
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_connection() {
    let served = serve(&MemoryNode::new(2_000), short()).await;
    let mut stream = TcpStream::connect(served.at).await.unwrap();
    let ask = b"GET /v1/headers?limit=2000 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    // Enough answers (over a megabyte each) to fill every buffer on the way, none of them read.
    let write = async { while stream.write_all(ask).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, write)
        .await
        .expect("the server gives up on the client");
}

#[tokio::test]
async fn connections_are_counted_and_one_too_many_is_told_so() {
    let limits = Limits {
        connections_max: 3,
        ..Limits::default()
    };
    let served = serve(&MemoryNode::new(1), limits).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(served.at).await.unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        open.push(stream);
    }
    let mut refused = TcpStream::connect(served.at).await.unwrap();
    let answer = parse(&read_to_close(&mut refused).await);
    assert_eq!((answer.status, answer.problem().as_str()), (503, "busy"));
    // A place that is given back is given out again.
    drop(open.pop());
    let served_again = async {
        loop {
            let mut stream = TcpStream::connect(served.at).await.unwrap();
            let ask = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(ask).await;
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes).await;
            if bytes.starts_with(b"HTTP/1.1 200") {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, served_again)
        .await
        .expect("the place is free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_takes_too_long_is_answered_and_calls_are_bounded() {
    let limits = Limits {
        calls_max: 1,
        request_timeout: Duration::from_secs(1),
        ..Limits::default()
    };
    let served = serve(&MemoryNode::new(1), limits).await;
    let body = serde_json::json!({ "hex": hex::encode([SLOW]) });
    let answer = post_json(served.at, "/v1/transactions", &body).await;
    assert_eq!((answer.status, answer.problem().as_str()), (504, "timeout"));
    // The slow call still occupies the only place: the next one waits in vain, and is told so.
    let answer = get(served.at, "/v1/status").await;
    assert_eq!((answer.status, answer.problem().as_str()), (504, "timeout"));
    assert_eq!(
        get(served.at, "/healthz").await.status,
        200,
        "what needs no call is answered"
    );
}

#[tokio::test]
async fn a_call_of_a_script_may_take_longer() {
    let limits = Limits {
        request_timeout: Duration::from_secs(1),
        ..Limits::default()
    };
    let served = serve(&MemoryNode::new(1), limits).await;
    let call =
        serde_json::json!({ "id": 1, "method": "submitblock", "params": [hex::encode([SLOW])] });
    let answer = post_json(served.at, "/rpc", &call).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (200, &serde_json::Value::Null)
    );
}

#[tokio::test]
async fn a_stop_ends_open_connections() {
    let served = serve(&MemoryNode::new(1), Limits::default()).await;
    let mut idle = TcpStream::connect(served.at).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    served.server.stop().await;
    read_to_close(&mut idle).await;
    assert!(
        TcpStream::connect(served.at).await.is_err(),
        "nobody listens any more"
    );
}

#[tokio::test]
async fn garbage_is_answered_or_closed_and_the_server_lives() {
    let served = serve(&MemoryNode::new(1), Limits::default()).await;
    let garbage: [&[u8]; 6] = [
        b"\r\n\r\n\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nhost: localhost\r\n\r\n",
        b"POST /rpc HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"POST /rpc HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(served.at).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        read_to_close(&mut stream).await;
        assert_eq!(get(served.at, "/healthz").await.status, 200);
    }
}
