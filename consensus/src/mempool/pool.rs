//! The mempool: what is admitted, replaced, evicted and expired.
//!
//! Invariants, between any two calls:
//! * every resident is valid on top of the tip last announced, given the residents it depends on;
//! * `usage <= usage_bytes_max`; every cluster is within its limits;
//! * an error of `insert` leaves residents as they were.
//!
//! Rules: `spec/11-mempool.md`.

use std::collections::BTreeSet;
use std::sync::Arc;

use cairn_protocol::hash::TxId;
use cairn_protocol::ledger::{Coin, CoinView, Spend, SpendContext, check_spend, check_transaction};
use cairn_protocol::rules::Violation;
use cairn_protocol::transaction::{OutPoint, Transaction, TransactionIds};
use cairn_protocol::units::{Amount, FeeRate};

use super::diagram::Rate;
use super::entry::{Entry, UNCONFIRMED};
use super::min_fee::RollingMinimum;
use super::orphans::{OrphanRefused, Orphans, PeerKey};
use super::policy::Policy;
use super::refusal::{Refusal, Rejection};
use super::rejects::Rejects;
use super::removed::{Removal, Removed};
use super::reorg::Reorg;
use super::slab::Slot;
use super::store::Store;
use super::verified::{Candidate, VerifiedTx};

/// See the module.
#[derive(Clone, Debug)]
pub struct Mempool {
    pub(super) policy: Policy,
    pub(super) store: Store,
    pub(super) orphans: Orphans,
    pub(super) rejects: Rejects,
    pub(super) minimum: RollingMinimum,
    pub(super) reorg: Option<Reorg>,
    pub(super) sequence: u64,
}

/// The answer to an accepted transaction.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Its id.
    pub txid: TxId,
    /// What it pays.
    pub fee: Amount,
    /// The rate at which it will be mined, together with what it is mined with.
    pub chunk_fee_rate: FeeRate,
    /// Residents that went for it: replaced, or evicted to make room.
    pub removed: Vec<Removed>,
}

/// What admission found out about a transaction.
pub(super) struct Assessment {
    pub(super) spend: Spend,
    pub(super) spent: Vec<Coin>,
    /// Residents that must go, with their descendants.
    pub(super) replaced: BTreeSet<Slot>,
}

/// Whether fees matter to an admission.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Terms {
    /// A newcomer: minimum rate, replacement by diagram.
    Relay,
    /// Back from a disconnected block: no minimum, no replacement.
    Return,
}

impl Mempool {
    /// An empty pool.
    ///
    /// # Panics
    /// If the policy allows clusters beyond [`CLUSTER_COUNT_MAX`](super::CLUSTER_COUNT_MAX).
    pub fn new(policy: Policy) -> Mempool {
        let max = super::members::CLUSTER_COUNT_MAX;
        let count = policy.cluster_count_max;
        assert!(
            (1..=max).contains(&count),
            "cluster_count_max {count}: expected 1 to {max}"
        );
        Mempool {
            store: Store::default(),
            orphans: Orphans::new(policy.orphans),
            rejects: Rejects::new(policy.rejects_max),
            minimum: RollingMinimum::new(policy.fee_rate_step),
            reorg: None,
            sequence: 0,
            policy,
        }
    }

    /// Checks everything but signatures and the diagram of a replacement, the cheapest first, and changes nothing but the filter
    /// of refused wtxids.
    ///
    /// `context` describes the next block. The candidate carries the signatures to check.
    pub fn prepare<V: CoinView + ?Sized>(
        &mut self,
        now_s: u64,
        transaction: Arc<Transaction>,
        view: &V,
        context: &SpendContext<'_>,
    ) -> Result<Candidate, Rejection> {
        let ids = match check_transaction(&transaction, context.limits) {
            Ok(ids) => ids,
            Err(violation) => {
                self.rejects.insert(transaction.wtxid());
                return Err(Rejection::of(violation));
            }
        };
        match self.assess(
            now_s,
            &transaction,
            &ids,
            view,
            context,
            (Terms::Relay, false),
        ) {
            Ok(Assessment { spend, .. }) => Ok(Candidate {
                transaction,
                ids,
                spend,
                time_added_s: now_s,
            }),
            Err(rejection) => Err(self.note_rejection(&ids, rejection)),
        }
    }

    /// Inserts a transaction whose signatures are valid. Checks again all that may have changed
    /// since [`prepare`](Mempool::prepare).
    pub fn insert<V: CoinView + ?Sized>(
        &mut self,
        now_s: u64,
        verified: VerifiedTx,
        view: &V,
        context: &SpendContext<'_>,
    ) -> Result<Accepted, Rejection> {
        let ids = verified.ids;
        let result = self.admit(now_s, verified, view, context);
        result.map_err(|rejection| self.note_rejection(&ids, rejection))
    }

