//! Connections come and go: the status handshake, goodbyes, sanctions and slots.
//!
//! Invariant: between two peers nothing but status, goodbye, identify and ping happens before both
//! statuses fit; whoever ends a connection says why. Source: `spec/07-p2p.md#status`.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{
    Multiaddr, PeerId, connection_limits,
    core::ConnectedPoint,
    memory_connection_limits::MemoryUsageLimitExceeded,
    request_response::{Event, Message, OutboundFailure, ResponseChannel},
    swarm::{ConnectionDenied, ConnectionId, DialError, ListenError},
};

use super::{
    codec::{Answer, Incoming, Nothing},
    handshake::{self, Mismatch},
    peer::{Link, Peer, Stage},
    task::Task,
};
use crate::{
    counters::{BadInput, Limited, Refused},
    event::NetworkEvent,
    frame::FrameError,
    peers::{
        book::{Direction, split_peer},
        groups::{Host, Subnet, ip_of, is_global},
        score::{Offence, Sanction},
    },
    wire::{Goodbye, GoodbyeReason, Status},
};

/// A goodbye that is not acknowledged by then is given up.
const LEAVING_MS: u64 = 2_000;
/// A peer of another chain is not dialled again for this long.
const FOREIGN_HOLD_MS: u64 = 3_600_000;
/// Peers that may not come back are remembered up to this number.
const HELD_MAX: usize = 1_000;

/// Why and how this node ends a connection.
#[derive(Debug)]
pub(super) struct Parting {
    code: GoodbyeReason,
    reason: String,
    cause: Option<Refused>,
    /// The peer may not come back, and is not dialled, for this long.
    hold_ms: u64,
}

impl Parting {
    /// The operator wants it.
    pub fn ordered() -> Self {
        Self {
            code: GoodbyeReason::Fault,
            reason: "disconnected by this node".into(),
            cause: None,
            hold_ms: 0,
        }
    }

    /// This node stops.
    pub fn shutdown() -> Self {
        Self {
            code: GoodbyeReason::Shutdown,
            reason: "this node stops".into(),
            cause: None,
            hold_ms: 0,
        }
    }

    fn late() -> Self {
        Self {
            code: GoodbyeReason::StatusTimeout,
            reason: "no status in time".into(),
            cause: Some(Refused::StatusTimeout),
            hold_ms: 0,
        }
    }

    fn full(hold_ms: u64) -> Self {
        Self {
            code: GoodbyeReason::TooManyPeers,
            reason: "all slots are taken".into(),
            cause: Some(Refused::TooManyPeers),
            hold_ms,
        }
    }

    fn foreign(reason: String) -> Self {
        Self {
            code: GoodbyeReason::WrongNetwork,
            reason,
            cause: Some(Refused::WrongNetwork),
            hold_ms: 0,
        }
    }

    fn mismatch(mismatch: &Mismatch) -> Self {
        if mismatch.is_upgrade() {
            return Self {
                code: GoodbyeReason::CannotVerifyNetwork,
                reason: mismatch.to_string(),
                cause: Some(Refused::Upgrade),
                hold_ms: 0,
            };
        }
        Self::foreign(mismatch.to_string())
    }
}

