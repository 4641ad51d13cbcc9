//! Starting a swarm from its configuration.
//!
//! Invariant: when [`start`] returns, the addresses are bound and the peers file is open; what
//! cannot work fails here and not later.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use libp2p::{
    Multiaddr, Swarm,
    metrics::{Metrics, Registry},
    multiaddr::Protocol,
    swarm,
};
use tokio::sync::mpsc;

use super::{
    behaviour::Behaviour,
    gossip,
    task::{Clock, Task},
    transport,
};
use crate::{
    config::NetworkConfig,
    counters::NetCounters,
    error::NetworkError,
    event::NetworkEvent,
    handle::{NetworkHandle, Shared},
    limits::NEGOTIATING_STREAMS_MAX,
    names::{Names, Topic},
    peers::{
        book::Book,
        groups::ip_of,
        score::{Scores, Standing},
        store::PeersFile,
    },
};

/// Starts the swarm task on the current tokio runtime.
///
/// The receiver must be read: gossip and requests that find its queue full are dropped and counted.
pub fn start(
    config: NetworkConfig,
) -> Result<(NetworkHandle, mpsc::Receiver<NetworkEvent>), NetworkError> {
    let limits = config.limits.clone();
    let counters = Arc::new(NetCounters::default());
    let names = Names::new(&config.status.genesis);
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let mut swarm = build_swarm(&config, &names, &counters, &mut registry)?;
    for address in &config.listen {
        check_free(address)?;
        swarm
            .listen_on(address.clone())
            .map_err(|error| NetworkError::Listen {
                address: address.clone(),
                reason: error.to_string(),
            })?;
    }
    for address in &config.external {
        swarm.add_external_address(address.clone());
    }

    let clock = Clock::new();
    let mut book = Book::new(limits.book_peers_max);
    let mut scores = Scores::new(
        limits.scores_max,
        limits.ban_ms,
        limits.banned_peers_per_ip_max,
    );
    let peers_file = config
        .peers_file
        .as_deref()
        .map(PeersFile::open)
        .transpose()?;
    if let Some(file) = &peers_file {
        remember(file, clock.now_ms(), &mut book, &mut scores)?;
    }

    let (urgent_sender, urgent) = mpsc::channel(limits.command_queue_max);
    let (patient_sender, patient) = mpsc::channel(limits.command_queue_max);
    let (events, receiver) = mpsc::channel(limits.event_queue_max);
    let shared = Arc::new(Shared::default());
    let streams = swarm.behaviour().stream.new_control();
    let handle = NetworkHandle {
        local_peer_id: *swarm.local_peer_id(),
        names: names.clone(),
        urgent: urgent_sender.clone(),
        patient: patient_sender,
        shared: shared.clone(),
        counters: counters.clone(),
        registry: Arc::new(registry),
        streams,
    };
    let topics = Topic::ALL
        .iter()
        .map(|topic| (gossip::ident(&names, *topic).hash(), *topic));
    let mut task = Task {
        swarm,
        private_addresses: config.private_addresses,
        topics: topics.collect::<BTreeMap<_, _>>(),
        names,
        status: config.status,
        clock,
        peers: BTreeMap::new(),
        book,
        scores,
        held: BTreeMap::new(),
        dialing: Default::default(),
        nameless: Vec::new(),
        asked: HashMap::new(),
        serving: HashMap::new(),
        peers_file: peers_file.map(|file| Arc::new(Mutex::new(file))),
        saving: None,
        next_dial_ms: 0,
        next_walk_ms: 0,
        walks: 0,
        next_save_ms: 0,
        shared,
        counters,
        metrics,
        events,
        backlog: VecDeque::new(),
        urgent,
        patient,
        urgent_sender,
        limits,
    };
    task.refresh_gate(task.clock.now_ms());
    task.begin_discovery(config.bootnodes);
    tokio::spawn(task.run());
    Ok((handle, receiver))
}

/// libp2p shares listening ports between processes; two nodes on one port would each get half of
/// the connections. A plain socket tells whether the port is free.
fn check_free(address: &Multiaddr) -> Result<(), NetworkError> {
    let mut parts = address.iter();
    let (Some(ip), Some(Protocol::Tcp(port @ 1..))) = (ip_of(address), parts.nth(1)) else {
        return Ok(());
    };
    std::net::TcpListener::bind((ip, port))
        .map(drop)
        .map_err(|error| NetworkError::Listen {
            address: address.clone(),
            reason: error.to_string(),
        })
}

fn build_swarm(
    config: &NetworkConfig,
    names: &Names,
    counters: &Arc<NetCounters>,
    registry: &mut Registry,
) -> Result<Swarm<Behaviour>, NetworkError> {
    let limits = &config.limits;
    let transport = transport::build(&config.keypair, limits, config.private_addresses, registry)?;
    let behaviour = Behaviour::new(config, names, counters.clone(), registry)?;
    let swarm_config = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(Duration::from_millis(limits.idle_timeout_ms))
        .with_max_negotiating_inbound_streams(NEGOTIATING_STREAMS_MAX)
        .with_smart_dial();
    let peer = config.keypair.public().to_peer_id();
    Ok(Swarm::new(transport, behaviour, peer, swarm_config))
}

fn remember(
    file: &PeersFile,
    now_ms: u64,
    book: &mut Book,
    scores: &mut Scores<libp2p::PeerId>,
) -> Result<(), NetworkError> {
    for (peer, record) in file.load()? {
        if let Some(entry) = record.entry() {
            book.restore(peer, entry);
        }
        let saved = record.score();
        if saved.score != 0.0 || saved.ban_until_ms > now_ms {
            let standing = Standing {
                score: saved.score,
                updated_ms: saved.at_ms,
                ban_until_ms: saved.ban_until_ms,
                banned_host: None,
            };
            scores.restore(now_ms, peer, standing);
        }
    }
    Ok(())
}
