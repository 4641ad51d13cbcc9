//! A second reading of the specification: what is signed, and when signatures are a quorum.
//!
//! Nothing here calls the code that it judges: the bytes are written from `spec/09-bft.md#sign-bytes`
//! and `#seal`, and the arithmetic is its own. A bug in both would have to be made twice.

use std::collections::BTreeSet;

use cairn_protocol::bft::{Round, Scope, Seal, Statement};
use cairn_protocol::hash::BlockId;
use cairn_protocol::signature::{Signature, SignatureJob, SignatureScheme};

use crate::book::Book;

/// What a statement's signature is of.
#[must_use]
pub fn signed_bytes(scope: &Scope, statement: &Statement) -> [u8; 32] {
    let mut bytes: Vec<u8> = Vec::with_capacity(160);
    let (tag, round, id): (u8, Round, [u8; 32]) = match *statement {
        Statement::PrePrepare { id } => (1, 0, id.0),
        Statement::Prepare { round, id, .. } => (2, round, id.0),
        Statement::Commit { round, id } => (3, round, id.0),
        Statement::ViewChange { round, .. } => (4, round, [0; 32]),
        Statement::NewView { round, id, .. } => (5, round, id.0),
    };
    bytes.push(tag);
    bytes.extend(scope.chain_id.0);
    bytes.extend(scope.ruleset_id.0);
    bytes.extend(scope.instance.to_le_bytes());
    bytes.extend(round.to_le_bytes());
    bytes.extend(id);
    match *statement {
        Statement::Prepare { justification, .. } | Statement::NewView { justification, .. } => {
            bytes.extend(justification.0);
        }
        Statement::ViewChange { prepared: None, .. } => {
            bytes.extend([0xff; 4]);
            bytes.extend([0; 32]);
        }
        Statement::ViewChange {
            prepared: Some(prepared),
            ..
        } => {
            bytes.extend(prepared.round.to_le_bytes());
            bytes.extend(prepared.id.0);
        }
        Statement::PrePrepare { .. } | Statement::Commit { .. } => {}
    }
    blake3::derive_key("cairn v1 vote", &bytes)
}

/// Whether `place` of the book's set signed this.
#[must_use]
pub fn is_signed(
    book: &Book,
    scope: &Scope,
    place: u16,
    statement: &Statement,
    signature: Signature,
) -> bool {
    let job = SignatureJob {
        key: book.signers[usize::from(place)].public(),
        signature,
        message: signed_bytes(scope, statement),
    };
    book.scheme.verify(&[job]).is_ok()
}

/// Whether these places hold more than two thirds of the power.
#[must_use]
pub fn is_quorum(book: &Book, places: &BTreeSet<u16>) -> bool {
    let validators = book.set.validators();
    let total: u128 = validators.iter().map(|v| u128::from(v.power)).sum();
    let own: u128 = places
        .iter()
        .map(|place| u128::from(validators[usize::from(*place)].power))
        .sum();
    own * 3 > total * 2
}

/// Why a seal does not decide `id`; `Ok` if it does.
///
/// # Errors
/// The sentence says what is wrong.
pub fn judge_seal(book: &Book, scope: &Scope, id: BlockId, seal: &Seal) -> Result<(), String> {
    let mut places = BTreeSet::new();
    let bits = seal.votes.bitmap.as_slice();
    if bits.len() != book.set.len().div_ceil(8) {
        return Err(format!("{} bytes of bits", bits.len()));
    }
    for place in 0..bits.len() * 8 {
        if bits[place / 8] & (1 << (place % 8)) != 0 {
            if place >= book.set.len() {
                return Err(format!("nobody has place {place}"));
            }
            places.insert(place as u16);
        }
    }
    if places.len() != seal.votes.signatures.len() {
        return Err(format!(
            "{} signatures of {} signers",
            seal.votes.signatures.len(),
            places.len()
        ));
    }
    let statement = Statement::Commit {
        round: seal.round,
        id,
    };
    for (place, signature) in places.iter().zip(&seal.votes.signatures) {
        if !is_signed(book, scope, *place, &statement, *signature) {
            return Err(format!("validator {place} did not sign this COMMIT"));
        }
    }
    match is_quorum(book, &places) {
        true => Ok(()),
        false => Err(format!("{places:?} are no quorum")),
    }
}
