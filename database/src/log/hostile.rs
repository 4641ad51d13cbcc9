//! A log in memory that does all that a replicated log may do to its caller, chosen by a seed.
//!
//! It resolves tickets in any order, answers `Unknown` for entries that are in the log and for entries
//! that are not, loses leadership with proposals under way, shows entries as durable that it takes back
//! later, and comes back in a higher term. What it never does is what no log may do: change or drop a
//! committed entry, commit entries of one leader in another order than they were proposed in, or answer
//! `Committed` or `NotLeader` against the truth.
//!
//! Invariant: its choices are a function of the seed and of the calls. It moves only in
//! [`HostileLog::step`], so a test decides what happens between two of its calls.

use super::error::{LogError, Result};
use super::position::{Group, Lsn, Point, Record, Term, Watermarks};
use super::promise::{Keeper, promise};
use super::{Log, Outcome, Receipt, Ticket};
use crate::limits::ENTRY_BYTES_MAX;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How often it misbehaves, each in a thousand.
#[derive(Debug, Clone, Copy)]
pub struct Hostility {
    /// A step is a loss of leadership.
    pub loses_leadership: u32,
    /// An answer is `Unknown` although the truth is known.
    pub answers_unknown: u32,
    /// A ready answer is held back for another step.
    pub holds_back: u32,
}

impl Default for Hostility {
    fn default() -> Self {
        Hostility {
            loses_leadership: 100,
            answers_unknown: 50,
            holds_back: 500,
        }
    }
}

/// The log.
#[derive(Debug)]
pub struct HostileLog {
    hostility: Hostility,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    choices: u64,
    groups: BTreeMap<Group, Member>,
    /// Answers that are ready and not given.
    held: Vec<(Keeper<Outcome>, Outcome)>,
    /// Steps without leadership that are left.
    followed: u32,
}

#[derive(Debug, Default)]
struct Member {
    start: Point,
    entries: Vec<Record>,
    committed: Lsn,
    term: Term,
    vote: Vec<u8>,
    proposed: VecDeque<(Vec<u8>, Keeper<Outcome>)>,
    /// Keepers of entries that are in the log and not committed.
    waiting: VecDeque<Keeper<Outcome>>,
}

impl Member {
    fn end(&self) -> Lsn {
        Lsn(self.start.end.0 + self.entries.len() as u64)
    }

    fn cut(&mut self, end: Lsn) {
        self.entries
            .truncate(end.0.saturating_sub(self.start.end.0) as usize);
    }
}

impl State {
    /// SplitMix64.
    fn below(&mut self, bound: u64) -> u64 {
        self.choices = self.choices.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.choices;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    fn happens(&mut self, per_mille: u32) -> bool {
        self.below(1000) < u64::from(per_mille)
    }
}

impl HostileLog {
    /// A log that leads all its groups in term 1.
    pub fn new(seed: u64, hostility: Hostility) -> Self {
        HostileLog {
            hostility,
            state: Mutex::new(State {
                choices: seed,
                ..State::default()
            }),
        }
    }

    /// Begins a group's log with its entry 0.
    pub fn create_group(&self, group: Group, membership: Vec<u8>) {
        let member = Member {
            entries: vec![Record {
                lsn: Lsn(0),
                term: Term(1),
                payload: membership,
            }],
            committed: Lsn(1),
            term: Term(1),
            ..Member::default()
        };
        self.state.lock().groups.insert(group, member);
    }

    /// Does something.
    pub fn step(&self) {
        let mut state = self.state.lock();
        if state.followed > 0 {
            state.followed -= 1;
        } else if state.happens(self.hostility.loses_leadership) {
            self.lose_leadership(&mut state);
        } else {
            let groups: Vec<Group> = state.groups.keys().copied().collect();
            for group in groups {
                self.advance(&mut state, group);
            }
        }
        let ready = self.release(&mut state, self.hostility.holds_back);
        drop(state);
        for (keeper, outcome) in ready {
            keeper.keep(outcome);
        }
    }

    /// Steps until every ticket is answered.
    pub fn settle(&self) {
        while self.is_busy() {
            self.step();
        }
    }

    /// True if a ticket is not answered yet.
    pub fn is_busy(&self) -> bool {
        let state = self.state.lock();
        let open = |member: &Member| !member.proposed.is_empty() || !member.waiting.is_empty();
        !state.held.is_empty() || state.groups.values().any(open)
    }

    /// Writes some proposals and commits some of what is written.
    fn advance(&self, state: &mut State, group: Group) {
        let (proposed, waiting) = {
            let member = &state.groups[&group];
            (member.proposed.len() as u64, member.waiting.len() as u64)
        };
        let written = state.below(proposed + 1);
        let committed = state.below(waiting + written + 1);
        let mut done = Vec::new();
        if let Some(member) = state.groups.get_mut(&group) {
            for (payload, keeper) in member.proposed.drain(..written as usize) {
                let lsn = Lsn(member.start.end.0 + member.entries.len() as u64);
                member.entries.push(Record {
                    lsn,
                    term: member.term,
                    payload,
                });
                member.waiting.push_back(keeper);
            }
            for keeper in member.waiting.drain(..committed as usize) {
                let (term, lsn) = (member.term, member.committed);
                member.committed = lsn.next();
                done.push((keeper, Outcome::Committed { term, lsn }));
            }
        }
        self.hold(state, done);
    }

