//! The chain by its header records alone: from genesis over every change of engine, with every seal
//! checked. What a light client does, and `cairn chain verify --headers`.
//!
//! Invariant: a verifier that took a record has checked every rule of headers for it and its
//! ancestors; a BFT block counts as certified only once a valid seal of it was seen, its own or the
//! one that its child carries.
//!
//! Rules: `spec/06-proof-of-work.md#headers`, `spec/12-switching.md#certificates`.

use std::sync::Arc;

use cairn_protocol::block::{HeaderRecord, SealBytes};
use cairn_protocol::hash::{BlockId, Hash};
use cairn_protocol::pow::Work;
use cairn_protocol::rules::{SealFault, Violation};
use cairn_protocol::signature::SignatureScheme;
use cairn_protocol::spec::ChainParams;
use cairn_protocol::state::SwitchState;
use cairn_protocol::units::Height;

use super::rules::{check_header, check_seal};
use crate::nakamoto::{HeaderTree, Index, check_record};
use crate::switch::{check_anchor_cert, rules_after, switch_after};

/// What the records show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerifiedHeaders {
    /// Height of the last record.
    pub height: Height,
    /// Its id.
    pub id: BlockId,
    /// Work of all records.
    pub work: Work,
    /// Height of the last block that a seal certifies; 0 (genesis) if none.
    pub certified_height: Height,
    /// Its id.
    pub certified_id: BlockId,
    /// Seals that were checked.
    pub seals: u64,
    /// Anchor certificates that were checked.
    pub anchors: u64,
    /// Changes of the schedule's entry, counted with the block before the first of the new era.
    pub switches: u64,
}

/// A BFT block whose seal was not seen yet.
#[derive(Clone, Copy, Debug)]
struct Open {
    height: Height,
    id: BlockId,
    proposed_round: u32,
    /// The switch state after its parent: its rules follow from it.
    before: SwitchState,
}

/// Follows header records from genesis on.
#[derive(Debug)]
pub struct HeaderVerifier {
    params: Arc<ChainParams>,
    tree: HeaderTree,
    tip: Index,
    open: Option<Open>,
    /// The bytes by which the tip was certified: a child that carries the same needs no check.
    seal: Option<SealBytes>,
    found: VerifiedHeaders,
}

impl HeaderVerifier {
    /// A verifier at genesis.
    #[must_use]
    pub fn new(params: Arc<ChainParams>) -> HeaderVerifier {
        let id = params.chain_id();
        let tree = HeaderTree::new(id, &params.genesis().header);
        HeaderVerifier {
            params,
            tree,
            tip: Index::GENESIS,
            open: None,
            seal: None,
            found: VerifiedHeaders {
                height: 0,
                id,
                work: Work::ZERO,
                certified_height: 0,
                certified_id: id,
                seals: 0,
                anchors: 0,
                switches: 0,
            },
        }
    }

    /// Takes the record after the last one. An error leaves the verifier where it was, but for the
    /// certificate of the block before, if the record carried it.
    ///
    /// # Errors
    /// The first rule that the record breaks; `UnknownParent` if it does not follow the last one.
    pub fn push(
        &mut self,
        record: &HeaderRecord,
        scheme: &dyn SignatureScheme,
    ) -> Result<(), Violation> {
        let (header, params) = (&record.header, self.params.clone());
        if header.parent != self.found.id {
            let parent = Hash(header.parent.0);
            return Err(Violation::UnknownParent { parent });
        }
        let height = self.found.height + 1;
        let work = check_header(&params, &self.tree, self.tip, header)?;
        check_record(&params, &self.tree, self.tip, record)?;
        if let Some(bytes) = &record.parent_seal {
            self.certify(bytes, scheme)
                .map_err(|error| Violation::BadParentSeal { error })?;
        }
        let id = header.id();
        let rules = rules_after(&params, &self.tree, self.tip);
        let anchor = record.extension.anchor();
        if let (Some(bytes), Some(anchor), Some(entry)) =
            (&record.anchor_cert, anchor, rules.open_anchor())
        {
            check_anchor_cert(&params, scheme, (entry, anchor), bytes)
                .map_err(|error| Violation::BadAnchor { error })?;
            self.found.anchors += 1;
        }
        let open = rules.is_bft().then_some(Open {
            height,
            id,
            proposed_round: record.extension.proposed_round,
            before: *rules.before(),
        });
        if let (Some(open), Some(bytes)) = (open, &record.seal) {
            let place = (id, open.proposed_round);
            check_seal(&rules, scheme, place, bytes)
                .map_err(|error| Violation::BadSeal { error })?;
        }
        let switch = switch_after(&params, &self.tree, self.tip, &record.extension);
        let crossed = switch.entry != rules.before().entry;
        let index = self.tree.insert_with(id, header, work, self.tip, &switch);
        self.tip = index.map_err(|_| Violation::WorkOverflow {})?;
        self.found.height = height;
        self.found.id = id;
        self.found.work = self.tree.entry(self.tip).score.work;
        self.found.switches += u64::from(crossed);
        self.open = open;
        self.seal = None;
        if let (Some(open), Some(bytes)) = (open, &record.seal) {
            self.certified(&open, bytes);
        }
        Ok(())
    }

    /// What the records taken so far show. The last block is certified only if its own seal was in
    /// its record.
    #[must_use]
    pub fn found(&self) -> VerifiedHeaders {
        self.found
    }

    fn certify(
        &mut self,
        bytes: &SealBytes,
        scheme: &dyn SignatureScheme,
    ) -> Result<(), SealFault> {
        let Some(open) = self.open else { return Ok(()) };
        if self.seal.as_ref() == Some(bytes) {
            return Ok(());
        }
        let rules = self.params.rules(open.height, &open.before);
        check_seal(&rules, scheme, (open.id, open.proposed_round), bytes)?;
        self.certified(&open, bytes);
        Ok(())
    }

    fn certified(&mut self, open: &Open, bytes: &SealBytes) {
        self.seal = Some(bytes.clone());
        self.found.certified_height = open.height;
        self.found.certified_id = open.id;
        self.found.seals += 1;
    }
}
