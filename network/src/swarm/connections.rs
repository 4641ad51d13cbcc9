//! Connections come and go, and ready peers take the slots there are.
//!
//! Invariant: a peer is announced once, when its status fits and it has a slot; a refused or failed
//! connection is counted under its cause. Source: `spec/07-p2p.md#limits`.

use std::collections::BTreeMap;

use libp2p::{
    Multiaddr, PeerId, connection_limits,
    core::ConnectedPoint,
    memory_connection_limits::MemoryUsageLimitExceeded,
    swarm::{ConnectionDenied, ConnectionId, DialError, ListenError},
};

use super::{
    parting::Parting,
    peer::{Link, Peer, Stage},
    task::Task,
};
use crate::{
    counters::Refused,
    event::NetworkEvent,
    peers::{
        book::{Direction, split_peer},
        groups::{Subnet, ip_of, is_global},
    },
    wire::Status,
};

impl Task {
    pub(super) fn on_connected(
        &mut self,
        id: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
    ) {
        let now_ms = self.clock.now_ms();
        let direction = if endpoint.is_dialer() {
            Direction::Outbound
        } else {
            Direction::Inbound
        };
        let address = split_peer(endpoint.get_remote_address().clone()).0;
        if direction == Direction::Outbound {
            self.dialing.remove(&id);
            self.nameless_answered(id, &address);
            self.book.heard(id, address.clone());
            self.book.worked(&id, address.clone());
        }
        let quotas = &self.limits.quotas;
        let peer = self
            .peers
            .entry(id)
            .or_insert_with(|| Peer::new(now_ms, direction, quotas));
        peer.links.insert(connection, Link { address });
        let is_first_dial = direction == Direction::Outbound
            && peer.stage == Stage::Handshake
            && peer.status_sent_ms == 0;
        if is_first_dial {
            self.send_status(id);
        }
    }

    pub(super) fn on_disconnected(
        &mut self,
        id: PeerId,
        connection: ConnectionId,
        cause: Option<String>,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.links.remove(&connection);
        if !peer.links.is_empty() {
            return;
        }
        let peer = self.peers.remove(&id).expect("it was there a moment ago");
        self.publish_peers();
        let now_ms = self.clock.now_ms();
        match peer.stage {
            Stage::Ready => {
                let reason = cause.unwrap_or_else(|| "connection closed".into());
                tracing::debug!(peer = %id, %reason, "peer left");
                self.book.hold(&id, now_ms + self.redial_delay_ms(0));
                self.tell(NetworkEvent::PeerGone { peer: id, reason });
            }
            Stage::Handshake if peer.direction == Direction::Outbound => {
                let reason = cause.unwrap_or_else(|| "closed before the handshake".into());
                tracing::debug!(peer = %id, %reason, "peer did not finish the handshake");
                self.dial_failed(id);
            }
            Stage::Handshake | Stage::Leaving { .. } => {}
        }
    }

    /// The peer's status fits: it takes a slot, or is sent away.
    pub(super) fn welcome(&mut self, id: PeerId, theirs: Status) {
        let now_ms = self.clock.now_ms();
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.stage = Stage::Ready;
        peer.ready_ms = now_ms;
        let (direction, agent, address) = (peer.direction, peer.agent.clone(), peer.address());
        let early_messages = std::mem::take(&mut peer.early_messages);
        let early_requests = std::mem::take(&mut peer.early_requests);
        if let Some(victim) = self.surplus(now_ms, direction) {
            if victim == id
                && let Some(peer) = self.peers.get_mut(&id)
            {
                // It was never announced, so it leaves unannounced.
                peer.stage = Stage::Handshake;
            }
            self.part(victim, Parting::full(self.limits.hold_ms));
            if victim == id {
                return;
            }
        }
        tracing::debug!(peer = %id, %address, ?direction, %agent, "peer is ready");
        self.book.connected(now_ms, id, direction);
        self.learn_listen_addresses(id);
        let status = Box::new(theirs);
        self.publish_peers();
        self.tell(NetworkEvent::PeerReady {
            peer: id,
            status,
            direction,
            agent,
        });
        for early in early_messages {
            self.deliver_gossip(early.token, early.data);
        }
        for early in early_requests {
            self.serve(id, early.request, early.channel);
        }
    }