    fn admit<V: CoinView + ?Sized>(
        &mut self,
        now_s: u64,
        verified: VerifiedTx,
        view: &V,
        context: &SpendContext<'_>,
    ) -> Result<Accepted, Rejection> {
        let VerifiedTx {
            transaction,
            ids,
            time_added_s,
        } = verified;
        let terms = (Terms::Relay, true);
        let found = self.assess(now_s, &transaction, &ids, view, context, terms)?;
        let fee = found.spend.fee;
        let replaced = self.store.remove(&found.replaced);
        let slot = self
            .store
            .insert(Entry::new(transaction, ids, fee, found.spent, time_added_s));
        let excess = self.excess();
        if excess.slots.contains(&slot) {
            self.store.remove(&BTreeSet::from([slot]));
            for entry in super::reorg::parents_first(replaced) {
                self.store.insert(entry);
            }
            self.minimum.evicted(now_s, excess.best);
            return Err(Refusal::Full(self.fee_rate_min(now_s)).into());
        }
        let chunk = self.store.chunk_rate(slot);
        let by = Removal::Replaced { by: ids.txid };
        let mut removed: Vec<Removed> = replaced.iter().map(|e| Removed::new(e, &by)).collect();
        removed.extend(self.evict(now_s, excess));
        self.orphans.remove(&ids.wtxid);
        self.orphans.parent_arrived(&ids.txid);
        self.sequence += 1;
        let chunk_fee_rate = FeeRate::of(Amount(chunk.fee), chunk.weight);
        Ok(Accepted {
            txid: ids.txid,
            fee,
            chunk_fee_rate,
            removed,
        })
    }

    /// Remembers what need not be fetched again before the next tip.
    fn note_rejection(&mut self, ids: &TransactionIds, rejection: Rejection) -> Rejection {
        match &rejection {
            Rejection::Fault(_) => {}
            Rejection::Refused(
                Refusal::AlreadyResident(_) | Refusal::MissingInputs(_) | Refusal::Reorganising,
            ) => {}
            Rejection::Refused(_) | Rejection::Invalid(_) => self.rejects.insert(ids.wtxid),
        }
        rejection
    }

    /// The caller found the transaction invalid, for instance by a signature.
    pub fn reject(&mut self, ids: &TransactionIds) {
        self.rejects.insert(ids.wtxid);
        self.orphans.remove(&ids.wtxid);
    }

    /// Everything but signatures. `terms` = (what fees mean, whether signatures are known valid).
    pub(super) fn assess<V: CoinView + ?Sized>(
        &self,
        now_s: u64,
        transaction: &Transaction,
        ids: &TransactionIds,
        view: &V,
        context: &SpendContext<'_>,
        (terms, signed): (Terms, bool),
    ) -> Result<Assessment, Rejection> {
        if self.reorg.is_some() && terms == Terms::Relay {
            return Err(Refusal::Reorganising.into());
        }
        if self.store.by_wtxid(&ids.wtxid).is_some() {
            return Err(Refusal::AlreadyResident(ids.txid).into());
        }
        if self.store.by_txid(&ids.txid).is_some() {
            return Err(Refusal::OtherWitness(ids.txid).into());
        }
        let spent = self.find_coins(transaction, ids, view)?;
        let spend =
            check_spend(context, transaction, ids, &spent, signed).map_err(Rejection::of)?;
        if terms == Terms::Relay {
            self.check_minimum(now_s, spend.fee, ids)?;
        }
        let replaced = self.check_place(transaction, ids, spend.fee, (terms, signed))?;
        Ok(Assessment {
            spend,
            spent,
            replaced,
        })
    }

    /// The coins of all inputs, from residents or the view; spends by residents do not hide them.
    fn find_coins<V: CoinView + ?Sized>(
        &self,
        transaction: &Transaction,
        ids: &TransactionIds,
        view: &V,
    ) -> Result<Vec<Coin>, Rejection> {
        let mut coins = Vec::with_capacity(transaction.inputs.len());
        let mut missing = BTreeSet::new();
        for outpoint in &transaction.inputs {
            if let Some(parent) = self.store.by_txid(&outpoint.txid) {
                let coin = resident_coin(self.store.entry(parent), outpoint, UNCONFIRMED);
                // The parent is known and has no such output: no block will ever change that.
                let absent = Violation::MissingCoin {
                    outpoint: *outpoint,
                };
                coins.push(coin.ok_or(Rejection::Invalid(absent))?);
            } else if let Some(coin) = view.coin(outpoint)? {
                coins.push(coin);
            } else {
                missing.insert(outpoint.txid);
            }
        }
        if missing.is_empty() {
            return Ok(coins);
        }
        if is_confirmed(transaction, ids, view)? {
            return Err(Refusal::AlreadyConfirmed(ids.txid).into());
        }
        Err(Refusal::MissingInputs(missing).into())
    }

