//! One connected peer, as the swarm task sees it.
//!
//! Invariant: a peer is in exactly one stage; only a ready peer is known to the node.

use std::collections::BTreeMap;

use libp2p::{Multiaddr, PeerId, request_response::ResponseChannel, swarm::ConnectionId};

use crate::{
    event::GossipToken,
    limits::Quotas,
    peers::book::Direction,
    quota::Gcra,
    swarm::codec::Answer,
    wire::{Status, SyncRequest, SyncResponse},
};

/// How far a peer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Connected; its status is awaited.
    Handshake,
    /// Its status was accepted.
    Ready,
    /// A goodbye is under way; closed at the latest at this time.
    Leaving {
        /// When the connection is closed without waiting any longer.
        until_ms: u64,
    },
}

/// One connection of a peer.
#[derive(Clone, Debug)]
pub struct Link {
    pub address: Multiaddr,
}

/// Buckets of one direction: what the peer may ask of us, or we of it.
#[derive(Debug)]
pub struct Buckets {
    pub status: Gcra,
    pub goodbye: Gcra,
    pub headers: Gcra,
    pub bodies: Gcra,
    pub transactions: Gcra,
    pub answer_kib: Gcra,
}

impl Buckets {
    pub fn new(quotas: &Quotas) -> Self {
        Self {
            status: Gcra::new(quotas.status),
            goodbye: Gcra::new(quotas.goodbye),
            headers: Gcra::new(quotas.headers),
            bodies: Gcra::new(quotas.bodies),
            transactions: Gcra::new(quotas.transactions),
            answer_kib: Gcra::new(quotas.answer_kib),
        }
    }
}

/// A gossip message that came before the status.
#[derive(Debug)]
pub struct EarlyMessage {
    pub token: GossipToken,
    pub data: Vec<u8>,
}

/// A request that came before the status.
#[derive(Debug)]
pub struct EarlyRequest {
    pub request: SyncRequest,
    pub channel: ResponseChannel<Answer<SyncResponse>>,
}

/// The peer.
#[derive(Debug)]
pub struct Peer {
    pub stage: Stage,
    pub links: BTreeMap<ConnectionId, Link>,
    /// Who opened the first connection.
    pub direction: Direction,
    pub connected_ms: u64,
    pub ready_ms: u64,
    pub agent: String,
    pub listen: Vec<Multiaddr>,
    pub speaks_kad: bool,
    pub status: Option<Status>,
    pub ping_ms: Option<u64>,
    /// What the peer may ask.
    pub inbound: Buckets,
    /// What we may ask, so that we never trip the peer's own limits.
    pub outbound: Buckets,
    pub status_sent_ms: u64,
    pub is_status_due: bool,
    /// Our status request failed because the peer does not speak our protocol.
    pub is_foreign: bool,
    /// Requests of the peer that are being answered.
    pub served: u32,
    /// Our requests that are not answered yet.
    pub asked: u32,
    pub early_messages: Vec<EarlyMessage>,
    pub early_requests: Vec<EarlyRequest>,
}

impl Peer {
    pub fn new(now_ms: u64, direction: Direction, quotas: &Quotas) -> Self {
        Self {
            stage: Stage::Handshake,
            links: BTreeMap::new(),
            direction,
            connected_ms: now_ms,
            ready_ms: 0,
            agent: String::new(),
            listen: Vec::new(),
            speaks_kad: false,
            status: None,
            ping_ms: None,
            inbound: Buckets::new(quotas),
            outbound: Buckets::new(quotas),
            status_sent_ms: 0,
            is_status_due: false,
            is_foreign: false,
            served: 0,
            asked: 0,
            early_messages: Vec::new(),
            early_requests: Vec::new(),
        }
    }

    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    pub fn address(&self) -> Multiaddr {
        self.links
            .values()
            .next()
            .map_or_else(Multiaddr::empty, |link| link.address.clone())
    }
}

/// All connected peers.
pub type Peers = BTreeMap<PeerId, Peer>;
