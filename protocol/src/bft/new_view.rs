//! Why the leader of a later round may propose what it proposes.
//!
//! Invariant: a receiver judges a justification alone, from its bytes, the set and the scheme. If a
//! value may have been decided in an earlier round, no valid justification lets another pass: each
//! quorum of VIEW-CHANGEs has an honest validator that committed to it and names its round or a
//! later one, and no certificate of a lower round is accepted.
//! Rules: `spec/09-bft.md#new-view` (NVW-01 … NVW-03).

use super::certificate::{Ballot, Bitmap, Certificate};
use super::instance::Scope;
use super::set::ValidatorSet;
use super::statement::{Prepared, Round, Statement};
use super::violation::BftViolation;
use crate::codec::{self, bounded};
use crate::hash::{self, BlockId, Hash};
use crate::limits::VALIDATORS_MAX;
use crate::signature::{Signature, SignatureJob};
use serde::{Deserialize, Serialize};

/// One VIEW-CHANGE inside a justification. Round and signer follow from their place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ViewChangeVote {
    /// What its signer saw prepared.
    pub prepared: Option<Prepared>,
    /// Its signature.
    pub signature: Signature,
}

/// A quorum of VIEW-CHANGEs and a certificate of the highest round that they name, or of a higher
/// one. The encoding is its fields in this order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Justification {
    /// Who asked for the round.
    pub bitmap: Bitmap,
    /// Their VIEW-CHANGEs, in set order.
    #[serde(deserialize_with = "bounded::<_, _, VALIDATORS_MAX>")]
    pub view_changes: Vec<ViewChangeVote>,
    /// The certificate whose value is proposed; none only if nothing is named.
    pub certificate: Option<Certificate>,
}

/// What the justification hash covers.
#[derive(Serialize)]
struct Content<'a> {
    round: Round,
    id: BlockId,
    justification: &'a Justification,
}

impl Justification {
    /// The justification hash of a proposal of `id` in `round`.
    pub fn hash(&self, round: Round, id: BlockId) -> Hash {
        let content = Content {
            round,
            id,
            justification: self,
        };
        Hash(hash::NEW_VIEW.hash(&[&codec::encode(&content)]))
    }

    /// The ballot that PREPAREs answering such a proposal name.
    pub fn ballot(&self, round: Round, id: BlockId) -> Ballot {
        Ballot {
            id,
            justification: self.hash(round, id),
        }
    }

    /// The VIEW-CHANGEs with their signers, in set order.
    pub fn votes(&self) -> impl Iterator<Item = (u16, &ViewChangeVote)> {
        self.bitmap.signers().zip(&self.view_changes)
    }

    /// The highest round that its VIEW-CHANGEs name as prepared.
    pub fn highest(&self) -> Option<Round> {
        let rounds = self.view_changes.iter().filter_map(|vote| vote.prepared);
        rounds.map(|prepared| prepared.round).max()
    }

    /// Whether it justifies `id` in `round`: every rule but the signatures, which become jobs.
    pub fn check(
        &self,
        scope: &Scope,
        set: &ValidatorSet,
        (round, id): (Round, BlockId),
        jobs: &mut Vec<SignatureJob>,
    ) -> Result<(), BftViolation> {
        self.bitmap.check(set, self.view_changes.len())?;
        for (signer, vote) in self.votes() {
            let statement = Statement::ViewChange {
                round,
                prepared: vote.prepared,
            };
            statement.check()?;
            let validator = set.get(signer).expect("the bitmap has no spare bits");
            jobs.push(SignatureJob {
                key: validator.key,
                signature: vote.signature,
                message: statement.message(scope),
            });
        }
        let Some(certificate) = &self.certificate else {
            return match self.highest() {
                None => Ok(()),
                Some(highest) => Err(BftViolation::HiddenCertificate { highest }),
            };
        };
        let highest = self.highest().unwrap_or(0);
        if certificate.round < highest || certificate.round >= round {
            return Err(BftViolation::CertificateRound {
                certificate: certificate.round,
                highest,
                round,
            });
        }
        let claims = self.view_changes.iter().filter_map(|vote| vote.prepared);
        let mut named = claims.filter(|claim| claim.round == certificate.round);
        if certificate.ballot.id != id || named.any(|claim| claim.id != id) {
            return Err(BftViolation::OtherValue {});
        }
        certificate.check(scope, set, jobs)
    }
}
