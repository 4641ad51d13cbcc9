//! `/v1/events`: order, resume, reorganisations, slow and silent clients.

use std::net::SocketAddr;
use std::time::Duration;

use cairn_node::api::events::ChainCursor;
use cairn_node::api::limits::Limits;
use cairn_node::api::model::event::Event;
use futures::{SinkExt, StreamExt};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::client::{PATIENCE, get, request};
use crate::memory::*;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn listen(at: SocketAddr, query: &str) -> Socket {
    connect_async(format!("ws://{at}/v1/events{query}"))
        .await
        .unwrap()
        .0
}

/// The next JSON message.
async fn next(socket: &mut Socket) -> Value {
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next())
            .await
            .expect("a message");
        match message.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The close frame's code and reason, after whatever comes before it.
async fn close(socket: &mut Socket) -> (CloseCode, String) {
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next())
            .await
            .expect("an end");
        match message.unwrap().unwrap() {
            Message::Close(Some(frame)) => return (frame.code, frame.reason.to_string()),
            Message::Close(None) => panic!("closed without a reason"),
            _ => {}
        }
    }
}

async fn heights(socket: &mut Socket, count: usize) -> Vec<u64> {
    let mut heights = Vec::new();
    for _ in 0..count {
        let message = next(socket).await;
        assert_eq!(message["type"], "block", "{message}");
        heights.push(message["height"].as_u64().unwrap());
    }
    heights
}

#[tokio::test]
async fn a_new_client_hears_news_only() {
    let node = MemoryNode::new(5);
    let served = serve(&node, Limits::default()).await;
    let mut socket = listen(served.at, "").await;
    // A first answer shows that the session knows the tip, before the chain moves.
    socket.send(Message::Ping("here".into())).await.unwrap();
    while !matches!(socket.next().await.unwrap().unwrap(), Message::Pong(_)) {}
    node.change(|chain| chain.push(0));
    let message = next(&mut socket).await;
    assert_eq!(
        (&message["type"], &message["height"]),
        (&json!("block"), &json!(6))
    );
    for field in [
        "id",
        "parent",
        "time",
        "engine",
        "transactions",
        "finalized",
    ] {
        assert!(message.get(field).is_some(), "{field} is missing");
    }
    node.events.transaction(waiting(9));
    let message = next(&mut socket).await;
    assert_eq!(message["type"], "transaction");
    assert_eq!(message["txid"], waiting(9).txid.to_string());
    node.change(|chain| chain.finalized = 3);
    let message = next(&mut socket).await;
    let expected = json!({ "type": "finalized", "height": 3, "id": block_id(3, 0).to_string() });
    assert_eq!(message, expected);
}

#[tokio::test]
async fn a_client_resumes_from_any_height_without_gap_or_repeat() {
    let node = MemoryNode::new(200);
    let served = serve(&node, Limits::default()).await;
    let mut all = listen(served.at, "?from_height=0").await;
    assert_eq!(
        heights(&mut all, 201).await,
        (0..=200).collect::<Vec<u64>>()
    );
    let mut late = listen(served.at, "?from_height=198").await;
    assert_eq!(heights(&mut late, 3).await, [198, 199, 200]);
    let mut early = listen(served.at, "?from_height=203").await;
    for _ in 0..5 {
        node.change(|chain| chain.push(0));
    }
    assert_eq!(heights(&mut all, 5).await, [201, 202, 203, 204, 205]);
    assert_eq!(heights(&mut late, 5).await, [201, 202, 203, 204, 205]);
    assert_eq!(heights(&mut early, 3).await, [203, 204, 205]);
}

#[tokio::test]
async fn a_reorganisation_says_back_to_where() {
    let node = MemoryNode::new(10);
    let served = serve(&node, Limits::default()).await;
    let mut socket = listen(served.at, "?from_height=9").await;
    assert_eq!(heights(&mut socket, 2).await, [9, 10]);
    node.change(|chain| chain.reorganise(7, 5, 4));
    let message = next(&mut socket).await;
    assert_eq!(message["type"], "reorg");
    assert_eq!(
        message["fork"],
        json!({ "height": 7, "id": block_id(7, 0).to_string() })
    );
    assert_eq!(message["old_tip"]["id"], block_id(10, 0).to_string());
    assert_eq!(message["new_tip"]["id"], block_id(11, 5).to_string());
    assert_eq!(message["depth"], 3);
    assert_eq!(heights(&mut socket, 4).await, [8, 9, 10, 11]);
}

#[tokio::test]
async fn a_slow_consumer_is_dropped_with_a_reason() {
    let node = MemoryNode::with_queue(1, 16);
    let limits = Limits {
        write_stall_timeout: Duration::from_secs(60),
        ..Limits::default()
    };
    let served = serve(&node, limits).await;
    let mut socket = listen(served.at, "?from_height=0").await;
    assert_eq!(heights(&mut socket, 2).await, [0, 1]);
    // A burst that no queue of 16 holds; the session has no turn in between.
    for number in 0..10_000 {
        node.events.transaction(waiting(number));
    }
    let (code, reason) = close(&mut socket).await;
    assert_eq!(code, CloseCode::Policy);
    assert!(reason.starts_with("slow consumer: "), "{reason}");
    // Others are served.
    let mut other = listen(served.at, "?from_height=1").await;
    assert_eq!(heights(&mut other, 1).await, [1]);
}

