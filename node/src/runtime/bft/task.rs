//! The thread of the engine: feeds the core, runs its effects.
//!
//! Invariant: the safety file is written in this thread before the outbox lets go of a message, so
//! no vote overtakes its promise. Nothing here decides what is valid or safe.
//! Rules: `spec/09-bft.md`.

use super::bodies::Bodies;
use super::early::Early;
use super::greeting::KeyGreeting;
use super::instance::Running;
use super::metrics::BftMetrics;
use super::status::BftStatus;
use super::values::Outcome;
use super::voting::Voting;
use crate::keystore::{KeyGuard, ValidatorKey};
use crate::runtime::NodeError;
use crate::runtime::clock::monotonic_ms;
use crate::runtime::ledger::{LedgerEvent, LedgerHandle};
use arc_swap::ArcSwap;
use cairn_consensus::pbft::{Input, Outbox, Pace, PbftCore, Setup};
use cairn_consensus::sealed::block_scope;
use cairn_network::links::{BFT, LinkEvent, Links};
use cairn_network::{NetworkHandle, PeerId};
use cairn_protocol::bft::{Instance, LeaderRule};
use cairn_protocol::block::{EvidenceBytes, SealBytes};
use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::CheckedBlock;
use cairn_protocol::lock::Lock;
use cairn_protocol::wire::CompactBlock;
use cairn_storage::disk::RealDisk;
use cairn_storage::safety::SafetyFile;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};

/// Frames judged together: a batch of signatures costs less than half of single checks.
const BATCH_MAX: usize = 64;
/// How often peers that left are forgotten.
const PRUNE_MS: u64 = 5_000;
/// Silence after which we say again what counts.
const SILENCE_MS: u64 = 1_000;
/// First timeout of a round, before any decision was timed, beyond the block time.
const FIRST_TIMEOUT_MS: u64 = 1_000;
/// What a round may take beyond the mean of decisions.
const MARGIN_MS: u64 = 100;

/// What the engine starts from.
pub struct BftConfig {
    /// The ledger.
    pub ledger: LedgerHandle,
    /// The swarm.
    pub network: NetworkHandle,
    /// The key.
    pub key: ValidatorKey,
    /// Whom proposals pay.
    pub reward: Lock,
    /// Counts and times.
    pub metrics: BftMetrics,
    /// Hears of blocks that were decided here, for those who do not vote.
    pub decided: mpsc::Sender<(Arc<CheckedBlock>, SealBytes)>,
}

/// A hold on the engine. Dropping all of them ends it.
#[derive(Clone)]
pub struct BftHandle {
    links: Arc<Links>,
    status: Arc<ArcSwap<BftStatus>>,
}

impl BftHandle {
    /// A peer is ready: it may be a validator.
    pub fn peer_ready(&self, peer: PeerId) {
        self.links.open(peer);
    }

    /// A peer left.
    pub fn peer_gone(&self, peer: &PeerId) {
        self.links.close(peer);
    }

    /// The engine as of now.
    pub fn status(&self) -> Arc<BftStatus> {
        self.status.load_full()
    }
}

/// Opens the safety file and starts the thread.
///
/// Errors: the key is in use, the safety file cannot be relied upon, a thread cannot be started.
pub fn start(config: BftConfig) -> Result<BftHandle, NodeError> {
    let guard = config.key.guard(&config.ledger.params().chain_id())?;
    let path = config.key.safety_file();
    let (safety, last) = SafetyFile::open(&RealDisk, &path, config.key.public.0)?;
    let tip = config.ledger.view().height;
    let voting = Voting::after(&last, tip).map_err(|reason| NodeError::SafetyFile {
        path: path.clone(),
        reason,
    })?;
    if let Some(caution) = &voting.caution {
        tracing::warn!(file = %path.display(), "{caution}");
    }
    let params = Arc::clone(config.ledger.params());
    let set = params.validator_set(tip + 1).cloned();
    let set = set.ok_or(NodeError::Missing("a validator before the chain's BFT era"))?;
    let set = Arc::new(ArcSwap::from_pointee(set));
    let greeting = KeyGreeting {
        chain_id: params.chain_id(),
        me: config.network.local_peer_id(),
        key: config.key.signing,
        public: config.key.public,
        set: Arc::clone(&set),
    };
    let (links, events) = Links::start(&config.network, BFT, Arc::new(greeting))?;
    let links = Arc::new(links);
    let status = Arc::new(ArcSwap::from_pointee(BftStatus::default()));
    let handle = BftHandle {
        links: Arc::clone(&links),
        status: Arc::clone(&status),
    };
    let block_time_ms = params.timing().block_time_ms;
    let task = Task {
        links: Arc::downgrade(&links),
        status,
        set,
        voting,
        safety,
        _guard: guard,
        unfit: None,
        pace: Pace::new(FIRST_TIMEOUT_MS, MARGIN_MS),
        block_time_ms,
        starts_ms: monotonic_ms(),
        running: None,
        announced: BTreeSet::new(),
        early: Early::default(),
        early_blocks: BTreeMap::new(),
        bodies: Bodies::default(),
        sealed: None,
        seals: VecDeque::new(),
        told: BTreeMap::new(),
        peers: BTreeSet::new(),
        pruned_ms: monotonic_ms(),
        evidence: Vec::new(),
        proposal_file: path.with_extension("proposal"),
        kept: Vec::new(),
        pending: FuturesUnordered::new(),
        config,
    };
    std::thread::Builder::new()
        .name("cairn-bft".into())
        .spawn(move || task.run_here(events))
        .map_err(NodeError::Runtime)?;
    Ok(handle)
}

