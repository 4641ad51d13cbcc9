//! Quorums in one piece: a bitmap of signers and their signatures in set order.
//!
//! Invariant: a certificate that passes its check was signed by more than two thirds of the power,
//! each signer counted once, all under one statement; votes of two rounds never add up.
//! Rules: `spec/09-bft.md#certificates` (CRT-01 … CRT-05), `#seal`.

use super::instance::Scope;
use super::set::ValidatorSet;
use super::statement::{ROUND_NONE, Round, Statement};
use super::violation::BftViolation;
use crate::block::SealBytes;
use crate::codec::{self, BoundedBytes, DecodeError, bounded};
use crate::hash::{BlockId, Hash};
use crate::limits::{SEAL_BYTES_MAX, SIGNER_BITMAP_BYTES_MAX, VALIDATORS_MAX};
use crate::signature::{Signature, SignatureJob, SignatureScheme};
use serde::{Deserialize, Serialize};

/// Who signed: bit `i % 8` (from the lowest) of byte `i / 8` is validator `i` of the set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bitmap(BoundedBytes<SIGNER_BITMAP_BYTES_MAX>);

impl Bitmap {
    /// The bitmap of a set of `validators` in which these places signed; places beyond are left out.
    pub fn of(validators: usize, signers: impl IntoIterator<Item = u16>) -> Bitmap {
        let mut bytes = vec![0u8; validators.min(VALIDATORS_MAX).div_ceil(8)];
        for signer in signers {
            if let Some(byte) = bytes.get_mut(usize::from(signer / 8)) {
                *byte |= 1 << (signer % 8);
            }
        }
        let bytes = BoundedBytes::new(bytes).expect("512 bits are 64 bytes");
        Bitmap(bytes)
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Places whose bit is set, ascending.
    pub fn signers(&self) -> impl Iterator<Item = u16> + '_ {
        let bits = |(byte, bits): (u16, &u8)| {
            let bits = *bits;
            (0..8u16)
                .filter(move |bit| bits >> bit & 1 == 1)
                .map(move |bit| byte * 8 + bit)
        };
        (0..).zip(self.as_slice()).flat_map(bits)
    }

    /// Whether a place's bit is set.
    pub fn contains(&self, signer: u16) -> bool {
        let byte = self.as_slice().get(usize::from(signer / 8));
        byte.is_some_and(|byte| byte >> (signer % 8) & 1 == 1)
    }

    /// CRT-01 to CRT-04: the bitmap fits the set, `signatures` fit the bitmap, the signers are a
    /// quorum. Answers their power.
    pub fn check(&self, set: &ValidatorSet, signatures: usize) -> Result<u64, BftViolation> {
        let (bytes, expected) = (self.as_slice().len(), set.len().div_ceil(8));
        if bytes != expected {
            return Err(BftViolation::BitmapLength { bytes, expected });
        }
        let used = set.len() % 8;
        let byte = self.as_slice()[bytes - 1];
        if used != 0 && byte >> used != 0 {
            let validators = set.len();
            return Err(BftViolation::SpareBits { byte, validators });
        }
        let signers = self.signers().count();
        if signatures != signers {
            return Err(BftViolation::CertificateSignatures {
                signatures,
                signers,
            });
        }
        let power = set.power_of(self.signers());
        if !set.is_quorum(power) {
            let total = set.total();
            return Err(BftViolation::NoQuorum { power, total });
        }
        Ok(power)
    }
}

/// Signatures of one statement by several validators. The encoding is its fields in this order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
pub struct SignatureSet {
    /// Who signed.
    pub bitmap: Bitmap,
    /// Their signatures, in set order.
    #[serde(deserialize_with = "bounded::<_, _, VALIDATORS_MAX>")]
    pub signatures: Vec<Signature>,
}

impl SignatureSet {
    /// Signatures in set order, of a set of `validators`.
    pub fn new(validators: usize, signatures: &[(u16, Signature)]) -> SignatureSet {
        SignatureSet {
            bitmap: Bitmap::of(validators, signatures.iter().map(|(signer, _)| *signer)),
            signatures: signatures.iter().map(|(_, signature)| *signature).collect(),
        }
    }