#[tokio::test]
async fn a_silent_consumer_is_dropped() {
    let node = MemoryNode::new(1);
    let limits = Limits {
        ping_interval: Duration::from_millis(50),
        ..Limits::default()
    };
    let served = serve(&node, limits).await;
    // A raw socket that never answers a ping.
    let handshake = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let answer = request_upgrade(served.at, &handshake).await;
    let end = String::from_utf8_lossy(&answer).into_owned();
    assert!(end.contains("two pings without answer"), "{end}");
}

/// Upgrades, sends nothing more and reads until the server closes.
async fn request_upgrade(at: SocketAddr, headers: &[(&str, &str)]) -> Vec<u8> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(at).await.unwrap();
    let mut text = String::from("GET /v1/events HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    stream
        .write_all(format!("{text}\r\n").as_bytes())
        .await
        .unwrap();
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("the server closes");
    assert!(
        bytes.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&bytes)
    );
    bytes
}

#[tokio::test]
async fn a_stopping_node_says_goodbye() {
    let node = MemoryNode::new(1);
    let served = serve(&node, Limits::default()).await;
    let mut socket = listen(served.at, "?from_height=1").await;
    assert_eq!(heights(&mut socket, 1).await, [1]);
    let (farewell, ()) = tokio::join!(close(&mut socket), served.server.stop());
    assert_eq!(
        farewell,
        (CloseCode::Away, "the node is stopping".to_owned())
    );
}

#[tokio::test]
async fn websockets_are_counted() {
    let node = MemoryNode::new(1);
    let limits = Limits {
        websockets_max: 1,
        ..Limits::default()
    };
    let served = serve(&node, limits).await;
    let mut socket = listen(served.at, "?from_height=1").await;
    assert_eq!(heights(&mut socket, 1).await, [1]);
    let refused = connect_async(format!("ws://{}/v1/events", served.at)).await;
    assert!(refused.unwrap_err().to_string().contains("503"));
    drop(socket);
    let again = async {
        while connect_async(format!("ws://{}/v1/events", served.at))
            .await
            .is_err()
        {}
    };
    tokio::time::timeout(PATIENCE, again)
        .await
        .expect("the place is given back");
}

#[tokio::test]
async fn a_plain_request_and_a_foreign_page_are_refused() {
    let served = serve(&MemoryNode::new(1), Limits::default()).await;
    let answer = get(served.at, "/v1/events").await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (426, "websocket_expected")
    );
    let answer = get(served.at, "/v1/events?from_height=x").await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (400, "bad_query")
    );
    let headers = [("origin", "http://evil.example"), ("upgrade", "websocket")];
    let answer = request(served.at, "GET", "/v1/events", &headers, &[]).await;
    assert_eq!(answer.problem(), "origin_not_allowed");
}

proptest! {
    /// Whatever the chain does between two looks, a client that applies the messages has the chain.
    #[test]
    fn applied_messages_are_the_main_chain(
        start in 0u64..30,
        from in proptest::option::of(0u64..40),
        moves in proptest::collection::vec((0u64..30, 1u64..8, any::<bool>()), 1..30),
        step in 1usize..10,
    ) {
        let mut chain = MemoryChain::new(start);
        let mut cursor = ChainCursor::new(&chain, from).unwrap();
        let first = from.unwrap_or(start + 1);
        // Ids by height as the client has them; what it did not ask for it does not have.
        let mut client: std::collections::BTreeMap<u64, String> = Default::default();
        for (number, (back, count, look)) in moves.into_iter().enumerate() {
            use cairn_node::api::backend::ChainView;
            let fork = chain.tip().height.saturating_sub(back);
            chain.reorganise(fork, number as u8 + 1, count);
            if !look {
                continue;
            }
            loop {
                let messages = cursor.advance(&chain, step).unwrap();
                if messages.is_empty() {
                    break;
                }
                for message in messages {
                    match message {
                        Event::Block(block) => {
                            if let Some(parent) = block.height.checked_sub(1).and_then(|h| client.get(&h)) {
                                prop_assert_eq!(parent, &block.parent.to_string());
                            }
                            prop_assert!(client.insert(block.height, block.id.to_string()).is_none());
                        }
                        Event::Reorg(reorg) => {
                            prop_assert!(reorg.depth > 0);
                            client.split_off(&(reorg.fork.height + 1));
                        }
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
            }
            let tip = chain.tip().height;
            for height in first..=tip {
                let id = chain.block_id(height).unwrap().unwrap().to_string();
                prop_assert_eq!(client.get(&height), Some(&id), "height {}", height);
            }
            prop_assert!(client.keys().all(|height| *height <= tip));
        }
    }
}
