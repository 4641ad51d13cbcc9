//! What the network tells the node.
//!
//! Invariant: a [`NetworkEvent::PeerReady`] is followed by exactly one
//! [`NetworkEvent::PeerGone`] of the same peer before the next; gossip and requests of a peer come
//! only between the two.

use std::sync::Arc;

use libp2p::{Multiaddr, PeerId, gossipsub, request_response::ResponseChannel};
use tokio::sync::mpsc;

use crate::{
    counters::{Dropped, NetCounters},
    limits::SYNC_RESPONSE_BYTES_MAX,
    names::Topic,
    peers::book::Direction,
    swarm::{
        codec::{Answer, Message},
        command::Command,
    },
    wire::{Status, SyncRequest, SyncResponse},
};

/// One event. The receiver must keep up: what is over the queue's bound is dropped and counted.
#[derive(Debug)]
pub enum NetworkEvent {
    /// The swarm listens on this address.
    Listening(Multiaddr),
    /// A peer's status was accepted.
    PeerReady {
        /// The peer.
        peer: PeerId,
        /// What it said.
        status: Box<Status>,
        /// Who dialled.
        direction: Direction,
        /// Its program; empty if identify has not finished yet.
        agent: String,
    },
    /// A ready peer repeated its status.
    PeerStatus {
        /// The peer.
        peer: PeerId,
        /// What it says now.
        status: Box<Status>,
    },
    /// A ready peer left.
    PeerGone {
        /// The peer.
        peer: PeerId,
        /// Why, as far as known.
        reason: String,
    },
    /// A peer was refused at the handshake, by us or by it.
    PeerRefused {
        /// The peer.
        peer: PeerId,
        /// Why, in words for the operator.
        reason: String,
    },
    /// A gossip message. It is forwarded only after the verdict Accept.
    Gossip {
        /// Its topic.
        topic: Topic,
        /// Who delivered it: the only one to punish for it.
        from: PeerId,
        /// The payload, within the topic's cap.
        data: Vec<u8>,
        /// Names the message in [`crate::NetworkHandle::verdict`].
        token: GossipToken,
    },
    /// A peer asks for something.
    Request {
        /// The peer.
        peer: PeerId,
        /// The request, canonical and within its bounds.
        request: SyncRequest,
        /// Takes the answer. Dropping it resets the stream.
        responder: Responder,
    },
}

/// Names one gossip message until its verdict.
#[derive(Debug)]
pub struct GossipToken {
    pub(crate) id: gossipsub::MessageId,
    pub(crate) from: PeerId,
    pub(crate) topic: Topic,
}

/// What becomes of a gossip message. Reject only what the sender could have checked itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Forward it.
    Accept,
    /// Do not forward it, blame nobody.
    Ignore,
    /// Do not forward it and punish whoever delivered it.
    Reject,
}

/// Takes the answer to one request.
#[derive(Debug)]
pub struct Responder {
    pub(crate) channel: ResponseChannel<Answer<SyncResponse>>,
    pub(crate) peer: PeerId,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) counters: Arc<NetCounters>,
}

impl Responder {
    /// Encodes and sends the answer. `false`: nobody waits for it any more, or the queue is full,
    /// or it is larger than any peer would read.
    pub fn respond(self, answer: SyncResponse) -> bool {
        if !self.channel.is_open() {
            return false;
        }
        let payload = answer.to_payload();
        if payload.len() > SYNC_RESPONSE_BYTES_MAX {
            self.counters.dropped(Dropped::Response);
            return false;
        }
        let command = Command::Respond {
            peer: self.peer,
            channel: self.channel,
            payload,
        };
        let sent = self.commands.try_send(command).is_ok();
        if !sent {
            self.counters.dropped(Dropped::Response);
        }
        sent
    }

    /// Whether the peer still waits.
    pub fn is_open(&self) -> bool {
        self.channel.is_open()
    }
}
