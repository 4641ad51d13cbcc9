//! What follows from a peer's offence: a lower score, a goodbye, a ban at the gate.
//!
//! Invariant: the peer that delivered something bad is punished, never the one it names as the
//! author. Source: `spec/07-p2p.md#scores`.

use std::collections::BTreeSet;

use libp2p::PeerId;

use super::{parting::Parting, task::Task};
use crate::{
    counters::BadInput,
    frame::FrameError,
    peers::{
        groups::{Host, ip_of, is_global},
        score::{Offence, Sanction},
    },
};

impl Task {
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
            Sanction::Disconnect => self.part(id, Parting::low_score(score, offence)),
            Sanction::Ban { until_ms } => {
                self.counters.banned();
                self.book.hold(&id, until_ms);
                self.part(id, Parting::banned(offence));
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
}

/// The frame error inside a failed read, if there is one.
pub(super) fn frame_error(error: &std::io::Error) -> Option<FrameError> {
    error.get_ref()?.downcast_ref::<FrameError>().cloned()
}
