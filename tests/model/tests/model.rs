//! C01 and C04 by exhaustion: no order of events forks four validators of whom one is faulty.
//!
//! A short run exhausts rounds 0 and 1 and looks into rounds 0 to 2; `CAIRN_TEST_BUDGET=full` visits
//! more than 20,000,000 states of rounds 0 to 2 for each liar. Those are not exhausted: each of three
//! honest validators then has some 400,000 histories, and they combine almost freely.

use std::collections::BTreeSet;
use std::time::Instant;

use cairn_model::{Faults, Table};
use cairn_sim::budget::seeds;
use cairn_sim::rng::Rng;
use stateright::{Checker, HasDiscoveries, Model};

/// What must hold in every state.
const ALWAYS: [&str; 2] = ["agreement", "honest validators keep their word"];
/// What must happen in some state, or the model is too small to mean anything.
const SOMETIMES: [&str; 3] = [
    "a decision",
    "a prepared value is proposed again",
    "two values are prepared",
];

/// Explores until all is seen or `transitions_max` is reached. Answers the properties that were found
/// broken or, of the sometimes kind, found at all. What must not break is told when it does.
fn explore(
    name: &str,
    faults: Faults,
    (rounds, transitions_max): (u32, usize),
    must_hold: bool,
) -> Vec<&'static str> {
    let began = Instant::now();
    let checker = Table::new(faults, rounds)
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(transitions_max)
        .spawn_dfs()
        .join();
    let (locals, messages) = checker.model().sizes();
    println!(
        "{name}, rounds 0 to {rounds}: {} states, {} transitions, depth {}, {locals} validators, {messages} messages, {:.1} s{}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f64(),
        match checker.state_count() < transitions_max {
            true => ", exhausted",
            false => "",
        },
    );
    let found = checker.discoveries();
    for name in ALWAYS {
        if let Some(path) = found.get(name).filter(|_| must_hold) {
            println!("{name} is broken after {:#?}", path.clone().into_actions());
            for local in checker.model().locals(path.last_state()) {
                println!(
                    "validator {}: {:?}, broken {:?}",
                    local.place,
                    local.solo.core.record(),
                    local.broken
                );
            }
        }
    }
    ALWAYS
        .into_iter()
        .chain(SOMETIMES)
        .filter(|name| found.contains_key(name))
        .collect()
}

fn must_hold(name: &str, faults: Faults, rounds: u32, transitions_max: usize) -> Vec<&'static str> {
    let found = explore(name, faults, (rounds, transitions_max), true);
    for broken in ALWAYS {
        assert!(!found.contains(&broken), "{name}: {broken} is broken");
    }
    assert!(found.contains(&"a decision"), "{name}: nothing was decided");
    found
}

const LIAR: [&str; 4] = [
    "the leader of round 0 lies",
    "the leader of round 1 lies",
    "the leader of round 2 lies",
    "a validator that never leads lies",
];

fn lies(place: u16) -> Faults {
    Faults {
        byzantine: Some(place),
        crashing: None,
        record_lost: false,
        first_prepares_lost: false,
    }
}

#[test]
fn one_liar_forks_nobody_in_two_rounds() {
    let all = (0..)
        .zip(LIAR)
        .flat_map(|(place, name)| must_hold(name, lies(place), 1, usize::MAX));
    let all: BTreeSet<_> = all.collect();
    for what in SOMETIMES {
        assert!(all.contains(what), "{what} never happens");
    }
}

#[test]
fn one_liar_forks_nobody_in_three_rounds() {
    let transitions = seeds(400_000, 60_000_000) as usize;
    for (place, name) in (0..).zip(LIAR) {
        must_hold(name, lies(place), 2, transitions);
    }
}

/// A corner of three rounds that is too deep for a bounded search: nobody but the liar, who leads the
/// last round, holds a certificate of round 0. Walks by lot go to the end of it.
#[test]
fn a_certificate_that_was_kept_back_forks_nobody() {
    let faults = Faults {
        first_prepares_lost: true,
        ..lies(2)
    };
    let table = Table::new(faults, 2);
    let (mut decided, mut shown) = (0u64, 0u64);
    for seed in 0..seeds(20_000, 3_000_000) {
        let mut rng = Rng::new(seed);
        let mut state = table.init_states()[0];
        let mut steps = Vec::new();
        loop {
            table.actions(&state, &mut steps);
            if steps.is_empty() {
                break;
            }
            let step = steps[rng.index(steps.len())];
            state = table
                .next_state(&state, step)
                .expect("steps lead somewhere");
            steps.clear();
        }
        for property in table.properties() {
            let holds = (property.condition)(&table, &state);
            assert!(
                holds || !ALWAYS.contains(&property.name),
                "walk {seed}: {} is broken",
                property.name
            );
            decided += u64::from(holds && property.name == "a decision");
            shown += u64::from(holds && property.name == "two values are prepared");
        }
    }
    println!("{decided} walks end with a decision, {shown} saw two values prepared");
    assert!(decided >= 50 && shown >= 50);
}

/// A power cut after any write and any message of one validator, beside a liar: its record is on disk,
/// so it is no fault. A short run cuts one validator for each liar, a full one each.
#[test]
fn a_power_cut_is_no_fault() {
    for (place, name) in (0..4u16).zip(LIAR) {
        let others = (1..4).map(|step| (place + step) % 4);
        for crashing in others.take(seeds(1, 3) as usize) {
            let faults = Faults {
                crashing: Some(crashing),
                ..lies(place)
            };
            let name = format!("{name}, the power of {crashing} goes");
            must_hold(&name, faults, 1, usize::MAX);
        }
    }
}

/// A validator whose record is lost counts as the faulty one: without a liar nothing breaks.
#[test]
fn a_lost_record_is_one_fault() {
    let transitions = seeds(1_500_000, 60_000_000) as usize;
    for crashing in 0..4 {
        let faults = Faults {
            byzantine: None,
            crashing: Some(crashing),
            record_lost: true,
            first_prepares_lost: false,
        };
        must_hold(
            &format!("{crashing} loses its record"),
            faults,
            1,
            transitions,
        );
    }
}

/// The model sees forks where there are some: a liar and a lost record are two faults of four.
#[test]
fn a_lost_record_and_a_liar_are_two_faults() {
    let faults = Faults {
        crashing: Some(3),
        record_lost: true,
        ..lies(0)
    };
    let found = explore("a liar and a lost record", faults, (1, 60_000_000), false);
    assert!(found.contains(&"agreement"), "no fork was found");
}
