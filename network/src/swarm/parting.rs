//! Ending a connection: why, with what words, and for how long the peer stays away.
//!
//! Invariant: whoever ends a connection says why, once; a peer that leaves is reported gone if it was
//! announced and refused if it was not. Source: `spec/07-p2p.md#goodbye`.

use libp2p::{
    PeerId,
    request_response::{Event, Message},
};

use super::{
    codec::{Answer, Incoming, Nothing},
    handshake::Mismatch,
    peer::Stage,
    task::Task,
};
use crate::{
    counters::{Limited, Refused},
    event::NetworkEvent,
    peers::{book::Direction, score::Offence},
    wire::{Goodbye, GoodbyeReason},
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

    /// The status did not come in time.
    pub fn late() -> Self {
        Self {
            code: GoodbyeReason::StatusTimeout,
            reason: "no status in time".into(),
            cause: Some(Refused::StatusTimeout),
            hold_ms: 0,
        }
    }

    /// There is no slot left.
    pub fn full(hold_ms: u64) -> Self {
        Self {
            code: GoodbyeReason::TooManyPeers,
            reason: "all slots are taken".into(),
            cause: Some(Refused::TooManyPeers),
            hold_ms,
        }
    }

    /// The peer is on another network.
    pub fn foreign(reason: String) -> Self {
        Self {
            code: GoodbyeReason::WrongNetwork,
            reason,
            cause: Some(Refused::WrongNetwork),
            hold_ms: 0,
        }
    }

    /// The statuses do not fit.
    pub fn mismatch(mismatch: &Mismatch) -> Self {
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

    /// The peer's score fell too low.
    pub fn low_score(score: f64, offence: Offence) -> Self {
        Self {
            code: GoodbyeReason::BadScore,
            reason: format!("score {score:.0} after {offence:?}"),
            cause: Some(Refused::BadScore),
            hold_ms: 0,
        }
    }

    /// The peer is banned; the gate keeps it out from now on.
    pub fn banned(offence: Offence) -> Self {
        Self {
            code: GoodbyeReason::Banned,
            reason: format!("banned after {offence:?}"),
            cause: Some(Refused::BadScore),
            hold_ms: 0,
        }
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

    pub(super) fn close(&mut self, id: PeerId) {
        // An error means that it is closed already.
        let _ = self.swarm.disconnect_peer_id(id);
    }

    pub(super) fn hold(&mut self, id: PeerId, until_ms: u64) {
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
}
