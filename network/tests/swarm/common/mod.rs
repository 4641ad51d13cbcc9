//! Real nodes on loopback for the tests: a started swarm, its events, and ways to wait for them.
//!
//! Waits are bounded only so that a broken test ends; no test depends on how long something takes.

pub mod stranger;

use std::time::Duration;

use cairn_network::{
    Direction, Keypair, Multiaddr, NetworkConfig, NetworkEvent, NetworkHandle, PeerId, start,
};
use cairn_protocol::{
    hash::{BlockId, Hash},
    wire::{STATUS_VERSION, Status},
};
use tokio::sync::mpsc;

/// Nothing takes this long unless it never happens.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A status on the chain `chain`, at height `best`.
pub fn status(chain: u8, best: u64) -> Status {
    Status {
        version: STATUS_VERSION,
        genesis: BlockId([chain; 32]),
        spec_hash: Hash([chain; 32]),
        schedule_hash: Hash([0; 32]),
        next_announce: 0,
        ruleset_id: Hash([0; 32]),
        finalized_height: 0,
        finalized_id: BlockId([chain; 32]),
        best_height: best,
        best_id: BlockId([best as u8; 32]),
        total_work: [0; 32],
        lowest_height: 0,
        services: 1,
        listen_port: 0,
    }
}

/// A node that listens on a free loopback port.
pub struct Node {
    pub handle: NetworkHandle,
    pub events: mpsc::Receiver<NetworkEvent>,
    pub address: Multiaddr,
}

/// The configuration of a test node on chain 7.
pub fn config() -> NetworkConfig {
    let mut config = NetworkConfig::new(Keypair::generate_ed25519(), status(7, 0));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.private_addresses = true;
    config.kad_server = true;
    config.limits.redial_ms_min = 50;
    config
}

impl Node {
    /// Starts a node and waits until it listens.
    pub async fn start(config: NetworkConfig) -> Node {
        let (handle, mut events) = start(config).unwrap();
        let address = loop {
            match next(&mut events).await {
                NetworkEvent::Listening(address) => break address,
                other => drop(other),
            }
        };
        Node {
            handle,
            events,
            address,
        }
    }

    /// A node with the usual configuration.
    pub async fn usual() -> Node {
        Node::start(config()).await
    }

    pub fn id(&self) -> PeerId {
        self.handle.local_peer_id()
    }

    /// Its address with its id.
    pub fn full_address(&self) -> Multiaddr {
        format!("{}/p2p/{}", self.address, self.id())
            .parse()
            .unwrap()
    }

    /// The port of its TCP listener.
    pub fn port(&self) -> u16 {
        let text = self.address.to_string();
        text.rsplit('/').next().unwrap().parse().unwrap()
    }

    /// Dials `other` and waits until both are ready.
    pub async fn connect(&mut self, other: &mut Node) {
        self.handle.dial(other.full_address()).await;
        self.ready().await;
        other.ready().await;
    }

    /// Waits until some peer is ready.
    pub async fn ready(&mut self) -> (PeerId, Status, Direction) {
        self.until(|event| match event {
            NetworkEvent::PeerReady {
                peer,
                status,
                direction,
                ..
            } => Some((peer, *status, direction)),
            _ => None,
        })
        .await
    }

    /// Waits for the first event that `pick` takes; others are dropped.
    pub async fn until<T>(&mut self, mut pick: impl FnMut(NetworkEvent) -> Option<T>) -> T {
        loop {
            if let Some(found) = pick(next(&mut self.events).await) {
                return found;
            }
        }
    }

    /// Waits for a peer to leave or to be refused, and says why.
    pub async fn parted(&mut self) -> String {
        self.until(|event| match event {
            NetworkEvent::PeerGone { reason, .. } | NetworkEvent::PeerRefused { reason, .. } => {
                Some(reason)
            }
            _ => None,
        })
        .await
    }
}

/// The next event.
pub async fn next(events: &mut mpsc::Receiver<NetworkEvent>) -> NetworkEvent {
    let event = tokio::time::timeout(PATIENCE, events.recv()).await;
    event
        .expect("the event never came")
        .expect("the swarm stopped")
}

/// Waits until `check` holds.
pub async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !check() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
