//! The lock table: a state machine without threads, clock or waiting.
//!
//! Every call returns at once; what it changed for others (a wait granted, a victim chosen, a wait
//! timed out) is left in `take_events`. An owner is a session: it waits for at most one target at a
//! time, its transaction's locks end with the transaction or a savepoint, its session locks when it
//! says so.

use super::deadlock;
use super::mode::{Mode, Modes};
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// A session, as far as locks are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerId(pub u64);

/// What is locked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A table by its id.
    Table(u64),
    /// A row or an index key: table, storage id, key. It need not exist.
    Row(u64, u64, Arc<[u8]>),
    /// An advisory lock: space (one or two numbers) and key.
    Advisory(u8, u64),
}

/// What to do when a lock cannot be had at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Nothing: say so (`NOWAIT`, `SKIP LOCKED`).
    No,
    /// Wait, at most until the time given in milliseconds of the caller's clock.
    Until(Option<u64>),
}

/// The answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The lock is held now.
    Granted,
    /// It is not, and the owner does not wait.
    Busy,
    /// The owner waits; an event will tell.
    Waiting,
    /// The owner would have closed a cycle and is its youngest member.
    Deadlock,
}

/// What happened to a waiting owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It holds its lock.
    Granted(OwnerId),
    /// It is the victim of a deadlock.
    Deadlock(OwnerId),
    /// Its time is over.
    TimedOut(OwnerId),
    /// It was told to stop.
    Cancelled(OwnerId),
}

/// A place in an owner's sequence of locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mark(u64);

#[derive(Debug, Clone, Copy)]
pub(super) struct Holder {
    pub(super) owner: OwnerId,
    transaction: Modes,
    session: Modes,
}

impl Holder {
    pub(super) fn modes(&self) -> Modes {
        self.transaction.union(self.session)
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Waiter {
    pub(super) owner: OwnerId,
    pub(super) mode: Mode,
    /// It holds the target already and stands before those that do not.
    upgrade: bool,
    session: bool,
}

#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) holders: Vec<Holder>,
    pub(super) queue: VecDeque<Waiter>,
}

impl Entry {
    fn held_by(&self, owner: OwnerId) -> Modes {
        let holder = self.holders.iter().find(|holder| holder.owner == owner);
        holder.map_or(Modes::NONE, Holder::modes)
    }

    fn held_by_others(&self, owner: OwnerId) -> Modes {
        let others = self.holders.iter().filter(|holder| holder.owner != owner);
        others.fold(Modes::NONE, |all, holder| all.union(holder.modes()))
    }

    /// True if the request stands against nobody who holds and nobody of the first `before` in line.
    fn is_free(&self, owner: OwnerId, mode: Mode, before: usize) -> bool {
        !self.held_by_others(owner).conflict_with(mode)
            && !self
                .queue
                .iter()
                .take(before)
                .any(|waiter| mode.conflicts().has(waiter.mode))
    }
}

#[derive(Debug)]
struct Acquired {
    target: Target,
    before: Modes,
    mark: Mark,
}

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) target: Target,
    deadline_ms: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Owner {
    /// When its transaction began: greater is younger.
    pub(super) age: u64,
    acquired: Vec<Acquired>,
    session: HashMap<(Target, Mode), u32>,
    tables: HashMap<u64, Modes>,
    row_locks: HashMap<u64, usize>,
    pub(super) waiting: Option<Waiting>,
    next_mark: u64,
}

/// The table.
#[derive(Debug, Default)]
pub struct LockTable {
    pub(super) entries: HashMap<Target, Entry>,
    pub(super) owners: HashMap<OwnerId, Owner>,
    events: Vec<Event>,
}

impl LockTable {
    /// An owner's transaction begins; `age` rises with time.
    pub fn begin(&mut self, owner: OwnerId, age: u64) {
        self.owners.entry(owner).or_default().age = age;
    }

    /// Asks for a lock that ends with the transaction.
    pub fn request(&mut self, owner: OwnerId, target: Target, mode: Mode, wait: Wait) -> Reply {
        self.ask(owner, target, mode, wait, false)
    }

