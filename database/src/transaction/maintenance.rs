//! What happens beside the transactions: lock timeouts, checkpoints, the horizon, old versions.

use super::database::Database;
use super::error::{Error, Result};
use super::layer::{Write, WriteKind};
use super::state::build_chain;
use super::write_set::WriteSet;
use crate::commit::{CommitLog, Request, promise};
use crate::entry::{CommitTs, Incarnation};
use crate::store::HORIZON;
use crate::version::place;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// Time between checkpoints: what a restart replays.
pub const CHECKPOINT_INTERVAL_MS: u64 = 2_000;
/// How often timeouts are looked at: a lock timeout is at most this late.
const TICK: Duration = Duration::from_millis(20);
/// Old versions looked at in one step, so that no commit waits long for it.
const COLLECT_STEP: usize = 2_000;

/// How long old versions stay readable by default: an hour, for questions about what was just there.
pub const HISTORY_MS: u64 = 3_600_000;

/// State of the upkeep.
pub(super) struct Upkeep {
    log: Arc<dyn CommitLog>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    closing: AtomicBool,
    tick: Mutex<()>,
    closed: Condvar,
}

impl std::fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upkeep").finish_non_exhaustive()
    }
}

impl Upkeep {
    pub(super) fn new(log: Arc<dyn CommitLog>) -> Self {
        Upkeep {
            log,
            threads: Mutex::default(),
            closing: AtomicBool::new(false),
            tick: Mutex::default(),
            closed: Condvar::new(),
        }
    }
}

impl Database {
    pub(super) fn start_threads(self: &Arc<Self>) {
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.to_owned());
            // Without its threads a database answers nothing: as bad as no memory.
            thread.spawn(body).expect("the system gives a thread")
        };
        let (sequencer, applier) = (self.pipeline.clone(), self.pipeline.clone());
        let keeper: Weak<Database> = Arc::downgrade(self);
        let threads = [
            spawn("db-sequence", Box::new(move || sequencer.run_sequencer())),
            spawn("db-apply", Box::new(move || applier.run_applier())),
            spawn("db-keep", Box::new(move || keep(&keeper))),
        ];
        self.upkeep.threads.lock().extend(threads);
    }

    /// Ends what is running, saves everything and stops the threads.
    ///
    /// # Errors
    /// The last checkpoint's.
    pub fn close(&self) -> Result<()> {
        self.upkeep.closing.store(true, Ordering::SeqCst);
        self.upkeep.closed.notify_all();
        self.pipeline.close();
        let threads = std::mem::take(&mut *self.upkeep.threads.lock());
        for thread in threads {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
        self.checkpoint()
    }

    /// Saves what is applied, so that a restart does not replay it, and lets the log forget it.
    ///
    /// # Errors
    /// Faults of the store.
    pub fn checkpoint(&self) -> Result<()> {
        let applied = self.pipeline.checkpoint()?;
        self.upkeep.log.purge(applied.next_lsn);
        Ok(())
    }

    /// Without threads: sequences and settles what is there. Returns true if something was.
    pub fn step(&self) -> bool {
        let drained = self.pipeline.sequence();
        let settled = self.pipeline.settle(false);
        drained > 0 || settled != crate::commit::Settled::default()
    }

    /// Ends waits that are too long and forgets what no view needs.
    pub fn tick(&self) {
        self.locks.expire(self.options.clock.now_ms());
        self.pipeline.trim(self.oldest_view());
    }

    /// The incarnation of the log.
    pub fn incarnation(&self) -> Incarnation {
        Incarnation(self.store.incarnation())
    }

    /// Looks at a few old versions and removes those below the horizon. Returns how many went, and
    /// whether it has been through all of them.
    ///
    /// # Errors
    /// Faults of the store.
    pub fn collect(&self) -> Result<(usize, bool)> {
        let (seen, removed) = self.store.collect(COLLECT_STEP)?;
        Ok((removed, seen < COLLECT_STEP))
    }

    /// Raises the horizon, as an entry of the log, at most to the oldest view. Blocks for the commit.
    ///
    /// # Errors
    /// Those of a commit.
    pub fn raise_horizon(&self, to: CommitTs) -> Result<()> {
        let to = to.min(self.oldest_view());
        if to <= self.store.snapshot().horizon {
            return Ok(());
        }
        let mut writes = WriteSet::new(self.options.spill_directory.clone(), usize::MAX);
        let write = Write {
            row: Some(to.0.to_le_bytes().as_slice().into()),
            kind: WriteKind::Row,
        };
        writes.write(place(HORIZON, &[]), write)?;
        let writes = writes.finish()?;
        let (answer, outcome) = promise();
        self.pipeline.submit(Request {
            owner: self.new_owner(),
            chain: build_chain(&writes, &[])?,
            writes,
            reads: None,
            snapshot: CommitTs(0),
            answer,
        });
        let outcome = outcome.wait();
        outcome
            .unwrap_or_else(|| Err(Error::Stopped("the database closed".into())))
            .map(drop)
    }

    fn saved(&self) -> CommitTs {
        self.store.snapshot().ts
    }
}

fn keep(database: &Weak<Database>) {
    let mut saved = CommitTs(0);
    let mut last_checkpoint_ms = 0;
    let mut times: VecDeque<(u64, CommitTs)> = VecDeque::new();
    let mut collecting = false;
    loop {
        let Some(database) = database.upgrade() else {
            return;
        };
        if database.upkeep.closing.load(Ordering::SeqCst) {
            return;
        }
        database.tick();
        let now_ms = database.options.clock.now_ms();
        if now_ms.saturating_sub(last_checkpoint_ms) >= CHECKPOINT_INTERVAL_MS {
            last_checkpoint_ms = now_ms;
            let ts = database.saved();
            if ts != saved {
                match database.checkpoint() {
                    Ok(()) => saved = ts,
                    Err(error) => tracing::error!(%error, "checkpoint failed"),
                }
                times.push_back((now_ms, ts));
            }
            let old = now_ms.saturating_sub(database.options.history_ms);
            let mut horizon = None;
            while let Some((_, ts)) = times.pop_front_if(|(time, _)| *time < old) {
                horizon = Some(ts);
            }
            if let Some(horizon) = horizon {
                match database.raise_horizon(horizon) {
                    Ok(()) => {
                        collecting = true;
                        // Its own entry is no reason for another one.
                        saved = database.saved();
                    }
                    Err(error) => tracing::warn!(%error, "the horizon stays"),
                }
            }
        }
        if collecting {
            match database.collect() {
                Ok((_, through)) => collecting = !through,
                Err(error) => {
                    collecting = false;
                    tracing::error!(%error, "cannot remove old versions");
                }
            }
        }
        let upkeep = &database.upkeep;
        upkeep.closed.wait_for(&mut upkeep.tick.lock(), TICK);
    }
}
