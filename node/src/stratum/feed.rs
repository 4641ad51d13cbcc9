//! Work for foreign miners from the ledger, and their blocks back to it.
//!
//! One template is made for all of them; each puts its own address in. Invariants: work is made only
//! while somebody wants it; a new tip replaces it at once, higher fees at the next look; there is
//! none while the node catches up, since it would be for an old tip.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_consensus::chain::BlockOutcome;
use cairn_consensus::template::BlockTemplate;
use cairn_miner::stratum::{Found, GetworkRefusal, Now, Outstanding, Work, Workers};
use cairn_protocol::hash::{BlockId, KeyHash};
use cairn_protocol::header::Header;
use cairn_protocol::lock::Lock;
use cairn_protocol::units::Amount;
use parking_lot::Mutex;
use prometheus::Registry;
use tokio::sync::{broadcast, watch};

use super::limits::{
    AHEAD_S_MAX, GETWORK_DEMAND_MS, LOOK, RENEW_LOOKS, TEMPLATES_MAX, WORKERS_SHOWN,
};
use super::metrics::ForeignMetrics;
use crate::api::model::stratum::{StratumStatus, StratumWorker};
use crate::runtime::clock::{monotonic_ms, now_u32};
use crate::runtime::ledger::{LedgerEvent, LedgerHandle};
use crate::runtime::relay::{Announce, Relay};

/// What became of a block that a foreign miner found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundOutcome {
    /// It is on the chain.
    Connected(BlockId),
    /// It is not; says why.
    Lost(String),
}

/// The ledger has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping")]
pub struct Stopped;

/// Why there is no work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWork {
    /// The node catches up.
    #[error("the node is syncing: work would be for an old tip")]
    Syncing,
    /// The chain's time runs ahead.
    #[error("the chain's time is {ahead_s} s ahead of the clock: at most {AHEAD_S_MAX}; wait")]
    Ahead {
        /// By how much.
        ahead_s: u32,
    },
    /// No template can be made.
    #[error("{0}")]
    Template(String),
    /// The node ends.
    #[error("the node is stopping")]
    Stopping,
}

/// Work for all foreign miners of a node.
pub struct WorkFeed {
    ledger: LedgerHandle,
    relay: Arc<Relay>,
    syncing: watch::Receiver<bool>,
    works: watch::Sender<Option<Arc<Work>>>,
    templates: Mutex<VecDeque<(u64, Arc<BlockTemplate>)>>,
    /// One maker at a time: ten thousand questions about a new tip are one template.
    making: tokio::sync::Mutex<()>,
    numbers: AtomicU64,
    extra_nonces: AtomicU64,
    getwork_ms: AtomicU64,
    outstanding: Mutex<Outstanding>,
    workers: Mutex<Workers>,
    metrics: ForeignMetrics,
}

impl WorkFeed {
    /// A feed that makes no work before somebody wants it.
    ///
    /// # Panics
    /// When its metrics are registered already.
    pub fn new(
        ledger: LedgerHandle,
        relay: Arc<Relay>,
        syncing: watch::Receiver<bool>,
        registry: &Registry,
    ) -> Arc<WorkFeed> {
        Arc::new(WorkFeed {
            ledger,
            relay,
            syncing,
            works: watch::Sender::new(None),
            templates: Mutex::default(),
            making: tokio::sync::Mutex::new(()),
            // Job ids of this run are not those of the last.
            numbers: AtomicU64::new(u64::from(rand::random::<u32>())),
            extra_nonces: AtomicU64::new(rand::random()),
            getwork_ms: AtomicU64::new(0),
            outstanding: Mutex::default(),
            workers: Mutex::default(),
            metrics: ForeignMetrics::new(registry).expect("the families have names of their own"),
        })
    }

