//! Steps as tables: every kind of message in every phase, and the leader's choices.

use super::kit::{
    A, B, Keyed, certificate, commit, first_ballot, free, hear, justification, names, new_view,
    pre_prepare, prepare, say, seal, setup, start, step, view_change,
};
use crate::pbft::{Effect, Input, ObserveReason, PbftCore, Setup};
use cairn_protocol::bft::{Body, Evidence, Justification, OffenceKind, Round, Scope, verify_seal};
use cairn_protocol::hash::{BlockId, Hash};
use std::sync::Arc;

const NOTHING: [&str; 0] = [];

/// Phases of validator 2, which leads neither round 0 nor round 1.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Round 0, nothing heard.
    Idle,
    /// A proposal waits for its verdict.
    Judging,
    /// It prepared A and heard two PREPAREs of three that it needs.
    Prepared,
    /// It committed to A and heard two COMMITs of three.
    Committed,
    /// Its round 0 ended without a proposal.
    Changing,
    /// It accepted B in round 1.
    Accepted,
    /// It decided A.
    Decided,
}

const PHASES: [Phase; 7] = [
    Phase::Idle,
    Phase::Judging,
    Phase::Prepared,
    Phase::Committed,
    Phase::Changing,
    Phase::Accepted,
    Phase::Decided,
];

fn in_phase(phase: Phase) -> PbftCore {
    let (mut core, _) = start(2, None);
    if matches!(phase, Phase::Changing | Phase::Accepted) {
        step(&mut core, Input::Timeout { round: 0 });
        if phase == Phase::Accepted {
            hear(&mut core, 1, new_view(1, B, without_2(1)));
        }
        return core;
    }
    if phase != Phase::Idle {
        hear(&mut core, 0, pre_prepare(A));
    }
    if matches!(phase, Phase::Prepared | Phase::Committed | Phase::Decided) {
        let (round, id, ok) = (0, A, true);
        step(&mut core, Input::Validated { round, id, ok });
        hear(&mut core, 0, prepare(A));
        hear(&mut core, 2, prepare(A));
    }
    if matches!(phase, Phase::Committed | Phase::Decided) {
        hear(&mut core, 1, prepare(A));
        hear(&mut core, 0, commit(0, A));
        hear(&mut core, 2, commit(0, A));
    }
    if phase == Phase::Decided {
        let effects = hear(&mut core, 3, commit(0, A));
        assert_eq!(names(&effects), ["decided"]);
    }
    core
}

/// A quorum for `round` without validator 2, in which nobody names anything.
fn without_2(round: Round) -> Justification {
    justification(round, &[(0, None), (1, None), (3, None)], None)
}

/// One message and what validator 2 does about it in each phase.
struct Row {
    label: &'static str,
    signer: u16,
    body: Body,
    idle: &'static [&'static str],
    judging: &'static [&'static str],
    prepared: &'static [&'static str],
    committed: &'static [&'static str],
    changing: &'static [&'static str],
    accepted: &'static [&'static str],
}

impl Row {
    /// Nothing happens in any phase.
    fn quiet(label: &'static str, signer: u16, body: Body) -> Row {
        Row {
            label,
            signer,
            body,
            idle: &[],
            judging: &[],
            prepared: &[],
            committed: &[],
            changing: &[],
            accepted: &[],
        }
    }

    fn expected(&self, phase: Phase) -> &'static [&'static str] {
        match phase {
            Phase::Idle => self.idle,
            Phase::Judging => self.judging,
            Phase::Prepared => self.prepared,
            Phase::Committed => self.committed,
            Phase::Changing => self.changing,
            Phase::Accepted => self.accepted,
            Phase::Decided => &[],
        }
    }
}

const GUILTY: &[&str] = &["evidence"];
const NEXT_ROUND: &[&str] = &["timer", "persist", "VIEW-CHANGE"];
const FOLLOWED: &[&str] = &["timer", "persist", "VIEW-CHANGE", "timer"];
const ENTERED: &[&str] = &["timer", "validate"];

