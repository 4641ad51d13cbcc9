//! Rules of header records: what a record is judged by before its body is asked for. Those of BFT
//! heights alone are in `crate::sealed`.
//!
//! Order: what is dear for the sender comes before what is dear for us. First the digest against
//! the header's own bits (one hash), then the parent, then what ancestors say of bits and time,
//! last the record's binding (three hashes).
//!
//! Invariant: a verdict depends on the record and its ancestors alone, except HDR-08, which depends
//! on our clock and is never remembered.
//!
//! Rules: HDR-01 … HDR-12 and HDR-15 of `spec/06-proof-of-work.md#headers`, EXT-01 … EXT-08, EXT-10
//! and EXT-13 of `spec/05-blocks-and-state.md#extension`.

use cairn_protocol::block::HeaderRecord;
use cairn_protocol::extension::{EXTENSION_VERSION, Extension, SwitchRecord};
use cairn_protocol::header::{HEADER_VERSION, Header, VERSION_ROLL_MASK};
use cairn_protocol::pow::{Bits, Work, work_of};
use cairn_protocol::rules::Violation;
use cairn_protocol::spec::{ChainParams, Ruleset};
use cairn_protocol::state::median;

use super::tree::{HeaderTree, Index};
use crate::asert::{self, Anchor, Pace};
use crate::sealed::check_sealed_extension;
use crate::switch::{check_anchor, is_sealed, rules_after};
use crate::time::is_too_far_ahead;

/// Rules that need nothing but the header (HDR-01, HDR-03, HDR-04, HDR-06). Returns the work it
/// stands for.
///
/// # Errors
/// The first rule that the header breaks.
pub fn check_work(params: &ChainParams, header: &Header) -> Result<Work, Violation> {
    let version = header.version;
    if version & !VERSION_ROLL_MASK != HEADER_VERSION {
        return Err(Violation::HeaderVersion { version });
    }
    let bits = header.bits;
    let target = bits
        .to_target()
        .map_err(|error| Violation::BadBits { error })?;
    if target > params.target_limit() {
        return Err(Violation::TargetAboveLimit {
            bits,
            limit: params.timing().limit_bits,
        });
    }
    if params.timing().pow_function.digest(&header.to_bytes()) > target {
        return Err(Violation::NoWork { bits });
    }
    Ok(work_of(target))
}

/// Rules that need the ancestors (HDR-05, HDR-07).
///
/// # Errors
/// The first rule that the header breaks.
pub fn check_context(
    params: &ChainParams,
    tree: &HeaderTree,
    parent: Index,
    header: &Header,
) -> Result<(), Violation> {
    let (bits, expected) = (header.bits, expected_bits(params, tree, parent));
    if bits != expected {
        return Err(Violation::WrongBits { bits, expected });
    }
    let (time, median) = (header.time, median(&tree.recent_times(parent)));
    if time <= median {
        return Err(Violation::TimeTooOld { time, median });
    }
    Ok(())
}

/// Bits of the block after `parent`: the era's first block has the entry's own, later ones follow
/// the retarget.
#[must_use]
pub fn expected_bits(params: &ChainParams, tree: &HeaderTree, parent: Index) -> Bits {
    let entry = tree.entry(parent);
    let (height, rules) = (entry.height + 1, rules_after(params, tree, parent));
    let first = rules.since();
    let initial_bits = rules.pow_rules().initial_bits;
    let timing = params.timing();
    if height <= first || timing.half_life_s == 0 {
        return initial_bits;
    }
    let before = tree
        .ancestor(parent, first - 1)
        .expect("an era's first height is above 0");
    let anchor = Anchor {
        height: first,
        parent_time: tree.entry(before).time,
        target: initial_bits
            .to_target()
            .expect("the specification was checked"),
    };
    let within_32_bits = "the specification's bounds fit 32 bits";
    let pace = Pace {
        spacing_s: u32::try_from(timing.block_time_ms / 1000).expect(within_32_bits),
        half_life_s: u32::try_from(timing.half_life_s).expect(within_32_bits),
        limit: params.target_limit(),
    };
    Bits::from_target(asert::next_target(&anchor, &pace, entry.height, entry.time))
}

