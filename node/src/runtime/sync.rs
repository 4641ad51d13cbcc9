//! Catching up: runs what the network's pure scheduler decides over the swarm and the ledger.
//!
//! Invariant: the scheduler never waits: questions to peers and blocks on their way into the ledger
//! are tasks of their own, whose outcomes come back as inputs.
//! Rules: `spec/08-sync.md`.

use super::clock::monotonic_ms;
use super::ledger::LedgerHandle;
use super::peers::PeerNumbers;
use super::view::ChainView;
use cairn_consensus::chain::BlockOutcome;
use cairn_consensus::nakamoto::check_work;
use cairn_network::sync::{
    BLOCKS_PER_BATCH, Effect, Failure, HEADERS_PER_REQUEST, HeaderFacts, Input, Progress,
    RequestId, Scheduler, Start, Tip, WINDOW_BATCHES,
};
use cairn_network::{NetworkHandle, Offence, PeerId, RequestError};
use cairn_protocol::block::{Block, HeaderRecord};
use cairn_protocol::hash::BlockId;
use cairn_protocol::header::Header;
use cairn_protocol::pow::{Work, work_from_bytes, work_of};
use cairn_protocol::spec::ChainParams;
use cairn_protocol::units::Height;
use cairn_protocol::wire::{BareHeader, ErrorCode, Status, SyncRequest, SyncResponse};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Inputs that wait; their senders wait with them.
const INPUTS_MAX: usize = 256;

/// Outcomes that wait. More than the window has blocks, so that the task that feeds the ledger never
/// waits for the task that feeds it.
const OUTCOMES_MAX: usize = 4 * WINDOW_BATCHES * BLOCKS_PER_BATCH;

/// Time between two looks at deadlines.
const TICK: Duration = Duration::from_millis(500);

/// Time between two lines about progress in the log.
const PROGRESS_EVERY_MS: u64 = 5_000;

/// Behind by at most this many blocks a node counts as level: blocks arrive while we look.
const SYNCED_BLOCKS: u64 = 2;

/// Wait after an answer "too many requests" that names no time.
const WAIT_MS: u64 = 1_000;

/// What the sync task is told.
#[derive(Debug)]
pub enum SyncInput {
    /// A peer is ready, or has a new best block.
    Peer {
        /// The peer.
        peer: PeerId,
        /// Its status.
        status: Box<Status>,
    },
    /// A peer left.
    Gone {
        /// The peer.
        peer: PeerId,
    },
    /// Our tip moved.
    TipChanged,
}

/// What the task's own tasks bring back.
enum Outcome {
    Scheduler(Input<PeerId>),
    Headers {
        request: RequestId,
        records: Vec<HeaderRecord>,
    },
    Bodies {
        request: RequestId,
        peer: PeerId,
        blocks: Vec<Block>,
    },
}

struct Sync {
    ledger: LedgerHandle,
    network: NetworkHandle,
    scheduler: Scheduler<PeerId>,
    /// Header records between their arrival and the scheduler's word.
    records: BTreeMap<RequestId, Vec<HeaderRecord>>,
    /// Blocks asked for: nothing else of an answer reaches the ledger.
    asked: BTreeMap<RequestId, BTreeSet<BlockId>>,
    outcomes: mpsc::Sender<Outcome>,
    feed: mpsc::Sender<(PeerId, Vec<Block>)>,
    syncing: watch::Sender<bool>,
    told_ms: u64,
    caught_up: bool,
}

/// Starts the task; `syncing` says whether the node is behind.
pub fn start(
    ledger: LedgerHandle,
    network: NetworkHandle,
    numbers: Arc<PeerNumbers>,
    syncing: watch::Sender<bool>,
) -> mpsc::Sender<SyncInput> {
    let (inputs, queue) = mpsc::channel(INPUTS_MAX);
    let (outcomes, returned) = mpsc::channel(OUTCOMES_MAX);
    let (feed, food) = mpsc::channel(WINDOW_BATCHES);
    let view = ledger.view();
    let work_min = ledger.params().minimum_chain_work();
    let scheduler = Scheduler::new(
        rand::random(),
        work_min,
        view.height,
        best_header(ledger.params(), &view),
    );
    tokio::spawn(feed_ledger(ledger.clone(), numbers, food, outcomes.clone()));
    let (records, asked, told_ms) = (BTreeMap::new(), BTreeMap::new(), 0);
    let sync = Sync {
        ledger,
        network,
        scheduler,
        records,
        asked,
        outcomes,
        feed,
        syncing,
        told_ms,
        caught_up: false,
    };
    tokio::spawn(sync.run(queue, returned));
    inputs
}