    /// Asks for an advisory lock that ends with the session; it counts how often it is held.
    pub fn request_session(
        &mut self,
        owner: OwnerId,
        target: Target,
        mode: Mode,
        wait: Wait,
    ) -> Reply {
        self.ask(owner, target, mode, wait, true)
    }

    fn ask(
        &mut self,
        owner: OwnerId,
        target: Target,
        mode: Mode,
        wait: Wait,
        session: bool,
    ) -> Reply {
        let state = self.owners.entry(owner).or_default();
        debug_assert!(
            state.waiting.is_none(),
            "an owner waits for one lock at a time"
        );
        if let Target::Row(table, ..) = &target {
            let held = state.tables.get(table).copied().unwrap_or_default();
            if held.cover(mode.escalated()) {
                return Reply::Granted;
            }
        }
        let entry = self.entries.entry(target.clone()).or_default();
        let held = entry.held_by(owner);
        if held.cover(mode) && !session {
            return Reply::Granted;
        }
        let upgrade = !held.is_empty();
        let ahead = if upgrade { 0 } else { entry.queue.len() };
        if entry.is_free(owner, mode, ahead) {
            self.grant(owner, &target, mode, session);
            return Reply::Granted;
        }
        let Wait::Until(deadline_ms) = wait else {
            return Reply::Busy;
        };
        let upgrades = entry
            .queue
            .iter()
            .take_while(|waiter| waiter.upgrade)
            .count();
        let place = if upgrade { upgrades } else { entry.queue.len() };
        let waiter = Waiter {
            owner,
            mode,
            upgrade,
            session,
        };
        entry.queue.insert(place, waiter);
        state.waiting = Some(Waiting {
            target,
            deadline_ms,
        });
        self.break_cycles(owner)
    }

    /// Looks for cycles that the new wait of `owner` closed and ends each at its youngest member.
    fn break_cycles(&mut self, owner: OwnerId) -> Reply {
        while let Some(cycle) = deadlock::cycle_through(self, owner) {
            let youngest = cycle
                .into_iter()
                .max_by_key(|id| (self.owners[id].age, *id));
            let victim = youngest.expect("a cycle has members");
            self.stop_waiting(victim);
            if victim == owner {
                return Reply::Deadlock;
            }
            self.events.push(Event::Deadlock(victim));
            if self.owners[&owner].waiting.is_none() {
                // The victim stood before it in line; its own event is not needed.
                self.events.retain(|event| *event != Event::Granted(owner));
                return Reply::Granted;
            }
        }
        Reply::Waiting
    }

    fn grant(&mut self, owner: OwnerId, target: &Target, mode: Mode, session: bool) {
        let entry = self.entries.entry(target.clone()).or_default();
        let place = entry
            .holders
            .iter()
            .position(|holder| holder.owner == owner);
        let place = place.unwrap_or_else(|| {
            entry.holders.push(Holder {
                owner,
                transaction: Modes::NONE,
                session: Modes::NONE,
            });
            entry.holders.len() - 1
        });
        let holder = &mut entry.holders[place];
        let state = self.owners.entry(owner).or_default();
        if session {
            holder.session = holder.session.with(mode);
            *state.session.entry((target.clone(), mode)).or_default() += 1;
            return;
        }
        let before = holder.transaction;
        holder.transaction = before.with(mode);
        state.acquired.push(Acquired {
            target: target.clone(),
            before,
            mark: Mark(state.next_mark),
        });
        state.next_mark += 1;
        match target {
            Target::Table(table) => {
                let modes = state.tables.entry(*table).or_default();
                *modes = modes.with(mode);
            }
            Target::Row(table, ..) if before.is_empty() => {
                *state.row_locks.entry(*table).or_default() += 1;
            }
            Target::Row(..) | Target::Advisory(..) => {}
        }
    }