/// The engine's state, all of it this thread's.
pub(super) struct Task {
    pub(super) config: BftConfig,
    pub(super) links: std::sync::Weak<Links>,
    pub(super) status: Arc<ArcSwap<BftStatus>>,
    pub(super) set: Arc<ArcSwap<cairn_protocol::bft::ValidatorSet>>,
    pub(super) voting: Voting,
    pub(super) safety: SafetyFile,
    pub(super) _guard: KeyGuard,
    /// Why this run votes no more.
    pub(super) unfit: Option<String>,
    pub(super) pace: Pace,
    pub(super) block_time_ms: u64,
    /// When the next instance begins.
    pub(super) starts_ms: u64,
    pub(super) running: Option<Running>,
    /// Proposals whose blocks went out.
    pub(super) announced: BTreeSet<BlockId>,
    pub(super) early: Early,
    /// Blocks of proposals for instances that have not begun: one of each peer.
    pub(super) early_blocks: BTreeMap<PeerId, (Instance, CompactBlock)>,
    pub(super) bodies: Bodies,
    /// A decision whose block is not here yet.
    pub(super) sealed: Option<(BlockId, SealBytes)>,
    pub(super) seals: VecDeque<(Instance, BlockId, SealBytes)>,
    /// The last instance whose decision each peer was told.
    pub(super) told: BTreeMap<PeerId, Instance>,
    /// Peers with a link from us.
    pub(super) peers: BTreeSet<PeerId>,
    /// When those who left were last forgotten.
    pub(super) pruned_ms: u64,
    pub(super) evidence: Vec<EvidenceBytes>,
    /// Where blocks are kept that we promised something about, and whose they are, newest last.
    pub(super) proposal_file: PathBuf,
    pub(super) kept: Vec<BlockId>,
    pub(super) pending: FuturesUnordered<BoxFuture<'static, Outcome>>,
}

