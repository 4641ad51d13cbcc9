//! What the network is told when it starts.
//!
//! Invariant: nothing here is read from files or the environment; the node has done that.

use std::path::PathBuf;

use libp2p::{Multiaddr, identity::Keypair};

use crate::{limits::Limits, wire::Status};

/// Configuration of one swarm.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Who this node is.
    pub keypair: Keypair,
    /// The status told to peers until [`crate::NetworkHandle::set_status`] changes it. Its genesis
    /// names the chain.
    pub status: Status,
    /// Where to listen. An address that cannot be used fails the start.
    pub listen: Vec<Multiaddr>,
    /// Addresses under which others reach this node.
    pub external: Vec<Multiaddr>,
    /// Peers to begin with, with or without `/p2p/<id>`; redialled for ever.
    pub bootnodes: Vec<Multiaddr>,
    /// What identify says this program is, `cairn/<version>/<os>`.
    pub agent: String,
    /// Where the address book is kept; `None` keeps it in memory.
    pub peers_file: Option<PathBuf>,
    /// Whether to look for peers on the local network.
    pub mdns: bool,
    /// Whether to serve the routing table without a confirmed public address: bootnodes and
    /// devnets must.
    pub kad_server: bool,
    /// Whether private and loopback addresses may be dialled and are exempt from the limits per
    /// address and subnet. For devnets.
    pub private_addresses: bool,
    /// The bounds.
    pub limits: Limits,
}

impl NetworkConfig {
    /// A configuration that listens nowhere and knows nobody.
    pub fn new(keypair: Keypair, status: Status) -> Self {
        Self {
            keypair,
            status,
            listen: Vec::new(),
            external: Vec::new(),
            bootnodes: Vec::new(),
            agent: format!(
                "cairn/{}/{}",
                env!("CARGO_PKG_VERSION"),
                std::env::consts::OS
            ),
            peers_file: None,
            mdns: false,
            kad_server: false,
            private_addresses: false,
            limits: Limits::default(),
        }
    }
}