fn best_header(params: &ChainParams, view: &ChainView) -> Tip {
    let floor = params.last_bft_height(view.header_height).unwrap_or(0);
    Tip {
        height: view.header_height,
        id: view.best_header,
        work: score(floor, view.header_work),
    }
}

/// What fork choice compares, as one number: the floor first, then the work, of which no chain has
/// 2^192 (a header has at most 2^256 / target, and none has been found below 2^-100).
fn score(floor: Height, work: Work) -> Work {
    const WORK_BITS: usize = 192;
    let cap = (Work::from(1u64) << WORK_BITS) - Work::from(1u64);
    (Work::from(floor) << WORK_BITS) | work.min(cap)
}

/// Hands blocks to the ledger in the order in which they came.
async fn feed_ledger(
    ledger: LedgerHandle,
    numbers: Arc<PeerNumbers>,
    mut food: mpsc::Receiver<(PeerId, Vec<Block>)>,
    outcomes: mpsc::Sender<Outcome>,
) {
    while let Some((peer, blocks)) = food.recv().await {
        for block in blocks {
            let id = block.id();
            let source = numbers.source(peer);
            let Ok(reply) = ledger.block(block, source).await else {
                return;
            };
            let BlockOutcome::Invalid(violation) = reply.outcome else {
                continue;
            };
            if violation.is_temporary() {
                continue;
            }
            tracing::warn!(%peer, %id, %violation, "invalid block");
            let bad = Input::BodyBad {
                id,
                is_content: violation.is_mutation(),
            };
            if outcomes.send(Outcome::Scheduler(bad)).await.is_err() {
                return;
            }
        }
    }
}

