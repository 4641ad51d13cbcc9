//! Bad frames: each kind moves its own counter, costs points, and never the connection of a peer
//! that behaves otherwise.

use crate::common::{
    Node, config, eventually, status,
    stranger::{Reply, Stranger, framed, length},
};
use cairn_network::{
    Keypair, NetworkEvent,
    counters::{BadInput, Refused},
    limits::{STATUS_BYTES_MAX, SYNC_REQUEST_BYTES_MAX},
};
use cairn_protocol::{
    codec::encode,
    wire::{ErrorCode, SyncRequest, SyncResponse},
};

/// A node and a stranger that has said its status.
async fn acquainted() -> (Node, Stranger) {
    let mut node = Node::start(config()).await;
    let mut stranger = Stranger::new(Keypair::generate_ed25519(), &status(7, 0));
    assert!(stranger.dial(&node.address).await);
    assert!(stranger.greet(node.id(), &status(7, 0)).await.is_some());
    node.ready().await;
    (node, stranger)
}

fn oversized(bytes_max: usize) -> Vec<u8> {
    let mut frame = length(bytes_max as u64 + 1);
    frame.extend_from_slice(&[0; 64]);
    frame
}

fn truncated() -> Vec<u8> {
    let mut frame = length(1_000);
    frame.extend_from_slice(&[0; 10]);
    frame
}

/// `HeadersByRange` with a start of zero that takes two bytes.
fn not_canonical() -> Vec<u8> {
    let mut payload = encode(&SyncRequest::HeadersByRange { start: 0, count: 1 });
    let place = payload.len() - 2;
    assert_eq!(payload[place], 0);
    payload.splice(place..=place, [0x80, 0x00]);
    framed(&payload)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_frame_moves_its_counter_and_the_connection_survives() {
    let table: [(&str, &str, Vec<u8>, BadInput); 8] = [
        (
            "oversized",
            "sync",
            oversized(SYNC_REQUEST_BYTES_MAX),
            BadInput::Oversized,
        ),
        ("huge length", "sync", vec![0xff; 10], BadInput::Undecodable),
        ("truncated", "sync", truncated(), BadInput::Truncated),
        ("empty", "sync", Vec::new(), BadInput::Truncated),
        (
            "garbage",
            "sync",
            framed(&[0xee; 40]),
            BadInput::Undecodable,
        ),
        (
            "trailing byte",
            "sync",
            framed(&[0xff, 0xff, 0xff]),
            BadInput::Undecodable,
        ),
        (
            "not canonical",
            "sync",
            not_canonical(),
            BadInput::Undecodable,
        ),
        (
            "oversized status",
            "status",
            oversized(STATUS_BYTES_MAX),
            BadInput::Oversized,
        ),
    ];
    for (what, protocol, bytes, kind) in table {
        let (mut node, mut stranger) = acquainted().await;
        let (id, counters) = (node.id(), node.handle.counters().clone());
        let reply = stranger.send(id, protocol, &bytes).await.unwrap();
        assert_eq!(reply, Reply::Nothing, "{what}");
        eventually(what, || counters.bad_input_count(kind) == 1).await;
        let moved: u64 = BadInput::ALL
            .iter()
            .map(|kind| counters.bad_input_count(*kind))
            .sum();
        assert_eq!(moved, 1, "{what} moves one counter only");

        // The connection survives: an honest request is still served.
        let served = tokio::spawn(async move {
            let responder = node
                .until(|event| match event {
                    NetworkEvent::Request { responder, .. } => Some(responder),
                    _ => None,
                })
                .await;
            assert!(responder.respond(SyncResponse::Error(ErrorCode::Unavailable)));
            node
        });
        let request = SyncRequest::HeadersByRange { start: 0, count: 1 };
        let answer = stranger.ask(id, &request).await;
        assert_eq!(
            answer,
            Some(SyncResponse::Error(ErrorCode::Unavailable)),
            "{what}"
        );
        let node = served.await.unwrap();
        eventually("the score fell", || {
            node.handle
                .peers()
                .first()
                .is_some_and(|peer| peer.score < -4.0)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_goes_on_is_sent_away_and_at_last_banned() {
    let (mut node, mut stranger) = acquainted().await;
    let (id, counters) = (node.id(), node.handle.counters().clone());
    let garbage = framed(&[0xee; 40]);
    for _ in 0..3 {
        stranger.send(id, "sync", &garbage).await.unwrap();
    }
    let reason = node.parted().await;
    assert!(reason.contains("Undecodable"), "{reason}");
    assert_eq!(counters.refused_count(Refused::BadScore), 1);
    stranger.closed.recv().await.unwrap();

    // Back again, with the score that it left with: each further frame sends it away.
    while counters.banned_count() == 0 {
        assert!(stranger.dial(&node.address).await);
        assert!(stranger.greet(id, &status(7, 0)).await.is_some());
        let _ = stranger.send(id, "sync", &garbage).await;
        stranger.closed.recv().await.unwrap();
    }
    assert_eq!(
        counters.bad_input_count(BadInput::Undecodable),
        6,
        "five are tolerated"
    );
    stranger.dial(&node.address).await;
    eventually("the banned peer is refused", || {
        counters.refused_count(Refused::BannedPeer) > 0
    })
    .await;
    assert!(node.handle.peers().is_empty());
}
