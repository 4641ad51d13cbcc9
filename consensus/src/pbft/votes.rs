//! What each validator said: enough to count quorums and to see contradictions, and no more.
//!
//! Invariant: memory is bounded by validators alone. Of each validator the last four rounds of each
//! kind are kept, whatever rounds it names, so a flood of votes pushes out only the sender's own.
//! The first statement of a round counts; a second one is evidence, never a vote.
//! Rules: `spec/09-bft.md#counting`, `#bounds`.

use crate::limits::ROUNDS_KEPT_PER_VALIDATOR;
use cairn_protocol::bft::{Ballot, Prepared, Round, SignedStatement, Statement, ValidatorSet};
use cairn_protocol::hash::{BlockId, Hash};
use cairn_protocol::signature::Signature;

/// One signed vote.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Cast<T> {
    pub(super) round: Round,
    pub(super) what: T,
    pub(super) signature: Signature,
}

/// What noting a vote came to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Noted<T> {
    /// It is new.
    New,
    /// It was known, or is older than what is kept.
    Old,
    /// Its validator said something else in that round.
    Conflict(Cast<T>),
}

/// The last rounds of one kind of vote by one validator, in ascending order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Recent<T>(Vec<Cast<T>>);

impl<T> Default for Recent<T> {
    fn default() -> Recent<T> {
        Recent(Vec::new())
    }
}

impl<T: Copy + Eq> Recent<T> {
    fn note(&mut self, cast: Cast<T>) -> Noted<T> {
        match self.0.binary_search_by_key(&cast.round, |kept| kept.round) {
            Ok(at) if self.0[at].what == cast.what => Noted::Old,
            Ok(at) => Noted::Conflict(self.0[at]),
            Err(0) if self.0.len() == ROUNDS_KEPT_PER_VALIDATOR => Noted::Old,
            Err(at) => {
                self.0.insert(at, cast);
                if self.0.len() > ROUNDS_KEPT_PER_VALIDATOR {
                    self.0.remove(0);
                }
                Noted::New
            }
        }
    }

    pub(super) fn at(&self, round: Round) -> Option<&Cast<T>> {
        self.0.iter().find(|kept| kept.round == round)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Cast<T>> {
        self.0.iter()
    }
}

/// What one validator said.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Voter {
    /// The highest round of any of its messages.
    pub(super) top: Round,
    proposals: Recent<Ballot>,
    pub(super) prepares: Recent<Ballot>,
    pub(super) commits: Recent<BlockId>,
    pub(super) view_changes: Recent<Option<Prepared>>,
}

/// What noting a statement came to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Heard {
    /// It may count.
    New,
    /// Nothing follows from it.
    Old,
    /// Its validator contradicted itself: this is what it said before.
    Contradicts(SignedStatement),
}

impl Voter {
    /// Notes a statement of this validator.
    pub(super) fn note(&mut self, statement: &Statement, signature: Signature) -> Heard {
        let cast = |round, what| Cast {
            round,
            what,
            signature,
        };
        let heard = match *statement {
            Statement::PrePrepare { id } => {
                let ballot = Ballot {
                    id,
                    justification: Hash::ZERO,
                };
                heard(self.proposals.note(cast(0, ballot)), proposal)
            }
            Statement::NewView {
                round,
                id,
                justification,
            } => {
                let ballot = Ballot { id, justification };
                heard(self.proposals.note(cast(round, ballot)), proposal)
            }
            Statement::Prepare {
                round,
                id,
                justification,
            } => {
                let what = Ballot { id, justification };
                let cast = Cast {
                    round,
                    what,
                    signature,
                };
                heard(self.prepares.note(cast), prepare)
            }
            Statement::Commit { round, id } => {
                let cast = Cast {
                    round,
                    what: id,
                    signature,
                };
                heard(self.commits.note(cast), commit)
            }
            Statement::ViewChange { round, prepared } => {
                let cast = Cast {
                    round,
                    what: prepared,
                    signature,
                };
                heard(self.view_changes.note(cast), view_change)
            }
        };
        if heard == Heard::New {
            self.top = self.top.max(statement.round());
        }
        heard
    }

    /// A statement of the other kind that makes amnesia with this one, if one is kept.
    pub(super) fn forgotten(&self, statement: &Statement) -> Option<SignedStatement> {
        match *statement {
            Statement::Commit { round, .. } => self
                .view_changes
                .iter()
                .find(|vote| vote.round > round && forgets(vote.what, round))
                .map(view_change),
            Statement::ViewChange { round, prepared } => self
                .commits
                .iter()
                .find(|vote| vote.round < round && forgets(prepared, vote.round))
                .map(commit),
            _ => None,
        }
    }
}

/// Whether a VIEW-CHANGE that names `prepared` forgets a COMMIT of `round`.
fn forgets(prepared: Option<Prepared>, round: Round) -> bool {
    prepared.is_none_or(|prepared| prepared.round < round)
}

fn heard<T>(noted: Noted<T>, signed: impl Fn(&Cast<T>) -> SignedStatement) -> Heard {
    match noted {
        Noted::New => Heard::New,
        Noted::Old => Heard::Old,
        Noted::Conflict(before) => Heard::Contradicts(signed(&before)),
    }
}

fn proposal(cast: &Cast<Ballot>) -> SignedStatement {
    let Ballot { id, justification } = cast.what;
    let statement = match cast.round {
        0 => Statement::PrePrepare { id },
        round => Statement::NewView {
            round,
            id,
            justification,
        },
    };
    signed(statement, cast.signature)
}

fn prepare(cast: &Cast<Ballot>) -> SignedStatement {
    let statement = Statement::Prepare {
        round: cast.round,
        id: cast.what.id,
        justification: cast.what.justification,
    };
    signed(statement, cast.signature)
}

fn commit(cast: &Cast<BlockId>) -> SignedStatement {
    let statement = Statement::Commit {
        round: cast.round,
        id: cast.what,
    };
    signed(statement, cast.signature)
}

fn view_change(cast: &Cast<Option<Prepared>>) -> SignedStatement {
    let statement = Statement::ViewChange {
        round: cast.round,
        prepared: cast.what,
    };
    signed(statement, cast.signature)
}

fn signed(statement: Statement, signature: Signature) -> SignedStatement {
    SignedStatement {
        statement,
        signature,
    }
}

/// The signatures of all validators whose vote `pick` accepts, in set order, if they are a quorum.
/// Each validator is asked once, so none counts twice.
pub(super) fn quorum(
    voters: &[Voter],
    set: &ValidatorSet,
    pick: impl Fn(&Voter) -> Option<Signature>,
) -> Option<Vec<(u16, Signature)>> {
    let chosen: Vec<_> = (0..)
        .zip(voters)
        .filter_map(|(index, voter)| Some((index, pick(voter)?)))
        .collect();
    let power = set.power_of(chosen.iter().map(|(index, _)| *index));
    set.is_quorum(power).then_some(chosen)
}

/// The highest round that an honest validator has surely reached: f + 1 heads are there or beyond.
pub(super) fn reached(voters: &[Voter], set: &ValidatorSet) -> Round {
    let mut tops: Vec<_> = (0..)
        .zip(voters)
        .map(|(index, voter)| (voter.top, set.power(index)))
        .collect();
    tops.sort_unstable_by_key(|(top, _)| std::cmp::Reverse(*top));
    let mut power = 0u64;
    for (top, own) in tops {
        power += own;
        if set.is_weak_quorum(power) {
            return top;
        }
    }
    0
}