    /// The ready peer that must leave because its direction has too many: the worst score inside
    /// the largest subnet; among equals the one that came last.
    fn surplus(&self, now_ms: u64, direction: Direction) -> Option<PeerId> {
        let ready: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.is_ready() && peer.direction == direction)
            .collect();
        let peers_max = match direction {
            Direction::Inbound => self.limits.inbound_peers_max,
            Direction::Outbound => self.limits.outbound_peers_max,
        };
        if ready.len() <= peers_max as usize {
            return None;
        }
        let subnet = |peer: &Peer| {
            let ip = ip_of(&peer.address())?;
            (!self.private_addresses || is_global(ip)).then(|| Subnet::of(ip))
        };
        let mut sizes = BTreeMap::<Option<Subnet>, usize>::new();
        for (_, peer) in &ready {
            *sizes.entry(subnet(peer)).or_default() += 1;
        }
        let largest = sizes
            .iter()
            .max_by_key(|(_, size)| **size)
            .map(|(subnet, _)| *subnet)?;
        ready
            .into_iter()
            .filter(|(_, peer)| subnet(peer) == largest)
            .min_by(|(a, left), (b, right)| {
                let scores = (self.scores.score(now_ms, a), self.scores.score(now_ms, b));
                scores
                    .0
                    .total_cmp(&scores.1)
                    .then(right.ready_ms.cmp(&left.ready_ms))
                    // In one millisecond the numbers of the connections tell who came first.
                    .then(right.links.keys().next().cmp(&left.links.keys().next()))
            })
            .map(|(id, _)| *id)
    }

    /// Counts a refused or failed inbound connection under its cause.
    pub(super) fn on_incoming_error(&mut self, error: &ListenError, from: &Multiaddr) {
        tracing::debug!(%from, %error, "inbound connection failed");
        match error {
            ListenError::Denied { cause } => self.count_denied(cause),
            ListenError::Transport(error) if is_timeout(error) => {
                self.counters.refused(Refused::TransportTimeout);
            }
            _ => self.counters.refused(Refused::TransportHandshake),
        }
    }

    pub(super) fn on_dial_error(&mut self, id: Option<PeerId>, error: &DialError) {
        tracing::debug!(peer = ?id, %error, "dial failed");
        if let DialError::Denied { cause } = error {
            self.count_denied(cause);
        }
        match id {
            Some(id) => {
                self.dialing.remove(&id);
                if !matches!(error, DialError::DialPeerConditionFalse(_)) {
                    self.dial_failed(id);
                }
            }
            None => tracing::debug!("an address without a peer id does not answer"),
        }
    }

    /// The gate counts for itself; the totals and the memory limit are counted here.
    fn count_denied(&self, cause: &ConnectionDenied) {
        if cause.downcast_ref::<MemoryUsageLimitExceeded>().is_some() {
            self.counters.refused(Refused::Memory);
        } else if let Some(exceeded) = cause.downcast_ref::<connection_limits::Exceeded>() {
            // The kind is private; its words are not.
            let words = exceeded.to_string();
            let causes = [
                ("pending incoming", Refused::PendingInbound),
                ("pending outgoing", Refused::PendingOutbound),
                ("established incoming", Refused::EstablishedInbound),
                ("established outgoing", Refused::EstablishedOutbound),
                ("per peer", Refused::PerPeer),
            ];
            if let Some((_, cause)) = causes.iter().find(|(part, _)| words.contains(part)) {
                self.counters.refused(*cause);
            }
        }
    }
}

/// Whether a transport error is the handshake's time-out; only its words survive the boxing.
fn is_timeout(error: &libp2p::TransportError<std::io::Error>) -> bool {
    matches!(error, libp2p::TransportError::Other(error)
        if error.kind() == std::io::ErrorKind::TimedOut || error.to_string().contains("Timeout"))
}
