//! What the network layer dropped, refused and limited: one counter per cause.
//!
//! Invariant: nothing is dropped without a counter here. The node turns [`NetCounters::snapshot`]
//! into Prometheus families; every label value exists from the start.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! causes {
    ($(#[$meta:meta])* $name:ident, $family:literal, $label:literal { $($(#[$doc:meta])* $variant:ident => $value:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every cause, in the order of the counters.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];
            /// The metric family.
            pub const FAMILY: &'static str = $family;
            /// The label's name.
            pub const LABEL: &'static str = $label;

            /// The label's value.
            pub const fn label(self) -> &'static str {
                match self { $($name::$variant => $value,)* }
            }
        }
    };
}

causes! {
    /// A queue that was full, and what was thrown away because of it.
    Dropped, "cairn_net_dropped_total", "queue" {
        /// An inbound gossip message; its verdict is Ignore.
        GossipIn => "gossip_in",
        /// An inbound request; the peer is answered "busy".
        RequestIn => "request_in",
        /// A peer's repeated status.
        StatusIn => "status_in",
        /// Own transactions; the caller is told.
        TransactionsOut => "transactions_out",
        /// Own requests; the caller is told.
        RequestOut => "request_out",
        /// A verdict on a gossip message.
        Verdict => "verdict",
        /// A report about a peer.
        Report => "report",
        /// An answer to a request.
        Response => "response",
        /// A send queue of gossipsub towards a slow peer.
        SlowPeer => "slow_peer",
        /// A frame of a link whose peer reads too slowly.
        LinkOut => "link_out",
        /// Gossip of a peer that has not finished its status handshake.
        GossipEarly => "gossip_early",
        /// Requests of a peer that has not finished its status handshake.
        RequestEarly => "request_early",
    }
}

causes! {
    /// Why a connection was refused or ended by this node.
    Refused, "cairn_net_refused_total", "reason" {
        /// Too many inbound connections in their handshake.
        PendingInbound => "pending_inbound",
        /// Too many dials at once.
        PendingOutbound => "pending_outbound",
        /// Too many inbound connections of one address.
        Ip => "ip",
        /// Too many inbound connections of one subnet.
        Subnet => "subnet",
        /// The address is banned.
        BannedIp => "banned_ip",
        /// The peer is banned.
        BannedPeer => "banned_peer",
        /// The peer was sent away a short time ago.
        Held => "held",
        /// All inbound connections are taken.
        EstablishedInbound => "established_inbound",
        /// All outbound connections are taken.
        EstablishedOutbound => "established_outbound",
        /// The peer is connected often enough.
        PerPeer => "per_peer",
        /// The process uses too much memory.
        Memory => "memory",
        /// The transport handshake failed.
        TransportHandshake => "transport_handshake",
        /// The transport handshake took too long.
        TransportTimeout => "transport_timeout",
        /// No status in time.
        StatusTimeout => "status_timeout",
        /// Another genesis, specification or no common version.
        WrongNetwork => "wrong_network",
        /// An unknown schedule: one of the two must upgrade.
        Upgrade => "upgrade",
        /// All slots are taken.
        TooManyPeers => "too_many_peers",
        /// The score fell below the limit.
        BadScore => "bad_score",
    }
}

causes! {
    /// What a peer sent that could not be used.
    BadInput, "cairn_net_bad_input_total", "kind" {
        /// A frame longer than the protocol allows.
        Oversized => "oversized",
        /// A frame that ended early.
        Truncated => "truncated",
        /// A frame whose content is not a canonical message.
        Undecodable => "undecodable",
        /// A gossip message that the node rejected.
        GossipRejected => "gossip_rejected",
        /// A gossip message over its topic's cap.
        GossipOversized => "gossip_oversized",
    }
}

causes! {
    /// The quota that a peer exceeded.
    Limited, "cairn_net_limited_total", "protocol" {
        /// Status requests.
        Status => "status",
        /// Goodbyes.
        Goodbye => "goodbye",
        /// Headers.
        Headers => "headers",
        /// Block bodies.
        Bodies => "bodies",
        /// Transactions.
        Transactions => "transactions",
        /// Bytes of answers.
        AnswerBytes => "answer_bytes",
        /// Requests answered at the same time.
        Concurrent => "concurrent",
        /// Inbound links of all peers.
        Links => "links",
        /// Links of peers whose greeting did not let them in.
        LinkStranger => "link_stranger",
        /// Frames on a link; the peer waits.
        LinkFrames => "link_frames",
    }
}