/// What a goodbye code means, for the log.
fn in_words(code: GoodbyeReason) -> String {
    match code {
        GoodbyeReason::Shutdown => "it stops".into(),
        GoodbyeReason::WrongNetwork => "we are on another network".into(),
        GoodbyeReason::Fault => "a fault of its own".into(),
        GoodbyeReason::CannotVerifyNetwork => "one of us must upgrade".into(),
        GoodbyeReason::TooManyPeers => "it has too many peers".into(),
        GoodbyeReason::StatusTimeout => "our status came too late".into(),
        GoodbyeReason::Diversity => "too many peers of our subnet".into(),
        GoodbyeReason::DuplicateConnection => "we are connected already".into(),
        GoodbyeReason::BadScore => "our score is too low".into(),
        GoodbyeReason::Banned => "we are banned".into(),
        GoodbyeReason::BannedIp => "our address is banned".into(),
        GoodbyeReason::Unknown(code) => format!("unknown code {code}"),
    }
}

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

    /// Says our status to a peer, as far as its quota allows.
    fn send_status(&mut self, id: PeerId) {
        let now_ms = self.clock.now_ms();
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.outbound.status.take(now_ms, 1).is_err() {
            peer.is_status_due = true;
            return;
        }
        peer.is_status_due = false;
        peer.status_sent_ms = now_ms;
        self.swarm
            .behaviour_mut()
            .status
            .send_request(&id, Incoming::Good(self.status));
    }

    /// Repeats our status to ready peers when it changed or a while has passed.
    pub(super) fn send_due_statuses(&mut self) {
        let now_ms = self.clock.now_ms();
        let interval_ms = self.limits.status_interval_ms;
        let due: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, peer)| {
                let is_old = now_ms.saturating_sub(peer.status_sent_ms) >= interval_ms;
                peer.is_ready() && (peer.is_status_due || is_old)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.send_status(id);
        }
    }

    pub(super) fn on_status_event(&mut self, event: Event<Incoming<Status>, Answer<Status>>) {
        match event {
            Event::Message { peer, message, .. } => match message {
                Message::Request {
                    request: Incoming::Good(theirs),
                    channel,
                    ..
                } => {
                    self.on_status_request(peer, theirs, channel);
                }
                Message::Request {
                    request: Incoming::Bad(error),
                    ..
                } => {
                    self.bad_frame(peer, &error);
                }
                Message::Response {
                    response: Answer::Message(theirs),
                    ..
                } => {
                    self.on_status(peer, theirs);
                }
                Message::Response {
                    response: Answer::Payload(_),
                    ..
                } => {}
            },
            Event::OutboundFailure { peer, error, .. } => self.on_status_failure(peer, &error),
            Event::InboundFailure { .. } | Event::ResponseSent { .. } => {}
        }
    }

    fn on_status_request(
        &mut self,
        id: PeerId,
        theirs: Status,
        channel: ResponseChannel<Answer<Status>>,
    ) {
        let now_ms = self.clock.now_ms();
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.inbound.status.take(now_ms, 1).is_err() {
            self.counters.limited(Limited::Status);
            self.punish(id, Offence::OverQuota);
            return;
        }
        let answer = Answer::Message(self.status);
        // An error means that the peer has gone: its connection's end is reported elsewhere.
        let _ = self
            .swarm
            .behaviour_mut()
            .status
            .send_response(channel, answer);
        self.on_status(id, theirs);
    }

    fn on_status(&mut self, id: PeerId, theirs: Status) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if matches!(peer.stage, Stage::Leaving { .. }) {
            return;
        }
        if let Err(mismatch) = handshake::check(&self.status, &theirs) {
            self.part(id, Parting::mismatch(&mismatch));
            return;
        }
        peer.status = Some(theirs);
        match peer.stage {
            Stage::Handshake => self.welcome(id, theirs),
            _ => {
                let event = NetworkEvent::PeerStatus {
                    peer: id,
                    status: Box::new(theirs),
                };
                if self.offer(event).is_err() {
                    self.counters.dropped(crate::counters::Dropped::StatusIn);
                }
            }
        }
    }

    fn on_status_failure(&mut self, id: PeerId, error: &OutboundFailure) {
        if let OutboundFailure::Io(error) = error
            && let Some(frame) = frame_error(error)
        {
            self.bad_frame(id, &frame);
        }
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.stage != Stage::Handshake {
            return;
        }
        match error {
            // Identify will say what the peer is; without it, the handshake's time runs out.
            OutboundFailure::UnsupportedProtocols => peer.is_foreign = true,
            OutboundFailure::Timeout => self.part(id, Parting::late()),
            error => {
                tracing::debug!(peer = %id, %error, "status handshake failed");
                self.close(id);
            }
        }
    }

    /// The peer's status fits: it takes a slot, or is sent away.
    fn welcome(&mut self, id: PeerId, theirs: Status) {
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
            })
            .map(|(id, _)| *id)
    }

    /// Ends a connection with a goodbye.
    pub(super) fn part(&mut self, id: PeerId, parting: Parting) {
        let now_ms = self.clock.now_ms();
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if matches!(peer.stage, Stage::Leaving { .. }) {
            return;
        }
        let was_ready = peer.is_ready();
        peer.stage = Stage::Leaving {
            until_ms: now_ms + LEAVING_MS,
        };
        peer.early_messages.clear();
        peer.early_requests.clear();
        let (direction, reason) = (peer.direction, parting.reason);
        if let Some(cause) = parting.cause {
            self.counters.refused(cause);
        }
        if parting.hold_ms > 0 {
            self.hold(id, now_ms + parting.hold_ms);
        }
        if parting.code == GoodbyeReason::WrongNetwork {
            tracing::warn!(peer = %id, %reason, "peer refused");
            self.book.hold(&id, now_ms + FOREIGN_HOLD_MS);
        } else {
            tracing::info!(peer = %id, %reason, "parting from peer");
        }
        self.publish_peers();
        if was_ready {
            self.tell(NetworkEvent::PeerGone { peer: id, reason });
        } else {
            if direction == Direction::Outbound {
                self.dial_failed(id);
            }
            self.tell(NetworkEvent::PeerRefused { peer: id, reason });
        }
        let goodbye = Goodbye {
            code: parting.code.code(),
        };
        self.swarm
            .behaviour_mut()
            .goodbye
            .send_request(&id, Incoming::Good(goodbye));
        self.publish_peers();
    }

    fn close(&mut self, id: PeerId) {
        // An error means that it is closed already.
        let _ = self.swarm.disconnect_peer_id(id);
    }

    fn hold(&mut self, id: PeerId, until_ms: u64) {
        let now_ms = self.clock.now_ms();
        self.held.retain(|_, until_ms| *until_ms > now_ms);
        if self.held.len() < HELD_MAX {
            self.held.insert(id, until_ms);
        }
        self.book.hold(&id, until_ms);
        self.refresh_gate(now_ms);
    }

    pub(super) fn on_goodbye_event(&mut self, event: Event<Incoming<Goodbye>, Answer<Nothing>>) {
        match event {
            Event::Message { peer, message, .. } => match message {
                Message::Request {
                    request: Incoming::Good(goodbye),
                    channel,
                    ..
                } => {
                    let answer = Answer::Message(Nothing);
                    // An error means that the peer did not wait for it.
                    let _ = self
                        .swarm
                        .behaviour_mut()
                        .goodbye
                        .send_response(channel, answer);
                    self.on_goodbye(peer, GoodbyeReason::from_code(goodbye.code));
                }
                Message::Request {
                    request: Incoming::Bad(error),
                    ..
                } => {
                    self.bad_frame(peer, &error);
                }
                Message::Response { .. } => self.close(peer),
            },
            Event::OutboundFailure { peer, .. } => self.close(peer),
            Event::InboundFailure { .. } | Event::ResponseSent { .. } => {}
        }
    }

    fn on_goodbye(&mut self, id: PeerId, code: GoodbyeReason) {
        let now_ms = self.clock.now_ms();
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.inbound.goodbye.take(now_ms, 1).is_err() {
            self.counters.limited(Limited::Goodbye);
            self.punish(id, Offence::OverQuota);
            return;
        }
        let stage = peer.stage;
        peer.stage = Stage::Leaving {
            until_ms: now_ms + LEAVING_MS,
        };
        let reason = format!("peer said goodbye: {}", in_words(code));
        let hold_ms = match code {
            GoodbyeReason::WrongNetwork | GoodbyeReason::CannotVerifyNetwork => FOREIGN_HOLD_MS,
            GoodbyeReason::TooManyPeers
            | GoodbyeReason::Diversity
            | GoodbyeReason::BadScore
            | GoodbyeReason::Banned
            | GoodbyeReason::BannedIp => self.limits.hold_ms,
            _ => self.redial_delay_ms(0),
        };
        self.book.hold(&id, now_ms + hold_ms);
        self.publish_peers();
        match stage {
            Stage::Ready => {
                tracing::info!(peer = %id, %reason, "peer left");
                self.tell(NetworkEvent::PeerGone { peer: id, reason });
            }
            Stage::Handshake => {
                tracing::warn!(peer = %id, %reason, "peer refused us");
                self.tell(NetworkEvent::PeerRefused { peer: id, reason });
            }
            Stage::Leaving { .. } => tracing::debug!(peer = %id, %reason, "both say goodbye"),
        }
    }

    /// What identify says about the chain, for peers that speak other protocols altogether.
    pub(super) fn check_identity(&mut self, id: PeerId, protocol_version: &str) {
        let ours = self.names.identify();
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        if peer.stage != Stage::Handshake {
            return;
        }
        if protocol_version != ours {
            let theirs: String = protocol_version.chars().take(64).collect();
            let reason = format!("another genesis: it is on {theirs}, we are on {ours}");
            self.part(id, Parting::foreign(reason));
        } else if peer.is_foreign {
            let reason = "it does not speak our status protocol".into();
            self.part(id, Parting::foreign(reason));
        }
    }

    pub(super) fn end_late_handshakes(&mut self, now_ms: u64) {
        let timeout_ms = self.limits.status_timeout_ms;
        let late: Vec<(PeerId, Stage)> = self
            .peers
            .iter()
            .filter(|(_, peer)| match peer.stage {
                Stage::Handshake => now_ms >= peer.connected_ms + timeout_ms,
                Stage::Leaving { until_ms } => now_ms >= until_ms,
                Stage::Ready => false,
            })
            .map(|(id, peer)| (*id, peer.stage))
            .collect();
        for (id, stage) in late {
            match stage {
                Stage::Handshake => self.part(id, Parting::late()),
                _ => self.close(id),
            }
        }
    }

    /// Punishes the peer that delivered something bad, with what follows from it.
    pub(super) fn punish(&mut self, id: PeerId, offence: Offence) {
        let now_ms = self.clock.now_ms();
        let ip = self.peers.get(&id).and_then(|peer| ip_of(&peer.address()));
        // On a devnet all peers share one address: only the peer itself is banned.
        let host = ip
            .filter(|ip| !self.private_addresses || is_global(*ip))
            .map(Host::of);
        let sanction = self.scores.punish(now_ms, id, host, offence);
        let score = self.scores.score(now_ms, &id);
        tracing::debug!(peer = %id, ?offence, score, ?sanction, "peer punished");
        self.swarm
            .behaviour_mut()
            .gossip
            .set_application_score(&id, score);
        match sanction {
            Sanction::None => {}
            Sanction::Disconnect => self.part(
                id,
                Parting {
                    code: GoodbyeReason::BadScore,
                    reason: format!("score {score:.0} after {offence:?}"),
                    cause: Some(Refused::BadScore),
                    hold_ms: 0,
                },
            ),
            Sanction::Ban { until_ms } => {
                self.counters.banned();
                self.book.hold(&id, until_ms);
                self.part(
                    id,
                    Parting {
                        code: GoodbyeReason::Banned,
                        reason: format!("banned after {offence:?}"),
                        cause: Some(Refused::BadScore),
                        hold_ms: 0,
                    },
                );
                self.refresh_gate(now_ms);
            }
        }
    }

    /// A frame that could not be used.
    pub(super) fn bad_frame(&mut self, id: PeerId, error: &FrameError) {
        let (kind, offence) = match error {
            FrameError::Oversized { .. } => (BadInput::Oversized, Offence::Oversized),
            FrameError::Truncated { .. } => (BadInput::Truncated, Offence::Truncated),
            FrameError::Length | FrameError::Undecodable(_) => {
                (BadInput::Undecodable, Offence::Undecodable)
            }
        };
        tracing::debug!(peer = %id, %error, "bad frame");
        self.counters.bad_input(kind);
        self.punish(id, offence);
    }

    pub(super) fn refresh_gate(&mut self, now_ms: u64) {
        let banned = self
            .scores
            .banned(now_ms)
            .map(|(peer, _)| *peer)
            .collect::<BTreeSet<_>>();
        let hosts = self.scores.banned_hosts(now_ms);
        let held = self.held.iter().filter(|(_, until_ms)| **until_ms > now_ms);
        let held = held.map(|(peer, _)| *peer).collect();
        self.swarm
            .behaviour_mut()
            .gate
            .set_refused(banned, hosts, held);
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

/// The frame error inside a failed read, if there is one.
pub(super) fn frame_error(error: &std::io::Error) -> Option<FrameError> {
    error.get_ref()?.downcast_ref::<FrameError>().cloned()
}

/// Whether a transport error is the handshake's time-out; only its words survive the boxing.
fn is_timeout(error: &libp2p::TransportError<std::io::Error>) -> bool {
    matches!(error, libp2p::TransportError::Other(error)
        if error.kind() == std::io::ErrorKind::TimedOut || error.to_string().contains("Timeout"))
}
