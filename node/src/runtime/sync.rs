//! Catching up: runs what the sync scheduler decides over the swarm and the ledger.

use super::ledger::LedgerHandle;
use super::peers::PeerNumbers;
use cairn_consensus::chain::BlockOutcome;
use cairn_network::{NetworkHandle, Offence, PeerId, RequestError};
use cairn_protocol::hash::BlockId;
use cairn_protocol::limits::HEADERS_MAX;
use cairn_protocol::pow::work_from_bytes;
use cairn_protocol::wire::{Status, SyncRequest, SyncResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Blocks of one request.
const BATCH: usize = 16;
/// Requests in flight to one peer.
const IN_FLIGHT_MAX: usize = 2;
/// Time for header records.
const HEADERS_DEADLINE: Duration = Duration::from_secs(10);
/// Time for blocks.
const BLOCKS_DEADLINE: Duration = Duration::from_secs(15);
/// A peer that failed is left alone for so long.
const COOL_DOWN: Duration = Duration::from_secs(5);
/// Inputs that wait.
const INPUTS_MAX: usize = 256;
/// Bodies looked ahead.
const WINDOW: usize = 512;

/// What the sync task is told.
#[derive(Debug)]
pub enum SyncInput {
    /// A peer's status was accepted.
    Ready {
        /// The peer.
        peer: PeerId,
        /// Its status.
        status: Box<Status>,
    },
    /// A peer has a new best block.
    Status {
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

struct Peer {
    status: Status,
    in_flight: usize,
    cool_until: Instant,
}

enum Done {
    Headers {
        peer: PeerId,
        answer: Result<SyncResponse, RequestError>,
    },
    Blocks {
        peer: PeerId,
        ids: Vec<BlockId>,
        answer: Result<SyncResponse, RequestError>,
    },
}

struct Sync {
    ledger: LedgerHandle,
    network: NetworkHandle,
    numbers: Arc<PeerNumbers>,
    peers: BTreeMap<PeerId, Peer>,
    requests: JoinSet<Done>,
    asking_headers: bool,
    asked: BTreeSet<BlockId>,
    syncing: watch::Sender<bool>,
}

/// Starts the task.
pub fn start(
    ledger: LedgerHandle,
    network: NetworkHandle,
    numbers: Arc<PeerNumbers>,
    mut wanted: mpsc::Receiver<PeerId>,
    syncing: watch::Sender<bool>,
) -> mpsc::Sender<SyncInput> {
    let (inputs, mut queue) = mpsc::channel(INPUTS_MAX);
    let mut sync = Sync {
        ledger,
        network,
        numbers,
        peers: BTreeMap::new(),
        requests: JoinSet::new(),
        asking_headers: false,
        asked: BTreeSet::new(),
        syncing,
    };
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                input = queue.recv() => match input {
                    Some(input) => sync.take(input),
                    None => return,
                },
                Some(peer) = wanted.recv() => sync.ask_headers(peer),
                Some(Ok(done)) = sync.requests.join_next() => sync.done(done).await,
                _ = tick.tick() => {}
            }
            sync.schedule().await;
        }
    });
    inputs
}

impl Sync {
    fn take(&mut self, input: SyncInput) {
        match input {
            SyncInput::Ready { peer, status } | SyncInput::Status { peer, status } => {
                let entry = self.peers.entry(peer).or_insert(Peer {
                    status: *status,
                    in_flight: 0,
                    cool_until: Instant::now(),
                });
                entry.status = *status;
            }
            SyncInput::Gone { peer } => {
                self.peers.remove(&peer);
            }
            SyncInput::TipChanged => {}
        }
    }

    fn ask_headers(&mut self, peer: PeerId) {
        if self.asking_headers || !self.peers.contains_key(&peer) {
            return;
        }
        self.asking_headers = true;
        let locator = self.ledger.view().locator.clone();
        let max = HEADERS_MAX as u32;
        let request = SyncRequest::GetHeaders {
            locator,
            stop: BlockId::ZERO,
            max,
        };
        let network = self.network.clone();
        self.requests.spawn(async move {
            let answer = network.request(peer, request, HEADERS_DEADLINE).await;
            Done::Headers { peer, answer }
        });
    }

