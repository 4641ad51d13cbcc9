//! Clients that mean no good, or are broken: the node answers, closes, and goes on.

use crate::client::Client;
use crate::node::{EASIEST, Node, address, until};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Connects from another address of this machine, which is no one's but the test's.
fn from(source: &str, node: &Node) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
        let to: SocketAddr = node.stratum.parse().unwrap();
        let stream = socket.connect(to).await.unwrap().into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream
    })
}

/// All that the node says until it closes.
fn last_words(stream: &mut TcpStream) -> String {
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => said.extend_from_slice(&buffer[..bytes]),
            // Closing with our bytes unread resets the connection.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the node does not close: {error}"),
        }
    }
    String::from_utf8(said).unwrap()
}

#[test]
fn garbage_is_answered_then_closed_then_shut_out() {
    let folder = tempfile::tempdir().unwrap();
    let user = address(folder.path(), "a");
    let node = Node::start(EASIEST, &[]);
    let mut honest = Client::working(&node.stratum, &user);

    let mut bad = from("127.0.0.9", &node);
    for _ in 0..4 {
        bad.write_all(b"\x00\xff not JSON\n").unwrap();
    }
    let said = last_words(&mut bad);
    assert!(said.contains("expected a JSON-RPC request"), "{said}");
    // Its address stays outside, others do not notice.
    let said = last_words(&mut from("127.0.0.9", &node));
    assert!(said.contains("shut out for"), "{said}");
    let mut other = Client::over(from("127.0.0.8", &node));
    other.subscribe();
    let job = honest.job.clone().unwrap();
    let share = honest.search(&job, 1, true);
    assert_eq!(honest.submit(&user, &share)["result"], true);
    assert_eq!(node.metric("cairn_stratum_bans_total"), 1.0);
    assert_eq!(node.metric("cairn_stratum_refused_total"), 1.0);

    // The machine's own address loses the connection, not the right to come back.
    let mut bad = TcpStream::connect(&node.stratum).unwrap();
    bad.write_all(&b"garbage\n".repeat(10)).unwrap();
    last_words(&mut bad);
    Client::working(&node.stratum, &user);
}

#[test]
fn a_line_without_end_is_cut() {
    let node = Node::start(EASIEST, &[]);
    let mut bad = TcpStream::connect(&node.stratum).unwrap();
    let mut sent = 0;
    while sent < 1 << 20 && bad.write_all(&[b'['; 1024]).is_ok() {
        sent += 1024;
    }
    let said = last_words(&mut bad);
    // A reset may swallow the words.
    assert!(said.is_empty() || said.contains("longer than"), "{said}");
    until("the place is free", || {
        (node.metric("cairn_stratum_connections") == 0.0).then_some(())
    });
    let mut client = Client::connect(&node.stratum);
    client.subscribe();
}

#[test]
fn floods_of_bad_shares_end() {
    let folder = tempfile::tempdir().unwrap();
    let user = address(folder.path(), "a");
    let node = Node::start("0x1c00ffff", &[]);
    let mut client = Client::over(from("127.0.0.7", &node));
    client.subscribe();
    assert_eq!(
        client.ask("mining.authorize", json!([user, "x"]))["result"],
        true
    );
    let job = client.next_job();
    let mut codes = Vec::new();
    for nonce in 0..1_000u32 {
        let params = json!([
            user,
            job.id,
            "0000000000000000",
            format!("{:08x}", job.time),
            format!("{nonce:08x}")
        ]);
        client.request("mining.submit", params);
        let Some(line) = client.line() else { break };
        codes.push(line["error"][0].clone());
        if codes.len() == 20 {
            break;
        }
    }
    assert_eq!(codes.len(), 20, "twenty bad shares are too many");
    assert!(codes.iter().all(|code| *code == 23), "{codes:?}");
    assert!(client.line().is_none(), "closed");
}

#[test]
fn half_a_line_and_silence_hold_no_more_than_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let user = address(folder.path(), "a");
    let node = Node::start(EASIEST, &[]);
    let mut held: Vec<TcpStream> = (0..50)
        .map(|_| TcpStream::connect(&node.stratum).unwrap())
        .collect();
    for stream in &mut held {
        stream
            .write_all(b"{\"id\": 1, \"method\": \"mining.")
            .unwrap();
    }
    let mut honest = Client::working(&node.stratum, &user);
    let job = honest.job.clone().unwrap();
    let share = honest.search(&job, 1, true);
    assert_eq!(honest.submit(&user, &share)["result"], true);
    drop(held);
    until("the places are free", || {
        (node.metric("cairn_stratum_connections") == 1.0).then_some(())
    });
}

#[test]
fn an_address_has_a_bound_of_connections() {
    let node = Node::start(EASIEST, &[]);
    let mut held: Vec<TcpStream> = (0..257).map(|_| from("127.0.0.6", &node)).collect();
    let said = last_words(held.last_mut().unwrap());
    assert!(said.contains("has 256 connections"), "{said}");
}
