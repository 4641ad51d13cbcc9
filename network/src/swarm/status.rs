//! The status handshake and its repetitions.
//!
//! Invariant: between two peers nothing but status, goodbye, identify and ping happens before both
//! statuses fit. Source: `spec/07-p2p.md#status`.

use libp2p::{
    PeerId,
    request_response::{Event, Message, OutboundFailure, ResponseChannel},
};

use super::{
    codec::{Answer, Incoming},
    handshake,
    parting::Parting,
    peer::Stage,
    sanctions::frame_error,
    task::Task,
};
use crate::{
    counters::{Dropped, Limited},
    event::NetworkEvent,
    peers::score::Offence,
    wire::Status,
};

impl Task {
    /// Says our status to a peer, as far as its quota allows.
    pub(super) fn send_status(&mut self, id: PeerId) {
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
                    self.counters.dropped(Dropped::StatusIn);
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
}
