//! Every bound of the network layer, with the reason for its value.
//!
//! Invariant: a peer can exhaust its own budget only. Nothing in this crate allocates, queues or
//! waits for a peer without a number from this file. [`Limits`] holds the bounds that an operator
//! or a test may change; the constants are part of the protocol (`spec/07-p2p.md#limits`).

use std::time::Duration;

/// Sizes of messages are the protocol's, with their derivation there.
pub use cairn_protocol::limits::{
    COMPACT_BLOCK_BYTES_MAX, GOODBYE_BYTES_MAX, GREETING_BYTES_MAX, LINK_FRAME_BYTES_MAX,
    STATUS_BYTES_MAX, SYNC_REQUEST_BYTES_MAX, SYNC_RESPONSE_BYTES_MAX, SYNC_RESPONSE_BYTES_SOFT,
    TX_BATCH_BYTES_MAX,
};

/// Headroom over the largest gossip payload. gossipsub compares its whole read buffer with the
/// cap, and that buffer may already hold up to 8 KiB of the next frames.
pub const GOSSIP_HEADROOM_BYTES: usize = 16 * 1024;
/// A frame is read in steps of this size, so that a claimed length costs memory only as data comes.
pub const FRAME_READ_STEP_BYTES: usize = 16 * 1024;

/// Addresses kept for one peer; identify may list thousands.
pub const PEER_ADDRESSES_MAX: usize = 8;
/// Bytes of a peer's agent string that are kept; identify bounds only the whole message.
pub const AGENT_BYTES_MAX: usize = 64;
/// Gossip messages of one peer kept until its status is known: handshake and gossip travel on
/// different streams, so the first messages may overtake the status.
pub const EARLY_MESSAGES_MAX: usize = 8;
/// Requests of one peer kept until its status is known, for the same reason.
pub const EARLY_REQUESTS_MAX: usize = 4;
/// Yamux streams per connection: some 3 per protocol at once, with room for long-lived streams.
pub const YAMUX_STREAMS_MAX: usize = 128;
/// Inbound streams of one connection that may negotiate their protocol at the same time.
pub const NEGOTIATING_STREAMS_MAX: usize = 32;
/// Largest Kademlia message: 20 closest peers with 8 addresses each need less than 16 KiB.
pub const KAD_PACKET_BYTES_MAX: usize = 16 * 1024;

/// Frames waiting for one peer: a round of 512 validators is two of them, a body of 4 MB four.
pub const LINK_QUEUE_MAX: usize = 256;
/// Frames of all peers waiting for the node; each reader holds one more.
pub const LINK_EVENTS_MAX: usize = 256;
/// Inbound links: no more than a node has peers.
pub const LINKS_INBOUND_MAX: usize = 64;
/// Frames of one link: ten times what a decision every 2 ms needs from one validator.
pub const LINK_QUOTA: Quota = Quota::new(20_000, 1_000);