    /// Grants from the front of a queue all that nothing stands against any more.
    fn pump(&mut self, target: &Target) {
        let mut place = 0;
        while let Some(entry) = self.entries.get_mut(target) {
            let Some(waiter) = entry.queue.get(place).copied() else {
                break;
            };
            if !entry.is_free(waiter.owner, waiter.mode, place) {
                place += 1;
                continue;
            }
            entry.queue.remove(place);
            self.grant(waiter.owner, target, waiter.mode, waiter.session);
            if let Some(state) = self.owners.get_mut(&waiter.owner) {
                state.waiting = None;
            }
            self.events.push(Event::Granted(waiter.owner));
        }
        if let Some(entry) = self.entries.get(target)
            && entry.holders.is_empty()
            && entry.queue.is_empty()
        {
            self.entries.remove(target);
        }
    }

    fn stop_waiting(&mut self, owner: OwnerId) -> bool {
        let state = self.owners.get_mut(&owner);
        let Some(waiting) = state.and_then(|state| state.waiting.take()) else {
            return false;
        };
        if let Some(entry) = self.entries.get_mut(&waiting.target) {
            entry.queue.retain(|waiter| waiter.owner != owner);
        }
        self.pump(&waiting.target);
        true
    }

    /// Ends an owner's wait, if it has one. No event: the caller knows.
    pub fn abandon(&mut self, owner: OwnerId) {
        self.stop_waiting(owner);
    }

    /// Ends an owner's wait for somebody else, with an event.
    pub fn cancel(&mut self, owner: OwnerId) {
        if self.stop_waiting(owner) {
            self.events.push(Event::Cancelled(owner));
        }
    }

    /// Ends the waits whose time is over.
    pub fn expire(&mut self, now_ms: u64) {
        let late = |owner: &Owner| {
            let deadline = owner
                .waiting
                .as_ref()
                .and_then(|waiting| waiting.deadline_ms);
            deadline.is_some_and(|deadline| deadline <= now_ms)
        };
        let mut owners: Vec<OwnerId> = self
            .owners
            .iter()
            .filter_map(|(id, owner)| late(owner).then_some(*id))
            .collect();
        owners.sort_unstable();
        for owner in owners {
            if self.stop_waiting(owner) {
                self.events.push(Event::TimedOut(owner));
            }
        }
    }

