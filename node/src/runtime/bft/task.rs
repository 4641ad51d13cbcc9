//! The thread of the engine: feeds the core, runs its effects.
//!
//! Invariant: the safety file is written in this thread before the outbox lets go of a message, so
//! no vote overtakes its promise. Nothing here decides what is valid or safe.
//! Rules: `spec/09-bft.md`.

use super::bodies::{Bodies, Outgoing};
use super::early::Early;
use super::greeting::KeyGreeting;
use super::instance::Running;
use super::metrics::BftMetrics;
use super::status::BftStatus;
use super::voting::Voting;
use crate::keystore::{KeyGuard, ValidatorKey};
use crate::runtime::NodeError;
use crate::runtime::clock::monotonic_ms;
use crate::runtime::files::write_atomically;
use crate::runtime::ledger::{Appended, LedgerEvent, LedgerHandle, Proposal, Verdict};
use crate::runtime::relay::fill_from_mempool;
use arc_swap::ArcSwap;
use cairn_consensus::pbft::{
    Effect, Input, ObserveReason, Outbox, Pace, PbftCore, SafetyRecord, Setup,
};
use cairn_consensus::sealed::block_scope;
use cairn_network::links::{BFT, LinkEvent, Links};
use cairn_network::{NetworkHandle, Offence, PeerId};
use cairn_protocol::bft::{
    Body, Draft, Evidence, Instance, LeaderRule, Message, Round, Seal, Verified, verify_messages,
    verify_seal,
};
use cairn_protocol::block::{Block, EvidenceBytes, SealBytes};
use cairn_protocol::codec;
use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::CheckedBlock;
use cairn_protocol::limits::BLOCK_BYTES_MAX;
use cairn_protocol::lock::Lock;
use cairn_protocol::signature::{Ed25519, Signature};
use cairn_protocol::wire::{CompactBlock, LinkMessage};
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
/// Rounds ahead of ours whose first proposal is noted.
const ROUNDS_NEAR: Round = 16;
/// Silence after which we say again what counts.
const SILENCE_MS: u64 = 1_000;
/// Seals of the last instances, for peers that still vote in them.
const SEALS_MAX: usize = 8;
/// Evidence that waits for a block.
const EVIDENCE_MAX: usize = 64;
/// First timeout of a round, before any decision was timed, beyond the block time.
const FIRST_TIMEOUT_MS: u64 = 1_000;
/// What a round may take beyond the mean of decisions.
const MARGIN_MS: u64 = 100;
/// Blocks kept on disk for promises: the value prepared last and the one before.
const KEPT_MAX: usize = 2;
/// A proposal from a moment ahead of our clock is judged again after this time.
const JUDGE_AGAIN: Duration = Duration::from_millis(100);

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

/// What came back from the ledger.
enum Outcome {
    Proposed {
        instance: Instance,
        round: Round,
        proposal: Result<Arc<CheckedBlock>, String>,
    },
    Judged {
        instance: Instance,
        round: Round,
        id: BlockId,
        verdict: Verdict,
    },
    JudgeAgain,
    Appended {
        instance: Instance,
    },
    NotAppended {
        instance: Instance,
        id: BlockId,
        reason: String,
    },
    LedgerStopped,
}

struct Task {
    config: BftConfig,
    links: std::sync::Weak<Links>,
    status: Arc<ArcSwap<BftStatus>>,
    set: Arc<ArcSwap<cairn_protocol::bft::ValidatorSet>>,
    voting: Voting,
    safety: SafetyFile,
    _guard: KeyGuard,
    /// Why this run votes no more.
    unfit: Option<String>,
    pace: Pace,
    block_time_ms: u64,
    /// When the next instance begins.
    starts_ms: u64,
    running: Option<Running>,
    /// Proposals whose blocks went out.
    announced: BTreeSet<BlockId>,
    early: Early,
    /// Blocks of proposals for instances that have not begun: one of each peer.
    early_blocks: BTreeMap<PeerId, (Instance, CompactBlock)>,
    bodies: Bodies,
    /// A decision whose block is not here yet.
    sealed: Option<(BlockId, SealBytes)>,
    seals: VecDeque<(Instance, BlockId, SealBytes)>,
    /// The last instance whose decision each peer was told.
    told: BTreeMap<PeerId, Instance>,
    /// Peers with a link from us.
    peers: BTreeSet<PeerId>,
    evidence: Vec<EvidenceBytes>,
    /// Where blocks are kept that we promised something about, and whose they are, newest last.
    proposal_file: PathBuf,
    kept: Vec<BlockId>,
    pending: FuturesUnordered<BoxFuture<'static, Outcome>>,
}

