//! The node as the HTTP API sees it.
//!
//! Invariant: no rule lives here; every answer is a reading of a snapshot, of the mempool under its
//! lock, or of a task's published state.

mod chain;
mod convert;
mod getwork;
mod rates;
mod seal;
mod work;

use super::bft::BftHandle;
use super::clock::{now_ms, now_s};
use super::ledger::{LedgerHandle, SubmitError as LedgerSubmitError};
use super::mining::NodeMiner;
use super::net_metrics::NetMetrics;
use super::relay::Relay;
use super::sql::{SqlGate, SqlMetrics};
use crate::api::backend::{
    Address, AddressError, Answer, Backend, BackendError, ChainView, SqlFailure, SqlRequest,
    SubmitError,
};
use crate::api::model::amount::PebblesDelta;
use crate::api::model::chain::{Readiness, Status};
use crate::api::model::fees::{BlockFees, FeeTarget, Fees};
use crate::api::model::hash::Hash32;
use crate::api::model::mempool::Mempool;
use crate::api::model::miner::MinerStatus;
use crate::api::model::peer::{Peer, Peers};
use crate::api::model::transaction::TransactionDetail;
use crate::metrics::Metrics;
use crate::stratum::WorkFeed;
use cairn_consensus::chain::Source;
use cairn_consensus::mempool::Entry;
use cairn_network::counters::Dropped;
use cairn_network::{Direction, NetworkHandle};
use cairn_protocol::address;
use cairn_protocol::codec::{self, DecodeError};
use cairn_protocol::hash::{KeyHash, TxId};
use cairn_protocol::limits::{TRANSACTION_BYTES_MAX, TX_BATCH_BYTES_MAX};
use cairn_protocol::lock::Lock;
use cairn_protocol::rules::Violation;
use cairn_protocol::spec::ChainParams;
use cairn_protocol::transaction::Transaction;
use chain::SnapshotView;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Bytes of a gossip batch that are not the transaction.
const BATCH_OVERHEAD_BYTES: usize = 64;

/// Blocks whose fees `/v1/fees` lists.
const FEE_BLOCKS_SHOWN: usize = 24;

/// What the API answers from.
pub struct NodeBackend {
    /// The ledger.
    pub ledger: LedgerHandle,
    /// The swarm.
    pub network: NetworkHandle,
    /// The relay.
    pub relay: Arc<Relay>,
    /// The engine, if this node has a validator's key.
    pub bft: Option<BftHandle>,
    /// The miner.
    pub miner: Arc<NodeMiner>,
    /// Whether this node was asked to mine.
    pub mining_enabled: bool,
    /// Where rewards go.
    pub reward: Option<address::Address>,
    /// Whether this node still catches up.
    pub syncing: watch::Receiver<bool>,
    /// Work for foreign miners.
    pub feed: Arc<WorkFeed>,
    /// Where Stratum listens, if it does.
    pub stratum: Option<SocketAddr>,
    /// Set when the node stops.
    pub stopping: Arc<AtomicBool>,
    /// Why the node cannot go on, once it cannot.
    pub failed: Arc<OnceLock<String>>,
    /// Metrics whose gauges are brought up to date on demand.
    pub metrics: Arc<Metrics>,
    /// The swarm's counters.
    pub net_metrics: NetMetrics,
    /// Runs SQL once it is served.
    pub sql: Arc<OnceLock<SqlGate>>,
    /// Whether the API may run SQL though SQL asks for a password: it asks for a token then.
    pub sql_is_open: bool,
    /// What SQL counts, with that role.
    pub sql_metrics: Option<Arc<SqlMetrics>>,
    /// Files and folders whose size is shown, by name.
    pub stores: Vec<(&'static str, PathBuf)>,
    /// For the few calls that wait for a task.
    pub runtime: Handle,
}

impl NodeBackend {
    fn params(&self) -> &Arc<ChainParams> {
        self.ledger.params()
    }

    fn view(&self) -> SnapshotView {
        let view = self.ledger.view();
        let finalized = (view.finalized_height, view.finalized);
        SnapshotView {
            params: Arc::clone(self.params()),
            snapshot: self.ledger.snapshot(),
            finalized,
        }
    }

