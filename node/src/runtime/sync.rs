//! Catching up: runs what the network's pure scheduler decides over the swarm and the ledger.
//!
//! Invariant: the scheduler never waits: questions to peers and blocks on their way into the ledger
//! are tasks of their own, whose outcomes come back as inputs.
//! Rules: `spec/08-sync.md`.

use super::clock::monotonic_ms;
use super::inbox::Inbox;
use super::ledger::{LedgerHandle, LedgerStopped};
use super::peers::PeerNumbers;
use super::tasks::Tasks;
use super::view::ChainView;
use cairn_consensus::chain::{BlockOutcome, HeadersOutcome};
use cairn_consensus::nakamoto::check_work;
use cairn_network::sync::{
    BLOCKS_PER_BATCH, Effect, Failure, HEADERS_PER_REQUEST, HeaderFacts, Input, Progress,
    RequestId, Scheduler, Start, Tip, WINDOW_BATCHES,
};
use cairn_network::{NetworkHandle, Offence, PeerId, RequestError};
use cairn_protocol::block::{Block, HeaderRecord};
use cairn_protocol::hash::BlockId;
use cairn_protocol::header::Header;
use cairn_protocol::limits::LOCATOR_MAX;
use cairn_protocol::pow::{Work, work_from_bytes, work_of};
use cairn_protocol::rules::Violation;
use cairn_protocol::spec::ChainParams;
use cairn_protocol::units::Height;
use cairn_protocol::wire::{BareHeader, ErrorCode, Status, SyncRequest, SyncResponse};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

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
    BareHeaders {
        request: RequestId,
        first_parent: Option<BlockId>,
        input: Input<PeerId>,
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
    /// The block after which a request for headers asked: what follows another one is another branch.
    after: BTreeMap<RequestId, BlockId>,
    /// Blocks asked for: nothing else of an answer reaches the ledger.
    asked: BTreeMap<RequestId, BTreeSet<BlockId>>,
    outcomes: mpsc::Sender<Outcome>,
    feed: mpsc::Sender<(PeerId, Vec<Block>)>,
    syncing: watch::Sender<bool>,
    told_ms: u64,
    caught_up: bool,
}

/// Starts the tasks; `syncing` says whether the node is behind.
pub fn start(
    tasks: &mut Tasks,
    ledger: LedgerHandle,
    network: NetworkHandle,
    numbers: Arc<PeerNumbers>,
    syncing: watch::Sender<bool>,
) -> Arc<Inbox> {
    let inbox = Arc::new(Inbox::default());
    let (outcomes, returned) = mpsc::channel(OUTCOMES_MAX);
    let (feed, food) = mpsc::channel(WINDOW_BATCHES);
    let view = ledger.view();
    let work_min = ledger.params().minimum_chain_work();
    let best = best_header(ledger.params(), &view);
    let scheduler = Scheduler::new(rand::random(), work_min, view.height, best);
    let feeding = feed_ledger(ledger.clone(), numbers, food, outcomes.clone());
    tasks.spawn("block feed", feeding);
    let sync = Sync {
        ledger,
        network,
        scheduler,
        records: BTreeMap::new(),
        after: BTreeMap::new(),
        asked: BTreeMap::new(),
        outcomes,
        feed,
        syncing,
        told_ms: 0,
        caught_up: false,
    };
    tasks.spawn("sync", sync.run(Arc::clone(&inbox), returned));
    inbox
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
) -> String {
    while let Some((peer, blocks)) = food.recv().await {
        for block in blocks {
            let id = block.id();
            let source = numbers.source(peer);
            let reply = match ledger.block(block, source).await {
                Ok(reply) => reply,
                Err(stopped) => return stopped.to_string(),
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
                return "the sync task has ended".to_owned();
            }
        }
    }
    "the sync task has ended".to_owned()
}

impl Sync {
    async fn run(mut self, inbox: Arc<Inbox>, mut returned: mpsc::Receiver<Outcome>) -> String {
        let mut tick = tokio::time::interval(TICK);
        loop {
            let went = tokio::select! {
                () = inbox.arrived() => self.take(inbox.take()).await,
                Some(outcome) = returned.recv() => self.outcome(outcome).await,
                _ = tick.tick() => self.tick().await,
            };
            if let Err(stopped) = went {
                return stopped.to_string();
            }
            let behind = self.is_behind();
            self.syncing
                .send_if_modified(|syncing| std::mem::replace(syncing, behind) != behind);
        }
    }

