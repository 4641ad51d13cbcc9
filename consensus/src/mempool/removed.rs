//! What left the pool, and why: for events, logs and the wallet.

use std::sync::Arc;

use cairn_protocol::hash::TxId;
use cairn_protocol::rules::Violation;
use cairn_protocol::transaction::{Transaction, TransactionIds};
use cairn_protocol::units::{Amount, Height};

use super::entry::Entry;

/// Why a resident left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// A block of this height contains it.
    Confirmed {
        /// The block's height.
        height: Height,
    },
    /// A block of this height spends one of its inputs, or one of an ancestor's.
    Conflicted {
        /// The block's height.
        height: Height,
    },
    /// A better transaction spends the same coins.
    Replaced {
        /// The better one.
        by: TxId,
    },
    /// The pool was full and its chunk paid least.
    Evicted,
    /// It waited too long.
    Expired,
    /// After a reorganisation it, or an ancestor, breaks a rule.
    Invalid(Violation),
    /// After a reorganisation it cannot come back: a missing parent, or a full cluster.
    NotReturned,
}

impl Removal {
    /// A word for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Removal::Confirmed { .. } => "confirmed",
            Removal::Conflicted { .. } => "conflicted",
            Removal::Replaced { .. } => "replaced",
            Removal::Evicted => "evicted",
            Removal::Expired => "expired",
            Removal::Invalid(_) => "invalid",
            Removal::NotReturned => "not_returned",
        }
    }
}

/// A transaction that left the pool.
#[derive(Clone, Debug)]
pub struct Removed {
    /// The transaction.
    pub transaction: Arc<Transaction>,
    /// Its ids and weight.
    pub ids: TransactionIds,
    /// What it paid.
    pub fee: Amount,
    /// Why.
    pub why: Removal,
}

impl Removed {
    pub(super) fn new(entry: &Entry, why: &Removal) -> Removed {
        let transaction = Arc::clone(&entry.transaction);
        Removed {
            transaction,
            ids: entry.ids,
            fee: entry.fee,
            why: why.clone(),
        }
    }
}