    /// A transaction that was just added, for events.
    pub fn pool_summary(
        &self,
        txid: &TxId,
    ) -> Option<crate::api::model::mempool::MempoolTransaction> {
        self.ledger
            .mempool()
            .read()
            .get(txid)
            .map(convert::mempool_transaction)
    }

    fn submit(&self, transaction: Transaction) -> Result<TxId, SubmitError> {
        let verdicts = self
            .runtime
            .block_on(self.ledger.submit(vec![transaction.clone()], Source::LOCAL));
        let stopped = |_| SubmitError::Busy("the node is stopping".to_owned());
        let verdict = verdicts
            .map_err(stopped)?
            .pop()
            .expect("one answer for one transaction");
        match verdict {
            Ok(txid) => {
                if !self.relay.announce_transaction(transaction) {
                    tracing::warn!(%txid, "too many own transactions wait to be gossiped");
                }
                Ok(txid)
            }
            Err(LedgerSubmitError::Known(txid)) => {
                self.relay.announce_transaction(transaction);
                Ok(txid)
            }
            Err(error) => Err(submit_error(error)),
        }
    }
}

fn submit_error(error: LedgerSubmitError) -> SubmitError {
    match error {
        LedgerSubmitError::Invalid(violation @ Violation::MissingCoin { .. }) => {
            SubmitError::Conflict(violation.to_string())
        }
        LedgerSubmitError::Invalid(violation) => SubmitError::Invalid {
            rule: violation.id().to_owned(),
            detail: violation.to_string(),
        },
        LedgerSubmitError::Orphan(text) => SubmitError::Conflict(format!(
            "{text}: spent already, or their transaction is missing"
        )),
        LedgerSubmitError::Refused(text) => SubmitError::Refused(text),
        LedgerSubmitError::Known(txid) => SubmitError::Refused(format!("{txid} is known")),
    }
}

fn decode_error(error: DecodeError) -> SubmitError {
    SubmitError::Undecodable(error.to_string())
}

impl Backend for NodeBackend {
    fn is_devnet(&self) -> bool {
        self.params().is_devnet()
    }

    fn status(&self) -> Answer<Status> {
        let view = self.ledger.view();
        let params = self.params();
        let entry = params.entry_index(view.height);
        Ok(Status {
            chain: params.name().to_owned(),
            genesis: Hash32(params.chain_id().0),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            peer_id: self.network.local_peer_id().to_string(),
            consensus: params.schedule()[entry].engine.name().to_owned(),
            height: view.height,
            tip: Hash32(view.tip.0),
            finalized_height: view.finalized_height,
            syncing: *self.syncing.borrow(),
            peers: self.relay.peers() as u64,
            mempool_transactions: self.ledger.mempool().read().len() as u64,
            hashes_per_second: rates::latest(&self.miner.miner().hash_rates()),
        })
    }

    fn readiness(&self) -> Readiness {
        let failed = self.failed.get();
        let mut reasons: Vec<String> = failed
            .map(|why| format!("failed: {why}"))
            .into_iter()
            .collect();
        if self.stopping.load(Ordering::Relaxed) {
            reasons.push("the node is stopping".to_owned());
        }
        if *self.syncing.borrow() {
            let view = self.ledger.view();
            let (height, best) = (view.height, view.header_height);
            reasons.push(format!("syncing: height {height} of at least {best}"));
        }
        if let Some(silent) = self
            .bft
            .as_ref()
            .and_then(|bft| bft.status().silent.clone())
        {
            reasons.push(format!("this validator does not vote: {silent}"));
        }
        Readiness {
            ready: reasons.is_empty(),
            reasons,
        }
    }

    fn chain(&self) -> Answer<Arc<dyn ChainView>> {
        Ok(Arc::new(self.view()))
    }

    fn parse_address(&self, text: &str) -> Result<Address, AddressError> {
        match address::Address::parse(text, self.params().network()) {
            Ok(parsed) => Ok(Address {
                text: text.to_owned(),
                key_hash: Hash32(parsed.key_hash.0),
            }),
            Err(error @ address::AddressError::WrongNetwork { .. }) => {
                Err(AddressError::OtherNetwork(error.to_string()))
            }
            Err(error) => Err(AddressError::Malformed(error.to_string())),
        }
    }

