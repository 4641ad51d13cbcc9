//! Who does not fit is refused at the handshake, with a reason that both sides can read.

use crate::common::{
    Node, config, eventually, status,
    stranger::{Reply, Stranger, finish, framed},
};
use cairn_network::{Keypair, NetworkEvent, counters::Refused};
use cairn_protocol::{
    codec::{decode, encode},
    hash::{BlockId, Hash},
    wire::{ErrorCode, Goodbye, SyncRequest, SyncResponse},
};

async fn two(change: impl FnOnce(&mut cairn_network::NetworkConfig)) -> (Node, Node) {
    let mut other = config();
    change(&mut other);
    let (a, b) = (Node::usual().await, Node::start(other).await);
    a.handle.dial(b.full_address()).await;
    (a, b)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_genesis_is_refused_with_a_reason_on_both_sides() {
    let (mut a, mut b) = two(|other| other.status = status(8, 0)).await;
    for node in [&mut a, &mut b] {
        let reason = node.parted().await;
        assert!(reason.contains("another genesis"), "{reason}");
        assert!(reason.contains("cairn/07070707/1") && reason.contains("cairn/08080808/1"));
    }
    let count = |node: &Node| node.handle.counters().refused_count(Refused::WrongNetwork);
    assert!(count(&a) + count(&b) >= 1);
    assert!(a.handle.peers().is_empty() && b.handle.peers().is_empty());
}

/// The names on the wire carry four bytes of the genesis id only.
#[tokio::test(flavor = "multi_thread")]
async fn a_genesis_that_differs_behind_the_tag_is_refused_too() {
    let (mut a, mut b) = two(|other| {
        other.status.genesis = BlockId([&[7; 8][..], &[9; 24][..]].concat().try_into().unwrap());
        other.status.finalized_id = other.status.genesis;
    })
    .await;
    // Whoever sees it first says goodbye; the other may see the status or the goodbye first.
    let reasons = [a.parted().await, b.parted().await];
    assert!(
        reasons
            .iter()
            .any(|reason| reason.contains("another genesis")),
        "{reasons:?}"
    );
    assert!(
        reasons
            .iter()
            .all(|r| r.contains("another genesis") || r.contains("another network")),
        "{reasons:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_specification_is_refused() {
    let (mut a, mut b) = two(|other| other.status.spec_hash = Hash([1; 32])).await;
    let reasons = [a.parted().await, b.parted().await];
    assert!(
        reasons
            .iter()
            .any(|r| r.contains("another chain specification")),
        "{reasons:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_schedule_is_refused_and_welcome_after_the_upgrade() {
    let mut other = config();
    other.status.schedule_hash = Hash([3; 32]);
    let (keypair, mut a) = (other.keypair.clone(), Node::usual().await);
    let mut b = Node::start(other).await;
    b.handle.dial(a.full_address()).await;
    let reason = a.parted().await;
    assert!(reason.contains("upgrade"), "{reason}");
    let reason = b.parted().await;
    assert!(reason.contains("upgrade"), "{reason}");
    b.handle.shutdown().await;

    let mut upgraded = config();
    upgraded.keypair = keypair;
    let mut b = Node::start(upgraded).await;
    b.handle.dial(a.full_address()).await;
    b.ready().await;
    a.ready().await;
    assert_eq!(a.handle.counters().banned_count(), 0);
    assert_eq!(a.handle.counters().refused_count(Refused::Upgrade), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_without_a_status_is_sent_away_and_told_nothing() {
    let mut config = config();
    config.limits.status_timeout_ms = 1_000;
    let mut node = Node::start(config).await;
    let (id, address) = (node.id(), node.address.clone());
    let mut stranger = Stranger::new(Keypair::generate_ed25519(), &status(7, 0));
    assert!(stranger.dial(&address).await);
    let request = SyncRequest::HeadersByRange { start: 0, count: 1 };
    assert_eq!(
        stranger.ask(id, &request).await,
        None,
        "no answer before the status"
    );
    let refused = node
        .until(|event| match event {
            NetworkEvent::PeerRefused { peer, reason } => Some((peer, reason)),
            NetworkEvent::Request { .. } => panic!("a request before the status"),
            _ => None,
        })
        .await;
    assert_eq!(refused, (stranger.id, "no status in time".into()));
    assert_eq!(
        node.handle.counters().refused_count(Refused::StatusTimeout),
        1
    );
    stranger.closed.recv().await.unwrap();
}

/// The first request may overtake the status, which travels on another stream: it waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_overtakes_the_status_is_served_after_it() {
    let mut node = Node::usual().await;
    let id = node.id();
    let mut stranger = Stranger::new(Keypair::generate_ed25519(), &status(7, 0));
    assert!(stranger.dial(&node.address).await);
    let request = framed(&encode(&SyncRequest::HeadersByRange { start: 0, count: 1 }));
    let early = stranger.begin(id, "sync", &request).await.unwrap();
    assert_eq!(stranger.greet(id, &status(7, 0)).await, Some(status(7, 0)));
    let responder = node
        .until(|event| match event {
            NetworkEvent::Request {
                peer, responder, ..
            } => {
                assert_eq!(peer, stranger.id);
                Some(responder)
            }
            _ => None,
        })
        .await;
    assert!(responder.respond(SyncResponse::Error(ErrorCode::Unavailable)));
    let Reply::Frame(payload) = finish(early).await else {
        panic!("no answer")
    };
    let answer = decode::<SyncResponse>(&payload, 100).unwrap();
    assert_eq!(answer, SyncResponse::Error(ErrorCode::Unavailable));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_ends_the_connection_and_is_passed_on() {
    let mut node = Node::usual().await;
    let (id, address) = (node.id(), node.address.clone());
    let mut stranger = Stranger::new(Keypair::generate_ed25519(), &status(7, 0));
    assert!(stranger.dial(&address).await);
    assert_eq!(stranger.greet(id, &status(7, 0)).await, Some(status(7, 0)));
    node.ready().await;
    stranger
        .send(id, "goodbye", &framed(&encode(&Goodbye { code: 129 })))
        .await
        .unwrap();
    let reason = node.parted().await;
    assert_eq!(reason, "peer said goodbye: it has too many peers");
    eventually("the peer is gone", || node.handle.peers().is_empty()).await;
    stranger.closed.recv().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_tells_everyone() {
    let (mut a, mut b) = (Node::usual().await, Node::usual().await);
    a.connect(&mut b).await;
    a.handle.shutdown().await;
    assert_eq!(b.parted().await, "peer said goodbye: it stops");
    let request = SyncRequest::HeadersByRange { start: 0, count: 1 };
    let deadline = std::time::Duration::from_secs(1);
    let outcome = a.handle.request(b.id(), request, deadline).await;
    assert_eq!(outcome, Err(cairn_network::RequestError::Stopped));
}