    fn check_minimum(&self, now_s: u64, fee: Amount, ids: &TransactionIds) -> Result<(), Refusal> {
        let rate = self.fee_rate_min(now_s);
        let (needed, weight) = (rate.fee(ids.weight), ids.weight);
        if fee < needed {
            return Err(Refusal::FeeTooLow {
                fee,
                needed,
                rate,
                weight,
            });
        }
        Ok(())
    }

    /// The lowest fee rate that is accepted at this moment.
    pub fn fee_rate_min(&self, now_s: u64) -> FeeRate {
        self.policy.fee_rate_min.max(self.minimum.at(now_s))
    }

    /// The worst chunks that do not fit any more.
    fn excess(&self) -> Excess {
        let mut over = self
            .store
            .usage()
            .saturating_sub(self.policy.usage_bytes_max);
        let mut excess = Excess {
            slots: BTreeSet::new(),
            best: Rate::default(),
        };
        for key in self.store.chunks().rev() {
            if over == 0 {
                break;
            }
            for &slot in self.store.cluster(key.cluster).chunk(key.index) {
                over = over.saturating_sub(self.store.entry(slot).usage());
                excess.slots.insert(slot);
            }
            excess.best = key.rate;
        }
        excess
    }

    /// Evicts the excess and lifts the minimum.
    fn evict(&mut self, now_s: u64, excess: Excess) -> Vec<Removed> {
        if excess.slots.is_empty() {
            return Vec::new();
        }
        self.minimum.evicted(now_s, excess.best);
        self.take_out(&excess.slots, &Removal::Evicted)
    }

    /// Evicts until the pool is within its size.
    pub(super) fn trim(&mut self, now_s: u64) -> Vec<Removed> {
        let excess = self.excess();
        self.evict(now_s, excess)
    }

    /// Removes residents that waited too long, with what depends on them, and expired orphans.
    pub fn expire(&mut self, now_s: u64) -> Vec<Removed> {
        self.orphans.expire(now_s);
        let mut expired = Vec::new();
        while let Some((added_s, slot)) = self.store.oldest() {
            if added_s.saturating_add(self.policy.expiry_s) > now_s {
                break;
            }
            let slots = self.store.with_descendants([slot]);
            expired.extend(self.take_out(&slots, &Removal::Expired));
        }
        expired
    }

    /// Removes residents for one reason.
    pub(super) fn take_out(&mut self, slots: &BTreeSet<Slot>, why: &Removal) -> Vec<Removed> {
        if slots.is_empty() {
            return Vec::new();
        }
        self.sequence += 1;
        self.store
            .remove(slots)
            .iter()
            .map(|entry| Removed::new(entry, why))
            .collect()
    }

    /// Keeps a transaction that [`prepare`](Mempool::prepare) refused for missing inputs, on behalf
    /// of the peer that sent it.
    pub fn add_orphan(
        &mut self,
        now_s: u64,
        peer: PeerKey,
        transaction: Arc<Transaction>,
        missing: BTreeSet<TxId>,
    ) -> Result<(), OrphanRefused> {
        let ids = transaction.ids();
        self.orphans.add(now_s, peer, transaction, ids, missing)
    }

    /// Takes out orphans whose parents arrived, at most `per_peer` for each peer: to be prepared and
    /// inserted like new transactions.
    pub fn take_ready_orphans(&mut self, per_peer: usize) -> Vec<super::orphans::Orphan> {
        self.orphans.take_ready(per_peer)
    }

    /// A peer left: orphans that only it announced are forgotten.
    pub fn peer_gone(&mut self, peer: PeerKey) {
        self.orphans.peer_gone(peer);
    }
}

/// Chunks to evict, and the rate of the best of them.
struct Excess {
    slots: BTreeSet<Slot>,
    best: Rate,
}

/// The coin that a resident's output would be in a block of `height`; `None` if there is no such
/// output or it makes no coin.
pub(super) fn resident_coin(entry: &Entry, outpoint: &OutPoint, height: u64) -> Option<Coin> {
    let output = entry.transaction.outputs.get(outpoint.index as usize)?;
    let coin = Coin {
        output: output.clone(),
        height,
        is_coinbase: false,
    };
    output.lock.makes_coin().then_some(coin)
}

/// Whether one of the first outputs is in the coin set: inputs look missing because the transaction
/// itself spent them. A few outputs are enough for a hint that costs no more than it saves.
fn is_confirmed<V: CoinView + ?Sized>(
    transaction: &Transaction,
    ids: &TransactionIds,
    view: &V,
) -> Result<bool, Rejection> {
    const LOOKS_MAX: usize = 4;
    for index in 0..transaction.outputs.len().min(LOOKS_MAX) {
        if view
            .coin(&Transaction::outpoint(ids.txid, index))?
            .is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}
