//! The lock table behind a mutex, with wakers for those who wait.
//!
//! Waits are futures of no runtime in particular: a session task awaits them, a test polls them in
//! the order of its seed. Time comes from the caller: somebody calls `expire` at `next_deadline_ms`.

use super::table::{Event, LockTable, Mark, OwnerId, Reply, Target, Wait};
use super::{LockError, Mode, ROW_LOCKS_MAX};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

#[derive(Debug, Default)]
struct State {
    table: LockTable,
    waits: HashMap<OwnerId, Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    outcome: Option<Result<(), LockError>>,
    waker: Option<Waker>,
}

impl State {
    /// Hands events to their waits; the wakers are called after the mutex is free.
    fn settle(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for event in self.table.take_events() {
            let (owner, outcome) = match event {
                Event::Granted(owner) => (owner, Ok(())),
                Event::Deadlock(owner) => (owner, Err(LockError::Deadlock)),
                Event::TimedOut(owner) => (owner, Err(LockError::NotAvailable("lock timeout"))),
                Event::Cancelled(owner) => (owner, Err(LockError::Cancelled)),
            };
            if let Some(slot) = self.waits.get_mut(&owner) {
                slot.outcome = Some(outcome);
                wakers.extend(slot.waker.take());
            }
        }
        wakers
    }
}

/// The lock table as sessions use it.
#[derive(Debug, Default)]
pub struct LockManager {
    state: Mutex<State>,
}

impl LockManager {
    /// Makes a change and wakes whom it concerns.
    fn change<T>(&self, change: impl FnOnce(&mut LockTable) -> T) -> T {
        let mut state = self.state.lock();
        let result = change(&mut state.table);
        let wakers = state.settle();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// An owner's transaction begins.
    pub fn begin(&self, owner: OwnerId, age: u64) {
        self.change(|table| table.begin(owner, age));
    }

    /// A lock until the end of the transaction.
    pub fn acquire(
        self: &Arc<Self>,
        owner: OwnerId,
        target: Target,
        mode: Mode,
        wait: Wait,
    ) -> LockWait {
        self.start(owner, |table| table.request(owner, target, mode, wait))
    }

    /// An advisory lock until the end of the session.
    pub fn acquire_session(
        self: &Arc<Self>,
        owner: OwnerId,
        target: Target,
        mode: Mode,
        wait: Wait,
    ) -> LockWait {
        self.start(owner, |table| {
            table.request_session(owner, target, mode, wait)
        })
    }

    fn start(
        self: &Arc<Self>,
        owner: OwnerId,
        request: impl FnOnce(&mut LockTable) -> Reply,
    ) -> LockWait {
        let mut state = self.state.lock();
        let outcome = match request(&mut state.table) {
            Reply::Granted => Some(Ok(())),
            Reply::Busy => Some(Err(LockError::NotAvailable("somebody else holds it"))),
            Reply::Deadlock => Some(Err(LockError::Deadlock)),
            Reply::Waiting => {
                state.waits.insert(owner, Slot::default());
                None
            }
        };
        let wakers = state.settle();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        LockWait {
            manager: self.clone(),
            owner,
            outcome,
        }
    }

    /// Once an owner holds [`ROW_LOCKS_MAX`] row locks in a table, tries to take the table instead.
    /// Nobody waits for it: as long as others are in the table, the rows stay locked one by one, and
    /// it is tried again now and then.
    pub fn escalate(&self, owner: OwnerId, table: u64, mode: Mode) {
        const RETRY: usize = ROW_LOCKS_MAX / 16;
        self.change(|locks| {
            let count = locks.row_locks(owner, table);
            if count < ROW_LOCKS_MAX || !(count - ROW_LOCKS_MAX).is_multiple_of(RETRY) {
                return;
            }
            let whole = locks.request(owner, Target::Table(table), mode.escalated(), Wait::No);
            if whole == Reply::Granted && mode.escalated() == Mode::TableExclusive {
                locks.drop_row_locks(owner, table);
            }
        });
    }

    /// The place to which `release_to` goes back.
    pub fn mark(&self, owner: OwnerId) -> Mark {
        self.state.lock().table.mark(owner)
    }

    /// Gives back what was taken since the mark.
    pub fn release_to(&self, owner: OwnerId, mark: Mark) {
        self.change(|table| table.release_to(owner, mark));
    }

    /// Gives back everything of the owner's transaction.
    pub fn release_transaction(&self, owner: OwnerId) {
        self.change(|table| table.release_transaction(owner));
    }

    /// Gives back everything of these owners' transactions at once.
    pub fn release_transactions(&self, owners: impl IntoIterator<Item = OwnerId>) {
        self.change(|table| {
            for owner in owners {
                table.release_transaction(owner);
            }
        });
    }

    /// Gives back one session lock; false if it was not held.
    pub fn release_session(&self, owner: OwnerId, target: &Target, mode: Mode) -> bool {
        self.change(|table| table.release_session(owner, target, mode))
    }

    /// The session ends.
    pub fn end_session(&self, owner: OwnerId) {
        self.change(|table| table.end_session(owner));
    }

    /// Ends the wait of an owner whose statement is cancelled.
    pub fn cancel(&self, owner: OwnerId) {
        self.change(|table| table.cancel(owner));
    }

    /// Ends the waits whose time is over.
    pub fn expire(&self, now_ms: u64) {
        self.change(|table| table.expire(now_ms));
    }

    /// The next time at which `expire` has something to do.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.state.lock().table.next_deadline_ms()
    }

    /// Reads the table.
    pub fn inspect<T>(&self, read: impl FnOnce(&LockTable) -> T) -> T {
        read(&self.state.lock().table)
    }
}

/// A lock on its way. Dropping it while it waits leaves the queue.
#[derive(Debug)]
pub struct LockWait {
    manager: Arc<LockManager>,
    owner: OwnerId,
    outcome: Option<Result<(), LockError>>,
}

impl LockWait {
    /// The outcome, if it was there at once.
    pub fn ready(&self) -> Option<Result<(), LockError>> {
        self.outcome
    }
}

impl Future for LockWait {
    type Output = Result<(), LockError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.outcome {
            return Poll::Ready(outcome);
        }
        let owner = self.owner;
        let manager = self.manager.clone();
        let mut state = manager.state.lock();
        let slot = state.waits.entry(owner).or_default();
        let Some(outcome) = slot.outcome else {
            slot.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        state.waits.remove(&owner);
        drop(state);
        self.outcome = Some(outcome);
        Poll::Ready(outcome)
    }
}

impl Drop for LockWait {
    fn drop(&mut self) {
        if self.outcome.is_some() {
            return;
        }
        let mut state = self.manager.state.lock();
        state.waits.remove(&self.owner);
        state.table.abandon(self.owner);
        let wakers = state.settle();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}
