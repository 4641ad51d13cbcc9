//! Seals and validator sets, raw and decoded: what an outsider needs to check a decision.
//!
//! The seal of a block is the one that its child carries; the tip has its own.
//! Rules: `spec/09-bft.md#seal`, `spec/12-switching.md#certificates`.

use super::chain::{SnapshotView, fault};
use crate::api::backend::Answer;
use crate::api::model::block::BlockSeal;
use crate::api::model::chain::{Validator, Validators};
use crate::api::model::hash::{Hash32, HexBytes};
use cairn_protocol::bft::{Seal, ValidatorSet};
use cairn_protocol::block::SealBytes;
use cairn_protocol::hash::BlockId;
use serde_json::{Value, json};

impl SnapshotView {
    /// The seal of a block; `None` if it was not ordered by a vote.
    pub(super) fn seal_of(&self, id: &BlockId) -> Answer<Option<BlockSeal>> {
        let Some(meta) = self.snapshot.header(id).map_err(fault)? else {
            return Ok(None);
        };
        let height = meta.height;
        let Some(set) = self.params.validator_set(height) else {
            return Ok(None);
        };
        let Some(bytes) = self.seal_bytes(id, height)? else {
            return Ok(None);
        };
        // It was verified before it was stored.
        let Ok(seal) = Seal::from_bytes(bytes.as_slice()) else {
            return Ok(None);
        };
        Ok(Some(BlockSeal {
            id: Hash32(id.0),
            height,
            instance: height,
            ruleset_id: Hash32(self.params.ruleset_id(height).0),
            certificate_hex: HexBytes(bytes.as_slice().to_vec()),
            certificate: certificate(&seal),
            validator_set_hex: HexBytes(set.to_bytes()),
            validator_set: validator_set(set),
        }))
    }

    fn seal_bytes(&self, id: &BlockId, height: u64) -> Answer<Option<SealBytes>> {
        let is_active = self.snapshot.is_active(id).map_err(fault)?;
        if is_active
            && let Some(child) = self.snapshot.header_at(height + 1).map_err(fault)?
            && let Some(record) = self.snapshot.record(&child.id).map_err(fault)?
        {
            return Ok(record.parent_seal);
        }
        let record = self.snapshot.record(id).map_err(fault)?;
        Ok(record.and_then(|record| record.seal))
    }

    /// Who seals the next block.
    pub(super) fn validators_now(&self) -> Validators {
        let next = self.snapshot.tip().0 + 1;
        let engine = self.params.engine(next).name().to_owned();
        let Some(set) = self.params.validator_set(next) else {
            return Validators {
                engine,
                set_hash: Hash32([0; 32]),
                validators: Vec::new(),
            };
        };
        let validator = |validator: &cairn_protocol::state::Validator| Validator {
            key: Hash32(validator.key.0),
            power: validator.power,
            jailed: false,
        };
        Validators {
            engine,
            set_hash: Hash32(set.hash().0),
            validators: set.validators().iter().map(validator).collect(),
        }
    }
}

fn certificate(seal: &Seal) -> Value {
    let hexed = |signature: &cairn_protocol::signature::Signature| hex::encode(signature.0);
    json!({
        "round": seal.round,
        "bitmap": hex::encode(seal.votes.bitmap.as_slice()),
        "signers": seal.votes.bitmap.signers().collect::<Vec<u16>>(),
        "signatures": seal.votes.signatures.iter().map(hexed).collect::<Vec<_>>(),
    })
}

fn validator_set(set: &ValidatorSet) -> Value {
    let validator = |validator: &cairn_protocol::state::Validator| json!({"key": hex::encode(validator.key.0), "power": validator.power});
    json!({
        "hash": hex::encode(set.hash().0),
        "total": set.total(),
        "validators": set.validators().iter().map(validator).collect::<Vec<_>>(),
    })
}
