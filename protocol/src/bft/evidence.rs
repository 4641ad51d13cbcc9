//! Proof that a validator did what no honest one does.
//!
//! Three offences exist, and nothing else is one: *double vote*, *double proposal*, *amnesia*. An
//! honest validator that commits to b in one round and prepares b' in a later one under a valid
//! NEW-VIEW is not guilty: there is no lock.
//!
//! Invariant: evidence that passes its check was signed twice by the accused's key; an honest
//! validator that keeps its safety record never makes such a pair.
//! Rules: `spec/09-bft.md#evidence` (EVD-01 … EVD-03).

use super::instance::{Instance, Scope};
use super::statement::{Round, Statement, StatementKind};
use super::violation::BftViolation;
use crate::block::EvidenceBytes;
use crate::codec::{self, BoundedBytes, DecodeError};
use crate::hash::{BlockId, Hash};
use crate::limits::EVIDENCE_BYTES_MAX;
use crate::signature::{PublicKey, Signature, SignatureJob, SignatureScheme};
use serde::{Deserialize, Serialize};

/// A statement and its signature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SignedStatement {
    /// What was said.
    pub statement: Statement,
    /// The signature.
    pub signature: Signature,
}

/// Two statements of one key in one instance. The encoding is its fields in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Evidence {
    /// The rules under which both were signed.
    pub ruleset_id: Hash,
    /// The instance.
    pub instance: Instance,
    /// The accused.
    pub key: PublicKey,
    /// The statement with the lower sign bytes.
    pub first: SignedStatement,
    /// The other one.
    pub second: SignedStatement,
}

/// What evidence proves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum OffenceKind {
    /// Two different PREPAREs, COMMITs or VIEW-CHANGEs of one round.
    DoubleVote,
    /// Two different proposals of one round.
    DoubleProposal,
    /// A COMMIT of round r, and a VIEW-CHANGE to a later round that names nothing prepared in r or
    /// after it.
    Amnesia,
}

/// The verdict on valid evidence: what the ledger needs to punish once per key and instance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Proven {
    /// The offence.
    pub kind: OffenceKind,
    /// Who did it.
    pub key: PublicKey,
    /// In which instance.
    pub instance: Instance,
    /// In which round: the lower of the two.
    pub round: Round,
}

/// The offence that two statements of one validator in one scope are, if they are one.
fn offence(a: &Statement, b: &Statement) -> Option<OffenceKind> {
    if a.kind() == b.kind() {
        if a.round() != b.round() || a == b {
            return None;
        }
        return Some(match a.kind() {
            StatementKind::PrePrepare | StatementKind::NewView => OffenceKind::DoubleProposal,
            StatementKind::Prepare | StatementKind::Commit | StatementKind::ViewChange => {
                OffenceKind::DoubleVote
            }
        });
    }
    match (*a, *b) {
        (
            Statement::Commit { round, .. },
            Statement::ViewChange {
                round: to,
                prepared,
            },
        )
        | (
            Statement::ViewChange {
                round: to,
                prepared,
            },
            Statement::Commit { round, .. },
        ) => {
            let remembered = prepared.is_some_and(|prepared| prepared.round >= round);
            (to > round && !remembered).then_some(OffenceKind::Amnesia)
        }
        _ => None,
    }
}

impl Evidence {
    /// Evidence from two statements that `key` signed, if they are an offence.
    pub fn between(
        scope: &Scope,
        key: PublicKey,
        a: SignedStatement,
        b: SignedStatement,
    ) -> Option<Evidence> {
        offence(&a.statement, &b.statement)?;
        let in_order = a.statement.sign_bytes(scope) < b.statement.sign_bytes(scope);
        let (first, second) = if in_order { (a, b) } else { (b, a) };
        Some(Evidence {
            ruleset_id: scope.ruleset_id,
            instance: scope.instance,
            key,
            first,
            second,
        })
    }

    /// The canonical bytes, as a block carries them.
    pub fn to_bytes(&self) -> EvidenceBytes {
        BoundedBytes::new(codec::encode(self)).expect("two statements fit the bound of evidence")
    }