impl Task {
    fn run_here(self, events: mpsc::Receiver<LinkEvent>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.run(events)),
            Err(error) => tracing::error!(%error, "the engine has no timer and does not start"),
        }
    }

    async fn run(mut self, mut events: mpsc::Receiver<LinkEvent>) {
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
    fn until_next(&self) -> Duration {
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

    fn on_time(&mut self) {
        let now_ms = monotonic_ms();
        let next = self.config.ledger.view().height + 1;
        let due = now_ms >= self.starts_ms || self.early.speaks_of(next);
        if self.running.is_none() && self.sealed.is_none() && due {
            self.start_instance(next);
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

    /// The chain moved, by our decision or by sync.
    fn follow_tip(&mut self) {
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

    fn end_instance(&mut self, decided: Option<BlockId>) {
        self.running = None;
        self.sealed = None;
        self.announced.clear();
        self.bodies.next_instance(decided);
        self.starts_ms = monotonic_ms() + self.block_time_ms;
    }

    fn start_instance(&mut self, number: Instance) {
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
    fn step(&mut self, input: Input) {
        let Some(running) = &mut self.running else {
            return;
        };
        let mut effects = Vec::new();
        running.core.handle(monotonic_ms(), input, &mut effects);
        self.run_effects(effects);
    }

    fn run_effects(&mut self, effects: Vec<Effect>) {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            let Some(running) = &mut self.running else {
                return;
            };
            if !matches!(effect, Effect::Timer { .. } | Effect::Observing(_)) {
                running.moved_ms = monotonic_ms();
            }
            match effect {
                Effect::Persist { seq, record } => match self.persist(&record) {
                    Ok(()) => {
                        self.voting.remember(record);
                        if let Some(running) = &mut self.running {
                            let ready = running.outbox.durable(seq);
                            queue.extend(self.send(ready));
                        }
                    }
                    Err(error) => queue.extend(self.promise_lost(&error)),
                },
                Effect::Send { after, draft } => {
                    let ready = running.outbox.push(after, draft);
                    queue.extend(self.send(ready));
                }
                Effect::Propose { round } => self.propose(round),
                Effect::Validate { round, id } => {
                    running.wanted = Some((round, id));
                    self.judge_wanted();
                }
                Effect::Timer { round, at_ms } => {
                    // The leader waits for its block time before it speaks; so does the timer.
                    running.timer = Some((round, at_ms));
                    running.round_began_ms = monotonic_ms();
                    if self.status.load().round != round {
                        self.config.metrics.view_changes.inc();
                    }
                    self.config.metrics.round.set(i64::from(round));
                    self.tell_round(round);
                }
                Effect::Evidence(evidence) => self.keep_evidence(&evidence),
                Effect::Observing(reason) => self.observe(reason),
                Effect::Decided { id, seal } => self.on_decided(id, &seal),
            }
        }
    }

    /// A promise is not on disk: this run votes no more.
    fn promise_lost(&mut self, error: &str) -> Vec<Effect> {
        tracing::error!(error, "a promise is not on disk: this node votes no more");
        self.unfit = Some(format!("its safety file failed: {error}"));
        let mut effects = Vec::new();
        if let Some(running) = &mut self.running {
            running.outbox.clear();
            self.voting.give_up(running.number);
            running
                .core
                .handle(monotonic_ms(), Input::PersistFailed, &mut effects);
        }
        effects
    }

    /// Puts a promise on disk, and before it the block that it is about: if everyone stops between
    /// the votes and the append, somebody must still have what was decided.
    fn persist(&mut self, record: &SafetyRecord) -> Result<(), String> {
        if let Some(ballot) = &record.prepare
            && self.kept.last() != Some(&ballot.id)
            && let Some(block) = self.bodies.get(&ballot.id)
        {
            let mut blocks: Vec<Block> = self
                .kept
                .last()
                .and_then(|id| self.bodies.get(id))
                .cloned()
                .into_iter()
                .collect();
            blocks.push(block.clone());
            let bytes = codec::encode(&blocks);
            write_atomically(&self.proposal_file, &bytes).map_err(|error| error.to_string())?;
            self.kept.push(ballot.id);
            if self.kept.len() > KEPT_MAX {
                self.kept.remove(0);
            }
        }
        let written = self.safety.write(&record.to_bytes());
        written.map_err(|error| error.to_string())
    }

    /// The blocks that an earlier run promised something about.
    fn recall(&mut self, number: Instance) {
        let Ok(bytes) = std::fs::read(&self.proposal_file) else {
            return;
        };
        let Ok(blocks) = codec::decode::<Vec<Block>>(&bytes, KEPT_MAX * BLOCK_BYTES_MAX + 16)
        else {
            return tracing::warn!(file = %self.proposal_file.display(), "damaged: not used");
        };
        for block in blocks {
            if block.extension.height == number {
                self.bodies.add_own(block.id(), block);
            }
        }
    }

    fn tell_round(&self, round: Round) {
        let mut status = BftStatus::clone(&self.status.load());
        status.round = round;
        self.status.store(Arc::new(status));
    }

    fn observe(&mut self, reason: ObserveReason) {
        let text = match reason {
            ObserveReason::NotValidator => return,
            ObserveReason::WriteFailed => self.unfit.clone().unwrap_or_default(),
            ObserveReason::ForgottenVote => {
                let text = "its key signed what this node does not remember: an older data \
                            directory, or another process with the same key";
                self.unfit = Some(text.to_owned());
                text.to_owned()
            }
        };
        tracing::error!(reason = text, "this node does not vote");
        let mut status = BftStatus::clone(&self.status.load());
        status.silent = Some(text);
        self.status.store(Arc::new(status));
    }

    /// Signs and sends what the disk let go; answers what the core makes of our own messages.
    fn send(&mut self, drafts: Vec<Draft>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for draft in drafts {
            let signature: [u8; 64] = self.config.key.signing.sign(&draft.to_sign()).into();
            let verified = draft.signed(Signature(signature));
            let message = verified.message();
            let (body, frame) = (
                message.body.clone(),
                LinkMessage::Message(Box::new(message.clone())),
            );
            self.broadcast(&frame);
            if let Body::PrePrepare { id } | Body::NewView { id, .. } = body
                && self.announced.insert(id)
                && let Some(compact) = self.compact(&id)
            {
                self.broadcast(&LinkMessage::Proposal(Box::new(compact)));
            }
            if let Some(running) = &mut self.running {
                let input = Input::Message(verified);
                running.core.handle(monotonic_ms(), input, &mut effects);
            }
        }
        effects
    }

    fn compact(&self, id: &BlockId) -> Option<CompactBlock> {
        let block = self.bodies.get(id)?.clone();
        let checked = CheckedBlock::new(block, self.config.ledger.params().limits()).ok()?;
        Some(CompactBlock::new(&checked))
    }

    fn broadcast(&self, message: &LinkMessage) {
        if let Some(links) = self.links.upgrade() {
            links.send_to_all(&Arc::from(message.to_bytes()));
        }
    }

    fn tell(&self, (peer, message): Outgoing) {
        if let Some(links) = self.links.upgrade() {
            links.send(&peer, &Arc::from(message.to_bytes()));
        }
    }

    fn propose(&mut self, round: Round) {
        let Some(running) = &self.running else { return };
        let instance = running.number;
        let proposal = Proposal {
            round,
            reward: self.config.reward.clone(),
            evidence: self.evidence.clone(),
        };
        let ledger = self.config.ledger.clone();
        self.pending.push(Box::pin(async move {
            match ledger.propose(proposal).await {
                Ok(proposal) => Outcome::Proposed {
                    instance,
                    round,
                    proposal,
                },
                Err(_) => Outcome::LedgerStopped,
            }
        }));
    }

    /// Has the wanted value judged once its block is here.
    fn judge_wanted(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        if let Some((id, _)) = &self.sealed
            && let Some(block) = self.bodies.get(id).cloned()
        {
            return self.append(block);
        }
        let Some((round, id)) = running.wanted else {
            return;
        };
        let Some(block) = self.bodies.get(&id).cloned() else {
            // Whoever proposed it has it; its block is on its way behind the message.
            let proposer = running.fresh.values().find(|(fresh, _)| *fresh == id);
            if let Some((_, peer)) = proposer {
                self.bodies.want(monotonic_ms(), id, *peer);
            }
            for peer in &self.peers {
                self.bodies.want(monotonic_ms(), id, *peer);
            }
            return;
        };
        running.wanted = None;
        let (instance, proposed) = (running.number, block.extension.proposed_round);
        // A value that was proposed as new in this round names it; one that is certified is older.
        let is_new = running
            .fresh
            .get(&round)
            .is_some_and(|(fresh, _)| *fresh == id);
        let is_timely = proposed == round || (proposed < round && !is_new);
        let ledger = self.config.ledger.clone();
        self.pending.push(Box::pin(async move {
            if !is_timely {
                let reason = format!("proposed round {proposed} in a proposal of round {round}");
                let verdict = Verdict::Invalid {
                    reason,
                    is_mutation: false,
                };
                return Outcome::Judged {
                    instance,
                    round,
                    id,
                    verdict,
                };
            }
            match ledger.judge(block).await {
                Ok(verdict) => Outcome::Judged {
                    instance,
                    round,
                    id,
                    verdict,
                },
                Err(_) => Outcome::LedgerStopped,
            }
        }));
    }

    fn on_outcome(&mut self, outcome: Outcome) -> Option<()> {
        let number = self.running.as_ref().map(|running| running.number);
        match outcome {
            Outcome::Proposed {
                instance,
                round,
                proposal,
            } if number == Some(instance) => match proposal {
                Ok(checked) => {
                    let id = checked.id();
                    self.bodies.add_own(id, checked.block().clone());
                    self.step(Input::Proposal { round, id });
                }
                Err(reason) => tracing::warn!(instance, round, reason, "no proposal was made"),
            },
            Outcome::Judged {
                instance,
                round,
                id,
                verdict,
            } if number == Some(instance) => self.on_verdict(round, id, verdict),
            Outcome::JudgeAgain => self.judge_wanted(),
            Outcome::Appended { instance } => {
                if number == Some(instance) {
                    let decided = self.sealed.as_ref().map(|(id, _)| *id);
                    self.end_instance(decided);
                }
            }
            Outcome::NotAppended {
                instance,
                id,
                reason,
            } => {
                // Wrong bytes for the right id: the seal stands, the block is asked for again.
                tracing::error!(instance, %id, reason, "the decided block is not what came");
                self.seals.retain(|(number, ..)| *number != instance);
                if number == Some(instance) {
                    self.bodies.forget(&id);
                    for peer in &self.peers {
                        self.bodies.want(monotonic_ms(), id, *peer);
                    }
                }
            }
            Outcome::LedgerStopped => return None,
            Outcome::Proposed { .. } | Outcome::Judged { .. } => {}
        }
        Some(())
    }

    fn on_verdict(&mut self, round: Round, id: BlockId, verdict: Verdict) {
        match verdict {
            Verdict::Valid => self.step(Input::Validated {
                round,
                id,
                ok: true,
            }),
            Verdict::NotYet => {
                if let Some(running) = &mut self.running
                    && running.wanted.is_none()
                {
                    running.wanted = Some((round, id));
                }
                self.pending.push(Box::pin(async {
                    tokio::time::sleep(JUDGE_AGAIN).await;
                    Outcome::JudgeAgain
                }));
            }
            Verdict::Invalid {
                reason,
                is_mutation,
            } => {
                let peer = self.peers.iter().next().copied();
                if is_mutation
                    && let Some(peer) = peer
                    && let Some(question) = self.bodies.mismatch(monotonic_ms(), id, peer)
                {
                    if let Some(running) = &mut self.running {
                        running.wanted = Some((round, id));
                    }
                    for peer in &self.peers {
                        self.bodies.want(monotonic_ms(), id, *peer);
                    }
                    return self.tell(question);
                }
                tracing::warn!(round, %id, reason, "invalid proposal");
                let ok = false;
                self.step(Input::Validated { round, id, ok });
            }
        }
    }

    fn on_events(&mut self, events: Vec<LinkEvent>) {
        let mut messages = Vec::new();
        for event in events {
            let (from, payload) = match event {
                LinkEvent::Open(peer) => {
                    self.peers.insert(peer);
                    self.step(Input::Resend);
                    continue;
                }
                LinkEvent::Frame { from, payload } => (from, payload),
            };
            let message = match LinkMessage::from_bytes(&payload) {
                Ok(message) => message,
                Err(error) => {
                    tracing::warn!(peer = %from, %error, "bad frame of a validator");
                    self.config.network.report(from, Offence::Undecodable);
                    continue;
                }
            };
            match message {
                LinkMessage::Message(message) => self.sort(from, *message, &mut messages),
                other => {
                    self.judge_messages(std::mem::take(&mut messages));
                    self.on_other(from, other);
                }
            }
        }
        self.judge_messages(messages);
    }

    /// A message of this instance is judged now, one of a later kept, one of an earlier answered.
    fn sort(&mut self, from: PeerId, message: Message, now: &mut Vec<(PeerId, Message)>) {
        let tip = self.config.ledger.view().height;
        let current = self.running.as_ref().map_or(tip, |running| running.number);
        if self.running.is_some() && message.instance == current {
            now.push((from, message));
        } else if message.instance > current {
            self.early.keep(current, from, message);
        } else if self.told.get(&from) != Some(&message.instance) {
            let instance = message.instance;
            let known = self.seals.iter().find(|(number, ..)| *number == instance);
            if let Some((_, id, seal)) = known {
                let (id, seal) = (*id, seal.clone());
                self.told.insert(from, instance);
                self.tell((from, LinkMessage::Decided { instance, id, seal }));
            }
        }
    }

    /// Verifies messages of this instance together and gives the good ones to the core.
    fn judge_messages(&mut self, messages: Vec<(PeerId, Message)>) {
        let Some(running) = &self.running else {
            return;
        };
        if messages.is_empty() {
            return;
        }
        let setup = running.core.setup();
        let number = running.number;
        let (peers, messages): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
        let judged = verify_messages(messages, &setup.scope, &setup.set, &Ed25519);
        for (from, verdict) in peers.into_iter().zip(judged) {
            match verdict {
                Ok(verified) => {
                    // An earlier one may have ended the instance.
                    if self
                        .running
                        .as_ref()
                        .is_some_and(|running| running.number == number)
                    {
                        self.note(from, &verified);
                        self.step(Input::Message(verified));
                    }
                }
                Err(violation) => {
                    tracing::warn!(peer = %from, %violation, "bad message of a validator");
                    self.config.network.report(from, Offence::WrongAnswer);
                }
            }
        }
    }

    /// What a verified message tells about blocks: who has which, which are new.
    fn note(&mut self, from: PeerId, verified: &Verified) {
        let Some(running) = &mut self.running else {
            return;
        };
        let message = verified.message();
        let setup = running.core.setup();
        match &message.body {
            Body::PrePrepare { id } if message.signer == setup.leader(0) => {
                running.fresh.entry(0).or_insert((*id, from));
            }
            Body::NewView {
                round,
                id,
                justification,
            } if message.signer == setup.leader(*round) => {
                let is_near = *round <= running.core.round().saturating_add(ROUNDS_NEAR);
                if justification.certificate.is_none() && is_near {
                    running.fresh.entry(*round).or_insert((*id, from));
                }
            }
            _ => {}
        }
    }

    fn on_other(&mut self, from: PeerId, message: LinkMessage) {
        match message {
            LinkMessage::Proposal(compact) => {
                let height = compact.extension.height;
                let tip = self.config.ledger.view().height;
                let current = self.running.as_ref().map_or(tip, |running| running.number);
                if height > current && height - current <= super::early::WINDOW {
                    self.early_blocks.insert(from, (height, *compact));
                } else {
                    self.on_proposal_block(from, *compact);
                }
            }
            LinkMessage::Transactions { id, transactions } => {
                let now_ms = monotonic_ms();
                let question = self.bodies.on_transactions(now_ms, from, id, transactions);
                question
                    .into_iter()
                    .for_each(|question| self.tell(question));
                self.judge_wanted();
            }
            question @ (LinkMessage::GetProposal { .. } | LinkMessage::GetTransactions { .. }) => {
                let limits = *self.config.ledger.params().limits();
                let compact = |block: &Block| {
                    let checked = CheckedBlock::new(block.clone(), &limits).ok()?;
                    Some(CompactBlock::new(&checked))
                };
                for answer in self.bodies.serve(&question, compact) {
                    self.tell((from, answer));
                }
            }
            LinkMessage::Decided { instance, id, seal } => self.on_told(instance, id, seal),
            LinkMessage::Message(_) => unreachable!("sorted before"),
        }
    }

    fn on_proposal_block(&mut self, from: PeerId, compact: CompactBlock) {
        let ledger = self.config.ledger.clone();
        let question = self
            .bodies
            .on_proposal(monotonic_ms(), from, compact, |compact| {
                fill_from_mempool(&ledger.mempool().read(), compact)
            });
        question
            .into_iter()
            .for_each(|question| self.tell(question));
        self.judge_wanted();
    }

    /// Somebody says that our instance is decided.
    fn on_told(&mut self, instance: Instance, id: BlockId, seal: SealBytes) {
        let Some(running) = &self.running else { return };
        if running.number != instance || self.sealed.is_some() {
            return;
        }
        let setup = running.core.setup();
        let decoded = Seal::from_bytes(seal.as_slice());
        let is_valid = decoded
            .is_ok_and(|seal| verify_seal(&seal, &setup.scope, id, &setup.set, &Ed25519).is_ok());
        if is_valid {
            self.sealed = Some((id, seal));
            for peer in &self.peers {
                self.bodies.want(monotonic_ms(), id, *peer);
            }
            self.judge_wanted();
        }
    }

    fn on_decided(&mut self, id: BlockId, seal: &Seal) {
        let Some(running) = &self.running else { return };
        let took_ms = monotonic_ms().saturating_sub(running.round_began_ms);
        self.pace.decided(took_ms);
        self.config.metrics.decided(took_ms);
        let place = running.core.setup().set.index_of(&self.config.key.public);
        if place.is_some_and(|place| !seal.votes.bitmap.contains(place)) {
            self.config.metrics.missed_votes.inc();
        }
        tracing::debug!(instance = running.number, %id, round = seal.round, "decided");
        self.sealed = Some((id, seal.to_bytes()));
        if self.bodies.get(&id).is_none() {
            for peer in &self.peers {
                self.bodies.want(monotonic_ms(), id, *peer);
            }
        }
        self.judge_wanted();
    }

    /// Hands the decided block to the ledger.
    fn append(&mut self, block: Block) {
        let (Some(running), Some((id, seal))) = (&mut self.running, self.sealed.clone()) else {
            return;
        };
        let instance = running.number;
        // The instance is over; only the ledger's answer ends it here, so it is asked once.
        running.timer = None;
        running.wanted = None;
        if self
            .seals
            .back()
            .is_some_and(|(number, ..)| *number == instance)
        {
            return;
        }
        self.seals.push_back((instance, id, seal.clone()));
        if self.seals.len() > SEALS_MAX {
            self.seals.pop_front();
        }
        let leads = running.core.setup().leads(block.extension.proposed_round);
        let (ledger, decided) = (self.config.ledger.clone(), self.config.decided.clone());
        self.pending.push(Box::pin(async move {
            match ledger.decided(block, seal.clone()).await {
                Ok(Appended::Connected(checked)) => {
                    if let Some(checked) = checked.filter(|_| leads) {
                        // Whoever misses the announcement learns of it by status.
                        let _ = decided.try_send((checked, seal));
                    }
                    Outcome::Appended { instance }
                }
                Ok(Appended::Refused(reason)) => Outcome::NotAppended {
                    instance,
                    id,
                    reason,
                },
                Err(_) => Outcome::LedgerStopped,
            }
        }));
    }

    fn keep_evidence(&mut self, evidence: &Evidence) {
        self.config.metrics.equivocations.inc();
        tracing::error!(?evidence, "a validator contradicts itself");
        let bytes = evidence.to_bytes();
        if !self.evidence.contains(&bytes) {
            // What a block took in already is left out by the ledger; the oldest goes first.
            if self.evidence.len() == EVIDENCE_MAX {
                self.evidence.remove(0);
            }
            self.evidence.push(bytes);
        }
    }
}