impl Task {
    pub(super) fn run_here(self, events: mpsc::Receiver<LinkEvent>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.run(events)),
            Err(error) => tracing::error!(%error, "the engine has no timer and does not start"),
        }
    }

    pub(super) async fn run(mut self, mut events: mpsc::Receiver<LinkEvent>) {
        let mut moves = self.config.ledger.subscribe();
        loop {
            let wake = tokio::time::sleep(self.until_next());
            tokio::select! {
                biased;
                Some(outcome) = self.pending.next(), if !self.pending.is_empty() => {
                    if self.on_outcome(outcome).is_none() {
                        return;
                    }
                }
                event = events.recv() => {
                    let Some(event) = event else { return };
                    let mut batch = vec![event];
                    while batch.len() < BATCH_MAX
                        && let Ok(event) = events.try_recv()
                    {
                        batch.push(event);
                    }
                    self.on_events(batch);
                }
                moved = moves.recv() => match moved {
                    Ok(LedgerEvent::TipChanged) | Err(broadcast::error::RecvError::Lagged(_)) => {
                        self.follow_tip();
                    }
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                () = wake => {}
            }
            self.on_time();
        }
    }

    /// Time until something is due.
    pub(super) fn until_next(&self) -> Duration {
        let now_ms = monotonic_ms();
        let mut due = self.bodies.next_due_ms().into_iter().collect::<Vec<_>>();
        match &self.running {
            Some(running) => {
                due.push(running.moved_ms + SILENCE_MS);
                due.extend(running.timer.map(|(_, at_ms)| at_ms));
            }
            None => due.push(self.starts_ms),
        }
        let next_ms = due.into_iter().min().unwrap_or(now_ms + SILENCE_MS);
        Duration::from_millis(next_ms.saturating_sub(now_ms).clamp(1, SILENCE_MS))
    }

    pub(super) fn on_time(&mut self) {
        let now_ms = monotonic_ms();
        let next = self.config.ledger.view().height + 1;
        let due = now_ms >= self.starts_ms || self.others_began(next);
        if self.running.is_none() && self.sealed.is_none() && due {
            self.start_instance(next);
        }
        if now_ms >= self.pruned_ms + PRUNE_MS {
            self.pruned_ms = now_ms;
            self.forget_gone();
        }
        for question in self.bodies.tick(now_ms) {
            self.tell(question);
        }
        let Some(running) = &mut self.running else {
            return;
        };
        if let Some((round, at_ms)) = running.timer
            && at_ms <= now_ms
        {
            running.timer = None;
            tracing::info!(instance = running.number, round, "round timed out");
            return self.step(Input::Timeout { round });
        }
        if now_ms >= running.moved_ms + SILENCE_MS {
            running.moved_ms = now_ms;
            self.step(Input::Resend);
        }
    }

    /// Peers that left are asked for nothing any more, and nothing of theirs is kept.
    fn forget_gone(&mut self) {
        let ready = self.config.network.peers();
        let ready: BTreeSet<PeerId> = ready.into_iter().map(|info| info.peer).collect();
        self.peers.retain(|peer| ready.contains(peer));
        self.told.retain(|peer, _| ready.contains(peer));
        self.early_blocks.retain(|peer, _| ready.contains(peer));
    }

    /// Whether so many speak of this instance already that one of them is honest: a single validator
    /// on one link cannot take the block time away.
    pub(super) fn others_began(&self, instance: Instance) -> bool {
        let set = self.config.ledger.params().validator_set(instance);
        set.is_some_and(|set| 3 * self.early.speakers(instance) > set.len())
    }

    /// The chain moved, by our decision or by sync.
    pub(super) fn follow_tip(&mut self) {
        let tip = self.config.ledger.view().height;
        if self
            .running
            .as_ref()
            .is_some_and(|running| running.number <= tip)
        {
            let decided = self.sealed.as_ref().map(|(id, _)| *id);
            self.end_instance(decided);
        }
    }

    pub(super) fn end_instance(&mut self, decided: Option<BlockId>) {
        self.running = None;
        self.sealed = None;
        self.announced.clear();
        self.bodies.next_instance(decided);
        self.starts_ms = monotonic_ms() + self.block_time_ms;
    }

    pub(super) fn start_instance(&mut self, number: Instance) {
        let params = Arc::clone(self.config.ledger.params());
        let Some(set) = params.validator_set(number) else {
            // Another engine makes this height.
            self.starts_ms = monotonic_ms() + SILENCE_MS;
            return;
        };
        let place = set.index_of(&self.config.key.public);
        let silent = match (&self.unfit, place) {
            (_, None) => None,
            (Some(reason), _) => Some(reason.clone()),
            (None, Some(_)) if !self.voting.allows(number) => {
                let known = self.voting.caution.clone();
                Some(known.unwrap_or_else(|| "an earlier promise may be lost".to_owned()))
            }
            (None, Some(_)) => None,
        };
        let record = self.voting.record(number);
        if record.is_some() {
            self.recall(number);
        }
        let setup = Arc::new(Setup {
            scope: block_scope(&params, number),
            set: set.clone(),
            leaders: LeaderRule::Rotation,
            me: place.filter(|_| silent.is_none()),
            timeouts: self.pace.timeouts(),
        });
        self.set.store(Arc::new(set.clone()));
        let (now_ms, mut effects) = (monotonic_ms(), Vec::new());
        let rank = record.as_ref().map_or(0, |record| record.rank());
        let core = match PbftCore::start(setup, record, now_ms, &mut effects) {
            Ok(core) => core,
            Err(error) => {
                // A record of other rules: this key voted on another chain or schedule.
                tracing::error!(%error, "this node does not vote");
                self.unfit = Some(error.to_string());
                self.starts_ms = now_ms + SILENCE_MS;
                return;
            }
        };
        self.running = Some(Running {
            number,
            core,
            outbox: Outbox::new(rank),
            timer: None,
            wanted: None,
            fresh: BTreeMap::new(),
            round_began_ms: now_ms,
            moved_ms: now_ms,
        });
        self.status.store(Arc::new(BftStatus {
            instance: number,
            round: 0,
            place,
            silent,
        }));
        self.config.metrics.round.set(0);
        self.run_effects(effects);
        let messages = self.early.take(number);
        self.judge_messages(messages);
        let blocks = std::mem::take(&mut self.early_blocks);
        for (peer, (instance, compact)) in blocks {
            if instance > number {
                self.early_blocks.insert(peer, (instance, compact));
            } else if instance == number {
                self.on_proposal_block(peer, compact);
            }
        }
    }

    /// One input to the core and all that follows from it.
    pub(super) fn step(&mut self, input: Input) {
        let Some(running) = &mut self.running else {
            return;
        };
        let mut effects = Vec::new();
        running.core.handle(monotonic_ms(), input, &mut effects);
        self.run_effects(effects);
    }
}
