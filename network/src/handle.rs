//! The node's hold on the network: a cheap clone that sends commands and reads shared state.
//!
//! Invariant: no call blocks the swarm; calls that may be dropped under load say so and count it.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId, metrics::Registry};
use tokio::sync::{mpsc, oneshot};

use crate::{
    counters::{Dropped, NetCounters},
    error::{PublishError, RequestError},
    event::{GossipToken, Verdict},
    names::{Names, Topic},
    peers::{book::Direction, score::Offence},
    swarm::command::Command,
    wire::{Status, SyncRequest, SyncResponse},
};

/// A connected peer whose status was accepted.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// The peer.
    pub peer: PeerId,
    /// Who dialled.
    pub direction: Direction,
    /// Where it is.
    pub address: Multiaddr,
    /// Its program.
    pub agent: String,
    /// Its last status.
    pub status: Status,
    /// Its score, -100..=100.
    pub score: f64,
    /// When its status was accepted, Unix milliseconds.
    pub since_ms: u64,
    /// Last round trip of ping, if any.
    pub ping_ms: Option<u64>,
}

/// What the swarm publishes for everyone to read.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) peers: RwLock<Vec<PeerInfo>>,
    pub(crate) listen: RwLock<Vec<Multiaddr>>,
}

/// The handle.
#[derive(Clone)]
pub struct NetworkHandle {
    pub(crate) local_peer_id: PeerId,
    pub(crate) names: Names,
    pub(crate) urgent: mpsc::Sender<Command>,
    pub(crate) patient: mpsc::Sender<Command>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<NetCounters>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) streams: libp2p_stream::Control,
}

impl NetworkHandle {
    /// Publishes a gossip message. Blocks wait for room in the queue; transactions are refused
    /// with [`PublishError::Busy`] instead.
    pub async fn publish(&self, topic: Topic, data: Vec<u8>) -> Result<(), PublishError> {
        if data.len() > topic.bytes_max() {
            let (bytes, bytes_max) = (data.len(), topic.bytes_max());
            return Err(PublishError::TooLarge { bytes, bytes_max });
        }
        let (reply, outcome) = oneshot::channel();
        let command = Command::Publish { topic, data, reply };
        match topic {
            Topic::Block => {
                self.urgent
                    .send(command)
                    .await
                    .map_err(|_| PublishError::Stopped)?;
            }
            Topic::Transactions => self.patient.try_send(command).map_err(|error| {
                self.counters.dropped(Dropped::TransactionsOut);
                match error {
                    mpsc::error::TrySendError::Full(_) => PublishError::Busy,
                    mpsc::error::TrySendError::Closed(_) => PublishError::Stopped,
                }
            })?,
        }
        outcome.await.unwrap_or(Err(PublishError::Stopped))
    }

    /// Asks a peer and waits for the answer, at most `deadline`.
    pub async fn request(
        &self,
        peer: PeerId,
        request: SyncRequest,
        deadline: Duration,
    ) -> Result<SyncResponse, RequestError> {
        let (reply, outcome) = oneshot::channel();
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let command = Command::Request {
            peer,
            request,
            deadline_ms,
            reply,
        };
        self.patient
            .try_send(command)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => {
                    self.counters.dropped(Dropped::RequestOut);
                    RequestError::Busy
                }
                mpsc::error::TrySendError::Closed(_) => RequestError::Stopped,
            })?;
        // The swarm keeps the deadline; this one only covers a swarm that is too busy to do so.
        match tokio::time::timeout(deadline + Duration::from_secs(1), outcome).await {
            Ok(outcome) => outcome.unwrap_or(Err(RequestError::Stopped)),
            Err(_) => Err(RequestError::Timeout),
        }
    }

    /// Punishes a peer for what it did. Dropped and counted when the queue is full.
    pub fn report(&self, peer: PeerId, offence: Offence) {
        if self
            .patient
            .try_send(Command::Report { peer, offence })
            .is_err()
        {
            self.counters.dropped(Dropped::Report);
        }
    }

    /// Judges a gossip message. [`Verdict::Reject`] punishes its deliverer by itself. Dropped and
    /// counted when the queue is full: the message is then not forwarded.
    pub fn verdict(&self, token: GossipToken, verdict: Verdict) {
        if self
            .urgent
            .try_send(Command::Verdict { token, verdict })
            .is_err()
        {
            self.counters.dropped(Dropped::Verdict);
        }
    }

    /// Replaces the status that peers are told; ready peers hear of it soon.
    pub async fn set_status(&self, status: Status) {
        // A stopped network needs no status.
        let _ = self.urgent.send(Command::SetStatus(Box::new(status))).await;
    }

    /// Dials an address, with or without `/p2p/<id>`, and keeps it as a pinned peer.
    pub async fn dial(&self, address: Multiaddr) {
        let _ = self.urgent.send(Command::Dial(address)).await;
    }

    /// Says goodbye to a peer and closes its connections.
    pub async fn disconnect(&self, peer: PeerId) {
        let _ = self.urgent.send(Command::Disconnect(peer)).await;
    }

    /// Says goodbye to all peers, saves the address book and stops. Returns when that is done.
    pub async fn shutdown(&self) {
        let (reply, done) = oneshot::channel();
        if self.urgent.send(Command::Shutdown(reply)).await.is_ok() {
            let _ = done.await;
        }
    }

    /// The peers whose status was accepted.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.shared.peers.read().expect("no writer panics").clone()
    }

    /// Who this node is.
    pub fn local_peer_id(&self) -> PeerId {
        self.local_peer_id
    }

    /// Where this node listens, without its peer id.
    pub fn listen_addrs(&self) -> Vec<Multiaddr> {
        self.shared.listen.read().expect("no writer panics").clone()
    }

    /// The names of this chain.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// What was dropped, refused and limited.
    pub fn counters(&self) -> &Arc<NetCounters> {
        &self.counters
    }

    /// libp2p's own metrics.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Opens and accepts long-lived streams. Register what you accept before peers connect, and
    /// let the accept loop only spawn: streams are dropped while it is busy.
    pub fn streams(&self) -> libp2p_stream::Control {
        self.streams.clone()
    }
}