    /// Reads canonical bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Evidence, DecodeError> {
        codec::decode(bytes, EVIDENCE_BYTES_MAX)
    }

    /// What it proves on the chain `chain_id`. Whether the key was a validator of that instance, and
    /// whether the window is open, is for the ledger to say.
    pub fn verify(
        &self,
        chain_id: BlockId,
        scheme: &impl SignatureScheme,
    ) -> Result<Proven, BftViolation> {
        let scope = Scope {
            chain_id,
            ruleset_id: self.ruleset_id,
            instance: self.instance,
        };
        let (first, second) = (&self.first.statement, &self.second.statement);
        first.check()?;
        second.check()?;
        let kind = offence(first, second).ok_or(BftViolation::NoOffence {})?;
        if first.sign_bytes(&scope) >= second.sign_bytes(&scope) {
            return Err(BftViolation::EvidenceOrder {});
        }
        let job = |signed: &SignedStatement| SignatureJob {
            key: self.key,
            signature: signed.signature,
            message: signed.statement.message(&scope),
        };
        scheme
            .verify(&[job(&self.first), job(&self.second)])
            .map_err(|statement| BftViolation::EvidenceSignature { statement })?;
        Ok(Proven {
            kind,
            key: self.key,
            instance: self.instance,
            round: first.round().min(second.round()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bft::Prepared;

    const A: BlockId = BlockId([1; 32]);
    const B: BlockId = BlockId([2; 32]);

    fn prepare(round: Round, id: BlockId, justification: u8) -> Statement {
        let justification = Hash([justification; 32]);
        Statement::Prepare {
            round,
            id,
            justification,
        }
    }

    fn commit(round: Round, id: BlockId) -> Statement {
        Statement::Commit { round, id }
    }

    fn view_change(round: Round, prepared: Option<(Round, BlockId)>) -> Statement {
        let prepared = prepared.map(|(round, id)| Prepared { round, id });
        Statement::ViewChange { round, prepared }
    }

    fn new_view(round: Round, id: BlockId, justification: u8) -> Statement {
        let justification = Hash([justification; 32]);
        Statement::NewView {
            round,
            id,
            justification,
        }
    }

    #[test]
    fn offences_and_what_looks_like_them() {
        use OffenceKind::*;
        let pre = |id| Statement::PrePrepare { id };
        let table = [
            (prepare(0, A, 0), prepare(0, B, 0), Some(DoubleVote)),
            (prepare(1, A, 1), prepare(1, A, 2), Some(DoubleVote)),
            (prepare(0, A, 0), prepare(0, A, 0), None),
            // Without a lock, another value in a later round is nobody's fault.
            (prepare(0, A, 0), prepare(1, B, 1), None),
            (commit(0, A), prepare(1, B, 1), None),
            (commit(0, A), commit(1, B), None),
            (commit(1, A), commit(1, B), Some(DoubleVote)),
            (pre(A), pre(B), Some(DoubleProposal)),
            (pre(A), new_view(1, B, 1), None),
            (new_view(1, A, 1), new_view(1, B, 2), Some(DoubleProposal)),
            (new_view(1, A, 1), new_view(1, A, 2), Some(DoubleProposal)),
            (new_view(1, A, 1), new_view(2, B, 2), None),
            (
                view_change(2, None),
                view_change(2, Some((0, A))),
                Some(DoubleVote),
            ),
            (view_change(2, None), view_change(3, None), None),
            (commit(1, A), view_change(2, None), Some(Amnesia)),
            (commit(1, A), view_change(2, Some((0, A))), Some(Amnesia)),
            (commit(1, A), view_change(2, Some((1, A))), None),
            (commit(1, A), view_change(3, Some((2, B))), None),
            // It committed after it had come to the round: nothing was forgotten.
            (commit(2, A), view_change(2, None), None),
            (commit(2, A), view_change(1, None), None),
            (prepare(1, A, 1), view_change(2, None), None),
        ];
        for (a, b, expected) in table {
            assert_eq!(offence(&a, &b), expected, "{a:?} {b:?}");
            assert_eq!(offence(&b, &a), expected, "{b:?} {a:?}");
        }
    }
}