    fn mempool(&self, limit: usize) -> Answer<Mempool> {
        let pool = self.ledger.mempool().read();
        let stats = pool.stats(now_s());
        let transactions = pool
            .by_fee_rate()
            .take(limit)
            .map(convert::mempool_transaction);
        Ok(Mempool {
            count: stats.transactions as u64,
            bytes: stats.bytes,
            weight: stats.weight,
            fees: convert::pebbles(stats.fees),
            min_fee_rate: convert::rate(stats.fee_rate_min),
            transactions: transactions.collect(),
        })
    }

    fn mempool_transaction(&self, txid: Hash32) -> Answer<Option<TransactionDetail>> {
        let pool = self.ledger.mempool().read();
        let network = self.params().network();
        Ok(pool.get(&TxId(txid.0)).map(|entry| {
            convert::transaction(network, &entry.transaction, &entry.ids, &entry.spent, None)
        }))
    }

    fn pending(&self, address: &Address) -> Answer<PebblesDelta> {
        let pool = self.ledger.mempool().read();
        Ok(PebblesDelta(
            pool.pending_delta(&KeyHash(address.key_hash.0)),
        ))
    }

    fn pending_transactions(
        &self,
        address: &Address,
        limit: usize,
    ) -> Answer<Vec<TransactionDetail>> {
        let pool = self.ledger.mempool().read();
        let network = self.params().network();
        let entries = pool.of_owner(&KeyHash(address.key_hash.0));
        let detail = |entry: &Entry| {
            convert::transaction(network, &entry.transaction, &entry.ids, &entry.spent, None)
        };
        Ok(entries.into_iter().take(limit).map(detail).collect())
    }

    fn submit_transaction(&self, bytes: &[u8]) -> Result<Hash32, SubmitError> {
        let transaction: Transaction =
            codec::decode(bytes, TRANSACTION_BYTES_MAX).map_err(decode_error)?;
        if bytes.len() + BATCH_OVERHEAD_BYTES > TX_BATCH_BYTES_MAX {
            let (len, max) = (bytes.len(), TX_BATCH_BYTES_MAX - BATCH_OVERHEAD_BYTES);
            let text = format!("transaction of {len} bytes exceeds the {max} that peers relay");
            return Err(SubmitError::Refused(text));
        }
        self.submit(transaction).map(|txid| Hash32(txid.0))
    }

    fn fees(&self) -> Answer<Fees> {
        let published = self.ledger.published();
        let (pool, estimator) = (published.mempool.read(), published.estimator.read());
        let targets = estimator
            .estimates(&pool, now_s())
            .into_iter()
            .map(|estimate| FeeTarget {
                blocks: u64::from(estimate.target),
                fee_rate: convert::rate(estimate.fee_rate),
            });
        let blocks = estimator
            .blocks()
            .rev()
            .take(FEE_BLOCKS_SHOWN)
            .map(|fees| BlockFees {
                height: fees.height,
                min: convert::rate(fees.min),
                median: convert::rate(fees.median),
                mean: convert::rate(fees.mean),
                max: convert::rate(fees.max),
            });
        Ok(Fees {
            min_fee_rate: convert::rate(pool.fee_rate_min(now_s())),
            targets: targets.collect(),
            blocks: blocks.collect(),
        })
    }

    fn peers(&self) -> Answer<Peers> {
        let now = now_ms();
        let convert = |info: cairn_network::PeerInfo| Peer {
            peer_id: info.peer.to_string(),
            address: info.address.to_string(),
            direction: match info.direction {
                Direction::Inbound => "inbound".to_owned(),
                Direction::Outbound => "outbound".to_owned(),
            },
            agent: Some(info.agent).filter(|agent| !agent.is_empty()),
            height: Some(info.status.best_height),
            ping_ms: info.ping_ms.map(|ms| ms as f64),
            score: info.score,
            connected_seconds: now.saturating_sub(info.since_ms) / 1000,
        };
        Ok(Peers {
            peers: self.network.peers().into_iter().map(convert).collect(),
        })
    }