fn rows() -> Vec<Row> {
    let other_reason = justification(1, &[(0, None), (1, None), (2, None), (3, None)], None);
    let prepared_a = certificate(0, first_ballot(A), &[0, 1, 3]);
    let claims = [(0, Some((0, A))), (1, None), (3, None)];
    let bound_to_a = justification(1, &claims, Some(prepared_a.clone()));
    vec![
        Row {
            idle: &["validate"],
            ..Row::quiet("the leader's proposal", 0, pre_prepare(A))
        },
        Row {
            idle: &["validate"],
            judging: GUILTY,
            prepared: GUILTY,
            committed: GUILTY,
            ..Row::quiet("the leader's other proposal", 0, pre_prepare(B))
        },
        Row::quiet("a proposal of another validator", 3, pre_prepare(A)),
        Row {
            prepared: &["persist", "COMMIT"],
            ..Row::quiet("the third PREPARE", 3, prepare(A))
        },
        Row::quiet("a PREPARE of another value", 3, prepare(B)),
        Row {
            prepared: GUILTY,
            committed: GUILTY,
            ..Row::quiet("a second PREPARE, of another value", 0, prepare(B))
        },
        Row {
            committed: &["decided"],
            // Its VIEW-CHANGE inside the NEW-VIEW of this phase forgets it.
            accepted: GUILTY,
            ..Row::quiet("the third COMMIT", 1, commit(0, A))
        },
        Row {
            accepted: GUILTY,
            ..Row::quiet("a COMMIT of another value", 1, commit(0, B))
        },
        Row::quiet("a COMMIT of another round", 1, commit(1, A)),
        Row {
            committed: GUILTY,
            accepted: GUILTY,
            ..Row::quiet("a second COMMIT, of another value", 0, commit(0, B))
        },
        Row::quiet("one VIEW-CHANGE", 1, view_change(1, None)),
        Row::quiet("one VIEW-CHANGE far ahead", 1, view_change(9_999, None)),
        Row {
            committed: GUILTY,
            // It was heard already, inside the NEW-VIEW.
            ..Row::quiet("a VIEW-CHANGE that forgets", 0, view_change(1, None))
        },
        Row {
            // In the NEW-VIEW of this phase the same validator named nothing.
            accepted: GUILTY,
            ..Row::quiet(
                "a VIEW-CHANGE that remembers",
                0,
                view_change(1, Some(prepared_a)),
            )
        },
        Row {
            idle: ENTERED,
            judging: ENTERED,
            prepared: ENTERED,
            // The justification has a VIEW-CHANGE of validator 0 that forgets its COMMIT.
            committed: &["evidence", "timer", "validate"],
            changing: &["validate", "timer"],
            ..Row::quiet("a NEW-VIEW", 1, new_view(1, B, without_2(1)))
        },
        Row {
            idle: ENTERED,
            judging: ENTERED,
            prepared: ENTERED,
            committed: ENTERED,
            changing: &["validate", "timer"],
            // Validator 0 named nothing in the first one, and the leader proposed B there.
            accepted: &["evidence", "evidence"],
            ..Row::quiet(
                "a NEW-VIEW with a certificate",
                1,
                new_view(1, A, bound_to_a),
            )
        },
        Row {
            // It has our own VIEW-CHANGE: where we made none, our key has a second user.
            idle: &["observing", "validate"],
            judging: &["observing", "validate"],
            prepared: &["observing", "validate"],
            committed: &["evidence", "observing", "validate"],
            changing: &["validate", "timer"],
            accepted: GUILTY,
            ..Row::quiet(
                "the same value justified otherwise",
                1,
                new_view(1, B, other_reason),
            )
        },
        Row {
            // Its VIEW-CHANGEs are true whoever shows them: a quorum is in round 1.
            idle: FOLLOWED,
            judging: FOLLOWED,
            prepared: FOLLOWED,
            committed: &["evidence", "timer", "persist", "VIEW-CHANGE", "timer"],
            changing: &["timer"],
            ..Row::quiet(
                "a NEW-VIEW of another validator",
                3,
                new_view(1, B, without_2(1)),
            )
        },
        Row {
            idle: ENTERED,
            judging: ENTERED,
            prepared: ENTERED,
            committed: &["evidence", "timer", "validate"],
            changing: ENTERED,
            accepted: ENTERED,
            ..Row::quiet(
                "a NEW-VIEW of a later round",
                1,
                new_view(5, B, without_2(5)),
            )
        },
    ]
}

#[test]
fn every_message_in_every_phase() {
    let rows = rows();
    for row in &rows {
        for phase in PHASES {
            let mut core = in_phase(phase);
            let effects = hear(&mut core, row.signer, row.body.clone());
            let expected = row.expected(phase);
            assert_eq!(names(&effects), expected, "{} in {phase:?}", row.label);
            // A second copy does nothing at all.
            let again = hear(&mut core, row.signer, row.body.clone());
            let again = names(&again);
            let quiet = again.iter().all(|name| *name == "evidence");
            assert!(quiet, "{} twice in {phase:?}: {again:?}", row.label);
        }
    }
    assert!(rows.len() * PHASES.len() >= 130);
}