    /// Another node leads: of what was written, a beginning of any length stays and is committed, the
    /// rest is taken back; what was not written is lost. Nobody here knows more than that.
    fn lose_leadership(&self, state: &mut State) {
        state.followed = 1 + state.below(4) as u32;
        let groups: Vec<Group> = state.groups.keys().copied().collect();
        for group in groups {
            let waiting = state.groups[&group].waiting.len() as u64;
            let stays = state.below(waiting + 1);
            let mut lost = Vec::new();
            if let Some(member) = state.groups.get_mut(&group) {
                member.committed = Lsn(member.committed.0 + stays);
                member.cut(member.committed);
                member.term.0 += 1;
                for (index, keeper) in (0..).zip(member.waiting.drain(..)) {
                    let gone = index >= stays;
                    lost.push((keeper, gone));
                }
                lost.extend(member.proposed.drain(..).map(|(_, keeper)| (keeper, true)));
            }
            for (keeper, gone) in lost {
                let told = gone && state.below(2) == 0;
                let outcome = match told {
                    true => Outcome::NotLeader,
                    false => Outcome::Unknown,
                };
                state.held.push((keeper, outcome));
            }
        }
    }

    fn hold(&self, state: &mut State, done: Vec<(Keeper<Outcome>, Outcome)>) {
        for (keeper, outcome) in done {
            let outcome = match state.happens(self.hostility.answers_unknown) {
                true => Outcome::Unknown,
                false => outcome,
            };
            state.held.push((keeper, outcome));
        }
    }

    /// Takes answers out in any order, some not yet.
    fn release(&self, state: &mut State, holds_back: u32) -> Vec<(Keeper<Outcome>, Outcome)> {
        let mut ready = Vec::new();
        let mut kept = Vec::new();
        while !state.held.is_empty() {
            let at = state.below(state.held.len() as u64) as usize;
            let answer = state.held.swap_remove(at);
            match state.happens(holds_back) {
                true => kept.push(answer),
                false => ready.push(answer),
            }
        }
        state.held = kept;
        ready
    }

    fn member<T>(&self, group: Group, change: impl FnOnce(&mut Member) -> Result<T>) -> Result<T> {
        let mut state = self.state.lock();
        let member = state.groups.get_mut(&group);
        change(member.ok_or(LogError::NoGroup(group.0))?)
    }

    fn receipt(
        &self,
        group: Group,
        change: impl FnOnce(&mut Member) -> Result<()>,
    ) -> Result<Receipt> {
        let outcome = self.member(group, |member| Ok(change(member)))?;
        let (_, receipt) = promise(outcome.map_err(Arc::new));
        Ok(receipt)
    }
}

fn misuse(what: &str, at: Lsn) -> LogError {
    LogError::Misuse(format!("cannot {what} {at}"))
}

impl Log for HostileLog {
    fn propose(&self, group: Group, payload: Vec<u8>) -> Result<Ticket> {
        if payload.len() > ENTRY_BYTES_MAX {
            return Err(LogError::TooLarge {
                what: "entry",
                found: payload.len(),
                bound: ENTRY_BYTES_MAX,
            });
        }
        let mut state = self.state.lock();
        let leads = state.followed == 0;
        let member = state.groups.get_mut(&group);
        let member = member.ok_or(LogError::NoGroup(group.0))?;
        let (keeper, ticket) = promise(Outcome::Unknown);
        if leads {
            member.proposed.push_back((payload, keeper));
        } else {
            keeper.keep(Outcome::NotLeader);
        }
        Ok(ticket)
    }

    fn append(&self, group: Group, records: Vec<Record>) -> Result<Receipt> {
        self.receipt(group, |member| {
            for record in records {
                if record.lsn != member.end() || record.term < member.term {
                    return Err(misuse("append entry", record.lsn));
                }
                member.term = record.term;
                member.entries.push(record);
            }
            Ok(())
        })
    }

    fn truncate_to(&self, group: Group, end: Lsn) -> Result<Receipt> {
        self.receipt(group, |member| {
            if end < member.committed || end > member.end() {
                return Err(misuse("truncate to", end));
            }
            member.cut(end);
            Ok(())
        })
    }

    fn purge_to(&self, group: Group, end: Lsn) -> Result<Receipt> {
        self.receipt(group, |member| {
            if end > member.committed || end < member.start.end {
                return Err(misuse("purge to", end));
            }
            let count = (end.0 - member.start.end.0) as usize;
            if let Some(last) = member.entries.drain(..count).next_back() {
                member.start = Point {
                    end,
                    term: last.term,
                };
            }
            Ok(())
        })
    }

