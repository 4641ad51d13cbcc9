//! Rules of a branch and of the anchor certificate that a block includes.
//!
//! Invariant: the extension, which the id covers, names the anchor; a record whose certificate was
//! cut off, added or exchanged on its way is its sender's fault and changes no branch's state.
//!
//! Rules: SWT-01 … SWT-04 of `spec/12-switching.md#from-proof-of-work-to-bft`.

use cairn_protocol::bft::{Seal, verify_seal};
use cairn_protocol::block::{HeaderRecord, SealBytes};
use cairn_protocol::extension::Extension;
use cairn_protocol::hash::BlockId;
use cairn_protocol::pow::Bits;
use cairn_protocol::rules::{SealFault, Violation};
use cairn_protocol::signature::SignatureScheme;
use cairn_protocol::spec::{ChainParams, Ruleset};
use cairn_protocol::state::SwitchState;

use crate::nakamoto::{HeaderTree, Index};
use crate::sealed::Scheme;

/// The rules of a block on `parent`.
#[must_use]
pub fn rules_after<'a>(params: &'a ChainParams, tree: &HeaderTree, parent: Index) -> Ruleset<'a> {
    params.rules(tree.entry(parent).height + 1, tree.switch(parent))
}

/// The switch state after a block on `parent` with this extension, whose rules were checked.
#[must_use]
pub fn switch_after(
    params: &ChainParams,
    tree: &HeaderTree,
    parent: Index,
    extension: &Extension,
) -> SwitchState {
    let height = tree.entry(parent).height + 1;
    params.switch_after(tree.switch(parent), height, extension.anchor())
}

/// Whether validators sealed the block of an entry: its header has no target then (HDR-13), and no
/// other has none (HDR-03).
#[must_use]
pub fn is_sealed(tree: &HeaderTree, index: Index) -> bool {
    index != Index::GENESIS && tree.entry(index).bits == Bits(0)
}

/// The anchor that a record on `parent` names (SWT-01, SWT-02), and whether its certificate is there
/// (SWT-03).
///
/// # Errors
/// The first rule that the record breaks.
pub fn check_anchor(
    rules: &Ruleset<'_>,
    tree: &HeaderTree,
    parent: Index,
    record: &HeaderRecord,
) -> Result<(), Violation> {
    let (anchor, present) = (record.extension.anchor(), record.anchor_cert.is_some());
    if let Some(anchor) = anchor {
        let entry = rules
            .open_anchor()
            .ok_or(Violation::AnchorNotOpen { anchor })?;
        let height = rules.entry_at(entry).anchor_height();
        let expected = tree.ancestor(parent, height);
        let expected = expected.map_or(BlockId::ZERO, |index| tree.entry(index).id);
        if anchor != expected || anchor == BlockId::ZERO {
            return Err(Violation::AnchorPlace {
                anchor,
                height,
                expected,
            });
        }
    }
    if present != anchor.is_some() {
        return Err(Violation::AnchorPresence { present });
    }
    Ok(())
}

/// Whether `bytes` are a certificate by which ANCHOR of an entry decided `anchor` (SWT-04).
///
/// # Errors
/// What is wrong with it.
pub fn check_anchor_cert(
    params: &ChainParams,
    scheme: &dyn SignatureScheme,
    (entry, anchor): (usize, BlockId),
    bytes: &SealBytes,
) -> Result<(), SealFault> {
    let seal = Seal::from_bytes(bytes.as_slice()).map_err(SealFault::Encoding)?;
    let set = params.entry_set(entry);
    let set = set.expect("a switch goes to an entry that has validators");
    let scope = params.anchor_scope(entry);
    verify_seal(&seal, &scope, anchor, set, &Scheme(scheme))
        .map(|_| ())
        .map_err(SealFault::Certificate)
}