#[test]
fn timeouts_and_verdicts_in_every_phase() {
    let verdict = |id, ok| Input::Validated { round: 0, id, ok };
    for (input, expected) in [
        (
            Input::Timeout { round: 0 },
            [NEXT_ROUND, NEXT_ROUND, NEXT_ROUND, NEXT_ROUND, &[], &[]],
        ),
        (
            // In the phase `Changing` it is alone in round 1, so it waits there.
            Input::Timeout { round: 1 },
            [&[], &[], &[], &[], &["VIEW-CHANGE", "timer"], NEXT_ROUND],
        ),
        (
            verdict(A, true),
            [&[], &["persist", "PREPARE"], &[], &[], &[], &[]],
        ),
        (verdict(A, false), [&[], NEXT_ROUND, &[], &[], &[], &[]]),
        (verdict(B, true), [NOTHING.as_slice(); 6]),
        (Input::Proposal { round: 0, id: A }, [NOTHING.as_slice(); 6]),
        (
            Input::Resend,
            [
                &[],
                &[],
                &["PREPARE"],
                &["PREPARE", "COMMIT"],
                &["VIEW-CHANGE"],
                &[],
            ],
        ),
        (Input::PersistFailed, [["observing"].as_slice(); 6]),
    ] {
        for (phase, expected) in PHASES.into_iter().zip(expected) {
            let mut core = in_phase(phase);
            let effects = step(&mut core, input.clone());
            assert_eq!(names(&effects), expected, "{input:?} in {phase:?}");
        }
        let mut core = in_phase(Phase::Decided);
        assert_eq!(names(&step(&mut core, input)), NOTHING);
    }
}

/// C03: verified for another instance, another ruleset, or another chain: never counted.
#[test]
fn messages_of_other_scopes_do_nothing() {
    let ours = setup(2);
    for scope in [
        Scope {
            instance: 9,
            ..ours.scope
        },
        Scope {
            ruleset_id: Hash([9; 32]),
            ..ours.scope
        },
        Scope {
            chain_id: BlockId([9; 32]),
            ..ours.scope
        },
    ] {
        let theirs = Setup {
            scope,
            ..(*ours).clone()
        };
        let message = super::kit::draft(&theirs, 0, pre_prepare(A));
        let verdict = message
            .message()
            .clone()
            .verify(&ours.scope, &ours.set, &Keyed);
        assert!(verdict.is_err(), "{scope:?}");
        if scope.chain_id == ours.scope.chain_id {
            let mut core = in_phase(Phase::Idle);
            assert_eq!(names(&step(&mut core, Input::Message(message))), NOTHING);
        }
    }
}

/// C04: votes of two rounds, and PREPAREs under two justifications, never add up.
#[test]
fn votes_of_two_rounds_are_never_summed() {
    let mut core = in_phase(Phase::Committed);
    // Two COMMITs of A are of round 0, two of round 1: it follows to round 1 and decides nothing.
    assert_eq!(names(&hear(&mut core, 1, commit(1, A))), NOTHING);
    assert_eq!(names(&hear(&mut core, 3, commit(1, A))), NEXT_ROUND);
    assert_eq!(core.decided(), None);
    // The third of round 1 completes a quorum of one round.
    assert_eq!(names(&hear(&mut core, 0, commit(1, A))), ["decided"]);
}

#[test]
fn prepares_under_two_justifications_are_never_summed() {
    let mut core = in_phase(Phase::Accepted);
    let (round, id, ok) = (1, B, true);
    step(&mut core, Input::Validated { round, id, ok });
    let ours = without_2(1).ballot(1, B);
    let other = free(1).ballot(1, B);
    let body = |ballot| Body::Prepare { round: 1, ballot };
    hear(&mut core, 2, body(ours));
    hear(&mut core, 0, body(other));
    hear(&mut core, 1, body(other));
    assert_eq!(names(&hear(&mut core, 3, body(other))), NOTHING);
    let mut core = in_phase(Phase::Accepted);
    step(&mut core, Input::Validated { round, id, ok });
    hear(&mut core, 2, body(ours));
    hear(&mut core, 0, body(ours));
    assert_eq!(
        names(&hear(&mut core, 3, body(ours))),
        ["persist", "COMMIT"]
    );
}

/// COMMITs of a round that was left still decide.
#[test]
fn a_late_quorum_decides_an_earlier_round() {
    let mut core = in_phase(Phase::Committed);
    step(&mut core, Input::Timeout { round: 0 });
    assert_eq!(core.round(), 1);
    let effects = hear(&mut core, 3, commit(0, A));
    let [Effect::Decided { id, seal: found }] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    assert_eq!((*id, found), (A, &seal(0, A, &[0, 2, 3])));
    let Setup { scope, set, .. } = core.setup();
    assert_eq!(verify_seal(found, scope, A, set, &Keyed), Ok(3));
}

