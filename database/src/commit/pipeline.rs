//! The pipeline: two steps that two threads take in turn, or a test one by one.

use super::apply::{apply_entry, apply_writes, read_frontier, tile_fault};
use super::link::{CommitLog, Outcome, Ticket};
use super::promise::Resolver;
use super::window::Window;
use crate::entry::{Chain, CommitTs, Entry, Incarnation, Stamp};
use crate::lock::{LockManager, OwnerId};
use crate::store::{Applied, Derive, Store, StoreError};
use crate::transaction::{Error, Layer, ReadSet, Result};
use crate::tree::{Frontier, TileFiles, leaf_hash};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of a commit's header: the fixed part alone (`crate::entry::Header`).
const COMMIT_HEADER_BYTES: usize = 112;

/// A transaction that wants to be committed.
#[derive(Debug)]
pub struct Request {
    /// Whose locks go when it is over.
    pub owner: OwnerId,
    /// Its entries, not stamped.
    pub chain: Chain,
    /// Its writes, the same as in the entries.
    pub writes: Arc<Layer>,
    /// What to validate, for a serializable transaction.
    pub reads: Option<ReadSet>,
    /// Its snapshot.
    pub snapshot: CommitTs,
    /// Told the outcome.
    pub answer: Resolver<Result<CommitTs>>,
}

/// Faults to build in, so that tests see that they would be found.
#[derive(Debug, Clone, Copy, Default)]
pub struct PipelineOptions {
    /// Members of one batch are not validated against each other.
    pub planted_same_batch_ignored: bool,
    /// Locks go when the proposal is made.
    pub planted_early_unlock: bool,
}

enum Part {
    /// A whole transaction, applied from its writes.
    Whole(Arc<Layer>),
    /// A prewrite or a resolve, applied from its bytes.
    Bytes(Vec<u8>),
}

struct Flight {
    ts: CommitTs,
    ticket: Box<dyn Ticket>,
    part: Part,
    leaf: crate::tree::Hash,
    /// Of the last part of a transaction.
    end: Option<(OwnerId, Resolver<Result<CommitTs>>)>,
}

#[derive(Default)]
struct Queue {
    requests: Vec<Request>,
    closed: bool,
}

struct Sequencer {
    last_ts: CommitTs,
    window: Window,
    incarnation: Incarnation,
}

struct Applier {
    derive: Box<dyn Derive + Send>,
    frontier: Frontier,
    /// Where the leaves go, if somebody wants proofs.
    tiles: Option<TileFiles>,
    /// An entry that may be in the log was not applied: nothing behind it is either, or a checkpoint
    /// would take it for applied, and no restart would ever come back to it.
    has_gap: bool,
}

/// What a step of `settle` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// Entries that were applied.
    pub applied: usize,
    /// Entries that were lost.
    pub lost: usize,
}

