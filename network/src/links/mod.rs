//! Links: long-lived streams between validators, one in each direction for each pair.
//!
//! ```text
//!   send ─▶ queue of each peer ─▶ outbound task ─▶ stream ─▶ inbound task ─▶ one queue ─▶ node
//! ```
//! The first frame of a stream is its greeting: who opens it proves to be a validator, or the
//! stream is closed. What a frame says is the node's affair.
//!
//! Invariant: a slow peer costs its own frames only, which are dropped and counted; a peer has one
//! inbound link, a newer one takes the place of the older. A link that broke is opened again while
//! the peer is there. Source: `spec/07-p2p.md#links`.

mod inbound;
mod outbound;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use libp2p::{PeerId, StreamProtocol};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    counters::{Dropped, NetCounters},
    error::NetworkError,
    handle::NetworkHandle,
    limits::{LINK_EVENTS_MAX, LINK_QUEUE_MAX},
};

/// Name of the protocol between validators.
pub const BFT: &str = "bft";

/// What both ends of a new link say and check.
pub trait Greeting: Send + Sync + 'static {
    /// The first frame towards `peer`; at most [`crate::limits::GREETING_BYTES_MAX`] bytes.
    fn hello(&self, peer: PeerId) -> Vec<u8>;
    /// Whether the first frame of `peer` lets it in.
    fn admits(&self, peer: PeerId, hello: &[u8]) -> bool;
}

/// What the links tell the node.
#[derive(Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// Frames to this peer arrive from now on.
    Open(PeerId),
    /// A frame.
    Frame {
        /// Who sent it: the only one to punish for it.
        from: PeerId,
        /// Its bytes.
        payload: Vec<u8>,
    },
}

struct Outbound {
    frames: mpsc::Sender<Arc<[u8]>>,
    task: JoinHandle<()>,
}

/// The node's hold on its links. Dropping it closes them.
pub struct Links {
    network: NetworkHandle,
    protocol: StreamProtocol,
    greeting: Arc<dyn Greeting>,
    events: mpsc::Sender<LinkEvent>,
    counters: Arc<NetCounters>,
    outbound: Mutex<BTreeMap<PeerId, Outbound>>,
    inbound: JoinHandle<()>,
}

impl Links {
    /// Begins to accept links of the protocol `name`.
    ///
    /// Errors: links of that name are accepted already.
    pub fn start(
        network: &NetworkHandle,
        name: &str,
        greeting: Arc<dyn Greeting>,
    ) -> Result<(Links, mpsc::Receiver<LinkEvent>), NetworkError> {
        let protocol = StreamProtocol::try_from_owned(network.names().of(name))
            .expect("names of protocols begin with a slash");
        let streams = network
            .streams()
            .accept(protocol.clone())
            .map_err(|_| NetworkError::LinksTaken(protocol.to_string()))?;
        let (events, receiver) = mpsc::channel(LINK_EVENTS_MAX);
        let inbound = inbound::Acceptor {
            greeting: Arc::clone(&greeting),
            events: events.clone(),
            network: network.clone(),
        };
        let links = Links {
            network: network.clone(),
            protocol,
            greeting,
            events,
            counters: Arc::clone(network.counters()),
            outbound: Mutex::default(),
            inbound: tokio::spawn(inbound.run(streams)),
        };
        Ok((links, receiver))
    }

    /// Opens a link to a ready peer and keeps it open until [`Links::close`].
    pub fn open(&self, peer: PeerId) {
        let mut outbound = self.outbound.lock().expect("no holder panics");
        if outbound.contains_key(&peer) {
            return;
        }
        let (frames, queue) = mpsc::channel(LINK_QUEUE_MAX);
        let link = outbound::Link {
            peer,
            protocol: self.protocol.clone(),
            control: self.network.streams(),
            greeting: Arc::clone(&self.greeting),
            events: self.events.clone(),
        };
        let task = tokio::spawn(link.run(queue));
        outbound.insert(peer, Outbound { frames, task });
    }

    /// Gives the link to a peer up: it left.
    pub fn close(&self, peer: &PeerId) {
        let gone = self.outbound.lock().expect("no holder panics").remove(peer);
        if let Some(gone) = gone {
            gone.task.abort();
        }
    }

    /// Sends a frame to one peer. `false`: there is no link, or its queue is full (counted).
    pub fn send(&self, peer: &PeerId, frame: &Arc<[u8]>) -> bool {
        let outbound = self.outbound.lock().expect("no holder panics");
        let Some(link) = outbound.get(peer) else {
            return false;
        };
        let sent = link.frames.try_send(Arc::clone(frame)).is_ok();
        if !sent {
            self.counters.dropped(Dropped::LinkOut);
        }
        sent
    }

    /// Sends a frame to everyone.
    pub fn send_to_all(&self, frame: &Arc<[u8]>) {
        let outbound = self.outbound.lock().expect("no holder panics");
        for link in outbound.values() {
            if link.frames.try_send(Arc::clone(frame)).is_err() {
                self.counters.dropped(Dropped::LinkOut);
            }
        }
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.inbound.abort();
        let outbound = self.outbound.get_mut().expect("no holder panics");
        for link in outbound.values() {
            link.task.abort();
        }
    }
}

/// How long the other end may take for its greeting.
const GREETING: Duration = Duration::from_secs(5);