/// Counters of one swarm; shared, lock-free, only ever growing.
#[derive(Debug)]
pub struct NetCounters {
    dropped: Vec<AtomicU64>,
    refused: Vec<AtomicU64>,
    bad_input: Vec<AtomicU64>,
    limited: Vec<AtomicU64>,
    banned: AtomicU64,
    inbound: AtomicU64,
    outbound: AtomicU64,
}

/// One sample for the metrics page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Metric family, for example `cairn_net_dropped_total`.
    pub family: &'static str,
    /// Name of the label.
    pub label: &'static str,
    /// Value of the label.
    pub value: &'static str,
    /// The count.
    pub count: u64,
}

impl Default for NetCounters {
    fn default() -> Self {
        let zeros = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            dropped: zeros(Dropped::ALL.len()),
            refused: zeros(Refused::ALL.len()),
            bad_input: zeros(BadInput::ALL.len()),
            limited: zeros(Limited::ALL.len()),
            banned: AtomicU64::new(0),
            inbound: AtomicU64::new(0),
            outbound: AtomicU64::new(0),
        }
    }
}

impl NetCounters {
    pub(crate) fn dropped(&self, cause: Dropped) {
        self.dropped[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dropped_many(&self, cause: Dropped, count: u64) {
        self.dropped[cause as usize].fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, cause: Refused) {
        self.refused[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn bad_input(&self, cause: BadInput) {
        self.bad_input[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn limited(&self, cause: Limited) {
        self.limited[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn banned(&self) {
        self.banned.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set_peers(&self, inbound: u64, outbound: u64) {
        self.inbound.store(inbound, Ordering::Relaxed);
        self.outbound.store(outbound, Ordering::Relaxed);
    }

    /// How often `cause` dropped something.
    pub fn dropped_count(&self, cause: Dropped) -> u64 {
        self.dropped[cause as usize].load(Ordering::Relaxed)
    }

    /// How often a connection was refused or ended for `cause`.
    pub fn refused_count(&self, cause: Refused) -> u64 {
        self.refused[cause as usize].load(Ordering::Relaxed)
    }

    /// How often input was bad for `cause`.
    pub fn bad_input_count(&self, cause: BadInput) -> u64 {
        self.bad_input[cause as usize].load(Ordering::Relaxed)
    }

    /// How often the quota `cause` was exceeded.
    pub fn limited_count(&self, cause: Limited) -> u64 {
        self.limited[cause as usize].load(Ordering::Relaxed)
    }

    /// Peers banned since the start.
    pub fn banned_count(&self) -> u64 {
        self.banned.load(Ordering::Relaxed)
    }

    /// Peers with an accepted status now: (inbound, outbound). For `cairn_peers{direction}`.
    pub fn peers(&self) -> (u64, u64) {
        (
            self.inbound.load(Ordering::Relaxed),
            self.outbound.load(Ordering::Relaxed),
        )
    }

    /// All labelled counters; the set of labels never changes.
    pub fn snapshot(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        let mut add = |family, label, value, counter: &AtomicU64| {
            samples.push(Sample {
                family,
                label,
                value,
                count: counter.load(Ordering::Relaxed),
            });
        };
        for (cause, counter) in Dropped::ALL.iter().zip(&self.dropped) {
            add(Dropped::FAMILY, Dropped::LABEL, cause.label(), counter);
        }
        for (cause, counter) in Refused::ALL.iter().zip(&self.refused) {
            add(Refused::FAMILY, Refused::LABEL, cause.label(), counter);
        }
        for (cause, counter) in BadInput::ALL.iter().zip(&self.bad_input) {
            add(BadInput::FAMILY, BadInput::LABEL, cause.label(), counter);
        }
        for (cause, counter) in Limited::ALL.iter().zip(&self.limited) {
            add(Limited::FAMILY, Limited::LABEL, cause.label(), counter);
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_exists_from_the_start_and_moves_alone() {
        let counters = NetCounters::default();
        let before = counters.snapshot();
        assert!(before.iter().all(|sample| sample.count == 0));
        counters.refused(Refused::Subnet);
        let moved: Vec<_> = counters
            .snapshot()
            .into_iter()
            .filter(|s| s.count > 0)
            .collect();
        assert_eq!(moved.len(), 1);
        assert_eq!(
            (moved[0].family, moved[0].value),
            ("cairn_net_refused_total", "subnet")
        );
        assert_eq!(before.len(), counters.snapshot().len());
    }
}