/// There is no lock: after a COMMIT another value is prepared if a NEW-VIEW justifies it, and the
/// next VIEW-CHANGE still names what was prepared.
#[test]
fn a_justified_new_view_moves_a_committed_validator() {
    let mut core = in_phase(Phase::Committed);
    let reason = justification(1, &[(0, None), (1, None), (3, None)], None);
    hear(&mut core, 1, new_view(1, B, reason));
    let (round, id, ok) = (1, B, true);
    let effects = step(&mut core, Input::Validated { round, id, ok });
    assert_eq!(names(&effects), ["persist", "PREPARE"]);
    let effects = step(&mut core, Input::Timeout { round: 1 });
    let sent = effects.iter().find_map(|effect| match effect {
        Effect::Send { draft, .. } => Some(draft.body.clone()),
        _ => None,
    });
    let Some(Body::ViewChange { round: 2, prepared }) = sent else {
        panic!("{effects:?}");
    };
    let prepared = prepared.expect("what it committed to");
    assert_eq!((prepared.round, prepared.ballot.id), (0, A));
}

/// Validator 2 leads round 2.
fn leader_of_2() -> PbftCore {
    let (mut core, _) = start(2, None);
    hear(&mut core, 0, commit(2, A));
    hear(&mut core, 1, commit(2, B));
    assert_eq!(core.round(), 2);
    core
}

#[test]
fn a_leader_with_a_free_quorum_proposes_its_own_value() {
    let mut core = leader_of_2();
    // A quorum is in the round: its time begins.
    assert_eq!(names(&hear(&mut core, 2, view_change(2, None))), ["timer"]);
    assert_eq!(names(&hear(&mut core, 0, view_change(2, None))), NOTHING);
    assert_eq!(names(&hear(&mut core, 3, view_change(3, None))), NOTHING);
    assert_eq!(
        names(&hear(&mut core, 1, view_change(2, None))),
        ["propose"]
    );
    let (round, id) = (1, B);
    assert_eq!(
        names(&step(&mut core, Input::Proposal { round, id })),
        NOTHING
    );
    let (round, id) = (2, B);
    let effects = step(&mut core, Input::Proposal { round, id });
    assert_eq!(names(&effects), ["persist", "NEW-VIEW", "PREPARE"]);
    let Effect::Send { draft, after } = &effects[1] else {
        panic!("{effects:?}");
    };
    assert_eq!(*after, 2 * 4 + 2);
    let message = say(2, draft.body.clone());
    let reason = justification(2, &[(0, None), (1, None), (2, None)], None);
    assert_eq!(message.message().body, new_view(2, B, reason));
    // Once is enough.
    assert_eq!(names(&hear(&mut core, 3, view_change(2, None))), NOTHING);
    assert_eq!(
        names(&step(&mut core, Input::Proposal { round, id: A })),
        NOTHING
    );
    assert_eq!(
        names(&step(&mut core, Input::Resend)),
        ["NEW-VIEW", "PREPARE"]
    );
}

#[test]
fn a_leader_proposes_the_highest_prepared_value() {
    let at_0 = certificate(0, first_ballot(A), &[0, 1, 3]);
    let at_1 = certificate(1, free(1).ballot(1, B), &[0, 1, 3]);
    for order in [[0, 1, 3], [1, 0, 3], [3, 1, 0]] {
        let mut core = leader_of_2();
        hear(&mut core, 3, commit(2, B));
        let mut effects = Vec::new();
        for signer in order {
            let shown = match signer {
                0 => Some(at_0.clone()),
                1 => Some(at_1.clone()),
                _ => None,
            };
            effects = hear(&mut core, signer, view_change(2, shown));
        }
        assert_eq!(names(&effects), ["persist", "NEW-VIEW", "validate"]);
        let Effect::Send { draft, .. } = &effects[1] else {
            panic!("{effects:?}");
        };
        let claims = [(0, Some((0, A))), (1, Some((1, B))), (3, None)];
        let reason = justification(2, &claims, Some(at_1.clone()));
        assert_eq!(draft.body, new_view(2, B, reason));
        say(2, draft.body.clone());
        let (round, id, ok) = (2, B, true);
        let effects = step(&mut core, Input::Validated { round, id, ok });
        assert_eq!(names(&effects), ["persist", "PREPARE"]);
    }
}

