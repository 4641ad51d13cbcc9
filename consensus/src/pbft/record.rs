//! The safety record: all that a validator must remember to keep its word.
//!
//! It is under 1 KB and a certificate. Everything else of an instance may be lost in a crash.
//!
//! Invariant: the rank of the record rises with every promise, so "durable up to rank n" covers all
//! that was promised before; a core that starts from a record never contradicts what left under it.
//! Rules: `spec/09-bft.md#durability`.

use cairn_protocol::bft::{Ballot, Certificate, Instance, Round, Scope};
use cairn_protocol::codec::{self, DecodeError};
use cairn_protocol::hash::Hash;
use cairn_protocol::limits::SAFETY_RECORD_BYTES_MAX;
use serde::{Deserialize, Serialize};

/// Promises of one round, in the order in which they are made: entered it, proposed, prepared,
/// committed.
const STEPS: u64 = 4;

/// What a validator promised in one instance. The encoding is its fields in this order.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SafetyRecord {
    /// The rules it voted under.
    pub ruleset_id: Hash,
    /// The instance.
    pub instance: Instance,
    /// The round it is in: it says nothing in lower ones any more.
    pub round: Round,
    /// What it proposed in this round.
    pub proposed: Option<Ballot>,
    /// What it sent a PREPARE for in this round.
    pub prepare: Option<Ballot>,
    /// The last certificate that it saw. If it is of this round, a COMMIT was sent for it.
    pub prepared: Option<Certificate>,
}

/// A record that belongs to something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "safety record of instance {found} (or of other rules) cannot start instance {expected}: \
     expected the record that was written for it, or none"
)]
pub struct RecordError {
    /// The record's instance.
    pub found: Instance,
    /// The instance to start.
    pub expected: Instance,
}

impl SafetyRecord {
    /// The record of a validator that has promised nothing.
    pub fn new(scope: &Scope) -> SafetyRecord {
        SafetyRecord {
            ruleset_id: scope.ruleset_id,
            instance: scope.instance,
            round: 0,
            proposed: None,
            prepare: None,
            prepared: None,
        }
    }

    /// Whether it belongs to this scope. The ruleset's id covers the chain's.
    pub fn check(&self, scope: &Scope) -> Result<(), RecordError> {
        if self.instance == scope.instance && self.ruleset_id == scope.ruleset_id {
            return Ok(());
        }
        Err(RecordError {
            found: self.instance,
            expected: scope.instance,
        })
    }

    /// Whether a COMMIT was sent in this round.
    pub fn has_committed(&self) -> bool {
        let prepared = self.prepared.as_ref();
        prepared.is_some_and(|certificate| certificate.round == self.round)
    }

    /// Its place in the order of promises; 0 if there is none.
    pub fn rank(&self) -> u64 {
        let step = match (self.has_committed(), &self.prepare, &self.proposed) {
            (true, _, _) => 3,
            (false, Some(_), _) => 2,
            (false, None, Some(_)) => 1,
            (false, None, None) => 0,
        };
        u64::from(self.round) * STEPS + step
    }

    /// The canonical bytes. A shell adds a checksum, so that a torn write is seen.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads canonical bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<SafetyRecord, DecodeError> {
        codec::decode(bytes, SAFETY_RECORD_BYTES_MAX)
    }
}
