//! Transactions on their way into the mempool: cheap rules, then signatures in one batch, then the
//! pool.
//!
//! Invariants: no signature is checked under the pool's lock, and none twice for one wtxid; a fault
//! of our store is no answer to anybody: it ends the thread, as with blocks.

use super::event::LedgerEvent;
use super::worker::Worker;
use cairn_consensus::chain::Source;
use cairn_consensus::mempool::{Candidate, Refusal, Rejection, VerifiedTx};
use cairn_protocol::hash::TxId;
use cairn_protocol::ledger::{Fault, SpendContext};
use cairn_protocol::rules::Violation;
use cairn_protocol::signature::{SignatureCheck, SignatureJob};
use cairn_protocol::transaction::{Transaction, TransactionIds};
use std::sync::Arc;

/// Orphans of one peer that are tried again in one go.
const ORPHANS_PER_PEER: usize = 10;

/// Why a transaction is not in the mempool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// It breaks a rule: whoever sent it is at fault.
    #[error(transparent)]
    Invalid(Violation),
    /// Policy, overload or a missing parent; nobody is at fault.
    #[error("{0}")]
    Refused(String),
    /// Its parents are unknown: it waits for them if a peer sent it.
    #[error("{0}")]
    Orphan(String),
    /// It is here already.
    #[error("transaction {0} is already in the mempool or confirmed")]
    Known(TxId),
}

impl SubmitError {
    fn of(rejection: Rejection) -> Result<SubmitError, Fault> {
        let text = rejection.to_string();
        Ok(match rejection {
            Rejection::Invalid(violation) => SubmitError::Invalid(violation),
            Rejection::Refused(Refusal::AlreadyResident(id) | Refusal::AlreadyConfirmed(id)) => {
                SubmitError::Known(id)
            }
            Rejection::Refused(Refusal::MissingInputs(_)) => SubmitError::Orphan(text),
            Rejection::Refused(_) => SubmitError::Refused(text),
            Rejection::Fault(fault) => return Err(fault),
        })
    }
}

type Verdict = Result<TxId, SubmitError>;

impl Worker {
    /// Takes in transactions in order; later ones may spend earlier ones.
    pub(super) fn submit(
        &mut self,
        batch: Vec<Transaction>,
        source: Source,
    ) -> Result<Vec<Verdict>, Fault> {
        let mut verdicts: Vec<Option<Verdict>> = vec![None; batch.len()];
        let mut waiting: Vec<(usize, Candidate)> = Vec::new();
        for (index, transaction) in batch.into_iter().enumerate() {
            let transaction = Arc::new(transaction);
            let mut prepared = self.prepare(&transaction);
            let missing = matches!(prepared, Err(Rejection::Refused(Refusal::MissingInputs(_))));
            if missing && !waiting.is_empty() {
                // Its parent may be among those whose signatures wait.
                self.admit(&mut waiting, &mut verdicts)?;
                prepared = self.prepare(&transaction);
            }
            match prepared {
                Ok(candidate) => waiting.push((index, candidate)),
                Err(rejection) => {
                    self.keep_orphan(&transaction, &rejection, source);
                    verdicts[index] = Some(Err(SubmitError::of(rejection)?));
                }
            }
        }
        self.admit(&mut waiting, &mut verdicts)?;
        self.admit_orphans()?;
        Ok(verdicts
            .into_iter()
            .map(|verdict| verdict.expect("each was judged"))
            .collect())
    }

    /// Takes back what a dump held, with the times at which it came; answers how many stayed.
    pub(super) fn restore(&mut self, residents: Vec<(Transaction, u64)>) -> Result<usize, Fault> {
        let mut kept = 0;
        for (transaction, time_added_s) in residents {
            let candidate = match self.prepare(&Arc::new(transaction)) {
                Ok(candidate) => candidate,
                Err(Rejection::Fault(fault)) => return Err(fault),
                Err(_) => continue,
            };
            let ids = *candidate.ids();
            if self.signatures.verify(candidate.signatures()).is_ok() {
                self.signatures.remember(ids.wtxid);
                let verified = candidate.verified().added_at(time_added_s);
                kept += usize::from(self.insert(verified, &ids)?.is_ok());
            }
        }
        Ok(kept)
    }

