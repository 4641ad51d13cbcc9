//! What is remembered about peers: bans and their end, the peers file, reconnects, discovery.

use crate::common::{Node, config, eventually};
use cairn_network::{Direction, NetworkConfig, Offence, PeerId, counters::Refused};

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_peer_is_refused_until_the_ban_ends() {
    let mut strict = config();
    strict.limits.ban_ms = 3_000;
    let (mut a, mut b) = (Node::start(strict).await, Node::usual().await);
    b.connect(&mut a).await;
    a.handle.report(b.id(), Offence::InvalidBlock);
    assert_eq!(a.parted().await, "banned after InvalidBlock");
    assert_eq!(b.parted().await, "peer said goodbye: we are banned");
    assert_eq!(a.handle.counters().banned_count(), 1);
    // B comes back at once and in vain, and again until it is let in.
    let mut tries = 0;
    while b.handle.peers().is_empty() {
        b.handle.dial(a.full_address()).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        tries += 1;
    }
    assert!(tries > 1);
    assert!(a.handle.counters().refused_count(Refused::BannedPeer) > 0);
    assert_eq!(a.ready().await.0, b.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn small_offences_add_up_and_fade() {
    let (mut a, mut b) = (Node::usual().await, Node::usual().await);
    a.connect(&mut b).await;
    for _ in 0..3 {
        a.handle.report(b.id(), Offence::Stalled);
    }
    let score = || a.handle.peers().first().map_or(0.0, |peer| peer.score);
    eventually("fifteen points are lost", || score() < -14.0).await;
    let before = score();
    eventually("the score recovers by itself", || score() > before).await;
}

fn with_file(folder: &tempfile::TempDir) -> NetworkConfig {
    let mut config = config();
    config.peers_file = Some(folder.path().join("peers.redb"));
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_and_bans_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (first, keypair) = {
        let config = with_file(&folder);
        let keypair = config.keypair.clone();
        (config, keypair)
    };
    let (mut a, mut b, mut c) = (
        Node::start(first).await,
        Node::usual().await,
        Node::usual().await,
    );
    a.connect(&mut b).await;
    c.connect(&mut a).await;
    a.handle.report(c.id(), Offence::InvalidBlock);
    c.parted().await;
    a.handle.shutdown().await;
    b.parted().await;

    // No bootnodes: what it knows, it knows from the file.
    let mut again = with_file(&folder);
    again.keypair = keypair;
    let mut a = Node::start(again).await;
    let (peer, _, direction) = a.ready().await;
    assert_eq!((peer, direction), (b.id(), Direction::Outbound));
    c.handle.dial(a.full_address()).await;
    let counters = a.handle.counters();
    eventually("the ban is remembered", || {
        counters.refused_count(Refused::BannedPeer) > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_quick_reconnects() {
    let mut b = Node::usual().await;
    for round in 0..30 {
        let mut a = Node::usual().await;
        a.connect(&mut b).await;
        a.handle.shutdown().await;
        assert_eq!(
            b.parted().await,
            "peer said goodbye: it stops",
            "round {round}"
        );
    }
    eventually("nobody is left", || b.handle.peers().is_empty()).await;
}

/// The same peer, with the same key and the same port, thirty times.
#[tokio::test(flavor = "multi_thread")]
async fn thirty_restarts_of_one_peer() {
    let keypair = cairn_network::Keypair::generate_ed25519();
    let mut b = Node::usual().await;
    let mut port = 0;
    for round in 0..30 {
        let mut config = config();
        config.keypair = keypair.clone();
        config.listen = vec![format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()];
        config.bootnodes = vec![b.full_address()];
        let mut a = Node::start(config).await;
        port = a.port();
        assert_eq!(a.ready().await.0, b.id(), "round {round}");
        assert_eq!(b.ready().await.0, a.id(), "round {round}");
        a.handle.shutdown().await;
        b.parted().await;
        drop(a);
    }
    assert_eq!(b.handle.counters().banned_count(), 0);
}

/// The configuration of a node that knows only `bootnode`.
fn joining(bootnode: &Node) -> NetworkConfig {
    let mut config = config();
    config.bootnodes = vec![bootnode.full_address()];
    config
}

/// B and C know only A; they find each other through its routing table.
#[tokio::test(flavor = "multi_thread")]
async fn peers_of_a_bootnode_find_each_other() {
    let a = Node::usual().await;
    let b = Node::start(joining(&a)).await;
    let c = Node::start(joining(&a)).await;
    let knows =
        |node: &Node, other: PeerId| node.handle.peers().iter().any(|peer| peer.peer == other);
    eventually("B and C are connected", || {
        knows(&b, c.id()) && knows(&c, b.id())
    })
    .await;
}

/// A node that says under which address it is reached serves the routing table without being told
/// to: the others find each other through it.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_an_external_address_serves_discovery() {
    let mut reachable = config();
    reachable.kad_server = false;
    // B and C know the way already; this one only says that there is a way.
    reachable.external = vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()];
    let a = Node::start(reachable).await;
    let b = Node::start(joining(&a)).await;
    let c = Node::start(joining(&a)).await;
    eventually("B and C are connected", || {
        b.handle.peers().iter().any(|peer| peer.peer == c.id())
    })
    .await;
}

/// A bootnode given without its peer id is found as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_bootnode_without_a_peer_id() {
    let mut a = Node::usual().await;
    let mut nameless = config();
    nameless.bootnodes = vec![a.address.clone()];
    let mut b = Node::start(nameless).await;
    assert_eq!(b.ready().await.0, a.id());
    assert_eq!(a.ready().await.0, b.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_fails_the_start() {
    let a = Node::usual().await;
    let mut config = config();
    config.listen = vec![a.address.clone()];
    let error = cairn_network::start(config)
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cannot listen on /ip4/127.0.0.1/tcp/"),
        "{error}"
    );
}

#[cfg(feature = "quic")]
#[tokio::test(flavor = "multi_thread")]
async fn quic_works_like_tcp() {
    let quic = || {
        let mut config = config();
        config.listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()];
        config
    };
    let (mut a, mut b) = (Node::start(quic()).await, Node::start(quic()).await);
    a.connect(&mut b).await;
    assert!(a.handle.peers()[0].address.to_string().contains("/quic-v1"));
}
