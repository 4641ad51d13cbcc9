//! The ledger thread: takes commands one by one, moves the chain, keeps the mempool in step.
//!
//! Invariant: after each command the published view, the snapshot and the mempool belong to one tip.
//! A fault of the disk ends the thread and with it the node: nothing is promised after it.

use super::batch::{Arriving, Unsynced};
use super::command::{
    BlockReply, COMMANDS_MAX, Command, HeadersReply, LedgerHandle, MissingBodies,
};
use super::event::LedgerEvent;
use super::submit::spend_context;
use crate::metrics::Metrics;
use crate::runtime::clock::{now_ms, now_s, now_u32};
use crate::runtime::view::ChainView;
use arc_swap::ArcSwap;
use cairn_consensus::chain::{BlockOutcome, Body, Chain, ChainEvent, Source};
use cairn_consensus::fees::{BlockFees, Estimator};
use cairn_consensus::mempool::{
    Mempool, Policy, Removal, Removed, Selection, decode_dump, encode_dump,
};
use cairn_consensus::template::{BlockTemplate, Chosen};
use cairn_protocol::block::HeaderRecord;
use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::Fault;
use cairn_protocol::limits::COINBASE_BYTES_MAX;
use cairn_protocol::lock::Lock;
use cairn_protocol::signature::{CachedCheck, Ed25519, SignatureCache};
use cairn_protocol::spec::ChainParams;
use cairn_protocol::transaction::BODY_WEIGHT;
use cairn_storage::chain::{ChainReader, ChainStore};
use parking_lot::{Mutex, RwLock};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, mpsc, oneshot};

/// Events that a slow receiver may lag behind.
const EVENTS_MAX: usize = 4_096;

/// Entries of the signature cache: two generations of wtxids at 32 bytes, some 8 MB when full.
const SIGNATURE_CACHE_ENTRIES: usize = 100_000;

/// Upkeep between commands: held blocks, expiry, flush.
const TICK: Duration = Duration::from_secs(1);

/// Moves of the tip after which readers see them, in a long run of moves.
const PUBLISH_EVERY: u64 = 64;

/// Seconds between two dumps of the mempool.
const DUMP_INTERVAL_S: u64 = 600;

/// Weight kept free for header, extension, attachments and the coinbase.
const TEMPLATE_OVERHEAD: u64 = BODY_WEIGHT * (80 + 1_024 + 64 + COINBASE_BYTES_MAX as u64 / 4);

/// What the ledger starts from.
pub struct LedgerConfig {
    /// The chain.
    pub params: Arc<ChainParams>,
    /// The mempool's limits.
    pub policy: Policy,
    /// File of the mempool's dump.
    pub dump_file: PathBuf,
    /// File of the fee estimator.
    pub fees_file: PathBuf,
    /// Where times and counts go.
    pub metrics: Arc<Metrics>,
}

/// What anybody may read at any time.
pub struct Published {
    /// Snapshots.
    pub reader: ChainReader,
    /// Tip, best header, floor.
    pub view: ArcSwap<ChainView>,
    /// The mempool; written by the ledger thread alone.
    pub mempool: RwLock<Mempool>,
    /// The fee estimator; written by the ledger thread alone.
    pub estimator: RwLock<Estimator>,
}

/// The thread's state.
pub(super) struct Worker {
    pub(super) params: Arc<ChainParams>,
    pub(super) chain: Chain<ChainStore>,
    pub(super) signatures: CachedCheck<Ed25519>,
    pub(super) published: Arc<Published>,
    events: broadcast::Sender<LedgerEvent>,
    metrics: Arc<Metrics>,
    dump_file: PathBuf,
    fees_file: PathBuf,
    dumped_s: u64,
    /// Sources that left and are to be forgotten.
    gone: Arc<Mutex<Vec<Source>>>,
    unsynced: Unsynced,
}

