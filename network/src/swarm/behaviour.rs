//! The behaviours of the swarm, in the order in which they judge a connection.
//!
//! Invariant: what refuses connections comes first. A later refusal after an earlier behaviour
//! accepted leaves that one with a connection that never was.

use std::{sync::Arc, time::Duration};

use libp2p::{
    StreamProtocol,
    connection_limits::{self, ConnectionLimits},
    identify,
    kad::{
        self,
        store::{MemoryStore, MemoryStoreConfig},
    },
    mdns, memory_connection_limits,
    metrics::Registry,
    ping,
    request_response::{self, ProtocolSupport},
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
};

use super::{
    codec::{FrameCodec, Message, Nothing},
    gate::Gate,
    gossip::{self, Gossip},
};
use crate::{
    config::NetworkConfig,
    counters::NetCounters,
    error::NetworkError,
    limits::{
        GOODBYE_BYTES_MAX, KAD_PACKET_BYTES_MAX, STATUS_BYTES_MAX, SYNC_REQUEST_BYTES_MAX,
        SYNC_RESPONSE_BYTES_MAX,
    },
    names::Names,
    wire::{Goodbye, Status, SyncRequest, SyncResponse},
};

/// The longest time an answer may take: the upper end of the adaptive deadlines of sync.
const SYNC_TIMEOUT: Duration = Duration::from_secs(64);
/// A goodbye is best effort.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);
/// Identify is repeated this often; addresses rarely change.
const IDENTIFY_INTERVAL: Duration = Duration::from_secs(300);

/// Everything this node speaks.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    /// Bans and limits per address, before anything else sees a connection.
    pub gate: Gate,
    /// Totals.
    pub limits: connection_limits::Behaviour,
    /// The last resort.
    pub memory: memory_connection_limits::Behaviour,
    /// Who is there, what they speak, where they listen.
    pub identify: identify::Behaviour,
    /// Keeps dead connections from looking alive.
    pub ping: ping::Behaviour,
    /// Where others are.
    pub kad: kad::Behaviour<MemoryStore>,
    /// Others on the local network.
    pub mdns: Toggle<mdns::tokio::Behaviour>,
    /// Blocks and transactions.
    pub gossip: Gossip,
    /// The handshake.
    pub status: request_response::Behaviour<FrameCodec<Status, Status>>,
    /// Why a connection ends.
    pub goodbye: request_response::Behaviour<FrameCodec<Goodbye, Nothing>>,
    /// Headers, bodies, transactions.
    pub sync: request_response::Behaviour<FrameCodec<SyncRequest, SyncResponse>>,
    /// Long-lived streams of other parts of the node.
    pub stream: libp2p_stream::Behaviour,
}

impl Behaviour {
    /// Builds all of them for one chain.
    pub fn new(
        config: &NetworkConfig,
        names: &Names,
        counters: Arc<NetCounters>,
        registry: &mut Registry,
    ) -> Result<Self, NetworkError> {
        let limits = &config.limits;
        let peer = config.keypair.public().to_peer_id();
        let identify = identify::Config::new(names.identify(), config.keypair.public())
            .with_agent_version(config.agent.clone())
            .with_interval(IDENTIFY_INTERVAL)
            .with_cache_size(0);
        let mdns = config
            .mdns
            .then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), peer))
            .transpose()
            .map_err(NetworkError::Mdns)?;
        Ok(Self {
            gate: Gate::new(
                counters,
                limits.inbound_per_ip_max,
                limits.inbound_per_subnet_max,
                config.private_addresses,
            ),
            limits: connection_limits::Behaviour::new(
                ConnectionLimits::default()
                    .with_max_pending_incoming(Some(limits.pending_inbound_max))
                    .with_max_pending_outgoing(Some(limits.pending_outbound_max))
                    .with_max_established_incoming(Some(
                        limits.inbound_peers_max + limits.inbound_transient_max,
                    ))
                    .with_max_established_outgoing(Some(
                        limits.outbound_peers_max + limits.inbound_transient_max,
                    ))
                    .with_max_established_per_peer(Some(limits.connections_per_peer_max)),
            ),
            memory: memory_connection_limits::Behaviour::with_max_bytes(
                limits.process_memory_bytes_max,
            ),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new()),
            kad: kademlia(config, names),
            mdns: mdns.into(),
            gossip: gossip::build(names, config.private_addresses, registry)?,
            status: protocol(
                names.of("status"),
                STATUS_BYTES_MAX,
                STATUS_BYTES_MAX,
                Duration::from_millis(limits.status_timeout_ms),
                limits.streams_per_protocol_max,
            ),
            goodbye: protocol(
                names.of("goodbye"),
                GOODBYE_BYTES_MAX,
                0,
                GOODBYE_TIMEOUT,
                limits.streams_per_protocol_max,
            ),
            sync: protocol(
                names.of("sync"),
                SYNC_REQUEST_BYTES_MAX,
                SYNC_RESPONSE_BYTES_MAX,
                SYNC_TIMEOUT,
                limits.streams_per_protocol_max,
            ),
            stream: libp2p_stream::Behaviour::new(),
        })
    }
}

