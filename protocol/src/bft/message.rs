//! Messages of the PBFT core on the wire, how they are signed and how they are judged.
//!
//! Invariant: a [`Verified`] message belongs to its scope, keeps every rule that its bytes alone can
//! break, and every signature in it is valid. The state machine takes nothing else.
//! Rules: `spec/09-bft.md#messages` (MSG-01 … MSG-07).

use super::certificate::{Ballot, Certificate};
use super::instance::{Instance, Scope};
use super::new_view::Justification;
use super::set::ValidatorSet;
use super::statement::{Prepared, ROUND_NONE, Round, Statement};
use super::violation::BftViolation;
use crate::codec::{self, DecodeError};
use crate::hash::{BlockId, Hash};
use crate::limits::BFT_MESSAGE_BYTES_MAX;
use crate::signature::{Signature, SignatureJob, SignatureScheme};
use serde::{Deserialize, Serialize};

/// What a message says, with the proofs that its statement rests on. The encoding is the tag (0 to
/// 4) and the fields in this order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Body {
    /// Proposes a value in round 0. Its block travels beside it.
    PrePrepare {
        /// The value.
        id: BlockId,
    },
    /// Answers a valid proposal.
    Prepare {
        /// The round.
        round: Round,
        /// The value and the NEW-VIEW that it answers.
        ballot: Ballot,
    },
    /// Answers a quorum of PREPAREs.
    Commit {
        /// The round.
        round: Round,
        /// The value.
        id: BlockId,
    },
    /// Leaves all lower rounds.
    ViewChange {
        /// The round that it asks for.
        round: Round,
        /// Proof of what its signer saw prepared last.
        prepared: Option<Certificate>,
    },
    /// Proposes a value in a later round.
    NewView {
        /// The round.
        round: Round,
        /// The value.
        id: BlockId,
        /// Why it may.
        justification: Justification,
    },
}

impl Body {
    /// What its signer signs.
    pub fn statement(&self) -> Statement {
        match self {
            Body::PrePrepare { id } => Statement::PrePrepare { id: *id },
            Body::Prepare { round, ballot } => Statement::Prepare {
                round: *round,
                id: ballot.id,
                justification: ballot.justification,
            },
            Body::Commit { round, id } => Statement::Commit {
                round: *round,
                id: *id,
            },
            Body::ViewChange { round, prepared } => Statement::ViewChange {
                round: *round,
                prepared: prepared.as_ref().map(|certificate| Prepared {
                    round: certificate.round,
                    id: certificate.ballot.id,
                }),
            },
            Body::NewView {
                round,
                id,
                justification,
            } => Statement::NewView {
                round: *round,
                id: *id,
                justification: justification.hash(*round, *id),
            },
        }
    }

    /// Every rule of the body but its signatures, which become jobs.
    fn check(
        &self,
        scope: &Scope,
        set: &ValidatorSet,
        jobs: &mut Vec<SignatureJob>,
    ) -> Result<(), BftViolation> {
        match self {
            Body::PrePrepare { .. } | Body::Prepare { .. } | Body::Commit { .. } => Ok(()),
            Body::ViewChange { prepared, .. } => match prepared {
                Some(certificate) => certificate.check(scope, set, jobs),
                None => Ok(()),
            },
            Body::NewView {
                round,
                id,
                justification,
            } => justification.check(scope, set, (*round, *id), jobs),
        }
    }
}

