//! A flood of half-open and endlessly slow handshakes on a node's p2p port: honest peers connect all
//! the same.
//!
//! The node is one of the public test network, so that its limits per address and subnet count; the
//! flood comes from loopback addresses of other subnets than the honest peers'.

use crate::node::Node;
use crate::wait::until;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

/// Sockets that the flood keeps open, or opens again when they are closed.
const SOCKETS: u8 = 200;
/// Between two bytes of a slow handshake.
const DRIP: Duration = Duration::from_millis(500);
/// Before an attacker comes back.
const PAUSE: Duration = Duration::from_millis(200);
/// What an honest peer may wait beside the flood, more than it waits without one.
const DELAY_MAX: Duration = Duration::from_secs(1);
const PEERS_MAX: Duration = Duration::from_secs(60);
/// Connections refused for their address or subnet before the honest peers come.
const REFUSED_MIN: f64 = 300.0;

/// One attacker: connects, says nothing or one byte at a time, and comes back when it is cut off.
async fn attack(from: Ipv4Addr, to: SocketAddr, talks: bool, opened: Arc<AtomicU64>) {
    let greeting = b"\x13/multistream/1.0.0\n";
    loop {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((from, 0).into()).expect("loopback is ours");
        tokio::time::sleep(PAUSE).await;
        let Ok(mut stream) = socket.connect(to).await else {
            continue;
        };
        opened.fetch_add(1, Ordering::Relaxed);
        for byte in greeting.iter().cycle() {
            if talks && stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            let mut answer = [0; 256];
            let read = tokio::time::timeout(DRIP, stream.read(&mut answer)).await;
            if let Ok(Ok(0) | Err(_)) = read {
                break;
            }
        }
    }
}

/// Starts an honest peer of `victim` and tells how long it took from its answer to its first peer.
fn honest(folder: &Path, name: &str, victim: &str) -> (Node, Duration) {
    let node = Node::start(&folder.join(name), "testnet", &["--bootnode", victim]);
    let started = Instant::now();
    until("an honest peer is connected", PEERS_MAX, || {
        (node.api.status("peers")?.as_u64()? > 0).then_some(())
    });
    (node, started.elapsed())
}

#[test]
fn honest_peers_connect_beside_a_flood_of_half_open_handshakes() {
    let folder = tempfile::tempdir().expect("a folder");
    // A bootnode by name makes it a node of the public network: no address is exempt from limits.
    let nobody = ["--bootnode", "/dns4/localhost/tcp/1"];
    let victim = Node::start(&folder.path().join("victim"), "testnet", &nobody);
    let (calm, without) = honest(folder.path(), "calm", &victim.p2p);
    assert!(calm.stop().success());

    let port: u16 = victim
        .p2p
        .split('/')
        .nth(4)
        .expect("a port")
        .parse()
        .expect("a port");
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let opened = Arc::new(AtomicU64::new(0));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    for number in 0..SOCKETS {
        // Four subnets with some addresses each.
        let from = Ipv4Addr::new(127, 66, number % 4, 1 + number / 4 % 8);
        runtime.spawn(attack(from, to, number % 2 == 0, Arc::clone(&opened)));
    }
    let refused = |cause: &str| {
        let name = format!("cairn_net_refused_total{{reason=\"{cause}\"}}");
        victim
            .api
            .metric(&name)
            .expect("the counter is there from the start")
    };
    until("the flood is refused", PEERS_MAX, || {
        (refused("ip") + refused("subnet") > REFUSED_MIN).then_some(())
    });
    let mut nodes = Vec::new();
    for name in ["first", "second", "third"] {
        let (node, beside) = honest(folder.path(), name, &victim.p2p);
        println!("{name} connects within {beside:?}, without a flood {without:?}");
        assert!(
            beside <= without * 2 + DELAY_MAX,
            "{name} waited {beside:?} beside the flood, {without:?} without"
        );
        nodes.push(node);
    }
    println!(
        "{} connections of the flood: {} refused by address, {} by subnet, {} timed out, {} failed",
        opened.load(Ordering::Relaxed),
        refused("ip"),
        refused("subnet"),
        refused("transport_timeout"),
        refused("transport_handshake"),
    );
    until("half-open handshakes run out of time", PEERS_MAX, || {
        (refused("transport_timeout") + refused("transport_handshake") > 0.0).then_some(())
    });
    drop(runtime);
}