/// Bounds that tests reach one by one and operators may tune.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Inbound connections that have not finished their transport handshake, all addresses.
    pub pending_inbound_max: u32,
    /// Outbound dials in flight.
    pub pending_outbound_max: u32,
    /// Inbound connections (pending and established) of one IPv4 address or IPv6 /64.
    pub inbound_per_ip_max: u32,
    /// Inbound connections (pending and established) of one IPv4 /24 or IPv6 /48.
    pub inbound_per_subnet_max: u32,
    /// Inbound peers that stay connected.
    pub inbound_peers_max: u32,
    /// Further inbound connections that live only for the handshake and a goodbye.
    pub inbound_transient_max: u32,
    /// Outbound peers that this node tries to keep.
    pub outbound_peers_target: u32,
    /// Outbound connections above which new ones are closed again (discovery dials on its own).
    pub outbound_peers_max: u32,
    /// Connections between this node and one peer, both directions.
    pub connections_per_peer_max: u32,
    /// Resident memory of the process above which new connections are refused.
    pub process_memory_bytes_max: usize,
    /// Time for TCP, Noise and Yamux (or QUIC) together: 1 byte per second does not live longer.
    pub transport_handshake_ms: u64,
    /// Time from the connection to an accepted status.
    pub status_timeout_ms: u64,
    /// A connection on which nothing is open is closed after this time.
    pub idle_timeout_ms: u64,
    /// Streams of one request-response protocol on one connection, both directions.
    pub streams_per_protocol_max: usize,
    /// Requests of one peer that are answered at the same time.
    pub served_per_peer_max: u32,
    /// Requests of all peers that are answered at the same time. Times the soft response size this
    /// bounds the memory of answers: 32 x 4 MiB.
    pub served_total_max: u32,
    /// Own requests in flight to one peer.
    pub requests_per_peer_max: u32,
    /// Events waiting for the node.
    pub event_queue_max: usize,
    /// Commands waiting for the swarm, of each priority.
    pub command_queue_max: usize,
    /// Peers remembered in the address book (Zebra's bound; an attacker's addresses end here).
    pub book_peers_max: usize,
    /// Scores and bans remembered.
    pub scores_max: usize,
    /// A peer that was sent away because we were full may come back after this time.
    pub hold_ms: u64,
    /// Time of a ban before its score may recover.
    pub ban_ms: u64,
    /// Banned peers of one address after which the address is banned.
    pub banned_peers_per_ip_max: u32,
    /// How often our status is repeated when nothing changes.
    pub status_interval_ms: u64,
    /// How often the address book is written.
    pub persist_interval_ms: u64,
    /// First redial delay after a failure; doubled up to [`Limits::redial_ms_max`].
    pub redial_ms_min: u64,
    /// Longest redial delay.
    pub redial_ms_max: u64,
    /// Request quotas of one peer.
    pub quotas: Quotas,
}

/// How many objects one peer may ask for. Each is a burst and the time in which it refills.
#[derive(Clone, Copy, Debug)]
pub struct Quotas {
    /// Status requests.
    pub status: Quota,
    /// Goodbyes.
    pub goodbye: Quota,
    /// Headers asked for.
    pub headers: Quota,
    /// Block bodies asked for.
    pub bodies: Quota,
    /// Transactions asked for.
    pub transactions: Quota,
    /// KiB of answers. Charged when the answer is known, so one answer may overdraw it; the next
    /// request waits.
    pub answer_kib: Quota,
}

/// `tokens` may be used at once; they come back evenly over `period_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Objects per period, and the burst.
    pub tokens: u32,
    /// Time in which an empty bucket fills again.
    pub period_ms: u64,
}

impl Quota {
    /// `tokens` per `period_ms`.
    pub const fn new(tokens: u32, period_ms: u64) -> Self {
        Self { tokens, period_ms }
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            status: Quota::new(5, 15_000),
            goodbye: Quota::new(1, 10_000),
            headers: Quota::new(32_768, 10_000),
            bodies: Quota::new(8_192, 10_000),
            transactions: Quota::new(8_192, 10_000),
            answer_kib: Quota::new(64 * 1_024, 1_000),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pending_inbound_max: 64,
            pending_outbound_max: 32,
            inbound_per_ip_max: 4,
            inbound_per_subnet_max: 8,
            inbound_peers_max: 34,
            inbound_transient_max: 8,
            outbound_peers_target: 16,
            outbound_peers_max: 20,
            connections_per_peer_max: 2,
            process_memory_bytes_max: 8 * 1024 * 1024 * 1024,
            transport_handshake_ms: 5_000,
            status_timeout_ms: 5_000,
            idle_timeout_ms: 60_000,
            streams_per_protocol_max: 16,
            served_per_peer_max: 4,
            served_total_max: 32,
            requests_per_peer_max: 8,
            event_queue_max: 1_024,
            command_queue_max: 1_024,
            book_peers_max: 5_000,
            scores_max: 1_000,
            hold_ms: 600_000,
            ban_ms: 12 * 3_600_000,
            banned_peers_per_ip_max: 5,
            status_interval_ms: 60_000,
            persist_interval_ms: 300_000,
            redial_ms_min: 1_000,
            redial_ms_max: 300_000,
            quotas: Quotas::default(),
        }
    }
}

impl Limits {
    /// The transport handshake's budget as a duration.
    pub(crate) fn transport_handshake(&self) -> Duration {
        Duration::from_millis(self.transport_handshake_ms)
    }
}
