//! Floods from raw sockets: each limit is reached, and the counter that moves names it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use crate::common::{Node, config, eventually, status, stranger::Stranger};
use cairn_network::{Keypair, NetworkConfig, counters::Refused};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

/// A node whose limits count loopback like any other address.
async fn strict(change: impl FnOnce(&mut NetworkConfig)) -> Node {
    let mut config = config();
    config.private_addresses = false;
    config.limits.inbound_per_ip_max = 1_000;
    config.limits.inbound_per_subnet_max = 1_000;
    change(&mut config);
    Node::start(config).await
}

/// Opens a socket from `from` that never says anything.
async fn silent(node: &Node, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind(SocketAddr::from((Ipv4Addr::from(from), 0)))
        .unwrap();
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, node.port()));
    socket.connect(to).await.unwrap()
}

async fn flood(node: &Node, sources: &[[u8; 4]]) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for from in sources {
        sockets.push(silent(node, *from).await);
    }
    sockets
}

/// Waits until `cause` was counted `count` times, and checks that nothing else moved.
async fn only(node: &Node, cause: Refused, count: u64) {
    let counters = node.handle.counters();
    eventually(cause.label(), || counters.refused_count(cause) >= count).await;
    for other in Refused::ALL {
        let expected = if *other == cause { count } else { 0 };
        assert_eq!(
            counters.refused_count(*other),
            expected,
            "{}",
            other.label()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_one_address() {
    let node = strict(|config| config.limits.inbound_per_ip_max = 3).await;
    let _sockets = flood(&node, &[[127, 0, 0, 1]; 10]).await;
    only(&node, Refused::Ip, 7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_one_subnet() {
    let node = strict(|config| config.limits.inbound_per_subnet_max = 3).await;
    let sources: Vec<_> = (1..=10).map(|host| [127, 0, 5, host]).collect();
    let _sockets = flood(&node, &sources).await;
    only(&node, Refused::Subnet, 7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_in_their_handshake() {
    let node = strict(|config| config.limits.pending_inbound_max = 3).await;
    let sources: Vec<_> = (1..=10).map(|host| [127, 0, host, 1]).collect();
    let _sockets = flood(&node, &sources).await;
    only(&node, Refused::PendingInbound, 7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_connection_makes_room() {
    let mut node = strict(|config| config.limits.inbound_per_ip_max = 3).await;
    let sockets = flood(&node, &[[127, 0, 0, 1]; 3]).await;
    drop(sockets);
    let counters = node.handle.counters().clone();
    eventually("the sockets are forgotten", || {
        counters.refused_count(Refused::TransportHandshake) == 3
    })
    .await;
    let mut stranger = Stranger::new(Keypair::generate_ed25519(), &status(7, 0));
    assert!(stranger.dial(&node.address).await);
    assert!(stranger.greet(node.id(), &status(7, 0)).await.is_some());
    node.ready().await;
    assert_eq!(counters.refused_count(Refused::Ip), 0);
}

/// One byte now and then does not extend the handshake's time.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_loris_is_cut_off() {
    let mut node = strict(|config| config.limits.transport_handshake_ms = 1_000).await;
    let mut loris = silent(&node, [127, 0, 0, 1]).await;
    let hello = b"\x13/multistream/1.0.0\n";
    let mut answer = [0; 64];
    let mut cut_off = false;
    for byte in hello.iter().cycle() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let written = loris.write_all(&[*byte]).await;
        let mut heard = false;
        // Our own greeting may come first; the end of the stream comes last.
        while let Ok(Ok(read)) =
            tokio::time::timeout(Duration::from_millis(1), loris.read(&mut answer)).await
        {
            heard = read == 0;
            if heard {
                break;
            }
        }
        if heard || written.is_err() {
            cut_off = true;
            break;
        }
    }
    assert!(cut_off);
    let counters = node.handle.counters();
    eventually("the time-out is counted", || {
        counters.refused_count(Refused::TransportTimeout)
            + counters.refused_count(Refused::TransportHandshake)
            == 1
    })
    .await;
    // Others are not held up.
    let mut stranger = Stranger::new(Keypair::generate_ed25519(), &status(7, 0));
    assert!(stranger.dial(&node.address).await);
    assert!(stranger.greet(node.id(), &status(7, 0)).await.is_some());
    node.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_a_timeout_and_garbage_a_failed_handshake() {
    let node = strict(|config| config.limits.transport_handshake_ms = 500).await;
    let _silent = silent(&node, [127, 0, 0, 1]).await;
    only(&node, Refused::TransportTimeout, 1).await;

    let node = strict(|_| ()).await;
    let mut garbage = silent(&node, [127, 0, 0, 1]).await;
    garbage.write_all(&[0xa5; 4_096]).await.unwrap();
    only(&node, Refused::TransportHandshake, 1).await;
}

async fn strangers(node: &Node, count: usize) -> Vec<Stranger> {
    let mut all = Vec::new();
    for _ in 0..count {
        let stranger = Stranger::new(Keypair::generate_ed25519(), &status(7, 0));
        stranger.dial(&node.address).await;
        all.push(stranger);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn established_connections() {
    let node = strict(|config| {
        config.limits.inbound_peers_max = 2;
        config.limits.inbound_transient_max = 1;
        config.limits.status_timeout_ms = 60_000;
    })
    .await;
    let _strangers = strangers(&node, 8).await;
    only(&node, Refused::EstablishedInbound, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_stay() {
    let mut node = strict(|config| {
        config.limits.inbound_peers_max = 1;
        config.limits.inbound_transient_max = 4;
    })
    .await;
    let (id, address) = (node.id(), node.address.clone());
    let mut strangers = strangers(&node, 2).await;
    assert!(strangers[0].greet(id, &status(7, 0)).await.is_some());
    node.ready().await;
    assert!(strangers[1].greet(id, &status(7, 0)).await.is_some());
    assert_eq!(node.parted().await, "all slots are taken");
    only(&node, Refused::TooManyPeers, 1).await;
    strangers[1].closed.recv().await.unwrap();
    assert_eq!(
        node.handle.peers()[0].peer,
        strangers[0].id,
        "who came first stays"
    );

    // Sent away means: not again for a while.
    strangers[1].dial(&address).await;
    let counters = node.handle.counters();
    eventually("held", || counters.refused_count(Refused::Held) == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_one_peer() {
    let node = strict(|config| {
        config.limits.connections_per_peer_max = 2;
        config.limits.status_timeout_ms = 60_000;
    })
    .await;
    let stranger = Stranger::new(Keypair::generate_ed25519(), &status(7, 0));
    for _ in 0..5 {
        stranger.dial(&node.address).await;
    }
    only(&node, Refused::PerPeer, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_of_the_process() {
    let node = strict(|config| config.limits.process_memory_bytes_max = 1).await;
    let _sockets = flood(&node, &[[127, 0, 0, 1]; 3]).await;
    only(&node, Refused::Memory, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dials_at_once() {
    let mut config = config();
    config.limits.pending_outbound_max = 2;
    config.limits.redial_ms_min = 3_600_000;
    config.limits.redial_ms_max = 3_600_000;
    config.limits.transport_handshake_ms = 3_600_000;
    let node = Node::start(config).await;
    // A listener that accepts and never speaks keeps every dial pending.
    let hole = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    let port = hole.local_addr().unwrap().port();
    for host in 1..=5 {
        node.handle
            .dial(format!("/ip4/127.0.{host}.1/tcp/{port}").parse().unwrap())
            .await;
    }
    let counters = node.handle.counters();
    eventually("pending dials", || {
        counters.refused_count(Refused::PendingOutbound) == 3
    })
    .await;
}

/// On a public chain nothing leads to a dial into a private network, not even a name.
#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_are_not_dialled_on_a_public_chain() {
    let hole = async || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (refused, allowed) = (hole().await, hole().await);
    let (node, friend) = (strict(|_| ()).await, Node::usual().await);
    let port = refused.local_addr().unwrap().port();
    for host in ["/ip4/127.0.0.1", "/ip6/::1", "/dns4/localhost"] {
        node.handle
            .dial(format!("{host}/tcp/{port}").parse().unwrap())
            .await;
    }
    let port = allowed.local_addr().unwrap().port();
    friend
        .handle
        .dial(format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap())
        .await;
    // By the time that the friend has arrived, the node would have too.
    allowed.accept().await.unwrap();
    let arrival = tokio::time::timeout(Duration::from_millis(200), refused.accept()).await;
    assert!(arrival.is_err(), "{arrival:?}");
}