/// Opens the chain over `store` and starts the thread. `failed` is called if it ends by a fault or a
/// panic.
///
/// Errors: a fault of the store, or one that belongs to another chain.
pub fn start(
    config: LedgerConfig,
    store: ChainStore,
    failed: impl FnOnce(Fault) + Send + 'static,
) -> Result<LedgerHandle, Fault> {
    let LedgerConfig {
        params,
        policy,
        dump_file,
        fees_file,
        metrics,
    } = config;
    let reader = store.reader();
    let chain = Chain::open(Arc::clone(&params), store, rand::random())?;
    let estimator = load_estimator(&fees_file, &params);
    let published = Arc::new(Published {
        reader,
        view: ArcSwap::from_pointee(view_of(&chain)),
        mempool: RwLock::new(Mempool::new(policy)),
        estimator: RwLock::new(estimator),
    });
    let cache = SignatureCache::new(SIGNATURE_CACHE_ENTRIES, rand::random());
    let (events, _) = broadcast::channel(EVENTS_MAX);
    let gone = Arc::new(Mutex::new(Vec::new()));
    let mut worker = Worker {
        params: Arc::clone(&params),
        chain,
        signatures: CachedCheck::new(Ed25519, cache),
        published: Arc::clone(&published),
        events: events.clone(),
        metrics,
        dump_file,
        fees_file,
        dumped_s: now_s(),
        gone: Arc::clone(&gone),
        unsynced: Unsynced::default(),
    };
    worker.settle()?;
    worker.load_dump()?;
    let (commands, queue) = mpsc::channel(COMMANDS_MAX);
    let run = move || {
        // A panic is our bug: nothing of the worker is used after it, and the node stops.
        let ended = catch_unwind(AssertUnwindSafe(|| worker.run(queue)));
        let fault = match ended {
            Ok(Ok(())) => return,
            Ok(Err(fault)) => fault,
            Err(panic) => Fault(format!(
                "the ledger thread panicked: {}",
                panic_text(&*panic)
            )),
        };
        failed(fault);
    };
    std::thread::Builder::new()
        .name("cairn-ledger".into())
        .spawn(run)
        .map_err(|error| Fault(format!("cannot start the ledger thread: {error}")))?;
    Ok(LedgerHandle {
        params,
        commands,
        published,
        events,
        gone,
    })
}

/// What a panic said.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

fn load_estimator(path: &std::path::Path, params: &ChainParams) -> Estimator {
    let weight_max = params.limits().block_weight_max;
    let Ok(bytes) = std::fs::read(path) else {
        return Estimator::new(weight_max);
    };
    Estimator::from_bytes(weight_max, &bytes).unwrap_or_else(|error| {
        tracing::warn!(file = %path.display(), %error, "fee history is damaged: starting a new one");
        Estimator::new(weight_max)
    })
}

fn view_of(chain: &Chain<ChainStore>) -> ChainView {
    let (tip, best, floor) = (chain.tip(), chain.best_header(), chain.floor());
    ChainView {
        height: tip.height,
        tip: tip.id,
        tip_time: tip.time,
        work: tip.work,
        header_height: best.height,
        best_header: best.id,
        header_work: best.work,
        locator: chain.locator(),
        finalized_height: floor.height,
        finalized: floor.id,
    }
}

impl Worker {
    /// The clock, in seconds.
    pub(super) fn now_s(&self) -> u64 {
        now_s()
    }

    /// Tells everyone. Nobody may be listening.
    pub(super) fn emit(&self, event: LedgerEvent) {
        let _ = self.events.send(event);
    }

    /// Writes down which transactions left without being mined.
    pub(super) fn log_removed(&self, removed: &[Removed]) {
        for Removed { ids, why, .. } in removed {
            if !matches!(why, Removal::Confirmed { .. }) {
                tracing::debug!(txid = %ids.txid, why = why.name(), "transaction left the mempool");
            }
        }
    }