    /// The next time at which `expire` has something to do.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let waits = self
            .owners
            .values()
            .filter_map(|owner| owner.waiting.as_ref());
        waits.filter_map(|waiting| waiting.deadline_ms).min()
    }

    /// The place to which `release_to` goes back.
    pub fn mark(&self, owner: OwnerId) -> Mark {
        Mark(self.owners.get(&owner).map_or(0, |state| state.next_mark))
    }

    /// Gives back what the owner's transaction took since the mark: a savepoint is rolled back.
    pub fn release_to(&mut self, owner: OwnerId, mark: Mark) {
        loop {
            let Some(state) = self.owners.get_mut(&owner) else {
                return;
            };
            if state.acquired.last().is_none_or(|last| last.mark < mark) {
                return;
            }
            let last = state.acquired.pop().expect("looked at above");
            self.set_transaction_modes(owner, &last.target, last.before);
            self.pump(&last.target);
        }
    }

    /// Gives back everything of the owner's transaction.
    pub fn release_transaction(&mut self, owner: OwnerId) {
        self.stop_waiting(owner);
        let Some(state) = self.owners.get_mut(&owner) else {
            return;
        };
        let acquired = std::mem::take(&mut state.acquired);
        state.tables.clear();
        state.row_locks.clear();
        if state.session.is_empty() {
            self.owners.remove(&owner);
        }
        // Oldest last, as a stack; a target held in several modes is pumped once it is free.
        for one in acquired.into_iter().rev() {
            self.set_transaction_modes(owner, &one.target, one.before);
            if one.before.is_empty() {
                self.pump(&one.target);
            }
        }
    }

    fn set_transaction_modes(&mut self, owner: OwnerId, target: &Target, modes: Modes) {
        if let Some(entry) = self.entries.get_mut(target)
            && let Some(place) = entry.holders.iter().position(|h| h.owner == owner)
        {
            entry.holders[place].transaction = modes;
            if entry.holders[place].modes().is_empty() {
                entry.holders.swap_remove(place);
            }
        }
        let Some(state) = self.owners.get_mut(&owner) else {
            return;
        };
        match target {
            Target::Table(table) => {
                state.tables.insert(*table, modes);
            }
            Target::Row(table, ..) if modes.is_empty() => {
                if let Some(count) = state.row_locks.get_mut(table) {
                    *count = count.saturating_sub(1);
                }
            }
            Target::Row(..) | Target::Advisory(..) => {}
        }
    }

    /// Gives back one session lock; false if it was not held.
    pub fn release_session(&mut self, owner: OwnerId, target: &Target, mode: Mode) -> bool {
        let Some(state) = self.owners.get_mut(&owner) else {
            return false;
        };
        let held = (target.clone(), mode);
        let Some(count) = state.session.get_mut(&held) else {
            return false;
        };
        *count -= 1;
        if *count > 0 {
            return true;
        }
        state.session.remove(&held);
        let modes = state.session.keys().filter(|(other, _)| other == target);
        let left = modes.fold(Modes::NONE, |all, (_, mode)| all.with(*mode));
        if let Some(entry) = self.entries.get_mut(target)
            && let Some(place) = entry.holders.iter().position(|h| h.owner == owner)
        {
            entry.holders[place].session = left;
            if entry.holders[place].modes().is_empty() {
                entry.holders.swap_remove(place);
            }
        }
        self.pump(target);
        true
    }

    /// The session ends: everything goes.
    pub fn end_session(&mut self, owner: OwnerId) {
        self.release_transaction(owner);
        let Some(state) = self.owners.remove(&owner) else {
            return;
        };
        for ((target, _), _) in state.session {
            if let Some(entry) = self.entries.get_mut(&target) {
                entry.holders.retain(|holder| holder.owner != owner);
            }
            self.pump(&target);
        }
    }

    /// Row locks that the owner's transaction holds in a table.
    pub fn row_locks(&self, owner: OwnerId, table: u64) -> usize {
        let state = self.owners.get(&owner);
        state
            .and_then(|state| state.row_locks.get(&table))
            .map_or(0, |count| *count)
    }

    /// Forgets the owner's row locks of a table that a lock on the whole table now covers.
    pub fn drop_row_locks(&mut self, owner: OwnerId, table: u64) {
        let Some(state) = self.owners.get_mut(&owner) else {
            return;
        };
        let of_table = |one: &Acquired| matches!(one.target, Target::Row(id, ..) if id == table);
        let (rows, kept) = std::mem::take(&mut state.acquired)
            .into_iter()
            .partition(of_table);
        state.acquired = kept;
        state.row_locks.remove(&table);
        let rows: Vec<Acquired> = rows;
        for row in rows {
            self.set_transaction_modes(owner, &row.target, Modes::NONE);
            self.pump(&row.target);
        }
    }

    /// Who holds a target, in which modes.
    pub fn holders(&self, target: &Target) -> Vec<(OwnerId, Modes)> {
        let entry = self.entries.get(target);
        let holders = entry.into_iter().flat_map(|entry| &entry.holders);
        holders
            .map(|holder| (holder.owner, holder.modes()))
            .collect()
    }

    /// Every lock held or waited for: target, owner, modes, granted. For `cairn.locks`.
    pub fn list(&self) -> Vec<(Target, OwnerId, Modes, bool)> {
        let mut rows = Vec::new();
        for (target, entry) in &self.entries {
            let held = entry.holders.iter();
            rows.extend(held.map(|h| (target.clone(), h.owner, h.modes(), true)));
            let waits = entry.queue.iter();
            rows.extend(waits.map(|w| (target.clone(), w.owner, Modes::NONE.with(w.mode), false)));
        }
        rows
    }

    /// What happened to others since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// True if nobody holds or waits for anything.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
