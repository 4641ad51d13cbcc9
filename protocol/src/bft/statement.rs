//! What a validator signs: the five kinds of statement and their sign bytes.
//!
//! ```text
//!   tag u8 | chain_id 32 | ruleset_id 32 | instance u64 LE | round u32 LE | id 32
//!   PREPARE, NEW-VIEW add   justification_hash 32
//!   VIEW-CHANGE adds        prepared_round u32 LE | prepared_id 32      (2^32 - 1 and zero: none)
//! ```
//!
//! Invariant: two statements with equal sign bytes are equal, whatever their kind.
//! Rules: `spec/09-bft.md#sign-bytes`.

use super::instance::Scope;
use crate::hash::{self, BlockId, Hash};
use serde::{Deserialize, Serialize};

/// A round of an instance.
pub type Round = u32;

/// The round that stands for "none" in sign bytes, and that no message may have.
pub const ROUND_NONE: Round = Round::MAX;

/// Bytes that all statements share.
const COMMON_BYTES: usize = 1 + 32 + 32 + 8 + 4 + 32;

/// Bytes of the longest sign bytes, those of a VIEW-CHANGE.
const SIGN_BYTES_MAX: usize = COMMON_BYTES + 4 + 32;

/// The value that a validator saw prepared, and in which round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Prepared {
    /// The round.
    pub round: Round,
    /// The value.
    pub id: BlockId,
}

/// What a validator says. The encoding is the tag (0 to 4) and the fields in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Statement {
    /// "I propose `id`", in round 0.
    PrePrepare {
        /// The value.
        id: BlockId,
    },
    /// "I hold `id` for valid and this proposal for justified."
    Prepare {
        /// The round.
        round: Round,
        /// The value.
        id: BlockId,
        /// Hash of the NEW-VIEW that it answers; zero in round 0.
        justification: Hash,
    },
    /// "I have seen a quorum prepare `id` in this round."
    Commit {
        /// The round.
        round: Round,
        /// The value.
        id: BlockId,
    },
    /// "I have left the rounds below; this is the last value that I saw prepared."
    ViewChange {
        /// The round that it asks for.
        round: Round,
        /// The last value that it saw prepared.
        prepared: Option<Prepared>,
    },
    /// "I propose `id`, and this is why I may", in rounds above 0.
    NewView {
        /// The round.
        round: Round,
        /// The value.
        id: BlockId,
        /// Hash of the round, the value and the justification.
        justification: Hash,
    },
}

/// The kind of a statement; the number is the tag in its sign bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StatementKind {
    /// PRE-PREPARE.
    PrePrepare = 1,
    /// PREPARE.
    Prepare = 2,
    /// COMMIT.
    Commit = 3,
    /// VIEW-CHANGE.
    ViewChange = 4,
    /// NEW-VIEW.
    NewView = 5,
}

impl Statement {
    /// The kind.
    pub fn kind(&self) -> StatementKind {
        match self {
            Statement::PrePrepare { .. } => StatementKind::PrePrepare,
            Statement::Prepare { .. } => StatementKind::Prepare,
            Statement::Commit { .. } => StatementKind::Commit,
            Statement::ViewChange { .. } => StatementKind::ViewChange,
            Statement::NewView { .. } => StatementKind::NewView,
        }
    }

    /// The round; 0 for a PRE-PREPARE.
    pub fn round(&self) -> Round {
        match *self {
            Statement::PrePrepare { .. } => 0,
            Statement::Prepare { round, .. }
            | Statement::Commit { round, .. }
            | Statement::ViewChange { round, .. }
            | Statement::NewView { round, .. } => round,
        }
    }

