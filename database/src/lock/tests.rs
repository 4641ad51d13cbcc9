//! The lock table step by step, and under random orders against its invariants.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const FOREVER: Wait = Wait::Until(None);

fn row(key: u8) -> Target {
    Target::Row(1, 1, [key].into())
}

fn owner(id: u64) -> OwnerId {
    OwnerId(id)
}

fn table_of(owners: u64) -> LockTable {
    let mut table = LockTable::default();
    for id in 0..owners {
        table.begin(owner(id), id);
    }
    table
}

#[test]
fn queues_are_fair_and_holders_go_first() {
    let mut locks = table_of(6);
    assert_eq!(
        locks.request(owner(0), row(1), Mode::Share, FOREVER),
        Reply::Granted
    );
    assert_eq!(
        locks.request(owner(1), row(1), Mode::Update, FOREVER),
        Reply::Waiting
    );
    // Compatible with the holder, but behind a waiter that it stands against.
    assert_eq!(
        locks.request(owner(2), row(1), Mode::Share, FOREVER),
        Reply::Waiting
    );
    assert_eq!(
        locks.request(owner(3), row(1), Mode::Share, Wait::No),
        Reply::Busy
    );
    // The holder goes ahead of the line.
    assert_eq!(
        locks.request(owner(0), row(1), Mode::Update, FOREVER),
        Reply::Granted
    );
    locks.release_transaction(owner(0));
    assert_eq!(locks.take_events(), [Event::Granted(owner(1))]);
    locks.release_transaction(owner(1));
    assert_eq!(locks.take_events(), [Event::Granted(owner(2))]);
    locks.release_transaction(owner(2));
    assert!(locks.is_empty());
}

#[test]
fn the_youngest_of_a_cycle_gives_way() {
    let mut locks = table_of(3);
    for id in 0..3 {
        let taken = locks.request(owner(id), row(id as u8), Mode::Update, FOREVER);
        assert_eq!(taken, Reply::Granted);
    }
    assert_eq!(
        locks.request(owner(2), row(0), Mode::Update, FOREVER),
        Reply::Waiting
    );
    assert_eq!(
        locks.request(owner(0), row(1), Mode::Update, FOREVER),
        Reply::Waiting
    );
    // 1 closes the cycle, 2 is the youngest.
    assert_eq!(
        locks.request(owner(1), row(2), Mode::Update, FOREVER),
        Reply::Waiting
    );
    assert_eq!(locks.take_events(), [Event::Deadlock(owner(2))]);
    locks.release_transaction(owner(2));
    assert_eq!(locks.take_events(), [Event::Granted(owner(1))]);
    locks.release_transaction(owner(1));
    assert_eq!(locks.take_events(), [Event::Granted(owner(0))]);
}

#[test]
fn two_readers_that_both_want_to_write_are_a_cycle() {
    let mut locks = table_of(2);
    for id in 0..2 {
        locks.request(owner(id), row(1), Mode::Share, FOREVER);
    }
    assert_eq!(
        locks.request(owner(0), row(1), Mode::Update, FOREVER),
        Reply::Waiting
    );
    assert_eq!(
        locks.request(owner(1), row(1), Mode::Update, FOREVER),
        Reply::Deadlock
    );
    locks.release_transaction(owner(1));
    assert_eq!(locks.take_events(), [Event::Granted(owner(0))]);
}

#[test]
fn a_cycle_through_a_queue_is_seen() {
    let mut locks = table_of(3);
    locks.request(owner(0), row(1), Mode::KeyShare, FOREVER);
    locks.request(owner(2), row(2), Mode::Update, FOREVER);
    assert_eq!(
        locks.request(owner(1), row(1), Mode::Update, FOREVER),
        Reply::Waiting
    );
    // 2 waits for 1 only because 1 stands before it.
    assert_eq!(
        locks.request(owner(2), row(1), Mode::KeyShare, FOREVER),
        Reply::Waiting
    );
    assert_eq!(
        locks.request(owner(0), row(2), Mode::Update, FOREVER),
        Reply::Waiting
    );
    assert_eq!(locks.take_events(), [Event::Deadlock(owner(2))]);
}

