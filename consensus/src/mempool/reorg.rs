//! Blocks come and go: the pool follows the chain.
//!
//! A caller announces each step in order (`block_disconnected` from the tip down, then
//! `block_connected` up to the new tip) and at the end the new tip (`tip_changed`), all without
//! anything else in between. Between a disconnect and `tip_changed` the pool admits nothing and
//! offers an empty template, because its residents may rest on coins that are gone.
//!
//! After a reorganisation, what the abandoned blocks held is admitted again in chain order, then
//! every resident whose coins those blocks had created is admitted again, best chunk first. So limits
//! of clusters hold as for newcomers, and what no longer holds falls out with its descendants.
//! Rule: `spec/11-mempool.md#reorganisation`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use cairn_protocol::hash::TxId;
use cairn_protocol::ledger::{CoinView, Fault, SpendContext, check_spend};
use cairn_protocol::transaction::{Transaction, TransactionIds};
use cairn_protocol::units::Height;

use super::entry::Entry;
use super::pool::{Mempool, Terms};
use super::refusal::Rejection;
use super::removed::{Removal, Removed};
use super::slab::Slot;
use super::verified::VerifiedTx;

/// A reorganisation under way.
#[derive(Clone, Debug, Default)]
pub struct Reorg {
    /// The highest block that stays.
    fork_height: Height,
    /// Transactions of disconnected blocks, oldest first.
    waiting: VecDeque<Arc<Transaction>>,
    /// Their encoded bytes.
    waiting_bytes: u64,
}

/// What a new tip did to the pool.
#[derive(Clone, Debug, Default)]
pub struct TipReport {
    /// Transactions that were in abandoned blocks and are resident now.
    pub resurrected: Vec<TxId>,
    /// Residents that left.
    pub removed: Vec<Removed>,
}

impl Mempool {
    /// A block was connected: its transactions leave, and so does what conflicts with them. `ids` are
    /// those of `transactions`, in block order.
    ///
    /// # Panics
    /// If the two have different lengths.
    pub fn block_connected(
        &mut self,
        height: Height,
        transactions: &[Transaction],
        ids: &[TransactionIds],
    ) -> Vec<Removed> {
        assert_eq!(transactions.len(), ids.len(), "ids of every transaction");
        if self.store.count() == 0 && self.orphans.is_empty() && self.reorg.is_none() {
            return Vec::new();
        }
        let (mut mined, mut conflicting) = (BTreeSet::new(), BTreeSet::new());
        for (transaction, &TransactionIds { txid, wtxid, .. }) in transactions.iter().zip(ids) {
            if let Some(slot) = self.store.by_txid(&txid) {
                mined.insert(slot);
                self.store.confirm_coins(slot, height);
            } else {
                let spenders = transaction
                    .inputs
                    .iter()
                    .filter_map(|o| self.store.spender(o));
                conflicting.extend(spenders);
            }
            self.orphans.remove(&wtxid);
            self.orphans.parent_arrived(&txid);
        }
        let conflicting = self.store.with_descendants(conflicting);
        let mut removed = self.take_out(&conflicting, &Removal::Conflicted { height });
        removed.extend(self.take_out(&mined, &Removal::Confirmed { height }));
        removed
    }

    /// The tip, a block of this height, was taken off.
    pub fn block_disconnected(&mut self, height: Height, transactions: &[Transaction]) {
        let limit = self.policy.resurrection_bytes_max;
        self.sequence += 1;
        let reorg = self.reorg.get_or_insert_with(|| Reorg {
            fork_height: height,
            ..Reorg::default()
        });
        reorg.fork_height = reorg.fork_height.min(height.saturating_sub(1));
        for transaction in transactions.iter().rev() {
            // May wait twice: a block is connected and taken off again in one reorganisation if the
            // next one of its branch turns out to be invalid. The second return finds a resident.
            reorg.waiting_bytes += transaction.ids().bytes;
            reorg.waiting.push_front(Arc::new(transaction.clone()));
        }
        // The youngest go first: what depends on them is younger still.
        while reorg.waiting_bytes > limit {
            let Some(youngest) = reorg.waiting.pop_back() else {
                break;
            };
            reorg.waiting_bytes -= youngest.ids().bytes;
        }
    }

    /// The chain has a new tip; `context` describes the block after it and `view` its coins.
    pub fn tip_changed<V: CoinView + ?Sized>(
        &mut self,
        now_s: u64,
        view: &V,
        context: &SpendContext<'_>,
    ) -> Result<TipReport, Fault> {
        self.rejects.clear();
        self.minimum.block(now_s, self.half_life_s());
        let mut report = TipReport::default();
        if let Some(reorg) = self.reorg.take() {
            self.settle(now_s, reorg, view, context, &mut report)?;
        }
        report.removed.extend(self.expire(now_s));
        report.removed.extend(self.trim(now_s));
        Ok(report)
    }