    /// The sign bytes.
    pub fn sign_bytes(&self, scope: &Scope) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SIGN_BYTES_MAX);
        let id = match self {
            Statement::PrePrepare { id }
            | Statement::Prepare { id, .. }
            | Statement::Commit { id, .. }
            | Statement::NewView { id, .. } => *id,
            Statement::ViewChange { .. } => BlockId::ZERO,
        };
        bytes.push(self.kind() as u8);
        bytes.extend_from_slice(scope.chain_id.as_bytes());
        bytes.extend_from_slice(scope.ruleset_id.as_bytes());
        bytes.extend_from_slice(&scope.instance.to_le_bytes());
        bytes.extend_from_slice(&self.round().to_le_bytes());
        bytes.extend_from_slice(id.as_bytes());
        match self {
            Statement::PrePrepare { .. } | Statement::Commit { .. } => {}
            Statement::Prepare { justification, .. } | Statement::NewView { justification, .. } => {
                bytes.extend_from_slice(justification.as_bytes());
            }
            Statement::ViewChange { prepared, .. } => {
                let none = Prepared {
                    round: ROUND_NONE,
                    id: BlockId::ZERO,
                };
                let prepared = prepared.unwrap_or(none);
                bytes.extend_from_slice(&prepared.round.to_le_bytes());
                bytes.extend_from_slice(prepared.id.as_bytes());
            }
        }
        bytes
    }

    /// The 32 bytes that Ed25519 signs: `B3("cairn v1 vote", sign bytes)`.
    pub fn message(&self, scope: &Scope) -> [u8; 32] {
        hash::VOTE.hash(&[&self.sign_bytes(scope)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope {
            chain_id: BlockId([1; 32]),
            ruleset_id: Hash([2; 32]),
            instance: 0x0807_0605_0403_0201,
        }
    }

    /// Offset by offset, so that another client can be written from the picture above.
    #[test]
    fn the_layout_is_fixed() {
        let prepare = Statement::Prepare {
            round: 0x0403_0201,
            id: BlockId([3; 32]),
            justification: Hash([4; 32]),
        };
        let bytes = prepare.sign_bytes(&scope());
        assert_eq!(bytes.len(), 141);
        assert_eq!(bytes[0], 2);
        assert_eq!(bytes[1..33], [1; 32]);
        assert_eq!(bytes[33..65], [2; 32]);
        assert_eq!(bytes[65..73], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(bytes[73..77], [1, 2, 3, 4]);
        assert_eq!(bytes[77..109], [3; 32]);
        assert_eq!(bytes[109..], [4; 32]);
        let view_change = Statement::ViewChange {
            round: 1,
            prepared: None,
        };
        let bytes = view_change.sign_bytes(&scope());
        assert_eq!(bytes.len(), SIGN_BYTES_MAX);
        assert_eq!(bytes[77..109], [0; 32]);
        assert_eq!(bytes[109..113], [0xff; 4]);
        assert_eq!(bytes[113..], [0; 32]);
        let commit = Statement::Commit {
            round: 1,
            id: BlockId([3; 32]),
        };
        assert_eq!(commit.sign_bytes(&scope()).len(), COMMON_BYTES);
    }

    /// C03: no two statements and no two scopes share sign bytes.
    #[test]
    fn sign_bytes_are_distinct() {
        let mut seen = std::collections::BTreeSet::new();
        let ids = [BlockId([5; 32]), BlockId([6; 32])];
        let mut statements = vec![];
        for id in ids {
            statements.push(Statement::PrePrepare { id });
            for round in [0, 1, 2] {
                let justification = Hash([round as u8; 32]);
                statements.push(Statement::Prepare {
                    round,
                    id,
                    justification,
                });
                statements.push(Statement::Commit { round, id });
                statements.push(Statement::NewView {
                    round,
                    id,
                    justification,
                });
                statements.push(Statement::ViewChange {
                    round: 3,
                    prepared: Some(Prepared { round, id }),
                });
            }
        }
        let other_chain = Scope {
            chain_id: BlockId([9; 32]),
            ..scope()
        };
        let other_ruleset = Scope {
            ruleset_id: Hash([9; 32]),
            ..scope()
        };
        let other_instance = Scope {
            instance: 9,
            ..scope()
        };
        for statement in &statements {
            for scope in [scope(), other_chain, other_ruleset, other_instance] {
                assert!(seen.insert(statement.sign_bytes(&scope)), "{statement:?}");
            }
        }
        assert_eq!(seen.len(), statements.len() * 4);
    }
}