/// A faulty validator keeps a certificate back and shows it late, far ahead: the leader proposes its
/// value, and is not held up for want of the one that the others name.
#[test]
fn a_certificate_kept_back_does_not_hold_up_the_leader() {
    let at_0 = certificate(0, first_ballot(A), &[0, 1, 3]);
    let at_1 = certificate(1, free(1).ballot(1, B), &[0, 1, 3]);
    let mut core = leader_of_2();
    hear(&mut core, 0, view_change(2, Some(at_0)));
    hear(&mut core, 3, view_change(9, Some(at_1.clone())));
    hear(&mut core, 2, view_change(2, None));
    let effects = hear(&mut core, 1, view_change(2, None));
    assert_eq!(names(&effects), ["persist", "NEW-VIEW", "validate"]);
    let Effect::Send { draft, .. } = &effects[1] else {
        panic!("{effects:?}");
    };
    let claims = [(0, Some((0, A))), (1, None), (2, None)];
    let reason = justification(2, &claims, Some(at_1));
    assert_eq!(draft.body, new_view(2, B, reason));
    say(2, draft.body.clone());
}

/// f + 1 heads ahead: it follows to the highest round that one honest validator has reached.
#[test]
fn a_weak_quorum_ahead_is_followed() {
    let mut core = in_phase(Phase::Idle);
    assert_eq!(names(&hear(&mut core, 0, view_change(7, None))), NOTHING);
    let effects = hear(&mut core, 1, view_change(5, None));
    assert_eq!(names(&effects), NEXT_ROUND);
    assert_eq!(core.round(), 5);
    // Votes show a round as well as VIEW-CHANGEs do.
    let effects = hear(&mut core, 3, commit(9, A));
    assert_eq!((names(&effects), core.round()), (NEXT_ROUND.to_vec(), 7));
    // One liar, however far ahead, moves nobody.
    assert_eq!(
        names(&hear(&mut core, 0, view_change(u32::MAX - 1, None))),
        NEXT_ROUND
    );
    assert_eq!(core.round(), 9);
}

/// C07: votes for endless rounds cost their sender's own room only.
#[test]
fn a_flood_of_rounds_is_bounded() {
    let mut core = in_phase(Phase::Committed);
    let before = format!("{core:?}").len();
    for round in 1..2_000 {
        hear(&mut core, 3, commit(round, B));
        hear(&mut core, 3, view_change(round, None));
    }
    let after = format!("{core:?}").len();
    assert!(after < before + 8_000, "{before} grew to {after}");
    // The others' COMMITs are still there.
    let effects = hear(&mut core, 1, commit(0, A));
    assert_eq!(names(&effects), ["decided"]);
}

#[test]
fn evidence_is_valid_and_given_once() {
    let mut core = in_phase(Phase::Committed);
    let effects = hear(&mut core, 0, commit(0, B));
    let [Effect::Evidence(evidence)] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    let proven = evidence
        .verify(core.setup().scope.chain_id, &Keyed)
        .unwrap();
    assert_eq!(proven.kind, OffenceKind::DoubleVote);
    assert_eq!(proven.key, core.setup().set.get(0).unwrap().key);
    let bytes = evidence.to_bytes();
    assert_eq!(Evidence::from_bytes(bytes.as_slice()), Ok(*evidence));
    assert_eq!(names(&hear(&mut core, 0, prepare(B))), NOTHING, "once");
    assert_eq!(names(&hear(&mut core, 3, prepare(A))), NOTHING);
    assert_eq!(names(&hear(&mut core, 3, prepare(B))), GUILTY, "another");
}

#[test]
fn a_node_without_a_key_follows_and_decides() {
    let setup = Setup {
        me: None,
        ..(*setup(0)).clone()
    };
    let mut effects = Vec::new();
    let mut core = PbftCore::start(Arc::new(setup), None, 0, &mut effects).unwrap();
    assert_eq!(names(&effects), NOTHING);
    assert_eq!(core.observing(), Some(ObserveReason::NotValidator));
    assert_eq!(names(&hear(&mut core, 0, pre_prepare(A))), ["validate"]);
    let (round, id, ok) = (0, A, true);
    assert_eq!(
        names(&step(&mut core, Input::Validated { round, id, ok })),
        NOTHING
    );
    assert_eq!(names(&step(&mut core, Input::Timeout { round })), NOTHING);
    for signer in [0, 1] {
        assert_eq!(names(&hear(&mut core, signer, commit(0, A))), NOTHING);
    }
    assert_eq!(names(&hear(&mut core, 2, commit(0, A))), ["decided"]);
}
