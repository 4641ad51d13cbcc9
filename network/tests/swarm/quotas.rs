//! Quotas and queues: who asks too much is told to wait, then punished; what does not fit a queue
//! is dropped by its rule and counted.

use std::time::Duration;

use crate::common::{Node, config, eventually, status, stranger::Stranger};
use cairn_network::{
    Keypair, NetworkConfig, NetworkEvent, PublishError, RequestError, Topic,
    counters::{Dropped, Limited},
    limits::Quota,
};
use cairn_protocol::wire::{ErrorCode, SyncRequest, SyncResponse};

/// No quota refills while a test runs.
const FOR_EVER_MS: u64 = 3_600_000;

async fn acquainted(change: impl FnOnce(&mut NetworkConfig)) -> (Node, Stranger) {
    let mut config = config();
    change(&mut config);
    let mut node = Node::start(config).await;
    let mut stranger = Stranger::new(Keypair::generate_ed25519(), &status(7, 0));
    assert!(stranger.dial(&node.address).await);
    assert!(stranger.greet(node.id(), &status(7, 0)).await.is_some());
    node.ready().await;
    (node, stranger)
}

/// Answers every request with "unavailable" from now on.
fn serve(mut node: Node) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(event) = node.events.recv().await {
            if let NetworkEvent::Request { responder, .. } = event {
                responder.respond(SyncResponse::Error(ErrorCode::Unavailable));
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_over_the_quota_are_told_to_wait_and_cost_points() {
    let (node, mut stranger) = acquainted(|config| {
        config.limits.quotas.headers = Quota::new(100, FOR_EVER_MS);
        config.limits.quotas.bodies = Quota::new(10, FOR_EVER_MS);
        config.limits.quotas.transactions = Quota::new(10, FOR_EVER_MS);
    })
    .await;
    let (id, handle) = (node.id(), node.handle.clone());
    let _served = serve(node);
    let counters = handle.counters();
    let table = [
        (
            SyncRequest::HeadersByRange {
                start: 0,
                count: 100,
            },
            Limited::Headers,
        ),
        (
            SyncRequest::BlocksByRange {
                start: 0,
                count: 10,
            },
            Limited::Bodies,
        ),
        (
            SyncRequest::BlockTransactions {
                block: cairn_protocol::hash::BlockId([1; 32]),
                indexes: (0..10).collect(),
            },
            Limited::Transactions,
        ),
    ];
    for (request, kind) in table {
        let answer = stranger.ask(id, &request).await;
        assert_eq!(
            answer,
            Some(SyncResponse::Error(ErrorCode::Unavailable)),
            "{kind:?}"
        );
        assert_eq!(counters.limited_count(kind), 0);
        let answer = stranger.ask(id, &request).await;
        let Some(SyncResponse::Error(ErrorCode::RateLimited { retry_after_ms })) = answer else {
            panic!("{kind:?}: {answer:?}");
        };
        assert!(retry_after_ms > 0);
        assert_eq!(counters.limited_count(kind), 1);
    }
    eventually("points are lost", || {
        handle.peers().first().is_some_and(|peer| peer.score < -2.5)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_stops_asking_is_sent_away() {
    let (mut node, mut stranger) = acquainted(|config| {
        config.limits.quotas.headers = Quota::new(1, FOR_EVER_MS);
    })
    .await;
    let id = node.id();
    let asking = tokio::spawn(async move {
        let request = SyncRequest::HeadersByRange { start: 0, count: 2 };
        while stranger.ask(id, &request).await.is_some() {}
    });
    let reason = node.parted().await;
    assert!(reason.contains("OverQuota"), "{reason}");
    asking.await.unwrap();
    let limited = node.handle.counters().limited_count(Limited::Headers);
    assert!(
        (20..30).contains(&limited),
        "{limited} refusals are tolerated"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_use_up_a_quota_of_their_own() {
    let (mut node, mut stranger) = acquainted(|config| {
        config.limits.quotas.answer_kib = Quota::new(1, FOR_EVER_MS);
    })
    .await;
    let id = node.id();
    let headers = SyncResponse::BareHeaders(vec![cairn_protocol::wire::BareHeader([7; 80]); 2_000]);
    let expected = headers.clone();
    let counters = node.handle.counters().clone();
    let _served = tokio::spawn(async move {
        loop {
            let responder = node
                .until(|event| match event {
                    NetworkEvent::Request { responder, .. } => Some(responder),
                    _ => None,
                })
                .await;
            responder.respond(headers.clone());
        }
    });
    let request = SyncRequest::HeadersByRange { start: 0, count: 1 };
    assert_eq!(
        stranger.ask(id, &request).await,
        Some(expected),
        "one answer may overdraw it"
    );
    let answer = stranger.ask(id, &request).await;
    assert!(matches!(
        answer,
        Some(SyncResponse::Error(ErrorCode::RateLimited { .. }))
    ));
    assert_eq!(counters.limited_count(Limited::AnswerBytes), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_over_the_quota_are_not_answered() {
    let (node, mut stranger) = acquainted(|config| {
        config.limits.quotas.status = Quota::new(3, FOR_EVER_MS);
    })
    .await;
    let id = node.id();
    assert!(stranger.greet(id, &status(7, 0)).await.is_some());
    assert!(stranger.greet(id, &status(7, 0)).await.is_some());
    assert_eq!(stranger.greet(id, &status(7, 0)).await, None);
    assert_eq!(node.handle.counters().limited_count(Limited::Status), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_requests_are_answered_at_once() {
    let (mut node, mut stranger) = acquainted(|config| {
        config.limits.served_per_peer_max = 2;
    })
    .await;
    let id = node.id();
    let request =
        cairn_protocol::codec::encode(&SyncRequest::HeadersByRange { start: 0, count: 1 });
    let frame = crate::common::stranger::framed(&request);
    let mut waiting = Vec::new();
    for _ in 0..2 {
        waiting.push(stranger.begin(id, "sync", &frame).await.unwrap());
    }
    let mut responders = Vec::new();
    while responders.len() < 2 {
        responders.push(
            node.until(|event| match event {
                NetworkEvent::Request { responder, .. } => Some(responder),
                _ => None,
            })
            .await,
        );
    }
    let request = SyncRequest::HeadersByRange { start: 0, count: 1 };
    let answer = stranger.ask(id, &request).await;
    assert!(matches!(
        answer,
        Some(SyncResponse::Error(ErrorCode::RateLimited { .. }))
    ));
    assert_eq!(node.handle.counters().limited_count(Limited::Concurrent), 1);

    // Once they are answered there is room again.
    for responder in responders {
        assert!(responder.respond(SyncResponse::Error(ErrorCode::Unavailable)));
    }
    for stream in waiting {
        crate::common::stranger::finish(stream).await;
    }
    let _served = serve(node);
    let mut answer = None;
    while answer != Some(SyncResponse::Error(ErrorCode::Unavailable)) {
        answer = stranger.ask(id, &request).await;
    }
}

/// Our own requests are held back by the same numbers, so that a peer never has to refuse them.
#[tokio::test(flavor = "multi_thread")]
async fn own_requests_are_held_back() {
    let mut quick = config();
    quick.limits.quotas.headers = Quota::new(100, FOR_EVER_MS);
    quick.limits.requests_per_peer_max = 2;
    let (mut a, mut b) = (Node::start(quick).await, Node::usual().await);
    a.connect(&mut b).await;
    let (id, handle) = (b.id(), a.handle.clone());
    let ask = async |count| {
        let request = SyncRequest::HeadersByRange { start: 0, count };
        handle.request(id, request, Duration::from_secs(30)).await
    };
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let (handle, request) = (
                handle.clone(),
                SyncRequest::HeadersByRange { start: 0, count: 1 },
            );
            tokio::spawn(async move { handle.request(id, request, Duration::from_secs(30)).await })
        })
        .collect();
    let mut responders = Vec::new();
    while responders.len() < 2 {
        responders.push(
            b.until(|event| match event {
                NetworkEvent::Request { responder, .. } => Some(responder),
                _ => None,
            })
            .await,
        );
    }
    assert_eq!(ask(1).await, Err(RequestError::Busy), "two are in flight");
    for responder in responders {
        responder.respond(SyncResponse::Error(ErrorCode::Unavailable));
    }
    for waiting in waiting {
        assert!(waiting.await.unwrap().is_ok());
    }
    let limited = ask(99).await;
    assert!(
        matches!(limited, Err(RequestError::Limited { .. })),
        "{limited:?}"
    );
    assert!(
        b.handle
            .counters()
            .snapshot()
            .iter()
            .all(|sample| sample.count == 0)
    );
}

/// A node that does not read its events loses gossip and requests, never the news of peers.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_event_queue_is_dropped_by_its_rule() {
    let mut small = config();
    small.limits.event_queue_max = 64;
    let (mut a, mut b) = (Node::usual().await, Node::start(small).await);
    a.connect(&mut b).await;
    for message in 0..3u8 {
        while a.handle.publish(Topic::Block, vec![message]).await == Err(PublishError::NoPeers) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let counters = b.handle.counters().clone();
    eventually("gossip is dropped", || {
        counters.dropped_count(Dropped::GossipIn) == 3
    })
    .await;
    let request = SyncRequest::HeadersByRange { start: 0, count: 1 };
    let answer = a
        .handle
        .request(b.id(), request, Duration::from_secs(30))
        .await;
    assert!(
        matches!(
            answer,
            Ok(SyncResponse::Error(ErrorCode::RateLimited { .. }))
        ),
        "{answer:?}"
    );
    assert_eq!(counters.dropped_count(Dropped::RequestIn), 1);
    a.handle.shutdown().await;
    assert_eq!(b.parted().await, "peer said goodbye: it stops");
}