    /// CRT-01 to CRT-04, and the signatures still to check as jobs. Answers the signers' power.
    pub fn check(
        &self,
        set: &ValidatorSet,
        message: [u8; 32],
        jobs: &mut Vec<SignatureJob>,
    ) -> Result<u64, BftViolation> {
        let power = self.bitmap.check(set, self.signatures.len())?;
        for (signer, signature) in self.bitmap.signers().zip(&self.signatures) {
            let validator = set.get(signer).expect("the bitmap has no spare bits");
            jobs.push(SignatureJob {
                key: validator.key,
                signature: *signature,
                message,
            });
        }
        Ok(power)
    }

    /// All five rules. Answers the signers' power.
    fn verify(
        &self,
        set: &ValidatorSet,
        message: [u8; 32],
        scheme: &impl SignatureScheme,
    ) -> Result<u64, BftViolation> {
        let mut jobs = Vec::with_capacity(self.signatures.len());
        let power = self.check(set, message, &mut jobs)?;
        scheme.verify(&jobs).map_err(|bad| {
            let signer = self.bitmap.signers().nth(bad).unwrap_or_default();
            BftViolation::CertificateSignature { signer }
        })?;
        Ok(power)
    }
}

/// What PREPAREs of one round must agree on to count together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Ballot {
    /// The value.
    pub id: BlockId,
    /// Hash of the NEW-VIEW; zero in round 0.
    pub justification: Hash,
}

/// A quorum of PREPAREs: proof that no other value can be decided in its round. The encoding is its
/// fields in this order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Certificate {
    /// The round.
    pub round: Round,
    /// What was prepared.
    pub ballot: Ballot,
    /// The PREPAREs.
    pub votes: SignatureSet,
}

impl Certificate {
    /// What each of its signers said.
    pub fn statement(&self) -> Statement {
        Statement::Prepare {
            round: self.round,
            id: self.ballot.id,
            justification: self.ballot.justification,
        }
    }

    /// Every rule but the signatures, which become jobs.
    pub fn check(
        &self,
        scope: &Scope,
        set: &ValidatorSet,
        jobs: &mut Vec<SignatureJob>,
    ) -> Result<(), BftViolation> {
        let statement = self.statement();
        statement.check()?;
        self.votes.check(set, statement.message(scope), jobs)?;
        Ok(())
    }

    /// Every rule. Answers the signers' power.
    pub fn verify(
        &self,
        scope: &Scope,
        set: &ValidatorSet,
        scheme: &impl SignatureScheme,
    ) -> Result<u64, BftViolation> {
        let statement = self.statement();
        statement.check()?;
        self.votes.verify(set, statement.message(scope), scheme)
    }
}

/// A quorum of COMMITs: the decision. The encoding is its fields in this order. It does not name
/// the value, because it travels with the header whose id that is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Seal {
    /// The deciding round. Validity of the block never depends on it.
    pub round: Round,
    /// The COMMITs.
    pub votes: SignatureSet,
}

impl Seal {
    /// The canonical bytes, as a block carries them for its parent.
    pub fn to_bytes(&self) -> SealBytes {
        BoundedBytes::new(codec::encode(self)).expect("512 signatures fit a seal")
    }

    /// Reads canonical bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Seal, DecodeError> {
        codec::decode(bytes, SEAL_BYTES_MAX)
    }

    /// What each of its signers said of `id`.
    pub fn statement(&self, id: BlockId) -> Statement {
        Statement::Commit {
            round: self.round,
            id,
        }
    }
}

/// Whether `seal` decides `id` in this scope by this set. Answers the signers' power. All that sync,
/// light clients and other clients need to know of BFT.
pub fn verify_seal(
    seal: &Seal,
    scope: &Scope,
    id: BlockId,
    set: &ValidatorSet,
    scheme: &impl SignatureScheme,
) -> Result<u64, BftViolation> {
    if seal.round == ROUND_NONE {
        return Err(BftViolation::RoundBounds { round: seal.round });
    }
    let message = seal.statement(id).message(scope);
    seal.votes.verify(set, message, scheme)
}