    fn prepare(&mut self, transaction: &Arc<Transaction>) -> Result<Candidate, Rejection> {
        let (params, lock_time) = (Arc::clone(&self.params), self.chain.lock_time());
        let context = spend_context(&params, self.chain.tip().height, lock_time);
        let mut pool = self.published.mempool.write();
        pool.prepare(
            self.now_s(),
            Arc::clone(transaction),
            self.chain.store(),
            &context,
        )
    }

    fn keep_orphan(&mut self, tx: &Arc<Transaction>, rejection: &Rejection, source: Source) {
        let Rejection::Refused(Refusal::MissingInputs(missing)) = rejection else {
            return;
        };
        if source == Source::LOCAL {
            return;
        }
        let mut pool = self.published.mempool.write();
        // A full orphanage refuses: the transaction comes again with its block.
        let _ = pool.add_orphan(self.now_s(), source.0, Arc::clone(tx), missing.clone());
    }

    /// Checks the signatures of all that wait in one batch and inserts those that are valid.
    fn admit(
        &mut self,
        waiting: &mut Vec<(usize, Candidate)>,
        verdicts: &mut [Option<Verdict>],
    ) -> Result<(), Fault> {
        let unknown: Vec<usize> = (0..waiting.len())
            .filter(|&i| !self.signatures.is_known(&waiting[i].1.ids().wtxid))
            .collect();
        let jobs: Vec<SignatureJob> = unknown
            .iter()
            .flat_map(|&i| waiting[i].1.signatures())
            .copied()
            .collect();
        let all_valid = self.signatures.verify(&jobs).is_ok();
        for (place, (index, candidate)) in waiting.drain(..).enumerate() {
            let checked = all_valid || unknown.binary_search(&place).is_err();
            verdicts[index] = Some(self.admit_one(candidate, checked)?);
        }
        Ok(())
    }

    fn admit_one(&mut self, candidate: Candidate, checked: bool) -> Result<Verdict, Fault> {
        let ids = *candidate.ids();
        if !checked && let Err(at) = self.signatures.verify(candidate.signatures()) {
            self.published.mempool.write().reject(&ids);
            return Ok(Err(SubmitError::Invalid(candidate.bad_signature(at))));
        }
        self.signatures.remember(ids.wtxid);
        self.insert(candidate.verified(), &ids)
    }

    fn insert(&mut self, verified: VerifiedTx, ids: &TransactionIds) -> Result<Verdict, Fault> {
        let (params, lock_time) = (Arc::clone(&self.params), self.chain.lock_time());
        let context = spend_context(&params, self.chain.tip().height, lock_time);
        let accepted = {
            let mut pool = self.published.mempool.write();
            pool.insert(self.now_s(), verified, self.chain.store(), &context)
        };
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(rejection) => return Ok(Err(SubmitError::of(rejection)?)),
        };
        self.log_removed(&accepted.removed);
        let txid = ids.txid;
        self.emit(LedgerEvent::TransactionAdded { txid });
        Ok(Ok(txid))
    }

    /// Tries the orphans whose parents came, until no more come free. Those that enter are named,
    /// because no gossip message of this node has carried them.
    pub(super) fn admit_orphans(&mut self) -> Result<(), Fault> {
        loop {
            let ready = self
                .published
                .mempool
                .write()
                .take_ready_orphans(ORPHANS_PER_PEER);
            if ready.is_empty() {
                return Ok(());
            }
            let mut waiting = Vec::new();
            for orphan in ready {
                match self.prepare(&orphan.transaction) {
                    Ok(candidate) => waiting.push((waiting.len(), candidate)),
                    Err(Rejection::Fault(fault)) => return Err(fault),
                    Err(_) => {}
                }
            }
            let mut verdicts = vec![None; waiting.len()];
            self.admit(&mut waiting, &mut verdicts)?;
            for txid in verdicts.into_iter().flatten().flatten() {
                self.emit(LedgerEvent::OrphanAdmitted { txid });
            }
        }
    }
}

/// The place after the tip.
pub(super) fn spend_context(
    params: &cairn_protocol::spec::ChainParams,
    tip_height: u64,
    median_time: u32,
) -> SpendContext<'_> {
    SpendContext {
        chain_id: params.chain_id(),
        limits: params.limits(),
        height: tip_height + 1,
        parent_time: median_time,
    }
}