    async fn schedule(&mut self) {
        let view = self.ledger.view();
        let best_header_work = if view.header_height > view.height {
            None
        } else {
            Some(view.work)
        };
        let now = Instant::now();
        let target = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.cool_until <= now)
            .max_by_key(|(_, peer)| peer.status.total_work)
            .map(|(id, peer)| (*id, work_from_bytes(&peer.status.total_work)));
        let behind =
            target.is_some_and(|(_, work)| best_header_work.is_none_or(|ours| work > ours));
        if let Some((peer, work)) = target
            && best_header_work.is_some_and(|ours| work > ours)
        {
            self.ask_headers(peer);
        }
        let missing = match self.ledger.missing_bodies(WINDOW).await {
            Ok(missing) => missing,
            Err(_) => return,
        };
        self.syncing.send_if_modified(|syncing| {
            let now = behind && missing.len() > 2;
            std::mem::replace(syncing, now) != now
        });
        let wanted: Vec<BlockId> = missing
            .into_iter()
            .map(|(_, id)| id)
            .filter(|id| !self.asked.contains(id))
            .collect();
        for ids in wanted.chunks(BATCH) {
            let free = self
                .peers
                .iter_mut()
                .filter(|(_, peer)| peer.cool_until <= now && peer.in_flight < IN_FLIGHT_MAX)
                .min_by_key(|(_, peer)| peer.in_flight);
            let Some((peer, entry)) = free else { return };
            entry.in_flight += 1;
            let (peer, ids, network) = (*peer, ids.to_vec(), self.network.clone());
            self.asked.extend(ids.iter().copied());
            self.requests.spawn(async move {
                let request = SyncRequest::BlocksById(ids.clone());
                let answer = network.request(peer, request, BLOCKS_DEADLINE).await;
                Done::Blocks { peer, ids, answer }
            });
        }
    }

    async fn done(&mut self, done: Done) {
        match done {
            Done::Headers { peer, answer } => {
                self.asking_headers = false;
                match answer {
                    Ok(SyncResponse::Headers(records)) => self.headers(peer, records).await,
                    Ok(_) => self.punish(peer, Offence::WrongAnswer),
                    Err(error) => self.failed(peer, &error),
                }
            }
            Done::Blocks { peer, ids, answer } => {
                for id in &ids {
                    self.asked.remove(id);
                }
                if let Some(entry) = self.peers.get_mut(&peer) {
                    entry.in_flight -= 1;
                }
                match answer {
                    Ok(SyncResponse::Blocks(blocks)) if !blocks.is_empty() => {
                        for block in blocks {
                            let source = self.numbers.source(peer);
                            let Ok(reply) = self.ledger.block(block, source).await else {
                                return;
                            };
                            if let BlockOutcome::Invalid(violation) = reply.outcome
                                && !violation.is_temporary()
                            {
                                tracing::warn!(%peer, %violation, "invalid block");
                                return self.punish(peer, Offence::InvalidBlock);
                            }
                        }
                    }
                    Ok(SyncResponse::Blocks(_)) => self.cool(peer),
                    Ok(_) => self.punish(peer, Offence::WrongAnswer),
                    Err(error) => self.failed(peer, &error),
                }
            }
        }
    }

    async fn headers(&mut self, peer: PeerId, records: Vec<cairn_protocol::block::HeaderRecord>) {
        if records.is_empty() {
            return self.cool(peer);
        }
        let Ok(outcome) = self.ledger.headers(records).await else {
            return;
        };
        match outcome.violation {
            Some(violation) if !violation.is_temporary() => {
                tracing::warn!(%peer, %violation, "invalid header");
                self.punish(peer, Offence::InvalidHeader);
            }
            _ if outcome.added == 0 => self.cool(peer),
            _ => {}
        }
    }

    fn failed(&mut self, peer: PeerId, error: &RequestError) {
        tracing::debug!(%peer, %error, "sync request failed");
        match error {
            RequestError::Timeout => self.punish(peer, Offence::Stalled),
            _ => self.cool(peer),
        }
    }

    fn punish(&mut self, peer: PeerId, offence: Offence) {
        self.network.report(peer, offence);
        self.cool(peer);
    }

    fn cool(&mut self, peer: PeerId) {
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.cool_until = Instant::now() + COOL_DOWN;
        }
    }
}