    /// Half-life of the minimum: the emptier the pool, the faster it falls.
    fn half_life_s(&self) -> u64 {
        let (usage, max) = (self.store.usage(), self.policy.usage_bytes_max);
        match usage {
            _ if usage < max / 4 => self.policy.fee_half_life_s / 4,
            _ if usage < max / 2 => self.policy.fee_half_life_s / 2,
            _ => self.policy.fee_half_life_s,
        }
    }

    fn settle<V: CoinView + ?Sized>(
        &mut self,
        now_s: u64,
        reorg: Reorg,
        view: &V,
        context: &SpendContext<'_>,
        report: &mut TipReport,
    ) -> Result<(), Fault> {
        report
            .removed
            .extend(self.drop_invalid(reorg.fork_height, context));
        let displaced = self.take_displaced(reorg.fork_height);
        for transaction in reorg.waiting {
            let verified = VerifiedTx::vouched(transaction, now_s);
            let txid = verified.ids.txid;
            // What the new branch contains again finds its inputs spent.
            if self.readmit(verified, view, context)?.is_ok() {
                report.resurrected.push(txid);
            }
        }
        for entry in displaced {
            let (transaction, ids) = (Arc::clone(&entry.transaction), entry.ids);
            let verified = VerifiedTx {
                transaction,
                ids,
                time_added_s: entry.time_added_s,
            };
            if let Err(why) = self.readmit(verified, view, context)? {
                report.removed.push(Removed::new(&entry, &why));
            }
        }
        self.sequence += 1;
        Ok(())
    }

    /// Removes residents on coins that stayed whose time has been taken back: a coinbase that rests
    /// again, a point of the chain that is not reached any more.
    fn drop_invalid(&mut self, fork_height: Height, context: &SpendContext<'_>) -> Vec<Removed> {
        let mut removed = Vec::new();
        let timed = |(slot, entry): (Slot, &Entry)| entry.is_timed.then_some(slot);
        let suspects: Vec<Slot> = self.store.entries().filter_map(timed).collect();
        for slot in suspects {
            let Some(entry) = self.store.get(slot) else {
                continue;
            };
            if entry.confirmed_height_max() > fork_height {
                continue;
            }
            let verdict = check_spend(context, &entry.transaction, &entry.ids, &entry.spent, true);
            if let Err(violation) = verdict {
                let slots = self.store.with_descendants([slot]);
                removed.extend(self.take_out(&slots, &Removal::Invalid(violation)));
            }
        }
        removed
    }

    /// Takes out, parents first, every resident that rests on a coin above the fork, and what
    /// depends on it.
    fn take_displaced(&mut self, fork_height: Height) -> Vec<Entry> {
        let above = |(slot, entry): (Slot, &Entry)| {
            (entry.confirmed_height_max() > fork_height).then_some(slot)
        };
        let roots: Vec<Slot> = self.store.entries().filter_map(above).collect();
        let slots = self.store.with_descendants(roots);
        let places: BTreeMap<TxId, usize> = self
            .store
            .in_order()
            .filter(|slot| slots.contains(slot))
            .enumerate()
            .map(|(place, slot)| (self.store.entry(slot).txid(), place))
            .collect();
        let mut displaced = self.store.remove(&slots);
        displaced.sort_by_key(|entry| places[&entry.txid()]);
        displaced
    }

    /// Admits without a minimum fee; the inner error says why not.
    fn readmit<V: CoinView + ?Sized>(
        &mut self,
        verified: VerifiedTx,
        view: &V,
        context: &SpendContext<'_>,
    ) -> Result<Result<(), Removal>, Fault> {
        let VerifiedTx {
            transaction,
            ids,
            time_added_s,
        } = verified;
        let terms = (Terms::Return, true);
        match self.assess(time_added_s, &transaction, &ids, view, context, terms) {
            Ok(found) => {
                let fee = found.spend.fee;
                self.store
                    .insert(Entry::new(transaction, ids, fee, found.spent, time_added_s));
                self.orphans.parent_arrived(&ids.txid);
                Ok(Ok(()))
            }
            Err(Rejection::Fault(fault)) => Err(fault),
            Err(Rejection::Invalid(violation)) => Ok(Err(Removal::Invalid(violation))),
            Err(Rejection::Refused(refusal)) => Ok(Err(refusal.into_removal())),
        }
    }
}

/// Sorts entries that were removed together so that each follows those it spends from.
pub(super) fn parents_first(entries: Vec<Entry>) -> Vec<Entry> {
    let mut left: BTreeMap<TxId, Entry> = entries
        .into_iter()
        .map(|entry| (entry.txid(), entry))
        .collect();
    let mut sorted = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let ready: Vec<TxId> = left
            .values()
            .filter(|e| {
                e.transaction
                    .inputs
                    .iter()
                    .all(|o| !left.contains_key(&o.txid))
            })
            .map(Entry::txid)
            .collect();
        assert!(
            !ready.is_empty(),
            "transactions cannot spend each other in a circle"
        );
        sorted.extend(ready.iter().filter_map(|txid| left.remove(txid)));
    }
    sorted
}
