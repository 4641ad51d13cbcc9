//! Rules of headers by the engine of their height, and of the seals that certify them.
//!
//! Invariant: a verdict depends on the record, its ancestors and the schedule alone; which round
//! decided a block is no part of it.
//!
//! Rules: HDR-13 … HDR-17 of `spec/06-proof-of-work.md#headers`, EXT-09 … EXT-12 of
//! `spec/05-blocks-and-state.md#extension`.

use cairn_protocol::bft::{InstanceKind, Scope, Seal, verify_seal};
use cairn_protocol::block::SealBytes;
use cairn_protocol::extension::Extension;
use cairn_protocol::hash::BlockId;
use cairn_protocol::header::{HEADER_VERSION, Header};
use cairn_protocol::pow::{Bits, Work};
use cairn_protocol::rules::{SealFault, Violation};
use cairn_protocol::signature::{SignatureJob, SignatureScheme};
use cairn_protocol::spec::{ChainParams, Ruleset};
use cairn_protocol::units::Height;

use crate::nakamoto::{HeaderTree, Index, check_context, check_work};
use crate::switch::rules_after;

/// Whether a header must show work before anything is looked up for it: a header without a target
/// may be a BFT block on a chain that has them.
pub(crate) fn claims_work(params: &ChainParams, header: &Header) -> bool {
    header.bits != Bits(0) || !params.has_bft_until(Height::MAX)
}

/// Rules of a header on `parent` by the engine of its height (HDR-01, HDR-03 … HDR-07, HDR-13,
/// HDR-14). Returns the work it stands for: none under BFT.
///
/// # Errors
/// The first rule that the header breaks.
pub fn check_header(
    params: &ChainParams,
    tree: &HeaderTree,
    parent: Index,
    header: &Header,
) -> Result<Work, Violation> {
    let above = tree.entry(parent);
    if !rules_after(params, tree, parent).is_bft() {
        let work = check_work(params, header)?;
        check_context(params, tree, parent, header)?;
        return Ok(work);
    }
    let Header {
        version,
        bits,
        nonce,
        time,
        ..
    } = *header;
    if (version, bits, nonce) != (HEADER_VERSION, Bits(0), 0) {
        return Err(Violation::BftHeader {
            version,
            bits,
            nonce,
        });
    }
    let parent_time = above.time;
    if time < parent_time {
        return Err(Violation::TimeBeforeParent { time, parent_time });
    }
    Ok(Work::ZERO)
}

/// Rules of an extension at a BFT height (EXT-09, EXT-11, EXT-12).
pub(crate) fn check_sealed_extension(
    rules: &Ruleset<'_>,
    extension: &Extension,
) -> Result<(), Violation> {
    let (set_hash, expected) = (extension.set_hash, rules.set_hash());
    if set_hash != expected {
        return Err(Violation::WrongSet { set_hash, expected });
    }
    let (proposer, round) = (extension.proposer, extension.proposed_round);
    let expected = rules.leader(round);
    if Some(proposer) != expected {
        return Err(Violation::WrongProposer {
            proposer,
            round,
            expected: expected.unwrap_or(0),
        });
    }
    if !extension.seed_reveal.is_empty() {
        let bytes = extension.seed_reveal.as_slice().len();
        return Err(Violation::SeedReveal { bytes });
    }
    Ok(())
}

/// Whether a value that names `proposed` may be prepared in `round`: a new one names the round itself,
/// one that a certificate brings back an earlier one (`spec/09-bft.md#accepting-a-proposal`).
#[must_use]
pub fn is_timely(proposed: u32, round: u32, is_new: bool) -> bool {
    proposed == round || (proposed < round && !is_new)
}

/// What votes on the block of a height are bound to where no entry of the schedule may slip;
/// elsewhere the branch says it ([`Ruleset::scope`]).
#[must_use]
pub fn block_scope(params: &ChainParams, height: Height) -> Scope {
    Scope {
        chain_id: params.chain_id(),
        ruleset_id: params.ruleset_id(height),
        instance: InstanceKind::Block(height).number(),
    }
}

/// Whether `seal` certifies the block `id` that has these rules, first proposed in `proposed_round`.
///
/// # Panics
/// If the rules are those of proof of work.
///
/// # Errors
/// What is wrong with the seal.
pub fn check_seal(
    rules: &Ruleset<'_>,
    scheme: &dyn SignatureScheme,
    (id, proposed_round): (BlockId, u32),
    seal: &SealBytes,
) -> Result<(), SealFault> {
    let set = rules
        .validator_set()
        .expect("the caller asks for BFT heights only");
    let seal = Seal::from_bytes(seal.as_slice()).map_err(SealFault::Encoding)?;
    let round = seal.round;
    if round < proposed_round {
        return Err(SealFault::Round {
            round,
            proposed_round,
        });
    }
    verify_seal(&seal, &rules.scope(), id, set, &Scheme(scheme))
        .map(|_| ())
        .map_err(SealFault::Certificate)
}

/// Whether `seal` certifies a block of which only this much is known: the rules are those that its
/// extension claims. The header's own rules judge the claim.
///
/// # Errors
/// What is wrong with the seal; `None` if the claimed rules have no validators.
pub fn check_claimed_seal(
    params: &ChainParams,
    scheme: &dyn SignatureScheme,
    (id, extension): (BlockId, &Extension),
    seal: &SealBytes,
) -> Option<Result<(), SealFault>> {
    let rules = params.claimed_rules(extension)?;
    rules.validator_set()?;
    let place = (id, extension.proposed_round);
    Some(check_seal(&rules, scheme, place, seal))
}

/// A scheme of any kind as one of a known size.
pub(crate) struct Scheme<'a>(pub &'a dyn SignatureScheme);

impl SignatureScheme for Scheme<'_> {
    fn verify(&self, jobs: &[SignatureJob]) -> Result<(), usize> {
        self.0.verify(jobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_value_names_its_round_and_a_certified_one_may_be_older() {
        let table = [
            ((0, 0, true), true),
            ((0, 2, false), true),
            ((0, 2, true), false),
            ((3, 2, false), false),
            ((3, 2, true), false),
        ];
        for ((proposed, round, is_new), timely) in table {
            assert_eq!(
                is_timely(proposed, round, is_new),
                timely,
                "{proposed} in {round}"
            );
        }
    }
}