impl Statement {
    /// MSG-03 to MSG-06: what a statement may say by itself.
    pub fn check(&self) -> Result<(), BftViolation> {
        let round = self.round();
        let later = matches!(
            self,
            Statement::ViewChange { .. } | Statement::NewView { .. }
        );
        if round == ROUND_NONE || (later && round == 0) {
            return Err(BftViolation::RoundBounds { round });
        }
        match *self {
            Statement::PrePrepare { id }
            | Statement::Prepare { id, .. }
            | Statement::Commit { id, .. }
            | Statement::NewView { id, .. }
                if id == BlockId::ZERO =>
            {
                Err(BftViolation::ZeroId {})
            }
            Statement::Prepare { justification, .. }
                if (round == 0) != (justification == Hash::ZERO) =>
            {
                Err(BftViolation::JustificationHash { round })
            }
            Statement::ViewChange {
                prepared: Some(prepared),
                ..
            } => {
                if prepared.round >= round {
                    let prepared = prepared.round;
                    return Err(BftViolation::PreparedRound { prepared, round });
                }
                if prepared.id == BlockId::ZERO {
                    return Err(BftViolation::ZeroId {});
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A message as it travels. The encoding is its fields in this order. The chain is not named:
/// streams and topics belong to one chain, and the signature covers its id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Message {
    /// The rules that its signer follows.
    pub ruleset_id: Hash,
    /// The instance.
    pub instance: Instance,
    /// The signer's place in the set.
    pub signer: u16,
    /// What it says.
    pub body: Body,
    /// The signature of the body's statement.
    pub signature: Signature,
}

impl Message {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads canonical bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Message, DecodeError> {
        codec::decode(bytes, BFT_MESSAGE_BYTES_MAX)
    }

    /// Every rule but the signatures, which become jobs; the message's own comes first.
    pub fn check(
        &self,
        scope: &Scope,
        set: &ValidatorSet,
        jobs: &mut Vec<SignatureJob>,
    ) -> Result<(), BftViolation> {
        if self.instance != scope.instance || self.ruleset_id != scope.ruleset_id {
            return Err(BftViolation::ForeignScope {
                instance: self.instance,
                expected: scope.instance,
            });
        }
        let Some(validator) = set.get(self.signer) else {
            return Err(BftViolation::UnknownSigner {
                signer: self.signer,
                validators: set.len(),
            });
        };
        let statement = self.body.statement();
        statement.check()?;
        jobs.push(SignatureJob {
            key: validator.key,
            signature: self.signature,
            message: statement.message(scope),
        });
        self.body.check(scope, set, jobs)
    }

    /// Judges one message.
    pub fn verify(
        self,
        scope: &Scope,
        set: &ValidatorSet,
        scheme: &impl SignatureScheme,
    ) -> Result<Verified, BftViolation> {
        let mut jobs = Vec::new();
        self.check(scope, set, &mut jobs)?;
        match scheme.verify(&jobs) {
            Ok(()) => Ok(Verified(self)),
            Err(0) => Err(BftViolation::MessageSignature {
                signer: self.signer,
            }),
            Err(_) => Err(BftViolation::CertificateSignature {
                signer: self.signer,
            }),
        }
    }
}

/// Judges many messages of one scope with one call of the scheme: a batch costs less than half of
/// single checks. One bad signature costs the batch a second pass, message by message.
pub fn verify_messages(
    messages: Vec<Message>,
    scope: &Scope,
    set: &ValidatorSet,
    scheme: &impl SignatureScheme,
) -> Vec<Result<Verified, BftViolation>> {
    let mut jobs = Vec::with_capacity(messages.len());
    let judged: Vec<_> = messages
        .into_iter()
        .map(|message| {
            let before = jobs.len();
            let verdict = message.check(scope, set, &mut jobs);
            if verdict.is_err() {
                jobs.truncate(before);
            }
            verdict.map(|()| message)
        })
        .collect();
    let all_valid = scheme.verify(&jobs).is_ok();
    let finish = |message: Message| match all_valid {
        true => Ok(Verified(message)),
        false => message.verify(scope, set, scheme),
    };
    judged
        .into_iter()
        .map(|verdict| verdict.and_then(finish))
        .collect()
}

/// A message that keeps every rule and whose signatures are valid.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Verified(Message);

impl Verified {
    /// The message.
    pub fn message(&self) -> &Message {
        &self.0
    }

    /// The message, owned.
    pub fn into_message(self) -> Message {
        self.0
    }
}

/// A message of our own that still has no signature. Keys live outside of the engines.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Draft {
    /// The scope that the signature names.
    pub scope: Scope,
    /// Our place in the set.
    pub signer: u16,
    /// What it says.
    pub body: Body,
}

impl Draft {
    /// The 32 bytes to sign.
    pub fn to_sign(&self) -> [u8; 32] {
        self.body.statement().message(&self.scope)
    }

    /// The message under `signature`, taken for verified because it is our own.
    pub fn signed(self, signature: Signature) -> Verified {
        Verified(Message {
            ruleset_id: self.scope.ruleset_id,
            instance: self.scope.instance,
            signer: self.signer,
            body: self.body,
            signature,
        })
    }
}
