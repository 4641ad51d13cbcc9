//! The extension: what the 80 bytes have no room for. It serves all engines from the first block.
//!
//! Invariant: the fields of BFT engines are zero under proof of work.
//! Rules: `spec/05-blocks-and-state.md#extension`.

use crate::codec::{self, BoundedBytes, bounded};
use crate::hash::{self, BlockId, Hash};
use crate::limits::{COMMITMENTS_MAX, SEED_REVEAL_BYTES_MAX};
use crate::units::Height;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The only extension version so far.
pub const EXTENSION_VERSION: u8 = 1;

/// Tag of the commitment by which genesis names its specification (`spec_hash`).
pub const COMMITMENT_SPEC: u16 = 1;

/// Tag of the commitment by which a block names the anchor whose certificate it includes: the
/// certificate itself stands among the attachments, which a header record shows only in part.
pub const COMMITMENT_ANCHOR: u16 = 256;

/// Where a branch stands in a switch from proof of work to BFT.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Serialize, Deserialize)]
pub struct SwitchRecord {
    /// Index of the schedule entry; 0 if none is under way.
    pub entry: u32,
    /// The block that the ANCHOR instance decided; zero if none.
    pub anchor: BlockId,
    /// Height at which the anchor certificate was included; 0 if none.
    pub included_at: Height,
    /// Height at which the entry becomes active on this branch; 0 if unknown.
    pub activation: Height,
}

impl fmt::Display for SwitchRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SwitchRecord {
            entry,
            anchor,
            included_at,
            activation,
        } = self;
        write!(
            f,
            "entry {entry}, anchor {anchor} included at {included_at}, active at {activation}"
        )
    }
}

/// A commitment of a layer above: a tag that it owns and 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Commitment {
    /// The tag.
    pub tag: u16,
    /// The committed hash.
    pub hash: Hash,
}

/// Extension version 1. The encoding is its fields in this order.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Extension {
    /// `EXTENSION_VERSION`.
    pub ext_version: u8,
    /// Height of the block.
    pub height: Height,
    /// Commitment to the state that the block builds on: the state after its parent.
    pub state_root: Hash,
    /// Transactions of the block, the coinbase not counted.
    pub tx_count: u32,
    /// Hash of the block's attachments.
    pub attachments_hash: Hash,
    /// Rules that the block follows.
    pub ruleset_id: Hash,
    /// Schedule entries announced up to this height.
    pub schedule_hash: Hash,
    /// The switch under way, if any.
    pub switch: SwitchRecord,
    /// The validator set of this height; zero under proof of work.
    pub set_hash: Hash,
    /// The next validator set; zero if none.
    pub next_set_hash: Hash,
    /// Index of the proposer in the set; zero under proof of work.
    pub proposer: u16,
    /// Round in which the block was first proposed; zero under proof of work.
    pub proposed_round: u32,
    /// What the proposer reveals for the next seed; empty under proof of work.
    pub seed_reveal: BoundedBytes<SEED_REVEAL_BYTES_MAX>,
    /// Commitments, strictly ascending by tag; unknown tags are accepted.
    #[serde(deserialize_with = "bounded::<_, _, COMMITMENTS_MAX>")]
    pub commitments: Vec<Commitment>,
}

impl Extension {
    /// The extension hash.
    pub fn hash(&self) -> Hash {
        Hash(hash::EXTENSION.hash(&[&codec::encode(self)]))
    }

    /// The anchor whose certificate the block says to include.
    pub fn anchor(&self) -> Option<BlockId> {
        let mut commitments = self.commitments.iter();
        let found = commitments.find(|commitment| commitment.tag == COMMITMENT_ANCHOR)?;
        Some(BlockId(found.hash.0))
    }

    /// Whether every field of BFT engines is zero or empty.
    pub fn has_no_bft_fields(&self) -> bool {
        self.set_hash == Hash::ZERO
            && self.proposer == 0
            && self.proposed_round == 0
            && self.seed_reveal.is_empty()
    }
}