/// The pipeline of one group.
pub struct Pipeline {
    store: Arc<Store>,
    log: Arc<dyn CommitLog>,
    locks: Arc<LockManager>,
    options: PipelineOptions,
    queue: Mutex<Queue>,
    queued: Condvar,
    sequencer: Mutex<Sequencer>,
    flights: Mutex<VecDeque<Flight>>,
    flying: Condvar,
    applier: Mutex<Applier>,
    stopped: Mutex<Option<String>>,
    wall_ms: fn() -> u64,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Pipeline {
    /// A pipeline over a store that has applied all of the log.
    ///
    /// # Errors
    /// `Damaged` if the stored frontier makes no sense.
    pub fn new(
        store: Arc<Store>,
        log: Arc<dyn CommitLog>,
        locks: Arc<LockManager>,
        derive: Box<dyn Derive + Send>,
        incarnation: Incarnation,
        tiles: Option<TileFiles>,
        options: PipelineOptions,
    ) -> Result<Self> {
        let applied = store.applied();
        let frontier = read_frontier(&applied)?;
        Ok(Pipeline {
            store,
            log,
            locks,
            options,
            queue: Mutex::default(),
            queued: Condvar::new(),
            sequencer: Mutex::new(Sequencer {
                last_ts: applied.ts,
                window: Window::new(applied.ts),
                incarnation,
            }),
            flights: Mutex::default(),
            flying: Condvar::new(),
            applier: Mutex::new(Applier {
                derive,
                frontier,
                tiles,
                has_gap: false,
            }),
            stopped: Mutex::default(),
            wall_ms: wall_clock_ms,
        })
    }

    /// Hands a transaction in.
    pub fn submit(&self, request: Request) {
        if let Some(why) = self.stopped.lock().clone() {
            self.refuse(request.owner, request.answer, Error::Stopped(why));
            return;
        }
        let mut queue = self.queue.lock();
        if queue.closed {
            drop(queue);
            self.refuse(
                request.owner,
                request.answer,
                Error::Stopped("it is closing".into()),
            );
            return;
        }
        queue.requests.push(request);
        if queue.requests.len() == 1 {
            self.queued.notify_one();
        }
    }

    /// Answers a transaction that will certainly not be committed.
    fn refuse(&self, owner: OwnerId, answer: Resolver<Result<CommitTs>>, error: Error) {
        self.locks.release_transaction(owner);
        answer.resolve(Err(error));
    }

    /// Why no commit is taken any more, if so.
    pub fn stopped(&self) -> Option<String> {
        self.stopped.lock().clone()
    }

    /// Takes no more transactions; the threads end when all is answered.
    pub fn close(&self) {
        self.queue.lock().closed = true;
        self.queued.notify_all();
        self.flying.notify_all();
    }

    /// Validates, stamps and proposes what is queued. Returns how many transactions it drained.
    pub fn sequence(&self) -> usize {
        let requests = std::mem::take(&mut self.queue.lock().requests);
        let drained = requests.len();
        if drained == 0 {
            return 0;
        }
        let mut sequencer = self.sequencer.lock();
        let batch_start = sequencer.last_ts;
        let mut later = Vec::new();
        for request in requests {
            if let Some(reads) = &request.reads
                && !sequencer.window.is_valid(reads, request.snapshot)
            {
                let why = "a concurrent transaction changed what this one read";
                self.refuse(request.owner, request.answer, Error::Serialization(why));
                continue;
            }
            let touched = request.writes.touched().clone();
            match self.propose(&mut sequencer, request) {
                Some(ts) if self.options.planted_same_batch_ignored => later.push((ts, touched)),
                Some(ts) => sequencer.window.add(ts, &touched),
                None => {}
            }
        }
        debug_assert!(sequencer.last_ts >= batch_start);
        for (ts, touched) in later {
            sequencer.window.add(ts, &touched);
        }
        drained
    }

    /// Stamps and proposes one transaction; `None` if it makes no entry.
    fn propose(&self, sequencer: &mut Sequencer, request: Request) -> Option<CommitTs> {
        let Request {
            owner,
            chain,
            writes,
            answer,
            ..
        } = request;
        let parts = chain.entries();
        let first_ts = sequencer.last_ts.0 + 1;
        let schema_version = self.store.snapshot().catalog_ts.0;
        let wall_ms = (self.wall_ms)();
        let mut ts = sequencer.last_ts;
        let incarnation = sequencer.incarnation;
        let entries = chain.stamp(|| {
            let closed_ts = ts;
            ts = CommitTs(ts.0 + 1);
            Stamp {
                incarnation,
                commit_ts: ts,
                closed_ts,
                wall_ms,
                schema_version,
                ..Stamp::default()
            }
        });
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                self.refuse(owner, answer, Error::Limit(error.to_string()));
                return None;
            }
        };
        sequencer.last_ts = ts;
        let mut end = Some((owner, answer));
        for (index, entry) in entries.into_iter().enumerate() {
            let is_last = index + 1 == parts;
            let header = match parts {
                1 => Some(&entry[..COMMIT_HEADER_BYTES]),
                _ => Entry::decode(&entry).ok().map(|entry| entry.header_bytes()),
            };
            let leaf = leaf_hash(&[header.unwrap_or_default()]);
            let part = match parts {
                1 => Part::Whole(writes.clone()),
                _ => Part::Bytes(entry.clone()),
            };
            let ticket = self.log.propose(entry);
            let flight = Flight {
                ts: CommitTs(first_ts + index as u64),
                ticket,
                part,
                leaf,
                end: if is_last { end.take() } else { None },
            };
            self.flights.lock().push_back(flight);
        }
        if self.options.planted_early_unlock {
            self.locks.release_transaction(owner);
        }
        self.flying.notify_one();
        Some(ts)
    }

    /// Forgets what no snapshot at or above `oldest` has to be validated against.
    pub fn trim(&self, oldest: CommitTs) {
        self.sequencer.lock().window.trim(oldest);
    }

    /// Takes the proposals from the front whose outcome is known, applies and answers them. With
    /// `wait`, it waits for the first.
    pub fn settle(&self, wait: bool) -> Settled {
        let mut applier = self.applier.lock();
        let mut ready = Vec::new();
        loop {
            let Some(mut flight) = self.flights.lock().pop_front() else {
                break;
            };
            let outcome = if wait && ready.is_empty() {
                Some(flight.ticket.wait())
            } else {
                flight.ticket.try_outcome()
            };
            match outcome {
                Some(outcome) => ready.push((flight, outcome)),
                None => {
                    self.flights.lock().push_front(flight);
                    break;
                }
            }
        }
        self.finish(&mut applier, ready)
    }

    fn finish(&self, applier: &mut Applier, mut ready: Vec<(Flight, Outcome)>) -> Settled {
        let mut settled = Settled::default();
        if ready.is_empty() {
            return settled;
        }
        for (_, outcome) in &mut ready {
            match outcome {
                Outcome::Unknown(_) => applier.has_gap = true,
                Outcome::Committed { lsn } if applier.has_gap => {
                    *outcome = Outcome::Unknown(format!(
                        "entry {lsn} stands behind one that this node could not apply"
                    ));
                }
                Outcome::Committed { .. } | Outcome::NotLeader | Outcome::Refused(_) => {}
            }
        }
        let applied = self.apply(applier, &ready);
        applier.has_gap |= applied.is_err();
        let mut done = Vec::new();
        let mut answers = Vec::new();
        for (flight, outcome) in ready {
            let answer = match (&outcome, &applied) {
                (Outcome::Committed { .. }, Ok(())) => {
                    settled.applied += 1;
                    Ok(flight.ts)
                }
                (Outcome::Committed { .. }, Err(error)) => {
                    // It is in the log, but nobody can see it before the next start.
                    self.stop(format!("the store refused a committed entry: {error}"));
                    Err(Error::Unknown(error.to_string()))
                }
                (Outcome::NotLeader, _) => {
                    settled.lost += 1;
                    Err(Error::Serialization("this node leads the group no more"))
                }
                (Outcome::Refused(why), _) => {
                    settled.lost += 1;
                    self.stop(format!("the log takes no entries: {why}"));
                    Err(Error::Stopped(why.clone()))
                }
                (Outcome::Unknown(why), _) => {
                    settled.lost += 1;
                    self.stop(format!("the log cannot say what became of a commit: {why}"));
                    Err(Error::Unknown(why.clone()))
                }
            };
            let Some((owner, resolver)) = flight.end else {
                continue;
            };
            // Nobody may build on a row whose last change is not known.
            if !matches!(answer, Err(Error::Unknown(_))) {
                done.push(owner);
            }
            answers.push((resolver, answer));
        }
        self.locks.release_transactions(done);
        for (resolver, answer) in answers {
            resolver.resolve(answer);
        }
        settled
    }

    fn apply(&self, applier: &mut Applier, ready: &[(Flight, Outcome)]) -> Result<(), StoreError> {
        let committed = ready.iter().filter_map(|(flight, outcome)| match outcome {
            Outcome::Committed { lsn } => Some((flight, *lsn)),
            Outcome::NotLeader | Outcome::Refused(_) | Outcome::Unknown(_) => None,
        });
        let committed: Vec<_> = committed.collect();
        if committed.is_empty() {
            return Ok(());
        }
        let Applier {
            derive,
            frontier,
            tiles,
            ..
        } = applier;
        let mut after = frontier.clone();
        self.store.apply(false, &mut |fold| {
            after = frontier.clone();
            for (flight, lsn) in &committed {
                match &flight.part {
                    Part::Whole(writes) => apply_writes(fold, &mut **derive, writes, flight.ts)?,
                    Part::Bytes(bytes) => apply_entry(fold, &mut **derive, bytes)?,
                }
                after.push(flight.leaf);
                fold.meta.applied.next_lsn = lsn + 1;
                fold.meta.applied.ts = flight.ts;
            }
            fold.meta.applied.frontier = after.to_bytes();
            Ok(())
        })?;
        *frontier = after;
        if let Some(tiles) = tiles {
            for (flight, _) in &committed {
                tiles.push(flight.leaf).map_err(tile_fault)?;
            }
        }
        Ok(())
    }

    /// Saves the leaves, then the store. Returns what is durable then.
    ///
    /// # Errors
    /// Faults of the disk.
    pub fn checkpoint(&self) -> Result<Applied> {
        let mut applier = self.applier.lock();
        if let Some(tiles) = &mut applier.tiles {
            tiles.sync().map_err(tile_fault)?;
        }
        Ok(self.store.checkpoint()?)
    }

    fn stop(&self, why: String) {
        self.stopped.lock().get_or_insert(why);
    }

    /// The sequencing thread: until `close`.
    pub fn run_sequencer(&self) {
        loop {
            {
                let mut queue = self.queue.lock();
                while queue.requests.is_empty() {
                    if queue.closed {
                        self.flying.notify_all();
                        return;
                    }
                    self.queued.wait(&mut queue);
                }
            }
            self.sequence();
        }
    }

    /// The applying thread: until `close` and nothing is on its way.
    pub fn run_applier(&self) {
        loop {
            {
                let mut flights = self.flights.lock();
                while flights.is_empty() {
                    let queue = self.queue.lock();
                    if queue.closed && queue.requests.is_empty() {
                        return;
                    }
                    drop(queue);
                    let pause = std::time::Duration::from_millis(100);
                    self.flying.wait_for(&mut flights, pause);
                }
            }
            self.settle(true);
        }
    }
}

pub(super) fn wall_clock_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_millis() as u64)
}