    fn save_vote(&self, group: Group, vote: Vec<u8>) -> Result<Receipt> {
        self.receipt(group, |member| {
            member.vote = vote;
            Ok(())
        })
    }

    fn vote(&self, group: Group) -> Result<Vec<u8>> {
        self.member(group, |member| Ok(member.vote.clone()))
    }

    fn commit_to(&self, group: Group, end: Lsn) -> Result<Receipt> {
        self.receipt(group, |member| {
            if end < member.committed || end > member.end() {
                return Err(misuse("commit to", end));
            }
            member.committed = end;
            Ok(())
        })
    }

    fn read(&self, group: Group, from: Lsn, bytes_max: usize) -> Result<Vec<Record>> {
        self.member(group, |member| {
            let Some(skipped) = from.0.checked_sub(member.start.end.0) else {
                return Err(LogError::Purged {
                    group: group.0,
                    base: member.start.end.0,
                    asked: from.0,
                });
            };
            let mut bytes = 0;
            let entries = member.entries.iter().skip(skipped as usize);
            let taken = entries.take_while(|record| {
                let room = bytes < bytes_max;
                bytes += record.payload.len();
                room
            });
            Ok(taken.cloned().collect())
        })
    }

    fn watermarks(&self, group: Group) -> Result<Watermarks> {
        self.member(group, |member| {
            Ok(Watermarks {
                durable: member.end(),
                committed: member.committed,
            })
        })
    }

    /// Nothing moves while a caller waits, so it steps instead, once.
    fn watch(&self, group: Group, known: Watermarks, _limit: Duration) -> Result<Watermarks> {
        let now = self.watermarks(group)?;
        if now != known {
            return Ok(now);
        }
        self.step();
        self.watermarks(group)
    }

    fn start(&self, group: Group) -> Result<Point> {
        self.member(group, |member| Ok(member.start))
    }

    fn snapshot(&self, group: Group) -> Result<Point> {
        self.member(group, |member| {
            let kept = (member.committed.0 - member.start.end.0) as usize;
            let last = kept
                .checked_sub(1)
                .and_then(|last| member.entries.get(last));
            Ok(Point {
                end: member.committed,
                term: last.map_or(member.start.term, |last| last.term),
            })
        })
    }

    fn install(&self, group: Group, point: Point) -> Result<Receipt> {
        self.receipt(group, |member| {
            if point.end < member.committed {
                return Err(misuse("install a snapshot of end", point.end));
            }
            member.start = point;
            member.committed = point.end;
            member.entries.clear();
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 300 seeds: whatever it did, what it said is the truth, and all its tricks were seen.
    #[test]
    fn answers_are_true_and_every_trick_is_played() {
        let (mut unknown_in, mut unknown_out, mut refused, mut reordered, mut taken_back) =
            (0, 0, 0, 0, 0);
        for seed in 0..300 {
            let log = HostileLog::new(seed, Hostility::default());
            let group = Group(7);
            log.create_group(group, vec![]);
            let mut tickets = Vec::new();
            let mut durable = Lsn(1);
            let mut answered = Vec::new();
            for number in 0..60u8 {
                let ticket = log.propose(group, vec![number]).unwrap();
                tickets.push((number, ticket));
                log.step();
                let now = log.watermarks(group).unwrap();
                taken_back += u32::from(now.durable < durable);
                durable = now.durable;
                for (number, ticket) in &tickets {
                    if ticket.answer().is_some() && !answered.contains(number) {
                        reordered += u32::from(answered.last() > Some(number));
                        answered.push(*number);
                    }
                }
            }
            log.settle();
            let end = log.watermarks(group).unwrap().committed;
            let records = log.read(group, Lsn(1), usize::MAX).unwrap();
            let committed: Vec<_> = records.iter().filter(|record| record.lsn < end).collect();
            assert!(
                committed.is_sorted_by_key(|record| record.payload[0]),
                "seed {seed}: a leader's order is kept"
            );
            for (number, ticket) in tickets {
                let found = committed.iter().find(|record| record.payload[0] == number);
                match ticket.answer().expect("settled") {
                    Outcome::Committed { term, lsn } => {
                        let found = found.expect("committed entries stay");
                        assert_eq!((found.term, found.lsn), (term, lsn), "seed {seed}");
                    }
                    Outcome::NotLeader => {
                        assert_eq!(found, None, "seed {seed}");
                        refused += 1;
                    }
                    Outcome::Unknown if found.is_some() => unknown_in += 1,
                    Outcome::Unknown => unknown_out += 1,
                }
            }
        }
        for count in [unknown_in, unknown_out, refused, reordered, taken_back] {
            assert!(
                count > 50,
                "{unknown_in} {unknown_out} {refused} {reordered} {taken_back}"
            );
        }
    }
}