    fn run(&mut self, mut queue: mpsc::Receiver<Command>) -> Result<(), Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| Fault(format!("cannot start the ledger's timer: {error}")))?;
        let mut ticked = Instant::now();
        loop {
            let command =
                runtime.block_on(async { tokio::time::timeout(TICK, queue.recv()).await });
            match command {
                Ok(None) => return self.close(),
                Ok(Some(Command::Stop { reply })) => {
                    let outcome = self.close();
                    // Whoever asked may have gone.
                    let _ = reply.send(());
                    return outcome;
                }
                Ok(Some(command)) => self.handle(command)?,
                Err(_) => {}
            }
            self.forget_gone();
            if ticked.elapsed() >= TICK {
                self.tick()?;
                ticked = Instant::now();
            }
        }
    }

    fn handle(&mut self, command: Command) -> Result<(), Fault> {
        match command {
            Command::Headers { records, reply } => {
                // Whoever asked may have gone; the chain has moved all the same. Likewise below.
                let _ = reply.send(self.headers(&records)?);
            }
            Command::Block {
                body,
                source,
                stored,
                reply,
            } => {
                let _ = reply.send(self.block(*body, source, stored)?);
            }
            Command::Submit {
                transactions,
                source,
                reply,
            } => {
                let _ = reply.send(self.submit(transactions, source)?);
            }
            Command::Template { reward, reply } => {
                let _ = reply.send(self.template(&reward));
            }
            Command::MissingBodies { max, toward, reply } => {
                let _ = reply.send(self.missing_bodies(max, &toward));
            }
            Command::Bft(command) => self.bft(command)?,
            Command::Find { id, reply } => {
                let _ = reply.send(self.chain.find(&id));
            }
            #[cfg(test)]
            Command::Panic => panic!("a test asked for it"),
            Command::Stop { .. } => unreachable!("handled by the loop"),
        }
        Ok(())
    }

    fn headers(&mut self, records: &[HeaderRecord]) -> Result<HeadersReply, Fault> {
        let outcome = self.chain.accept_headers(now_u32(), records)?;
        self.settle()?;
        let last = outcome.last.and_then(|id| self.chain.find(&id));
        Ok((outcome, last))
    }

    fn block(
        &mut self,
        body: Body,
        source: Source,
        stored: Option<oneshot::Sender<()>>,
    ) -> Result<BlockReply, Fault> {
        let id = body.id();
        let (tip, best) = (self.chain.tip().height, self.chain.best_header().height);
        let arriving = Arriving {
            is_awaited: stored.is_some() || source == Source::LOCAL,
            is_sealed: self.params.is_bft(tip + 1),
            tip,
            best,
        };
        let may_wait = arriving.may_wait();
        self.chain.store_mut().set_sync_each_block(!may_wait);
        let outcome = self.chain.accept_block(now_u32(), body, source);
        self.chain.store_mut().set_sync_each_block(true);
        let outcome = outcome?;
        if may_wait && self.unsynced.add() {
            self.sync_bodies()?;
        }
        if let (BlockOutcome::Stored { .. }, Some(stored)) = (&outcome, stored) {
            // It is synced: whoever waits to announce it need not wait for its connection.
            let _ = stored.send(());
        }
        self.settle()?;
        Ok(BlockReply {
            outcome,
            connected: self.chain.is_connected(&id),
        })
    }

    /// Pays the sync that bodies below the best header owe.
    fn sync_bodies(&mut self) -> Result<(), Fault> {
        if !self.unsynced.take() {
            return Ok(());
        }
        let synced = self.chain.store_mut().sync();
        synced.map_err(|error| Fault(error.to_string()))
    }

    fn missing_bodies(&self, max: usize, toward: &[BlockId]) -> MissingBodies {
        let along = |id: &BlockId| (*id, self.chain.missing_bodies_toward(id, max));
        let others = toward.iter().map(along);
        MissingBodies {
            best: self.chain.missing_bodies(max),
            others: others.filter(|(_, missing)| !missing.is_empty()).collect(),
        }
    }

    /// Drops what peers that left have waiting.
    fn forget_gone(&mut self) {
        let gone = std::mem::take(&mut *self.gone.lock());
        for source in gone {
            self.chain.forget_source(source);
            self.published.mempool.write().peer_gone(source.0);
        }
    }

    fn tick(&mut self) -> Result<(), Fault> {
        self.chain.release_held(now_u32())?;
        self.settle()?;
        self.sync_bodies()?;
        let expired = self.published.mempool.write().expire(now_s());
        self.log_removed(&expired);
        self.chain
            .store_mut()
            .maintain(Duration::from_millis(now_ms()))
            .map_err(|error| Fault(error.to_string()))?;
        if now_s().saturating_sub(self.dumped_s) >= DUMP_INTERVAL_S {
            self.dump();
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        self.dump();
        self.chain
            .store_mut()
            .flush()
            .map_err(|error| Fault(error.to_string()))
    }

    /// Moves the tip to the best branch, then mempool, view and listeners after it.
    pub(super) fn settle(&mut self) -> Result<(), Fault> {
        let (mut depth, mut moves) = (0, 0u64);
        loop {
            let (started, mut events) = (Instant::now(), Vec::new());
            if !self.chain.step(&mut self.signatures, &mut events)? {
                break;
            }
            for event in events {
                match &event {
                    ChainEvent::Connected(_) => {
                        let seconds = started.elapsed().as_secs_f64();
                        self.metrics.block_connect_seconds.observe(seconds);
                    }
                    ChainEvent::Disconnected(_) => depth += 1,
                    _ => {}
                }
                let moved = matches!(
                    event,
                    ChainEvent::Connected(_) | ChainEvent::Disconnected(_)
                );
                moves += u64::from(moved);
                self.follow(event)?;
            }
            if moves % PUBLISH_EVERY == PUBLISH_EVERY - 1 {
                self.publish();
            }
        }
        if moves > 0 {
            self.came_to_rest(depth)?;
        }
        self.publish();
        if moves > 0 {
            self.emit(LedgerEvent::TipChanged);
            // A block may have brought the parents that some waited for.
            self.admit_orphans()?;
        }
        Ok(())
    }

    /// Brings the mempool to the new tip.
    fn came_to_rest(&mut self, depth: u64) -> Result<(), Fault> {
        let height = self.chain.tip().height;
        if depth > 0 {
            self.metrics.chain_reorgs.inc();
            self.metrics.chain_reorg_depth.observe(depth as f64);
            tracing::info!(depth, height, "reorganisation");
        }
        let lock_time = self.chain.lock_time();
        let context = spend_context(&self.params, height, lock_time);
        let report = {
            let mut pool = self.published.mempool.write();
            pool.tip_changed(now_s(), self.chain.store(), &context)?
        };
        self.log_removed(&report.removed);
        Ok(())
    }

    /// Publishes tip and best header, and their metrics.
    fn publish(&self) {
        let view = view_of(&self.chain);
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.metrics.chain_height.set(gauge(view.height));
        self.metrics
            .chain_finalized_height
            .set(gauge(view.finalized_height));
        let remaining = view.header_height.saturating_sub(view.height);
        self.metrics.sync_blocks_remaining.set(gauge(remaining));
        self.published.view.store(Arc::new(view));
    }

    fn follow(&mut self, event: ChainEvent) -> Result<(), Fault> {
        match event {
            ChainEvent::Connected(connected) => {
                self.metrics.chain_blocks_connected.inc();
                let block = connected.block.block();
                let ids = connected.block.transaction_ids();
                let removed = {
                    let mut pool = self.published.mempool.write();
                    pool.block_connected(connected.height, &block.transactions, ids)
                };
                self.log_removed(&removed);
                let fees =
                    BlockFees::of(connected.height, &block.transactions, ids, &connected.fees);
                self.published.estimator.write().block_connected(fees);
                tracing::debug!(height = connected.height, id = %connected.id, "block connected");
            }
            ChainEvent::Disconnected(gone) => {
                let mut pool = self.published.mempool.write();
                pool.block_disconnected(gone.height, &gone.block.transactions);
                drop(pool);
                self.published
                    .estimator
                    .write()
                    .block_disconnected(gone.height);
                tracing::debug!(height = gone.height, id = %gone.id, "block taken off");
            }
            ChainEvent::Invalid(invalid) => {
                let why = invalid.violation.to_string();
                tracing::warn!(height = invalid.height, id = %invalid.id, %why, "invalid block");
                let source = invalid.source.unwrap_or(Source::LOCAL).0;
                self.emit(LedgerEvent::InvalidBlock { source });
            }
            // `step` names single moves; `settle` knows when they have come to rest.
            ChainEvent::TipChanged(_) => {}
        }
        Ok(())
    }

    /// The transactions that fill a block on the tip best.
    pub(super) fn select(&self) -> Selection {
        let weight_max = self
            .params
            .limits()
            .block_weight_max
            .saturating_sub(TEMPLATE_OVERHEAD);
        self.published.mempool.read().select(weight_max)
    }

    fn template(&self, reward: &Lock) -> Result<BlockTemplate, String> {
        let selection = self.select();
        let chosen: Vec<Chosen<'_>> = selection
            .transactions
            .iter()
            .map(|s| Chosen {
                transaction: &s.transaction,
                ids: &s.ids,
                fee: s.fee,
            })
            .collect();
        self.chain
            .template(now_u32(), reward, &chosen)
            .map_err(|error| error.to_string())
    }

    /// Writes the mempool and the fee history. A failure costs their memory of this run only.
    fn dump(&mut self) {
        self.dumped_s = now_s();
        let residents = self.published.mempool.read().dump();
        let files = [
            (&self.dump_file, encode_dump(&residents)),
            (&self.fees_file, self.published.estimator.read().to_bytes()),
        ];
        for (path, bytes) in files {
            if let Err(error) = crate::runtime::files::write_atomically(path, &bytes) {
                tracing::warn!(file = %path.display(), %error, "cannot write");
            }
        }
    }

    fn load_dump(&mut self) -> Result<(), Fault> {
        let Ok(bytes) = std::fs::read(&self.dump_file) else {
            return Ok(());
        };
        match decode_dump(&bytes) {
            Ok(residents) => {
                let offered = residents.len();
                let kept = self.restore(residents)?;
                tracing::info!(offered, kept, "mempool loaded");
            }
            Err(error) => {
                let file = self.dump_file.display();
                tracing::warn!(%file, %error, "mempool file is damaged: starting empty");
            }
        }
        Ok(())
    }
}
