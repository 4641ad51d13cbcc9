//! Crashes: from any record the core goes on without contradicting what left under it.

use super::kit::{
    A, B, commit, first_ballot, free, hear, names, new_view, pre_prepare, prepare, start, step,
};
use crate::pbft::{Effect, Input, ObserveReason, PbftCore, RecordError, SafetyRecord};

fn last_record(effects: &[Effect]) -> SafetyRecord {
    let mut records = effects.iter().filter_map(|effect| match effect {
        Effect::Persist { record, .. } => Some(record.clone()),
        _ => None,
    });
    records.next_back().expect("a record was written")
}

/// A validator that prepared A in round 0, as its disk knows it.
fn prepared_once() -> SafetyRecord {
    let (mut core, _) = start(1, None);
    hear(&mut core, 0, pre_prepare(A));
    let (round, id, ok) = (0, A, true);
    last_record(&step(&mut core, Input::Validated { round, id, ok }))
}

#[test]
fn a_prepare_is_repeated_and_never_replaced() {
    let record = prepared_once();
    let (mut core, effects) = start(1, Some(record.clone()));
    assert_eq!(names(&effects), ["timer", "PREPARE"]);
    assert_eq!(core.record().prepare, Some(first_ballot(A)));
    // The leader was two-faced: the other proposal changes nothing.
    assert_eq!(names(&hear(&mut core, 0, pre_prepare(B))), [""; 0]);
    let (round, id, ok) = (0, B, true);
    assert_eq!(
        names(&step(&mut core, Input::Validated { round, id, ok })),
        [""; 0]
    );
    // What it prepared goes on to a COMMIT.
    hear(&mut core, 0, prepare(A));
    hear(&mut core, 1, prepare(A));
    let effects = hear(&mut core, 2, prepare(A));
    assert_eq!(names(&effects), ["persist", "COMMIT"]);
}

#[test]
fn a_certificate_is_remembered_by_view_changes() {
    let (mut core, _) = start(1, Some(prepared_once()));
    for signer in [0, 1, 2] {
        hear(&mut core, signer, prepare(A));
    }
    let record = core.record().clone();
    assert!(record.has_committed());
    let (mut core, effects) = start(1, Some(record));
    assert_eq!(names(&effects), ["timer", "PREPARE", "COMMIT"]);
    let effects = step(&mut core, Input::Timeout { round: 0 });
    let record = last_record(&effects);
    assert_eq!(record.round, 1);
    assert_eq!(record.prepared.as_ref().unwrap().ballot, first_ballot(A));
    let (_, effects) = start(1, Some(record.clone()));
    assert_eq!(names(&effects), ["timer", "VIEW-CHANGE"]);
    let bytes = record.to_bytes();
    assert_eq!(SafetyRecord::from_bytes(&bytes), Ok(record));
}

#[test]
fn a_leader_proposes_once() {
    let (mut core, effects) = start(0, None);
    assert_eq!(names(&effects), ["timer", "propose"]);
    let (round, id) = (0, A);
    let effects = step(&mut core, Input::Proposal { round, id });
    assert_eq!(names(&effects), ["persist", "PRE-PREPARE", "PREPARE"]);
    let (mut core, effects) = start(0, Some(last_record(&effects)));
    assert_eq!(names(&effects), ["timer", "PRE-PREPARE", "PREPARE"]);
    let (round, id) = (0, B);
    let effects = step(&mut core, Input::Proposal { round, id });
    assert_eq!(names(&effects), [""; 0]);
}

#[test]
fn a_record_of_something_else_is_refused() {
    let mut record = prepared_once();
    record.instance += 1;
    let mut effects = Vec::new();
    let started = PbftCore::start(super::kit::setup(1), Some(record), 0, &mut effects);
    let expected = RecordError {
        found: 9,
        expected: 8,
    };
    assert_eq!(started, Err(expected));
}

/// C06: a data directory restored from a backup, or a second process with the key.
#[test]
fn an_own_vote_that_the_record_does_not_know_ends_the_vote() {
    for foreign in [
        prepare(A),
        commit(0, A),
        new_view(1, A, free(1)),
        super::kit::view_change(3, None),
    ] {
        let (mut core, _) = start(1, None);
        let effects = hear(&mut core, 1, foreign.clone());
        let reason = Effect::Observing(ObserveReason::ForgottenVote);
        assert!(effects.contains(&reason), "{foreign:?}");
        hear(&mut core, 0, pre_prepare(A));
        let (round, id, ok) = (core.round(), A, true);
        for input in [
            Input::Validated { round, id, ok },
            Input::Timeout { round },
            Input::Resend,
        ] {
            let effects = step(&mut core, input);
            assert!(!names(&effects).contains(&"persist"), "{effects:?}");
            assert!(!effects.iter().any(|e| matches!(e, Effect::Send { .. })));
        }
    }
}