impl Sync {
    async fn run(
        mut self,
        mut queue: mpsc::Receiver<SyncInput>,
        mut returned: mpsc::Receiver<Outcome>,
    ) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                input = queue.recv() => match input {
                    Some(input) => self.take(input).await,
                    None => return,
                },
                Some(outcome) = returned.recv() => self.outcome(outcome).await,
                _ = tick.tick() => self.tick().await,
            }
            let behind = self.is_behind();
            self.syncing
                .send_if_modified(|syncing| std::mem::replace(syncing, behind) != behind);
        }
    }

    /// Deadlines, and a look at the chain: headers may have come or died without a move of the tip.
    async fn tick(&mut self) {
        self.handle(self.chain()).await;
        self.handle(Input::Tick).await;
        let view = self.ledger.view();
        // A branch may have more work without being higher; the scheduler knows heights only.
        if view.tip != view.best_header && view.header_height <= view.height {
            let max = WINDOW_BATCHES * BLOCKS_PER_BATCH;
            if let Ok(missing) = self.ledger.missing_bodies(max).await {
                self.handle(Input::Need(missing)).await;
            }
        }
    }

    /// Whether this node should be called behind. What peers claim counts until it was level with
    /// them once; after that only headers that were shown, or a claim would stop every miner.
    fn is_behind(&mut self) -> bool {
        let view = self.ledger.view();
        let claimed = !self.scheduler.is_synced();
        if !claimed && !self.network.peers().is_empty() {
            self.caught_up = true;
        }
        view.header_height > view.height + SYNCED_BLOCKS || (claimed && !self.caught_up)
    }

    async fn take(&mut self, input: SyncInput) {
        let input = match input {
            SyncInput::Peer { peer, status } => {
                let work = score(status.finalized_height, work_from_bytes(&status.total_work));
                let tip = Tip {
                    height: status.best_height,
                    id: status.best_id,
                    work,
                };
                Input::Peer {
                    peer,
                    tip,
                    lowest: status.lowest_height,
                }
            }
            SyncInput::Gone { peer } => Input::PeerGone(peer),
            SyncInput::TipChanged => self.chain(),
        };
        self.handle(input).await;
    }

    fn chain(&self) -> Input<PeerId> {
        let view = self.ledger.view();
        Input::Chain {
            connected: view.height,
            best_header: best_header(self.ledger.params(), &view),
        }
    }

    async fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Scheduler(input) => {
                if let Input::Failed { request, .. } = &input {
                    self.asked.remove(request);
                }
                self.handle(input).await;
            }
            Outcome::Headers { request, records } => {
                let ids = records.iter().map(|record| record.header.id()).collect();
                self.records.insert(request, records);
                self.handle(Input::HeadersArrived { request, ids }).await;
                // What the scheduler did not take now it will never take.
                self.records.remove(&request);
            }
            Outcome::Bodies {
                request,
                peer,
                blocks,
            } => {
                let asked = self.asked.remove(&request).unwrap_or_default();
                let ids = blocks.iter().map(Block::id).collect();
                self.handle(Input::BodiesArrived { request, ids }).await;
                let wanted = blocks
                    .into_iter()
                    .filter(|block| asked.contains(&block.id()));
                let blocks: Vec<Block> = wanted.collect();
                // The window bounds the batches under way, so this waits for the ledger at most.
                let _ = self.feed.send((peer, blocks)).await;
            }
        }
    }

    /// Gives one input to the scheduler and runs the effects; what they bring goes in next.
    async fn handle(&mut self, input: Input<PeerId>) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            tracing::trace!(?input, "sync");
            self.scheduler.handle(monotonic_ms(), input, &mut effects);
            tracing::trace!(?effects, "sync");
            for effect in effects {
                inputs.extend(self.run_effect(effect).await);
            }
        }
    }

    async fn run_effect(&mut self, effect: Effect<PeerId>) -> Vec<Input<PeerId>> {
        match effect {
            Effect::AskHeaders {
                peer,
                request,
                start,
                deadline_ms,
            } => {
                let max = HEADERS_PER_REQUEST as u32;
                let (locator, stop) = (self.locator(start), BlockId::ZERO);
                let question = SyncRequest::GetHeaders { locator, stop, max };
                self.ask(peer, request, question, deadline_ms);
            }
            Effect::AskBareHeaders {
                peer,
                request,
                start,
                deadline_ms,
            } => {
                let max = HEADERS_PER_REQUEST as u32;
                let question = SyncRequest::GetBareHeaders {
                    locator: self.locator(start),
                    max,
                };
                self.ask(peer, request, question, deadline_ms);
            }
            Effect::AskBodies {
                peer,
                request,
                ids,
                deadline_ms,
            } => {
                self.asked.insert(request, ids.iter().copied().collect());
                self.ask(peer, request, SyncRequest::BlocksById(ids), deadline_ms);
            }
            Effect::StoreHeaders { request, count } => {
                return self.store_headers(request, count).await;
            }
            Effect::NeedBodies => {
                let max = WINDOW_BATCHES * BLOCKS_PER_BATCH;
                let missing = self.ledger.missing_bodies(max).await.ok();
                return missing.map(Input::Need).into_iter().collect();
            }
            Effect::Punish { peer, offence } => self.network.report(peer, offence),
            Effect::Progress(progress) => self.show(progress),
        }
        Vec::new()
    }

    fn locator(&self, start: Start) -> Vec<BlockId> {
        match start {
            Start::Locator => self.ledger.view().locator.clone(),
            Start::After(id) => vec![id],
        }
    }

    /// Gives records to the ledger; brings the news of the chain, then what became of them.
    async fn store_headers(&mut self, request: RequestId, count: usize) -> Vec<Input<PeerId>> {
        let Some(mut records) = self.records.remove(&request) else {
            return Vec::new();
        };
        records.truncate(count);
        let Ok((outcome, last)) = self.ledger.headers(records).await else {
            return Vec::new();
        };
        if let Some(violation) = outcome
            .violation
            .filter(|violation| !violation.is_temporary())
        {
            tracing::warn!(%violation, "invalid header");
            return vec![Input::HeadersBad {
                request,
                offence: Offence::InvalidHeader,
            }];
        }
        let params = self.ledger.params();
        let last = last.map(|place| Tip {
            height: place.height,
            id: place.id,
            work: score(
                params.last_bft_height(place.height).unwrap_or(0),
                place.work,
            ),
        });
        vec![self.chain(), Input::HeadersStored { request, last }]
    }

    fn show(&mut self, progress: Progress) {
        let now = monotonic_ms();
        if progress.remaining() == 0 || now.saturating_sub(self.told_ms) < PROGRESS_EVERY_MS {
            return;
        }
        self.told_ms = now;
        let Progress {
            done,
            total,
            headers,
            eta_s,
        } = progress;
        tracing::info!(done, total, headers, eta_s, "syncing");
    }

    /// Asks a peer in a task of its own.
    fn ask(&self, peer: PeerId, request: RequestId, question: SyncRequest, deadline_ms: u64) {
        let (network, ledger, outcomes) = (
            self.network.clone(),
            self.ledger.clone(),
            self.outcomes.clone(),
        );
        tokio::spawn(async move {
            let deadline = Duration::from_millis(deadline_ms);
            let answer = network.request(peer, question, deadline).await;
            // The sync task ends with the node.
            let _ = outcomes
                .send(read_answer(&ledger, peer, request, answer))
                .await;
        });
    }
}