    fn miner(&self) -> Answer<MinerStatus> {
        let status = self.miner.mining().status();
        let function = self.params().timing().pow_function;
        let kernel = status
            .kernel
            .unwrap_or_else(|| self.miner.miner().kernel(function));
        Ok(MinerStatus {
            enabled: self.mining_enabled,
            paused: !status.paused.is_empty(),
            pauses: status.paused.iter().map(ToString::to_string).collect(),
            algo: function.name().to_owned(),
            kernel: kernel.name().to_owned(),
            threads: status.threads as u64,
            hashes_per_second: status
                .hash_rates
                .iter()
                .map(|rate| rate.per_second_60s)
                .sum(),
            rates: rates::of_kernels(&status.hash_rates),
            network_hashes_per_second: rates::of_network(&self.ledger.snapshot())
                .map_err(chain::fault)?,
            hashes: status.hash_rates.iter().map(|rate| rate.hashes).sum(),
            blocks_found: self.miner.blocks_found(),
            address: self.reward.map(|address| address.to_string()),
            stratum: self.stratum.map(|listen| self.feed.status(listen)),
        })
    }

    fn set_miner_paused(&self, paused: bool) -> Answer<MinerStatus> {
        if !self.mining_enabled {
            return Err(BackendError::NotAvailable(
                "this node was started without --mine: start it with --mine".to_owned(),
            ));
        }
        self.miner.set_paused(paused);
        self.miner()
    }

    fn generate_to_address(&self, blocks: u32, address: &Address) -> Answer<Vec<Hash32>> {
        work::generate(self, blocks, Lock::Key(KeyHash(address.key_hash.0)))
    }

    fn block_template(&self) -> Answer<serde_json::Value> {
        work::block_template(self)
    }

    fn template_is_old(&self, longpollid: &str) -> Answer<bool> {
        Ok(work::is_old(self, longpollid))
    }

    fn submit_block(&self, bytes: &[u8]) -> Answer<Result<Hash32, String>> {
        work::submit_block(self, bytes)
    }

    fn get_work(&self, user: Option<&str>) -> Answer<serde_json::Value> {
        getwork::get(self, user)
    }

    fn submit_work(&self, data: &[u8]) -> Answer<Result<(), String>> {
        getwork::submit(self, data)
    }

    fn sql(&self, request: SqlRequest) -> Answer<Option<Result<String, SqlFailure>>> {
        let Some(gate) = self.sql.get() else {
            return Ok(None);
        };
        if !self.sql_is_open {
            let why = "SQL asks for a password and this API for no token: start the node with \
                       --api-token-file to serve SQL over HTTP too";
            return Err(BackendError::NotAvailable(why.to_owned()));
        }
        Ok(Some(gate.run(request, &self.runtime)))
    }

    fn libp2p_metrics(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, self.network.registry());
        text
    }

    fn refresh_metrics(&self) {
        let peers = self.network.peers();
        for (label, direction) in [
            ("inbound", Direction::Inbound),
            ("outbound", Direction::Outbound),
        ] {
            let count = peers
                .iter()
                .filter(|info| info.direction == direction)
                .count();
            let gauge = self.metrics.peers.with_label_values(&[label]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let (count, bytes) = {
            let stats = self.ledger.mempool().read().stats(now_s());
            (stats.transactions as u64, stats.bytes)
        };
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.metrics.mempool_transactions.set(gauge(count));
        self.metrics.mempool_bytes.set(gauge(bytes));
        for (name, path) in &self.stores {
            let bytes = super::files::bytes_below(path);
            self.metrics
                .storage_bytes
                .with_label_values(&[name])
                .set(gauge(bytes));
        }
        if let Some(sql) = &self.sql_metrics {
            sql.refresh();
        }
        self.feed.refresh_metrics();
        // A fault of the store shows elsewhere; the gauge keeps its last value.
        if let Ok(rate) = rates::of_network(&self.ledger.snapshot()) {
            self.metrics.network_hash_rate.set(rate);
        }
        rates::refresh(&self.metrics, &self.miner.miner().hash_rates());
        self.net_metrics.refresh(self.network.counters());
        for queue in Dropped::ALL {
            let total = self.network.counters().dropped_count(*queue);
            let counter = self.metrics.net_dropped.with_label_values(&[queue.label()]);
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }
}
