//! What goes into the core and what comes out.
//!
//! Invariant: an effect that makes a promise visible names the rank that must be durable first.
//! Rules: `spec/09-bft.md#durability`.

use super::record::SafetyRecord;
use cairn_protocol::bft::{Draft, Evidence, Round, Seal, Verified};
use cairn_protocol::hash::BlockId;

/// Something that happened outside.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "inputs are moved once; a box would cost an allocation a vote"
)]
pub enum Input {
    /// A message whose rules and signatures hold; our own come back this way once they are signed.
    Message(Verified),
    /// Our own valid value, as [`Effect::Propose`] asked.
    Proposal {
        /// The round that asked.
        round: Round,
        /// The value.
        id: BlockId,
    },
    /// The verdict that [`Effect::Validate`] asked for.
    Validated {
        /// The round that asked.
        round: Round,
        /// The value.
        id: BlockId,
        /// Whether it is valid and its block is here.
        ok: bool,
    },
    /// The time that [`Effect::Timer`] named has come.
    Timeout {
        /// The timer's round.
        round: Round,
    },
    /// A write of the safety record failed or was torn.
    PersistFailed,
    /// A peer is back, or nothing has moved for a while: say again what we said in this round.
    Resend,
}

/// Something to do outside, in this order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "effects are moved once; a box would cost an allocation a vote"
)]
pub enum Effect {
    /// Write and sync this record. A later one replaces an earlier one that is not written yet.
    Persist {
        /// Rank of the record: it rises with each promise.
        seq: u64,
        /// What to write.
        record: SafetyRecord,
    },
    /// Once a record of this rank or a higher one is durable: sign, send to all, and hand back as
    /// [`Input::Message`].
    Send {
        /// The rank to wait for.
        after: u64,
        /// The message without its signature.
        draft: Draft,
    },
    /// Make a value for this round; answer with [`Input::Proposal`].
    Propose {
        /// The round.
        round: Round,
    },
    /// Judge a value (and get its block if it is not here); answer with [`Input::Validated`]. A value
    /// first proposed in a later round than this one is not valid.
    Validate {
        /// The round.
        round: Round,
        /// The value.
        id: BlockId,
    },
    /// Give [`Input::Timeout`] at this time. It replaces every earlier timer of the instance.
    Timer {
        /// The round.
        round: Round,
        /// Milliseconds on the clock of `now_ms`.
        at_ms: u64,
    },
    /// A validator is proven guilty.
    Evidence(Evidence),
    /// This node votes no more in this instance. It still follows and decides.
    Observing(ObserveReason),
    /// The decision; the last effect of an instance.
    Decided {
        /// The value.
        id: BlockId,
        /// Its seal.
        seal: Seal,
    },
}

/// Why a node does not vote.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObserveReason {
    /// It has no key in the set.
    NotValidator,
    /// Its record may not be on disk: a vote could be forgotten.
    WriteFailed,
    /// Its key signed what this node does not remember: an older data directory, or a second process
    /// with the same key.
    ForgottenVote,
}