#[test]
fn savepoints_give_back_what_they_took() {
    let mut locks = table_of(2);
    locks.request(owner(0), row(1), Mode::KeyShare, FOREVER);
    let mark = locks.mark(owner(0));
    locks.request(owner(0), row(1), Mode::Update, FOREVER);
    locks.request(owner(0), row(2), Mode::Update, FOREVER);
    assert_eq!(
        locks.request(owner(1), row(1), Mode::NoKeyUpdate, FOREVER),
        Reply::Waiting
    );
    locks.release_to(owner(0), mark);
    assert_eq!(locks.take_events(), [Event::Granted(owner(1))]);
    assert_eq!(
        locks.request(owner(1), row(2), Mode::Update, Wait::No),
        Reply::Granted
    );
    assert_eq!(
        locks.request(owner(1), row(1), Mode::Update, Wait::No),
        Reply::Busy
    );
    assert_eq!(locks.row_locks(owner(0), 1), 1);
}

#[test]
fn a_table_lock_covers_its_rows() {
    let mut locks = table_of(2);
    let table = Target::Table(1);
    locks.request(owner(0), table.clone(), Mode::IntentExclusive, FOREVER);
    locks.request(owner(0), row(1), Mode::Update, FOREVER);
    assert_eq!(
        locks.request(owner(0), table.clone(), Mode::TableExclusive, Wait::No),
        Reply::Granted
    );
    locks.drop_row_locks(owner(0), 1);
    assert_eq!(locks.holders(&row(1)), []);
    assert_eq!(
        locks.request(owner(0), row(2), Mode::Update, Wait::No),
        Reply::Granted
    );
    assert_eq!(locks.holders(&row(2)), []);
    assert_eq!(
        locks.request(owner(1), table, Mode::IntentShare, Wait::No),
        Reply::Busy
    );
    locks.release_transaction(owner(0));
    assert!(locks.is_empty());
}

#[test]
fn waits_end_at_their_time_or_when_told() {
    let mut locks = table_of(3);
    locks.request(owner(0), row(1), Mode::Update, FOREVER);
    locks.request(owner(1), row(1), Mode::Update, Wait::Until(Some(50)));
    locks.request(owner(2), row(1), Mode::Update, FOREVER);
    assert_eq!(locks.next_deadline_ms(), Some(50));
    locks.expire(49);
    assert_eq!(locks.take_events(), []);
    locks.expire(50);
    locks.cancel(owner(2));
    let ended = [Event::TimedOut(owner(1)), Event::Cancelled(owner(2))];
    assert_eq!(locks.take_events(), ended);
}

#[test]
fn session_locks_count_and_outlive_transactions() {
    let mut locks = table_of(2);
    let lock = Target::Advisory(0, 7);
    for _ in 0..2 {
        let taken =
            locks.request_session(owner(0), lock.clone(), Mode::AdvisoryExclusive, Wait::No);
        assert_eq!(taken, Reply::Granted);
    }
    locks.request(owner(0), lock.clone(), Mode::AdvisoryShared, FOREVER);
    locks.release_transaction(owner(0));
    assert!(locks.release_session(owner(0), &lock, Mode::AdvisoryExclusive));
    let other = locks.request(owner(1), lock.clone(), Mode::AdvisoryShared, Wait::No);
    assert_eq!(other, Reply::Busy);
    assert!(locks.release_session(owner(0), &lock, Mode::AdvisoryExclusive));
    assert!(!locks.release_session(owner(0), &lock, Mode::AdvisoryExclusive));
    let other = locks.request(owner(1), lock, Mode::AdvisoryShared, Wait::No);
    assert_eq!(other, Reply::Granted);
}