/// Whether the header may be taken now (HDR-08).
///
/// # Errors
/// `TimeTooNew`, which is temporary: hold it.
pub fn check_clock(params: &ChainParams, header: &Header, now: u32) -> Result<(), Violation> {
    let (time, max_future_s) = (header.time, params.timing().max_future_s);
    if is_too_far_ahead(time, now, max_future_s) {
        return Err(Violation::TimeTooNew {
            time,
            now,
            max_future_s,
        });
    }
    Ok(())
}

/// Rules of a record after `parent` (HDR-09, EXT-01 … EXT-13, HDR-15, SWT-01 … SWT-03), whatever its
/// engine. Seals are checked by [`crate::sealed::check_seal`], anchor certificates by
/// [`crate::switch::check_anchor_cert`].
///
/// # Errors
/// The first rule that the record breaks.
pub fn check_record(
    params: &ChainParams,
    tree: &HeaderTree,
    parent: Index,
    record: &HeaderRecord,
) -> Result<(), Violation> {
    if !record.root_matches() {
        return Err(Violation::RecordRoot {
            root: record.header.root,
        });
    }
    let rules = rules_after(params, tree, parent);
    check_extension(&rules, &record.extension)?;
    let has_foreign_seal = record.seal.is_some() && !rules.is_bft();
    let has_foreign_anchor = record.anchor_cert.is_some() && rules.pending().is_none();
    if has_foreign_seal || has_foreign_anchor {
        return Err(Violation::SealUnderPow {});
    }
    let present = record.parent_seal.is_some();
    if present != is_sealed(tree, parent) {
        // Where no block was ever sealed this has been the rule's name from the beginning.
        return Err(match params.has_bft_until(rules.height()) {
            false => Violation::SealUnderPow {},
            true => Violation::ParentSealPresence { present },
        });
    }
    check_anchor(&rules, tree, parent, record)
}

/// Rules of an extension that the header's root commits to (EXT-01 … EXT-13), by the rules of its
/// height.
///
/// # Errors
/// The first rule that the extension breaks.
pub fn check_extension(rules: &Ruleset<'_>, extension: &Extension) -> Result<(), Violation> {
    let height = rules.height();
    if extension.ext_version != EXTENSION_VERSION {
        return Err(Violation::ExtensionVersion {
            version: extension.ext_version,
        });
    }
    if extension.height != height {
        return Err(Violation::WrongHeight {
            height: extension.height,
            expected: height,
        });
    }
    // The schedule first: a node that does not know it cannot know the ruleset either.
    let (schedule, expected) = (extension.schedule_hash, rules.schedule_hash());
    if schedule != expected {
        return Err(Violation::UnknownSchedule { schedule, expected });
    }
    let (ruleset, expected) = (extension.ruleset_id, rules.ruleset_id());
    if ruleset != expected {
        return Err(Violation::WrongRuleset { ruleset, expected });
    }
    if rules.is_bft() {
        check_sealed_extension(rules, extension)?;
    } else if !extension.has_no_bft_fields() {
        return Err(Violation::BftFields {});
    }
    let (set_hash, expected) = (extension.next_set_hash, rules.next_set_hash());
    if set_hash != expected {
        return Err(match rules.is_bft() || rules.pending().is_some() {
            false => Violation::BftFields {},
            true => Violation::WrongNextSet { set_hash, expected },
        });
    }
    let (found, expected) = (extension.switch, rules.switch_record());
    if found != expected {
        return Err(match expected == SwitchRecord::default() {
            true => Violation::SealUnderPow {},
            false => Violation::WrongSwitch { found, expected },
        });
    }
    let unordered = extension
        .commitments
        .windows(2)
        .position(|pair| pair[0].tag >= pair[1].tag);
    if let Some(at) = unordered {
        return Err(Violation::CommitmentOrder { index: at + 1 });
    }
    Ok(())
}
