//! Links: frames arrive in order, strangers stay out, a slow reader costs only its own frames, and
//! a link that broke is opened again.

use std::sync::Arc;
use std::time::Duration;

use cairn_network::{
    PeerId,
    counters::{BadInput, Dropped, Limited},
    limits::{LINK_FRAME_BYTES_MAX, LINK_QUEUE_MAX},
    links::{BFT, Greeting, LinkEvent, Links},
};
use tokio::sync::mpsc;

use crate::common::{Node, PATIENCE, config, eventually};

/// Says and expects fixed words.
struct Words {
    says: &'static [u8],
    expects: &'static [u8],
}

impl Greeting for Words {
    fn hello(&self, _: PeerId) -> Vec<u8> {
        self.says.to_vec()
    }

    fn admits(&self, _: PeerId, hello: &[u8]) -> bool {
        hello == self.expects
    }
}

async fn linked(says: &'static [u8]) -> (Node, Links, mpsc::Receiver<LinkEvent>) {
    let node = Node::start(config()).await;
    let words = Words {
        says,
        expects: b"friend",
    };
    let (links, events) = Links::start(&node.handle, BFT, Arc::new(words)).unwrap();
    (node, links, events)
}

async fn next(events: &mut mpsc::Receiver<LinkEvent>) -> LinkEvent {
    let event = tokio::time::timeout(PATIENCE, events.recv()).await;
    event.expect("the event never came").expect("links live")
}

fn frame(bytes: &[u8]) -> Arc<[u8]> {
    Arc::from(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_arrive_whole_and_in_order() {
    let (mut a, a_links, mut a_events) = linked(b"friend").await;
    let (mut b, b_links, mut b_events) = linked(b"friend").await;
    a.connect(&mut b).await;
    a_links.open(b.id());
    assert_eq!(next(&mut a_events).await, LinkEvent::Open(b.id()));
    let large = vec![7; LINK_FRAME_BYTES_MAX];
    assert!(a_links.send(&b.id(), &frame(b"")));
    assert!(a_links.send(&b.id(), &frame(&large)));
    a_links.send_to_all(&frame(b"last"));
    for expected in [b"".to_vec(), large, b"last".to_vec()] {
        let from = a.id();
        let payload = expected;
        assert_eq!(
            next(&mut b_events).await,
            LinkEvent::Frame { from, payload }
        );
    }
    assert!(!b_links.send(&a.id(), &frame(b"no link this way")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_not_let_in() {
    let (mut a, a_links, mut a_events) = linked(b"enemy").await;
    let (mut b, _b_links, mut b_events) = linked(b"friend").await;
    a.connect(&mut b).await;
    a_links.open(b.id());
    assert_eq!(next(&mut a_events).await, LinkEvent::Open(b.id()));
    a_links.send_to_all(&frame(b"let me in"));
    let counters = b.handle.counters().clone();
    eventually("the stranger is counted", || {
        counters.limited_count(Limited::LinkStranger) > 0
    })
    .await;
    assert!(b_events.try_recv().is_err(), "no frame of a stranger");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_frame_ends_the_link_and_costs_points() {
    let (mut a, a_links, mut a_events) = linked(b"friend").await;
    let (mut b, _b_links, _b_events) = linked(b"friend").await;
    a.connect(&mut b).await;
    a_links.open(b.id());
    assert_eq!(next(&mut a_events).await, LinkEvent::Open(b.id()));
    a_links.send_to_all(&frame(&vec![0; LINK_FRAME_BYTES_MAX + 1]));
    let handle = b.handle.clone();
    eventually("the peer pays", || {
        let paid = handle.peers().iter().any(|peer| peer.score < 0.0);
        paid && handle.counters().bad_input_count(BadInput::Oversized) == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_loses_frames_and_others_do_not() {
    let (mut a, a_links, mut a_events) = linked(b"friend").await;
    let (mut b, _b_links, b_events) = linked(b"friend").await;
    let (mut c, _c_links, mut c_events) = linked(b"friend").await;
    a.connect(&mut b).await;
    a.connect(&mut c).await;
    for peer in [b.id(), c.id()] {
        a_links.open(peer);
        assert_eq!(next(&mut a_events).await, LinkEvent::Open(peer));
    }
    // Nobody reads b's events: its queue, its stream's window and our queue fill up.
    let mut sent = 0u64;
    while a.handle.counters().dropped_count(Dropped::LinkOut) < 10 {
        a_links.send_to_all(&frame(&vec![1; 256 * 1024]));
        sent += 1;
        assert_eq!(
            next(&mut c_events).await,
            LinkEvent::Frame {
                from: a.id(),
                payload: vec![1; 256 * 1024]
            },
            "frame {sent}"
        );
        assert!(sent < 50_000, "b swallowed everything");
    }
    assert!(sent > LINK_QUEUE_MAX as u64);
    drop(b_events);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_broke_is_opened_again() {
    let (mut a, a_links, mut a_events) = linked(b"friend").await;
    let (mut b, b_links, b_events) = linked(b"friend").await;
    a.connect(&mut b).await;
    a_links.open(b.id());
    assert_eq!(next(&mut a_events).await, LinkEvent::Open(b.id()));
    // The other end forgets everything and begins anew, as after a restart of its engine.
    drop(b_links);
    drop(b_events);
    let words = Words {
        says: b"friend",
        expects: b"friend",
    };
    let mut again = Links::start(&b.handle, BFT, Arc::new(words));
    while again.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let words = Words {
            says: b"friend",
            expects: b"friend",
        };
        again = Links::start(&b.handle, BFT, Arc::new(words));
    }
    let (_links, mut events) = again.unwrap();
    let payload = b"still here".to_vec();
    let arrived = loop {
        a_links.send_to_all(&frame(&payload));
        if let Ok(event) = events.try_recv() {
            break event;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let from = a.id();
    assert_eq!(arrived, LinkEvent::Frame { from, payload });
}