    /// Keeps the work fresh until the ledger stops.
    pub async fn run(self: Arc<Self>) {
        let mut events = self.ledger.subscribe();
        let mut syncing = self.syncing.clone();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut looks, mut fees) = (0, Amount::ZERO);
        loop {
            let renew = tokio::select! {
                event = events.recv() => match event {
                    Ok(LedgerEvent::TipChanged) | Err(broadcast::error::RecvError::Lagged(_)) => true,
                    Ok(_) => false,
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                changed = syncing.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    true
                }
                _ = look.tick() => {
                    looks += 1;
                    let none = self.works.borrow().is_none();
                    none || looks >= RENEW_LOOKS || self.best_fees() > fees
                }
            };
            if !renew || !self.is_wanted() {
                continue;
            }
            looks = 0;
            fees = self.best_fees();
            let _one = self.making.lock().await;
            if self.renew().await == Err(NoWork::Stopping) {
                return;
            }
        }
    }

    fn is_wanted(&self) -> bool {
        let asked_ms = self.getwork_ms.load(Ordering::Relaxed);
        let recent = asked_ms > 0 && monotonic_ms().saturating_sub(asked_ms) < GETWORK_DEMAND_MS;
        recent || self.works.receiver_count() > 0
    }

    fn best_fees(&self) -> Amount {
        let weight = self.ledger.params().limits().block_weight_max;
        self.ledger.mempool().read().best_fee_total(weight)
    }

    /// Makes work and shows it to everyone, or that there is none.
    async fn renew(&self) -> Result<Arc<Work>, NoWork> {
        let made = self.make().await;
        if let Err(why) = &made {
            tracing::debug!(%why, "no work for foreign miners");
        }
        self.works.send_replace(made.as_ref().ok().map(Arc::clone));
        made
    }

    async fn make(&self) -> Result<Arc<Work>, NoWork> {
        if *self.syncing.borrow() {
            return Err(NoWork::Syncing);
        }
        // Each miner puts its own address into the output.
        let nobody = Lock::Key(KeyHash([0; 32]));
        let template = match self.ledger.template(nobody).await {
            Ok(template) => template.map_err(NoWork::Template)?,
            Err(_) => return Err(NoWork::Stopping),
        };
        let ahead_s = template.block.header.time.saturating_sub(now_u32());
        if ahead_s > AHEAD_S_MAX {
            return Err(NoWork::Ahead { ahead_s });
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let work = Arc::new(Work {
            number,
            header: template.block.header,
            coinbase: template.block.coinbase.clone(),
            extension_hash: template.extension_hash,
            tx_root: template.tx_root,
            target: template.target,
        });
        let mut templates = self.templates.lock();
        let parent = work.parent();
        templates.retain(|(_, template)| template.block.header.parent == parent);
        if templates.len() >= TEMPLATES_MAX {
            templates.pop_front();
        }
        templates.push_back((number, Arc::new(template)));
        Ok(work)
    }

    /// The work as it changes; somebody who holds this is somebody who wants it.
    pub(super) fn subscribe(&self) -> watch::Receiver<Option<Arc<Work>>> {
        self.works.subscribe()
    }

    /// Work on the present tip, made now if there is none.
    ///
    /// # Errors
    /// Says why there is none.
    pub(super) async fn present(&self) -> Result<Arc<Work>, NoWork> {
        let fits = |work: &Arc<Work>| {
            let is_fresh = now_u32().saturating_sub(work.header.time) < 2 * RENEW_LOOKS;
            is_fresh && work.parent() == self.ledger.view().tip
        };
        let shown = || self.works.borrow().clone();
        if let Some(work) = shown().filter(fits) {
            return Ok(work);
        }
        let _one = self.making.lock().await;
        match shown().filter(fits) {
            Some(work) => Ok(work),
            None => self.renew().await,
        }
    }

    /// Eight bytes that no other session and no other getwork has.
    pub(super) fn extra_nonce(&self) -> [u8; 8] {
        self.extra_nonces
            .fetch_add(1, Ordering::Relaxed)
            .to_be_bytes()
    }

    /// A header to search, and the target, for getwork.
    ///
    /// # Errors
    /// Says why there is none.
    pub async fn get_work(
        &self,
        lock: &Lock,
    ) -> Result<(Header, cairn_protocol::pow::Target), NoWork> {
        self.getwork_ms
            .store(monotonic_ms().max(1), Ordering::Relaxed);
        let work = self.present().await?;
        let extra_nonce = self.extra_nonce();
        let header = self.outstanding.lock().hand_out(&work, lock, extra_nonce);
        Ok((header, work.target))
    }

    /// Takes a header of getwork back.
    ///
    /// # Errors
    /// Says why it is not good; [`Stopped`] when the node ends.
    pub async fn submit_work(
        &self,
        header: &Header,
    ) -> Result<Result<FoundOutcome, GetworkRefusal>, Stopped> {
        let now = Now {
            ms: monotonic_ms(),
            unix_s: now_u32(),
        };
        let tip = self.ledger.view().tip;
        let found = self.outstanding.lock().take_back(now, &tip, header);
        match found {
            Ok(found) => self.submit(found, "getwork").await.map(Ok),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Hands a found block to the ledger and the peers.
    ///
    /// # Errors
    /// When the node ends.
    pub(super) async fn submit(
        &self,
        found: Found,
        protocol: &'static str,
    ) -> Result<FoundOutcome, Stopped> {
        let template = self
            .templates
            .lock()
            .iter()
            .find(|(number, _)| *number == found.work)
            .map(|(_, template)| Arc::clone(template));
        let Some(template) = template else {
            return Ok(FoundOutcome::Lost("its work is of an old tip".to_owned()));
        };
        let mut block = template.block.clone();
        block.header = found.header;
        block.coinbase = found.coinbase;
        let (id, height) = (block.id(), block.extension.height);
        let reply = self.relay.submit(block, Announce::Stored).await;
        let reply = reply.map_err(|_| Stopped)?;
        let lost = match reply.outcome {
            BlockOutcome::Stored { .. } if reply.connected => {
                tracing::info!(height, %id, protocol, "a foreign miner found a block");
                self.metrics.block(protocol);
                return Ok(FoundOutcome::Connected(id));
            }
            BlockOutcome::Stored { .. } => "another block came first".to_owned(),
            other => format!("{other:?}"),
        };
        tracing::info!(height, %id, protocol, %lost, "a foreign miner's block is not on the chain");
        Ok(FoundOutcome::Lost(lost))
    }

    /// The workers' numbers, to change.
    pub(super) fn workers(&self) -> &Mutex<Workers> {
        &self.workers
    }

    /// The metrics.
    pub(super) fn metrics(&self) -> &ForeignMetrics {
        &self.metrics
    }

    /// Brings gauges up to date.
    pub fn refresh_metrics(&self) {
        let workers = self.workers.lock();
        let count = i64::try_from(workers.count()).unwrap_or(i64::MAX);
        self.metrics.workers.set(count);
        let rate = workers.hashes_per_second(monotonic_ms());
        self.metrics.hashes_per_second.set(rate);
    }

    /// The state of Stratum for `/v1/miner`.
    pub fn status(&self, listen: std::net::SocketAddr) -> StratumStatus {
        let now_ms = monotonic_ms();
        let workers = self.workers.lock();
        let rows = workers.rows(now_ms, WORKERS_SHOWN);
        let total = rows.len().max(workers.count()) as u64;
        let hashes_per_second = workers.hashes_per_second(now_ms);
        drop(workers);
        let worker = |row: cairn_miner::stratum::WorkerRow| {
            let [accepted, stale, duplicate, low_difficulty, invalid] = row.shares;
            StratumWorker {
                address: row.address,
                worker: row.name,
                connections: u64::from(row.connections),
                accepted,
                stale,
                duplicate,
                low_difficulty,
                invalid,
                blocks_found: row.blocks,
                difficulty: row.difficulty,
                hashes_per_second: row.hashes_per_second,
                last_share_seconds: row.silent_ms.map(|ms| ms / 1000),
            }
        };
        StratumStatus {
            listen: listen.to_string(),
            connections: u64::try_from(self.metrics.connections.get()).unwrap_or(0),
            hashes_per_second,
            workers_total: total,
            workers: rows.into_iter().map(worker).collect(),
        }
    }
}
