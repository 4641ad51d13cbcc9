//! A running node: starts the parts in order, connects them, stops them in reverse.
//!
//! ```text
//!   data directory, lock ─► store ─► ledger thread ─► swarm ─► relay, sync ─► miner ─► API
//! ```
//!
//! Invariant: a part starts only when those that it needs run, and nothing is listened on before
//! the store is open; a fault of the disk, or a part that ends by itself, stops the node instead of
//! letting it promise more.

mod backend;
mod bft;
pub(crate) mod clock;
mod disk;
mod error;
mod files;
mod inbox;
pub(crate) mod ledger;
mod mining;
mod net;
mod net_metrics;
mod peers;
mod power;
pub(crate) mod relay;
mod serve;
mod sql;
#[cfg(test)]
mod swarm_tests;
mod sync;
mod tasks;
mod view;

pub use error::NodeError;

use crate::api::{ApiServer, ApiSettings, EventHub};
use crate::config::{ChainChoice, NodeConfig, Role};
use crate::keystore::ValidatorKey;
use crate::metrics::{KnownLabels, Metrics};
use crate::stratum::{self, StratumServer, WorkFeed};
use backend::NodeBackend;
use bft::{BftConfig, BftHandle, BftMetrics};
use cairn_consensus::mempool::Policy;
use cairn_miner::{Kernel, Miner, Settings};
use cairn_network::counters::Dropped;
use cairn_network::{Multiaddr, NetworkConfig, NetworkHandle, identity};
use cairn_protocol::address::{Address, key_hash};
use cairn_protocol::block::SealBytes;
use cairn_protocol::ledger::{CheckedBlock, Fault};
use cairn_protocol::lock::Lock;
use cairn_protocol::spec::{ChainParams, ScheduleEntry, builtin};
use cairn_storage::chain::{ChainStore, StoreOptions};
use cairn_storage::directory::DataDirectory;
use disk::MeasuredDisk;
use ledger::{LedgerConfig, LedgerHandle};
use mining::{MiningSetup, NodeMiner};
use net::NetTask;
use net_metrics::NetMetrics;
use peers::PeerNumbers;
use relay::Relay;
use sql::{SqlConfig, SqlMetrics, SqlPart};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tasks::Tasks;
use tokio::sync::{mpsc, watch};

/// Time that each part has to stop; all of them together stay below the five seconds that a node
/// promises.
const STOP_MAX: Duration = Duration::from_millis(950);

/// Decided blocks that wait to be announced; one that finds no room is learnt by status.
const DECIDED_MAX: usize = 16;

/// Memory of a devnet node's mempool: the process stays below 60 MB.
const DEVNET_MEMPOOL_BYTES: u64 = 20_000_000;

/// The chain of a setting.
pub fn chain_params(chain: &ChainChoice) -> Result<ChainParams, NodeError> {
    match chain {
        ChainChoice::Devnet => Ok(builtin::by_name("devnet").expect("built in")),
        ChainChoice::Testnet => Ok(builtin::by_name("testnet").expect("built in")),
        ChainChoice::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| NodeError::SpecFile {
                path: path.clone(),
                error,
            })?;
            ChainParams::from_toml(&text).map_err(|error| NodeError::Spec {
                path: path.clone(),
                error,
            })
        }
    }
}

