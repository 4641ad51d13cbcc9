//! The way of a transaction into the pool: bytes, [`Candidate`], [`VerifiedTx`], resident.
//!
//! Invariant: only a [`VerifiedTx`] can be inserted. It means that every signature was found valid,
//! which stays true for ever: an outpoint commits to value and lock, a signature to the outpoints.
//! The pool itself never checks a signature, so that callers can batch them over many candidates.

use std::sync::Arc;

use cairn_protocol::ledger::Spend;
use cairn_protocol::rules::Violation;
use cairn_protocol::signature::{SignatureJob, SignatureScheme};
use cairn_protocol::transaction::{Transaction, TransactionIds};
use cairn_protocol::units::{Amount, FeeRate};

/// A transaction that the pool would take if its signatures are valid.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub(super) transaction: Arc<Transaction>,
    pub(super) ids: TransactionIds,
    pub(super) spend: Spend,
    pub(super) time_added_s: u64,
}

impl Candidate {
    /// The transaction.
    pub fn transaction(&self) -> &Arc<Transaction> {
        &self.transaction
    }

    /// Its ids and weight.
    pub fn ids(&self) -> &TransactionIds {
        &self.ids
    }

    /// What it pays.
    pub fn fee(&self) -> Amount {
        self.spend.fee
    }

    /// What it pays per 1,000 weight.
    pub fn fee_rate(&self) -> FeeRate {
        FeeRate::of(self.spend.fee, self.ids.weight)
    }

    /// The signatures to check, to be batched with those of other candidates.
    pub fn signatures(&self) -> &[SignatureJob] {
        &self.spend.signatures
    }

    /// The caller found every one of [`signatures`](Candidate::signatures) valid.
    pub fn verified(self) -> VerifiedTx {
        let Candidate {
            transaction,
            ids,
            time_added_s,
            ..
        } = self;
        VerifiedTx {
            transaction,
            ids,
            time_added_s,
        }
    }

    /// The violation that a bad signature at this place of
    /// [`signatures`](Candidate::signatures) means (TX-22).
    pub fn bad_signature(&self, at: usize) -> Violation {
        let input = self
            .spend
            .signature_inputs
            .get(at)
            .map_or(0, |input| *input as usize);
        Violation::BadSignature { input }
    }

    /// Checks the signatures here and now, for callers with one candidate.
    pub fn verify(self, scheme: &dyn SignatureScheme) -> Result<VerifiedTx, Violation> {
        match scheme.verify(&self.spend.signatures) {
            Ok(()) => Ok(self.verified()),
            Err(at) => Err(self.bad_signature(at)),
        }
    }
}

/// A transaction with valid signatures that follows every rule that needs no coins.
#[derive(Clone, Debug)]
pub struct VerifiedTx {
    pub(super) transaction: Arc<Transaction>,
    pub(super) ids: TransactionIds,
    pub(super) time_added_s: u64,
}

impl VerifiedTx {
    /// A transaction that stood in a valid block, or for whose signatures and context-free rules the
    /// caller vouches.
    pub fn vouched(transaction: Arc<Transaction>, time_added_s: u64) -> VerifiedTx {
        let ids = transaction.ids();
        VerifiedTx {
            transaction,
            ids,
            time_added_s,
        }
    }

    /// The same with another age: it was added at this time, before a restart.
    pub fn added_at(self, time_added_s: u64) -> VerifiedTx {
        VerifiedTx {
            time_added_s,
            ..self
        }
    }

    /// The transaction.
    pub fn transaction(&self) -> &Arc<Transaction> {
        &self.transaction
    }

    /// Its ids and weight.
    pub fn ids(&self) -> &TransactionIds {
        &self.ids
    }
}
