//! Why a transaction did not enter the pool.
//!
//! Invariant: [`Rejection::Invalid`] is the only one that speaks against the sender; a refusal is
//! our policy or our state, and another node may have answered otherwise.

use std::collections::BTreeSet;

use cairn_protocol::hash::TxId;
use cairn_protocol::ledger::Fault;
use cairn_protocol::rules::Violation;
use cairn_protocol::transaction::OutPoint;
use cairn_protocol::units::{Amount, FeeRate, Weight};

use super::removed::Removal;

/// The answer to a transaction that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It breaks a rule of consensus and always will: whoever sent it is at fault.
    #[error(transparent)]
    Invalid(Violation),
    /// Not now, or not here; nobody is at fault.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Our own store failed; nothing is known about the transaction.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Rejection {
    /// Whether the sender should be punished.
    pub fn is_invalid(&self) -> bool {
        matches!(self, Rejection::Invalid(_))
    }

    /// Sorts a broken rule: what a later block makes valid is refused, the rest is invalid.
    pub(super) fn of(violation: Violation) -> Rejection {
        match violation {
            Violation::NotYetValid { .. } | Violation::LockNotOpen { .. } => {
                Refusal::NotYetValid(violation).into()
            }
            Violation::ImmatureCoinbase { .. } => Refusal::Immature(violation).into(),
            violation => Rejection::Invalid(violation),
        }
    }
}

/// A refusal by policy or state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The very same transaction is resident.
    #[error("transaction {0} is already in the mempool")]
    AlreadyResident(TxId),
    /// A resident has the same body under other witnesses.
    #[error("transaction {0} is in the mempool with other witnesses")]
    OtherWitness(TxId),
    /// An output of it is in the coin set.
    #[error("transaction {0} is already confirmed")]
    AlreadyConfirmed(TxId),
    /// Inputs name outputs of transactions unknown here: an orphan.
    #[error("{} transactions whose outputs it spends are unknown", .0.len())]
    MissingInputs(BTreeSet<TxId>),
    /// Its earliest point or that of a lock is not reached by the next block.
    #[error("not yet valid: {0}")]
    NotYetValid(Violation),
    /// It spends a coinbase that still rests.
    #[error("immature: {0}")]
    Immature(Violation),
    /// It pays less than the minimum of this moment.
    #[error("fee {fee} is below {needed}, the minimum rate {rate} for weight {weight}")]
    FeeTooLow {
        /// What it pays.
        fee: Amount,
        /// What it would have to pay.
        needed: Amount,
        /// The minimum rate.
        rate: FeeRate,
        /// Its weight.
        weight: Weight,
    },
    /// Its cluster would have too many transactions.
    #[error("cluster of {count} transactions exceeds {max}")]
    ClusterCount {
        /// Transactions with it.
        count: usize,
        /// The bound.
        max: usize,
    },
    /// Its cluster would weigh too much.
    #[error("cluster weight {weight} exceeds {max}")]
    ClusterWeight {
        /// Weight with it.
        weight: Weight,
        /// The bound.
        max: Weight,
    },
    /// It spends an outpoint that a resident spends, where replacement is not possible.
    #[error("{outpoint} is spent by {spender}")]
    Conflict {
        /// The outpoint.
        outpoint: OutPoint,
        /// The resident.
        spender: TxId,
    },
    /// It depends on what it would replace.
    #[error("it spends an output of {0}, which it would replace")]
    SpendsReplaced(TxId),
    /// A replacement of too many clusters.
    #[error("replacement touches {clusters} clusters: at most {max}")]
    ReplacementTooWide {
        /// Clusters touched.
        clusters: usize,
        /// The bound.
        max: usize,
    },
    /// A replacement pays for what it replaces and for its own relay.
    #[error("replacement pays {fee}: what it replaces and its relay cost {needed}")]
    ReplacementFee {
        /// What it pays.
        fee: Amount,
        /// What it would have to pay.
        needed: Amount,
    },
    /// A replacement must be better for every miner.
    #[error("replacement does not improve the fee-rate diagram")]
    ReplacementDiagram,
    /// The pool is full of better ones.
    #[error("mempool is full: minimum fee rate {0}")]
    Full(FeeRate),
    /// Blocks were disconnected and the new tip is not announced yet.
    #[error("a reorganisation is under way")]
    Reorganising,
}

impl Refusal {
    /// What the refusal of a former resident means for it.
    pub(super) fn into_removal(self) -> Removal {
        match self {
            Refusal::NotYetValid(violation) | Refusal::Immature(violation) => {
                Removal::Invalid(violation)
            }
            _ => Removal::NotReturned,
        }
    }
}