/// Runs a node until it is told to stop, or cannot go on.
pub fn run(config: &NodeConfig) -> Result<(), NodeError> {
    let params = Arc::new(chain_params(&config.chain)?);
    if params.schedule().iter().any(ScheduleEntry::may_slip) {
        // The rules of the switch are whole; validators do not speak in ANCHOR and TERMINAL yet.
        return Err(NodeError::Missing(
            "a validator's part in the switch from proof of work to BFT (a schedule entry with k)",
        ));
    }
    if config.roles.contains(&Role::Sql) && !config.roles.contains(&Role::Ledger) {
        return Err(NodeError::Missing("a node with the role sql alone"));
    }
    let reward = reward_address(config, &params)?;
    if let (Some(_), Some(why)) = (config.stratum, stratum::refusal(&params)) {
        return Err(NodeError::ForeignMiners(why));
    }
    let key = config.validator_key.as_deref();
    let key = key.map(ValidatorKey::read).transpose()?;
    let directory = DataDirectory::open(&config.data_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("cairn")
        .build()
        .map_err(NodeError::Runtime)?;
    let outcome = runtime.block_on(run_parts(config, params, reward, key, &directory));
    runtime.shutdown_timeout(STOP_MAX);
    outcome
}

fn reward_address(config: &NodeConfig, params: &ChainParams) -> Result<Option<Address>, NodeError> {
    let reward = config
        .mine_to
        .as_deref()
        .map(|text| Address::parse(text, params.network()));
    let reward = reward.transpose().map_err(NodeError::RewardAddress)?;
    if config.mine && reward.is_none() {
        return Err(NodeError::NoRewardAddress);
    }
    Ok(reward)
}

async fn run_parts(
    config: &NodeConfig,
    params: Arc<ChainParams>,
    reward: Option<Address>,
    key: Option<ValidatorKey>,
    directory: &DataDirectory,
) -> Result<(), NodeError> {
    // Signals are caught before anything is started, so that none is missed.
    let mut signals = Signals::new().map_err(NodeError::Runtime)?;
    let miner = start_miner(config, &params)?;
    let metrics = Arc::new(Metrics::new(&known_labels(
        &miner,
        config.roles.contains(&Role::Sql),
    )));
    let (fault, mut failure) = mpsc::channel::<Fault>(1);
    let ledger = start_ledger(config, &params, directory, &metrics, fault)?;
    let (network, events) = start_network(config, &params, directory, &ledger)?;
    let numbers = Arc::new(PeerNumbers::default());
    let relay = Relay::new(ledger.clone(), network.clone(), Arc::clone(&numbers));
    let (syncing_sender, syncing) = watch::channel(true);
    let mut tasks = Tasks::default();
    tasks.spawn("relay", Arc::clone(&relay).keep_time());
    let sync = sync::start(
        &mut tasks,
        ledger.clone(),
        network.clone(),
        Arc::clone(&numbers),
        syncing_sender,
    );
    let bft_metrics = BftMetrics::new(metrics.registry()).expect("names of their own");
    let bft = start_bft(
        &mut tasks,
        key,
        &ledger,
        &network,
        &relay,
        reward,
        bft_metrics,
    )?;
    let net = NetTask::new(
        ledger.clone(),
        network.clone(),
        Arc::clone(&relay),
        numbers,
        sync,
        bft.clone(),
    );
    tasks.spawn("network", net.run(events));
    let (node_miner, solutions) = NodeMiner::new(miner).map_err(NodeError::Runtime)?;
    if let Some(reward) = reward {
        let setup = MiningSetup {
            ledger: ledger.clone(),
            relay: Arc::clone(&relay),
            reward: reward.lock(),
            metrics: Arc::clone(&metrics),
            mine: config.mine,
            syncing: syncing.clone(),
            power_supplies: PathBuf::from(power::FOLDER),
        };
        tasks.spawn("miner", Arc::clone(&node_miner).run(setup, solutions));
    }
    let feed = WorkFeed::new(
        ledger.clone(),
        Arc::clone(&relay),
        syncing.clone(),
        metrics.registry(),
    );
    let feeding = Arc::clone(&feed);
    tasks.spawn("work feed", async move {
        feeding.run().await;
        // What it lives on has ended and is named itself.
        std::future::pending().await
    });
    let foreign = match config.stratum {
        Some(at) => Some(StratumServer::start(at, params.network(), Arc::clone(&feed)).await?),
        None => None,
    };
    let net_metrics = NetMetrics::new(metrics.registry(), network.counters())
        .expect("the families have names of their own");
    let stopping = Arc::new(AtomicBool::new(false));
    let failed = Arc::new(OnceLock::new());
    let has_sql = config.roles.contains(&Role::Sql);
    let sql_metrics = has_sql.then(|| {
        Arc::new(SqlMetrics::new(metrics.registry()).expect("the families have names of their own"))
    });
    let sql_gate = Arc::new(OnceLock::new());
    let backend = Arc::new(NodeBackend {
        ledger: ledger.clone(),
        network: network.clone(),
        relay,
        bft,
        miner: node_miner,
        mining_enabled: config.mine,
        reward,
        syncing,
        feed,
        stratum: foreign.as_ref().map(StratumServer::local_address),
        stopping: Arc::clone(&stopping),
        failed: Arc::clone(&failed),
        metrics: Arc::clone(&metrics),
        net_metrics,
        sql: Arc::clone(&sql_gate),
        sql_is_open: config.sql_password_file.is_none() || config.api_token_file.is_some(),
        sql_metrics: sql_metrics.clone(),
        stores: stores(directory, has_sql),
        runtime: tokio::runtime::Handle::current(),
    });
    let hub = Arc::new(EventHub::default());
    let feeding = feed_events(ledger.clone(), Arc::clone(&backend), Arc::clone(&hub));
    tasks.spawn("events", feeding);
    let settings = ApiSettings {
        listen: config.api,
        token_file: config.api_token_file.clone(),
        limits: Default::default(),
    };
    let sql = match sql_metrics {
        Some(sql_metrics) => {
            let part = SqlConfig {
                node: config,
                directory,
                backend: backend.clone(),
                is_devnet: params.is_devnet(),
                metrics: sql_metrics,
                disk: MeasuredDisk::new(metrics.storage_sync_seconds.clone()),
            };
            let part = SqlPart::start(&mut tasks, part).await?;
            let _ = sql_gate.set(part.gate().clone());
            Some(part)
        }
        None => None,
    };
    let api = ApiServer::start(settings, backend, hub, metrics).await?;
    if let Some(foreign) = &foreign {
        say(&format!(
            "stratum stratum+tcp://{}",
            foreign.local_address()
        ));
    }
    if let Some(sql) = &sql {
        say(&format!(
            "sql postgresql://cairn@{}/cairn",
            sql.local_address()
        ));
    }
    say(&format!("api http://{}", api.local_address()));
    tracing::info!(
        chain = params.name(), genesis = %params.chain_id(), height = ledger.view().height,
        api = %api.local_address(), "node is up"
    );
    let outcome = tokio::select! {
        signal = signals.next() => { tracing::info!(signal, "stopping"); Ok(()) }
        error = tasks.first_end(&mut failure) => {
            tracing::error!(%error, "the node cannot go on");
            let _ = failed.set(error.to_string());
            Err(error)
        }
    };
    stopping.store(true, Ordering::Relaxed);
    stop_parts(foreign, api, sql, &network, &ledger).await;
    outcome
}

/// Stops the parts in reverse order; each has its time, and one that overstays it is left behind.
async fn stop_parts(
    foreign: Option<StratumServer>,
    api: ApiServer,
    sql: Option<SqlPart>,
    network: &NetworkHandle,
    ledger: &LedgerHandle,
) {
    let late = |part: &str| tracing::warn!(part, "did not stop in time");
    if let Some(foreign) = foreign
        && tokio::time::timeout(STOP_MAX, foreign.stop())
            .await
            .is_err()
    {
        late("stratum");
    }
    if tokio::time::timeout(STOP_MAX, api.stop()).await.is_err() {
        late("api");
    }
    if let Some(sql) = sql {
        // Two steps: the sessions, and the database behind them.
        sql.stop(STOP_MAX / 2).await;
    }
    if tokio::time::timeout(STOP_MAX, network.shutdown())
        .await
        .is_err()
    {
        late("network");
    }
    if tokio::time::timeout(STOP_MAX, ledger.stop()).await.is_err() {
        late("ledger");
    }
}

fn start_miner(config: &NodeConfig, params: &ChainParams) -> Result<Arc<Miner>, NodeError> {
    let settings = Settings {
        threads: config.threads,
        kernel: None,
        priority: config
            .miner_priority
            .unwrap_or_else(|| mining::suitable_priority(params)),
    };
    let miner = Miner::new(settings).map_err(|error| NodeError::Miner(error.to_string()))?;
    for refusal in miner.refusals() {
        tracing::warn!(%refusal, "a miner kernel is refused");
    }
    Ok(Arc::new(miner))
}

fn known_labels(miner: &Miner, has_sql: bool) -> KnownLabels {
    let stores = STORES.iter().chain(has_sql.then_some(&SQL_STORE));
    let kernels = miner.hash_rates().into_iter().map(|rate| {
        (
            rate.algo.name().to_owned(),
            Kernel::name(rate.kernel).to_owned(),
        )
    });
    KnownLabels {
        kernels: kernels.collect(),
        queues: Dropped::ALL
            .iter()
            .map(|queue| queue.label().to_owned())
            .collect(),
        stores: stores.map(|(name, _)| (*name).to_owned()).collect(),
    }
}

/// Stores of a node: the label of their size, and where they are below the data directory.
const STORES: [(&str, &str); 3] = [
    ("blocks", "chain/log"),
    ("chain", "chain/tables.redb"),
    ("peers", "peers.redb"),
];

/// The store that a node has with the role sql.
const SQL_STORE: (&str, &str) = ("sql", sql::DIRECTORY);

fn stores(directory: &DataDirectory, has_sql: bool) -> Vec<(&'static str, PathBuf)> {
    STORES
        .iter()
        .chain(has_sql.then_some(&SQL_STORE))
        .map(|(name, path)| (*name, directory.join(path)))
        .collect()
}

fn start_ledger(
    config: &NodeConfig,
    params: &Arc<ChainParams>,
    directory: &DataDirectory,
    metrics: &Arc<Metrics>,
    failed: mpsc::Sender<Fault>,
) -> Result<LedgerHandle, NodeError> {
    let memory = config
        .max_memory_bytes
        .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let options = match memory {
        // Half for the chain's caches; the rest for mempool, swarm and requests.
        Some(bytes) => StoreOptions::with_memory(bytes / 2),
        None if params.is_devnet() => StoreOptions::small(),
        None => StoreOptions::default(),
    };
    let mut policy = Policy::default();
    if params.is_devnet() {
        policy.usage_bytes_max = DEVNET_MEMPOOL_BYTES;
    }
    let store = ChainStore::open(
        Arc::new(MeasuredDisk::new(metrics.storage_sync_seconds.clone())),
        &directory.join("chain"),
        Arc::clone(params),
        options,
    )?;
    let ledger = LedgerConfig {
        params: Arc::clone(params),
        policy,
        dump_file: directory.join("mempool.dat"),
        fees_file: directory.join("fees.dat"),
        metrics: Arc::clone(metrics),
    };
    let report = move |fault| {
        // The node is stopping already if nobody listens.
        let _ = failed.blocking_send(fault);
    };
    ledger::start(ledger, store, report).map_err(NodeError::Fault)
}

/// Starts the engine if this node has a validator's key. Without an address for rewards its
/// proposals pay its key.
fn start_bft(
    tasks: &mut Tasks,
    key: Option<ValidatorKey>,
    ledger: &LedgerHandle,
    network: &NetworkHandle,
    relay: &Arc<Relay>,
    reward: Option<Address>,
    metrics: BftMetrics,
) -> Result<Option<BftHandle>, NodeError> {
    let Some(key) = key else {
        return Ok(None);
    };
    let reward = match reward {
        Some(reward) => reward.lock(),
        None => Lock::Key(key_hash(&key.public)),
    };
    let (decided, mut announce) = mpsc::channel::<(Arc<CheckedBlock>, SealBytes)>(DECIDED_MAX);
    let relay = Arc::clone(relay);
    tasks.spawn("validator", async move {
        while let Some((block, seal)) = announce.recv().await {
            relay.announce_sealed(&block, seal).await;
        }
        "the engine has stopped".to_owned()
    });
    let config = BftConfig {
        ledger: ledger.clone(),
        network: network.clone(),
        key,
        reward,
        metrics,
        decided,
    };
    bft::start(config).map(Some)
}

fn start_network(
    config: &NodeConfig,
    params: &ChainParams,
    directory: &DataDirectory,
    ledger: &LedgerHandle,
) -> Result<(NetworkHandle, mpsc::Receiver<cairn_network::NetworkEvent>), NodeError> {
    let keypair = identity::load_or_create(&directory.join("node_key"))?;
    let mut network = NetworkConfig::new(keypair, net::status(params, &ledger.view(), 0));
    network.listen = multiaddrs("--p2p", &config.p2p)?;
    network.external = multiaddrs("--external-address", &config.external_addresses)?;
    let known = params.file().sync.bootnodes.iter().chain(&config.bootnodes);
    network.bootnodes = multiaddrs("--bootnode", &known.cloned().collect::<Vec<_>>())?;
    network.peers_file = Some(directory.join("peers.redb"));
    network.mdns = config.mdns;
    network.kad_server = params.is_devnet() || config.bootnodes.is_empty();
    network.private_addresses = params.is_devnet() || is_private_network(config);
    Ok(cairn_network::start(network)?)
}

/// Whether the operator's own words say that this network is not the public one: a bootnode, or
/// without any the listeners, on addresses that the internet does not route.
fn is_private_network(config: &NodeConfig) -> bool {
    match config.bootnodes.as_slice() {
        [] => !config.p2p.is_empty() && config.p2p.iter().all(|address| is_unrouted(address)),
        bootnodes => bootnodes.iter().any(|address| is_unrouted(address)),
    }
}

/// Whether a multiaddress begins with an IP address that is not of the public internet.
fn is_unrouted(address: &str) -> bool {
    let ip = address.split('/').nth(2).and_then(|ip| ip.parse().ok());
    ip.is_some_and(|ip| !cairn_network::peers::groups::is_global(ip))
}

fn multiaddrs(flag: &'static str, texts: &[String]) -> Result<Vec<Multiaddr>, NodeError> {
    let parse = |text: &String| {
        text.parse::<Multiaddr>()
            .map_err(|error| NodeError::Multiaddr {
                flag,
                text: text.clone(),
                reason: error.to_string(),
            })
    };
    texts.iter().map(parse).collect()
}

/// Tells the API's listeners what the ledger did.
async fn feed_events(
    ledger: LedgerHandle,
    backend: Arc<NodeBackend>,
    hub: Arc<EventHub>,
) -> String {
    use ledger::LedgerEvent;
    use tokio::sync::broadcast::error::RecvError;
    let mut events = ledger.subscribe();
    loop {
        match events.recv().await {
            Ok(LedgerEvent::TipChanged) | Err(RecvError::Lagged(_)) => hub.chain_changed(),
            Ok(LedgerEvent::TransactionAdded { txid }) => {
                if let Some(summary) = backend.pool_summary(&txid) {
                    hub.transaction(summary);
                }
            }
            Ok(_) => {}
            Err(RecvError::Closed) => return "the ledger has stopped".to_owned(),
        }
    }
}

/// Writes a line for scripts to standard output. Whoever read it may have gone: that stops no node.
fn say(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The signals that stop a node.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        let (terminate, interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        Ok(Signals {
            terminate,
            interrupt,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_unrouted;

    #[test]
    fn addresses_that_the_internet_does_not_route() {
        for private in [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/10.1.2.3/tcp/1",
            "/ip6/fd00::1/tcp/1",
        ] {
            assert!(is_unrouted(private), "{private}");
        }
        for public in [
            "/ip4/8.8.8.8/tcp/1",
            "/dns/example.org/tcp/1",
            "/ip6/2600::1/tcp/1",
        ] {
            assert!(!is_unrouted(public), "{public}");
        }
    }
}