fn read_answer(
    ledger: &LedgerHandle,
    peer: PeerId,
    request: RequestId,
    answer: Result<SyncResponse, RequestError>,
) -> Outcome {
    let failed = |failure| Outcome::Scheduler(Input::Failed { request, failure });
    match answer {
        Ok(SyncResponse::Headers(records)) => Outcome::Headers { request, records },
        Ok(SyncResponse::Blocks(blocks)) => Outcome::Bodies {
            request,
            peer,
            blocks,
        },
        Ok(SyncResponse::BareHeaders(headers)) => bare_headers(ledger, request, &headers),
        Ok(SyncResponse::Error(ErrorCode::RateLimited { retry_after_ms })) => {
            failed(Failure::Wait {
                ms: u64::from(retry_after_ms).max(1),
            })
        }
        Ok(SyncResponse::Error(_)) => failed(Failure::Lost),
        Ok(_) => failed(Failure::WrongAnswer),
        Err(RequestError::Timeout) => failed(Failure::Timeout),
        Err(RequestError::BadAnswer(_)) => failed(Failure::WrongAnswer),
        Err(RequestError::Limited { retry_after_ms }) => failed(Failure::Wait {
            ms: retry_after_ms.max(1),
        }),
        Err(RequestError::Busy) => failed(Failure::Wait { ms: WAIT_MS }),
        Err(_) => failed(Failure::Lost),
    }
}

/// Checks the work of each header before the scheduler sees any of them.
fn bare_headers(ledger: &LedgerHandle, request: RequestId, headers: &[BareHeader]) -> Outcome {
    let mut facts = Vec::with_capacity(headers.len());
    for BareHeader(bytes) in headers {
        let header = Header::from_bytes(bytes);
        let target = header.bits.to_target().ok();
        let Some(target) = target.filter(|_| check_work(ledger.params(), &header).is_ok()) else {
            let offence = Offence::InvalidHeader;
            return Outcome::Scheduler(Input::HeadersBad { request, offence });
        };
        let (id, parent, work) = (header.id(), header.parent, work_of(target));
        facts.push(HeaderFacts { id, parent, work });
    }
    let anchor = facts.first().and_then(|first| {
        let meta = ledger.snapshot().header(&first.parent).ok().flatten()?;
        Some(Tip {
            height: meta.height,
            id: meta.id,
            work: meta.work,
        })
    });
    Outcome::Scheduler(Input::BareHeadersArrived {
        request,
        anchor,
        facts,
    })
}