/// Who waits, by a plain search of all edges.
fn stuck_in_a_cycle(locks: &LockTable, waiting: &BTreeMap<u64, (Target, Mode)>) -> bool {
    // Take away whoever can end; what is left waits for itself.
    let rows = locks.list();
    let mut left: Vec<u64> = waiting.keys().copied().collect();
    loop {
        let waits_for_left = |id: &u64| {
            let (target, mode) = &waiting[id];
            rows.iter().any(|(other, holder, modes, granted)| {
                *granted
                    && other == target
                    && holder.0 != *id
                    && modes.conflict_with(*mode)
                    && left.contains(&holder.0)
            })
        };
        let still: Vec<u64> = left.iter().copied().filter(waits_for_left).collect();
        if still.len() == left.len() {
            return !left.is_empty();
        }
        left = still;
    }
}

#[derive(Debug, Clone)]
enum Step {
    Lock(u64, u8, Mode),
    End(u64),
    RollBack(u64),
    Cancel(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let mode = prop::sample::select(vec![
        Mode::KeyShare,
        Mode::Share,
        Mode::NoKeyUpdate,
        Mode::Update,
    ]);
    let step = prop_oneof![
        8 => (0..6u64, 0..4u8, mode).prop_map(|(id, key, mode)| Step::Lock(id, key, mode)),
        2 => (0..6u64).prop_map(Step::End),
        1 => (0..6u64).prop_map(Step::RollBack),
        1 => (0..6u64).prop_map(Step::Cancel),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_conflict_no_cycle_and_everybody_gets_there(steps in steps()) {
        let mut locks = table_of(6);
        let mut waiting: BTreeMap<u64, (Target, Mode)> = BTreeMap::new();
        let mut marks: BTreeMap<u64, Mark> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Lock(id, key, mode) if !waiting.contains_key(&id) => {
                    marks.entry(id).or_insert(locks.mark(owner(id)));
                    match locks.request(owner(id), row(key), mode, FOREVER) {
                        Reply::Waiting => drop(waiting.insert(id, (row(key), mode))),
                        Reply::Deadlock => locks.release_transaction(owner(id)),
                        Reply::Granted | Reply::Busy => {}
                    }
                }
                Step::End(id) => {
                    waiting.remove(&id);
                    marks.remove(&id);
                    locks.release_transaction(owner(id));
                    locks.begin(owner(id), id);
                }
                Step::RollBack(id) if !waiting.contains_key(&id) => {
                    if let Some(mark) = marks.get(&id) {
                        locks.release_to(owner(id), *mark);
                    }
                }
                Step::Cancel(id) => locks.cancel(owner(id)),
                Step::Lock(..) | Step::RollBack(..) => {}
            }
            loop {
                let events = locks.take_events();
                if events.is_empty() {
                    break;
                }
                for event in events {
                    match event {
                        Event::Granted(id) => {
                            let (target, mode) = waiting.remove(&id.0).expect("it waited");
                            let held = locks.holders(&target);
                            prop_assert!(held.iter().any(|(o, modes)| *o == id && modes.cover(mode)));
                        }
                        Event::Deadlock(id) => {
                            waiting.remove(&id.0);
                            locks.release_transaction(id);
                            locks.begin(id, id.0);
                        }
                        Event::TimedOut(id) | Event::Cancelled(id) => drop(waiting.remove(&id.0)),
                    }
                }
            }
            let rows = locks.list();
            for (target, one, modes, granted) in &rows {
                for (other_target, other, others, other_granted) in &rows {
                    if *granted && *other_granted && target == other_target && one != other {
                        for mode in [Mode::KeyShare, Mode::Share, Mode::NoKeyUpdate, Mode::Update] {
                            prop_assert!(!(others.has(mode) && modes.conflict_with(mode)));
                        }
                    }
                }
            }
            prop_assert!(!stuck_in_a_cycle(&locks, &waiting));
        }
        for id in 0..6 {
            locks.release_transaction(owner(id));
            locks.take_events();
        }
        prop_assert!(locks.is_empty());
    }
}