    /// Deadlines, and a look at the chain: headers may have come or died without a move of the tip.
    async fn tick(&mut self) -> Result<(), LedgerStopped> {
        self.handle(self.chain()).await?;
        self.handle(Input::Tick).await?;
        let view = self.ledger.view();
        // A branch may have more work without being higher; the scheduler knows heights only.
        if view.tip != view.best_header && view.header_height <= view.height {
            let toward = self.scheduler.other_tips();
            let missing = self.missing_bodies(toward).await?;
            self.handle(missing).await?;
        }
        Ok(())
    }

    async fn missing_bodies(&self, toward: Vec<BlockId>) -> Result<Input<PeerId>, LedgerStopped> {
        let max = WINDOW_BATCHES * BLOCKS_PER_BATCH;
        let missing = self.ledger.missing_bodies(max, toward).await?;
        Ok(Input::Need {
            best: missing.best,
            others: missing.others,
        })
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

    async fn take(&mut self, inputs: Vec<SyncInput>) -> Result<(), LedgerStopped> {
        for input in inputs {
            let input = match input {
                SyncInput::Peer { peer, status } => {
                    let total = work_from_bytes(&status.total_work);
                    let work = score(status.finalized_height, total);
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
            self.handle(input).await?;
        }
        Ok(())
    }

    fn chain(&self) -> Input<PeerId> {
        let view = self.ledger.view();
        Input::Chain {
            connected: view.height,
            best_header: best_header(self.ledger.params(), &view),
        }
    }

    async fn outcome(&mut self, outcome: Outcome) -> Result<(), LedgerStopped> {
        match outcome {
            Outcome::Scheduler(input) => {
                if let Input::Failed { request, .. } | Input::HeadersBad { request, .. } = &input {
                    self.asked.remove(request);
                    self.after.remove(request);
                }
                self.handle(input).await?;
            }
            Outcome::Headers { request, records } => {
                if self.has_moved(request, records.first().map(|first| first.header.parent)) {
                    return self.handle(Input::Moved { request }).await;
                }
                let ids = records.iter().map(|record| record.header.id()).collect();
                self.records.insert(request, records);
                let arrived = Input::HeadersArrived { request, ids };
                self.handle(arrived).await?;
                // What the scheduler did not take now it will never take.
                self.records.remove(&request);
            }
            Outcome::BareHeaders {
                request,
                first_parent,
                input,
            } => {
                let input = match self.has_moved(request, first_parent) {
                    true => Input::Moved { request },
                    false => input,
                };
                self.handle(input).await?;
            }
            Outcome::Bodies {
                request,
                peer,
                blocks,
            } => {
                let asked = self.asked.remove(&request).unwrap_or_default();
                let ids = blocks.iter().map(Block::id).collect();
                self.handle(Input::BodiesArrived { request, ids }).await?;
                let wanted = blocks
                    .into_iter()
                    .filter(|block| asked.contains(&block.id()));
                let blocks: Vec<Block> = wanted.collect();
                // The window bounds the batches under way, so this waits for the ledger at most.
                let _ = self.feed.send((peer, blocks)).await;
            }
        }
        Ok(())
    }

    /// Whether an answer does not follow the block that it was to follow.
    fn has_moved(&mut self, request: RequestId, first_parent: Option<BlockId>) -> bool {
        let after = self.after.remove(&request);
        after
            .zip(first_parent)
            .is_some_and(|(after, parent)| after != parent)
    }

    /// Gives one input to the scheduler and runs the effects; what they bring goes in next.
    async fn handle(&mut self, input: Input<PeerId>) -> Result<(), LedgerStopped> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            tracing::trace!(?input, "sync");
            self.scheduler.handle(monotonic_ms(), input, &mut effects);
            tracing::trace!(?effects, "sync");
            for effect in effects {
                inputs.extend(self.run_effect(effect).await?);
            }
        }
        Ok(())
    }

    async fn run_effect(
        &mut self,
        effect: Effect<PeerId>,
    ) -> Result<Vec<Input<PeerId>>, LedgerStopped> {
        match effect {
            Effect::AskHeaders {
                peer,
                request,
                start,
                deadline_ms,
            } => {
                let max = HEADERS_PER_REQUEST as u32;
                let (locator, stop) = (self.locator(request, start), BlockId::ZERO);
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
                    locator: self.locator(request, start),
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
            Effect::NeedBodies { toward } => {
                return Ok(vec![self.missing_bodies(toward).await?]);
            }
            Effect::Punish { peer, offence } => self.network.report(peer, offence),
            Effect::Progress(progress) => self.show(progress),
        }
        Ok(Vec::new())
    }

    fn locator(&mut self, request: RequestId, start: Start) -> Vec<BlockId> {
        let view = self.ledger.view();
        if let Start::After(id) = start {
            self.after.insert(request, id);
        }
        locator_from(start, &view.locator)
    }

    /// Gives records to the ledger; brings the news of the chain, then what became of them.
    async fn store_headers(
        &mut self,
        request: RequestId,
        count: usize,
    ) -> Result<Vec<Input<PeerId>>, LedgerStopped> {
        let Some(mut records) = self.records.remove(&request) else {
            return Ok(Vec::new());
        };
        records.truncate(count);
        let (outcome, last) = self.ledger.headers(records).await?;
        if let Some(violation) = outcome
            .violation
            .as_ref()
            .filter(|violation| !violation.is_temporary())
        {
            tracing::warn!(%violation, "invalid header");
            return Ok(vec![Input::HeadersBad {
                request,
                offence: Offence::InvalidHeader,
            }]);
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
        let refused = is_our_refusal(&outcome);
        let stored = Input::HeadersStored {
            request,
            last,
            refused,
        };
        Ok(vec![self.chain(), stored])
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
            let outcome = read_answer(&ledger, peer, request, answer).await;
            // The sync task ends with the node.
            let _ = outcomes.send(outcome).await;
        });
    }
}

/// The ids to send: a block that the peer named before, then our own locator, in case it has moved to
/// another branch since.
fn locator_from(start: Start, own: &[BlockId]) -> Vec<BlockId> {
    let after = match start {
        Start::Locator => None,
        Start::After(id) => Some(id),
    };
    let own = own.iter().copied().filter(|id| Some(*id) != after);
    let mut ids: Vec<BlockId> = after.into_iter().chain(own).collect();
    // Genesis is known to everybody without being named.
    ids.truncate(LOCATOR_MAX);
    ids
}

/// Whether a bound or the clock of this node stopped a batch of headers.
fn is_our_refusal(outcome: &HeadersOutcome) -> bool {
    let is_early = matches!(outcome.violation, Some(Violation::TimeTooNew { .. }));
    outcome.refusal.is_some() || is_early
}

async fn read_answer(
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
        Ok(SyncResponse::BareHeaders(headers)) => bare_headers(ledger, request, &headers).await,
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
async fn bare_headers(
    ledger: &LedgerHandle,
    request: RequestId,
    headers: &[BareHeader],
) -> Outcome {
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
    let first_parent = facts.first().map(|first| first.parent);
    // The ledger's header tree: the store has only headers whose bodies came.
    let anchor = match first_parent {
        Some(parent) => ledger.find(parent).await.ok().flatten(),
        None => None,
    };
    let anchor = anchor.map(|place| Tip {
        height: place.height,
        id: place.id,
        work: place.work,
    });
    Outcome::BareHeaders {
        request,
        first_parent,
        input: Input::BareHeadersArrived {
            request,
            anchor,
            facts,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_consensus::chain::Refusal;

    fn id(n: u8) -> BlockId {
        BlockId([n; 32])
    }

    #[test]
    fn a_locator_begins_where_the_peer_was_and_ends_with_our_own() {
        let own: Vec<BlockId> = (1..=64).map(id).collect();
        assert_eq!(locator_from(Start::Locator, &own), own);
        let after = locator_from(Start::After(id(200)), &own);
        assert_eq!(after.len(), LOCATOR_MAX);
        assert_eq!((after[0], after[1]), (id(200), id(1)));
        let known = locator_from(Start::After(id(3)), &own[..10]);
        assert_eq!((known[0], known.len()), (id(3), 10), "named once");
    }

    #[test]
    fn our_own_bounds_are_told_from_the_peers_faults() {
        let mut outcome = HeadersOutcome::default();
        assert!(!is_our_refusal(&outcome));
        outcome.refusal = Some(Refusal::HeadersAhead { height: 9, max: 8 });
        assert!(is_our_refusal(&outcome));
        outcome.refusal = None;
        let parent = cairn_protocol::hash::Hash([1; 32]);
        outcome.violation = Some(Violation::UnknownParent { parent });
        assert!(!is_our_refusal(&outcome), "the answer does not link");
        outcome.violation = Some(Violation::TimeTooNew {
            time: 9,
            now: 1,
            max_future_s: 2,
        });
        assert!(is_our_refusal(&outcome));
    }
}