fn protocol<Q: Message, S: Message>(
    name: String,
    request_bytes_max: usize,
    response_bytes_max: usize,
    timeout: Duration,
    streams_max: usize,
) -> request_response::Behaviour<FrameCodec<Q, S>> {
    let protocol = StreamProtocol::try_from_owned(name).expect("our names begin with a slash");
    request_response::Behaviour::with_codec(
        FrameCodec::new(request_bytes_max, response_bytes_max),
        [(protocol, ProtocolSupport::Full)],
        request_response::Config::default()
            .with_request_timeout(timeout)
            .with_max_concurrent_streams(streams_max),
    )
}

/// Kademlia for finding peers only: strangers cannot store records with us, and only peers whose
/// status matched enter the table.
fn kademlia(config: &NetworkConfig, names: &Names) -> kad::Behaviour<MemoryStore> {
    let peer = config.keypair.public().to_peer_id();
    let protocol =
        StreamProtocol::try_from_owned(names.kademlia()).expect("our names begin with a slash");
    let mut kademlia = kad::Config::new(protocol);
    kademlia
        .disjoint_query_paths(true)
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_periodic_bootstrap_interval(None)
        .set_max_packet_size(KAD_PACKET_BYTES_MAX);
    let nothing = MemoryStoreConfig {
        max_records: 0,
        max_value_bytes: 0,
        max_providers_per_key: 0,
        max_provided_keys: 0,
    };
    let store = MemoryStore::with_config(peer, nothing);
    let mut behaviour = kad::Behaviour::with_config(peer, store, kademlia);
    if config.kad_server || !config.external.is_empty() {
        behaviour.set_mode(Some(kad::Mode::Server));
    }
    behaviour
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_protocol::hash::{BlockId, Hash};
    use libp2p::identity::Keypair;

    fn config() -> NetworkConfig {
        let status = Status {
            version: 1,
            genesis: BlockId([7; 32]),
            spec_hash: Hash([0; 32]),
            schedule_hash: Hash([0; 32]),
            next_announce: 0,
            ruleset_id: Hash([0; 32]),
            finalized_height: 0,
            finalized_id: BlockId([7; 32]),
            best_height: 0,
            best_id: BlockId([7; 32]),
            total_work: [0; 32],
            lowest_height: 0,
            services: 1,
            listen_port: 0,
        };
        NetworkConfig::new(Keypair::generate_ed25519(), status)
    }

    fn behaviour(config: &NetworkConfig) -> Behaviour {
        let names = Names::new(&config.status.genesis);
        let counters = Arc::new(NetCounters::default());
        Behaviour::new(config, &names, counters, &mut Registry::default()).unwrap()
    }

    #[tokio::test]
    async fn who_is_not_known_to_be_reachable_is_a_client_of_the_routing_table() {
        assert_eq!(behaviour(&config()).kad.mode(), kad::Mode::Client);
        let mut reachable = config();
        reachable.external = vec!["/ip4/8.8.8.8/tcp/7000".parse().unwrap()];
        assert_eq!(behaviour(&reachable).kad.mode(), kad::Mode::Server);
        let mut bootnode = config();
        bootnode.kad_server = true;
        assert_eq!(behaviour(&bootnode).kad.mode(), kad::Mode::Server);
    }

    #[tokio::test]
    async fn the_local_network_is_searched_only_when_asked_for() {
        assert!(!behaviour(&config()).mdns.is_enabled());
        let mut asked = config();
        asked.mdns = true;
        assert!(behaviour(&asked).mdns.is_enabled());
    }
}
