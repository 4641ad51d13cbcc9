//! Evidence in blocks: what becomes an offence in the state.
//!
//! Invariant: an offence was proven by two signatures of the accused, who was a validator of that
//! height; one key is named once for one height, however often it erred there.
//! Rules: `spec/05-blocks-and-state.md#evidence` (BLK-15 … BLK-18).

use crate::bft::{Evidence, InstanceKind};
use crate::block::{Block, EvidenceBytes};
use crate::hash::Hash;
use crate::limits::OFFENCES_MAX;
use crate::rules::{EvidenceFault, Violation};
use crate::signature::{SignatureCheck, SignatureJob, SignatureScheme};
use crate::spec::{ChainParams, RulesetKind, ScheduleEntry};
use crate::state::{LedgerState, Offence};
use crate::units::Height;
use std::cell::RefCell;

/// What remains of a pebble where no coin answers for a validator, in 2^-32: as good as all.
const NOTHING_LIABLE: u32 = u32::MAX;

/// The offence that `evidence` proves in the block after `state`; `index` is its place among
/// `before`, the offences of the evidence before it in the same block.
///
/// Errors: BLK-15 to BLK-18.
pub fn check_evidence(
    params: &ChainParams,
    state: &LedgerState,
    before: &[Offence],
    bytes: &EvidenceBytes,
    scheme: &impl SignatureScheme,
) -> Result<Offence, Violation> {
    let index = before.len();
    let invalid = |error| Violation::EvidenceProof { index, error };
    let evidence = Evidence::from_bytes(bytes.as_slice())
        .map_err(|error| invalid(EvidenceFault::Encoding(error)))?;
    let instance = evidence.instance;
    let Some(height) = height_in_scope(params, state, &evidence) else {
        return Err(Violation::EvidenceScope { index, instance });
    };
    let offence = Offence {
        key: evidence.key,
        height,
        factor: NOTHING_LIABLE,
    };
    let named = |other: &Offence| (other.key, other.height) == (offence.key, offence.height);
    if state.engine.offences.iter().chain(before).any(named) {
        return Err(Violation::EvidenceRepeated { index, instance });
    }
    if state.engine.offences.len() + index >= OFFENCES_MAX {
        let max = OFFENCES_MAX;
        return Err(Violation::OffencesFull { index, max });
    }
    evidence
        .verify(params.chain_id(), scheme)
        .map_err(|violation| invalid(EvidenceFault::Proof(violation)))?;
    Ok(offence)
}

/// BLK-16: the evidence is of an instance of the entry whose ruleset it names, up to the block's
/// height, against one of its validators, and the window is open. Returns the height at which the
/// offence counts.
fn height_in_scope(
    params: &ChainParams,
    state: &LedgerState,
    evidence: &Evidence,
) -> Option<Height> {
    let rules = state.rules(params);
    let in_force = rules.entry_index();
    let (entry, kind) = entry_of(params, &evidence.ruleset_id)?;
    let named = &params.schedule()[entry];
    let height = match (InstanceKind::of(evidence.instance)?, kind) {
        (InstanceKind::Block(height), RulesetKind::Blocks) => height,
        (InstanceKind::Anchor(e), RulesetKind::Anchor) if e as usize == entry => {
            named.anchor_height()
        }
        (InstanceKind::Terminal(e), RulesetKind::Terminal) if e as usize == entry => named.start,
        _ => return None,
    };
    // One branch cannot tell where an era of long ago began if it may have slipped: its entry's
    // start bounds it, and nobody honest contradicts himself at any height.
    let is_there = match kind {
        RulesetKind::Blocks if entry == in_force => height >= rules.since(),
        RulesetKind::Blocks => (named.start..rules.since()).contains(&height),
        RulesetKind::Anchor | RulesetKind::Terminal => named.may_slip(),
    };
    let is_open = entry == in_force || rules.pending() == Some(entry) || {
        let mut between = params.schedule().get(entry + 1..in_force)?.iter();
        between.all(ScheduleEntry::may_slip) && is_open_after(named, state)
    };
    let is_member = params
        .entry_set(entry)
        .is_some_and(|set| set.index_of(&evidence.key).is_some());
    (is_there && is_open && is_member && height <= rules.height()).then_some(height)
}

/// The entry and the kind that a ruleset id stands for.
fn entry_of(params: &ChainParams, ruleset: &Hash) -> Option<(usize, RulesetKind)> {
    let entries = 0..params.schedule().len();
    entries
        .flat_map(|entry| RulesetKind::ALL.map(|kind| (entry, kind)))
        .find(|(entry, kind)| params.entry_ruleset_id(*entry, *kind) == *ruleset)
}

/// Whether evidence of the era before the present one is still accepted.
fn is_open_after(entry: &ScheduleEntry, state: &LedgerState) -> bool {
    let engine = &state.engine;
    // One of them is the time of the last block of the era before, the other is zero.
    let end = engine.era.parent_time.max(engine.epoch_time);
    let window = entry.engine.evidence_window_s();
    engine.last_time() <= end.saturating_add(window)
}

/// The offences that a block's evidence proves, in order.
pub(super) fn offences(
    params: &ChainParams,
    state: &LedgerState,
    block: &Block,
    signatures: &mut dyn SignatureCheck,
) -> Result<Vec<Offence>, Violation> {
    let scheme = Scheme(RefCell::new(signatures));
    let mut offences = Vec::new();
    for bytes in &block.attachments.evidence {
        offences.push(check_evidence(params, state, &offences, bytes, &scheme)?);
    }
    Ok(offences)
}

/// The signatures of a block's evidence go where those of its transactions go.
struct Scheme<'a>(RefCell<&'a mut dyn SignatureCheck>);

impl SignatureScheme for Scheme<'_> {
    fn verify(&self, jobs: &[SignatureJob]) -> Result<(), usize> {
        self.0.borrow_mut().verify(jobs)
    }
}
