//! Peers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Peer {
    /// Its id on the swarm.
    pub peer_id: String,
    /// Where it is, as a multiaddress.
    pub address: String,
    /// Who called: inbound or outbound.
    pub direction: String,
    /// What it says it runs.
    pub agent: Option<String>,
    /// Height of its tip, as it last said.
    pub height: Option<u64>,
    /// Last round trip in milliseconds.
    pub ping_ms: Option<f64>,
    /// Its score; low is bad.
    pub score: f64,
    /// How long it has been connected.
    pub connected_seconds: u64,
}

/// `GET /v1/peers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Peers {
    /// The connected peers.
    pub peers: Vec<Peer>,
}
