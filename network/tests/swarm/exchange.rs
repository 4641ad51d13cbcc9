//! Two and three real nodes exchange statuses, gossip and requests.

use std::time::Duration;

use crate::common::{Node, eventually, status};
use cairn_network::{
    Direction, NetworkEvent, PublishError, RequestError, Topic, Verdict,
    limits::COMPACT_BLOCK_BYTES_MAX,
};
use cairn_protocol::wire::{ErrorCode, SyncRequest, SyncResponse};

#[tokio::test(flavor = "multi_thread")]
async fn statuses_are_exchanged_and_repeated_on_a_new_best() {
    let (mut a, mut b) = (Node::usual().await, Node::usual().await);
    a.handle.dial(b.full_address()).await;
    let (peer, theirs, direction) = a.ready().await;
    assert_eq!(
        (peer, theirs, direction),
        (b.id(), status(7, 0), Direction::Outbound)
    );
    let (peer, _, direction) = b.ready().await;
    assert_eq!((peer, direction), (a.id(), Direction::Inbound));

    a.handle.set_status(status(7, 5)).await;
    let best = b
        .until(|event| match event {
            NetworkEvent::PeerStatus { status, .. } => Some(status.best_height),
            _ => None,
        })
        .await;
    assert_eq!(best, 5);
    eventually("the agent is known", || {
        a.handle
            .peers()
            .first()
            .is_some_and(|peer| peer.agent.starts_with("cairn/"))
    })
    .await;
}

/// Publishes until somebody listens.
async fn publish(node: &Node, topic: Topic, data: &[u8]) {
    while let Err(error) = node.handle.publish(topic, data.to_vec()).await {
        assert_eq!(error, PublishError::NoPeers);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gossip_travels_on_only_after_acceptance() {
    let (mut a, mut b, mut c) = (
        Node::usual().await,
        Node::usual().await,
        Node::usual().await,
    );
    a.connect(&mut b).await;
    c.connect(&mut b).await;
    // The mesh of the last hop must exist before the first hop speaks.
    publish(&c, Topic::Transactions, b"warm up").await;
    let gossip = |event| match event {
        NetworkEvent::Gossip {
            topic,
            from,
            data,
            token,
        } => Some((topic, from, data, token)),
        _ => None,
    };
    let (_, _, data, token) = b.until(gossip).await;
    assert_eq!(data, b"warm up");
    b.handle.verdict(token, Verdict::Ignore);

    let large = vec![5; COMPACT_BLOCK_BYTES_MAX];
    publish(&a, Topic::Block, b"ignored").await;
    publish(&a, Topic::Block, &large).await;
    for verdict in [Verdict::Ignore, Verdict::Accept] {
        let (topic, from, _, token) = b.until(gossip).await;
        assert_eq!((topic, from), (Topic::Block, a.id()));
        b.handle.verdict(token, verdict);
    }
    let (topic, from, data, _) = c.until(gossip).await;
    assert_eq!((topic, from), (Topic::Block, b.id()));
    assert_eq!(data, large, "what was ignored before it did not arrive");
    assert_eq!(
        a.handle.publish(Topic::Block, large).await,
        Err(PublishError::Duplicate),
        "one content is one message"
    );
    let too_large = a
        .handle
        .publish(Topic::Block, vec![0; COMPACT_BLOCK_BYTES_MAX + 1])
        .await;
    assert!(matches!(too_large, Err(PublishError::TooLarge { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered_refused_or_late() {
    let (mut a, mut b) = (Node::usual().await, Node::usual().await);
    a.connect(&mut b).await;
    let request = SyncRequest::HeadersByRange { start: 3, count: 4 };
    let (asker, id) = (a.handle.clone(), b.id());
    let ask = |deadline| {
        let (asker, request) = (asker.clone(), request.clone());
        tokio::spawn(async move { asker.request(id, request, deadline).await })
    };

    let answer = ask(Duration::from_secs(30));
    let (asked, responder) = b
        .until(|event| match event {
            NetworkEvent::Request {
                request, responder, ..
            } => Some((request, responder)),
            _ => None,
        })
        .await;
    assert_eq!(asked, request);
    assert!(responder.respond(SyncResponse::Error(ErrorCode::Unavailable)));
    assert_eq!(
        answer.await.unwrap(),
        Ok(SyncResponse::Error(ErrorCode::Unavailable))
    );

    // Nobody answers: the deadline holds. Then the responder is dropped: the stream is reset.
    assert_eq!(
        ask(Duration::from_millis(300)).await.unwrap(),
        Err(RequestError::Timeout)
    );
    let lost = ask(Duration::from_secs(30));
    for _ in 0..2 {
        let responder = b
            .until(|event| match event {
                NetworkEvent::Request { responder, .. } => Some(responder),
                _ => None,
            })
            .await;
        drop(responder);
    }
    assert!(matches!(lost.await.unwrap(), Err(RequestError::Lost(_))));
    let stranger = cairn_network::PeerId::random();
    let outcome = a
        .handle
        .request(stranger, request, Duration::from_secs(1))
        .await;
    assert_eq!(outcome, Err(RequestError::NotConnected));
}
