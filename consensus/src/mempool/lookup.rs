//! Questions to the pool: relay, API, wallet and fee estimator ask, nothing changes.

use std::sync::Arc;

use cairn_protocol::hash::{KeyHash, TxId, Wtxid};
use cairn_protocol::ledger::{Coin, CoinView, Fault};
use cairn_protocol::transaction::{OutPoint, Transaction};
use cairn_protocol::units::{Amount, FeeRate, Height, Weight};

use super::entry::Entry;
use super::pool::{Mempool, resident_coin};

/// Totals of the pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Residents.
    pub transactions: usize,
    /// Sum of their weights.
    pub weight: Weight,
    /// Sum of their encoded bytes.
    pub bytes: u64,
    /// Memory charged for them.
    pub usage_bytes: u64,
    /// The bound of `usage_bytes`.
    pub usage_bytes_max: u64,
    /// Sum of their fees.
    pub fees: Amount,
    /// The lowest fee rate accepted now.
    pub fee_rate_min: FeeRate,
    /// Orphans waiting.
    pub orphans: usize,
    /// Encoded bytes of the orphans.
    pub orphan_bytes: u64,
    /// Wtxids refused since the last tip.
    pub rejects: usize,
    /// Changes so far: equal numbers mean equal content.
    pub sequence: u64,
}

impl Mempool {
    /// Totals.
    pub fn stats(&self, now_s: u64) -> Stats {
        let total = self.store.total();
        Stats {
            transactions: self.store.count(),
            weight: total.weight,
            bytes: self.store.bytes(),
            usage_bytes: self.store.usage(),
            usage_bytes_max: self.policy.usage_bytes_max,
            fees: Amount(total.fee),
            fee_rate_min: self.fee_rate_min(now_s),
            orphans: self.orphans.len(),
            orphan_bytes: self.orphans.bytes(),
            rejects: self.rejects.len(),
            sequence: self.sequence,
        }
    }

    /// How many residents there are.
    pub fn len(&self) -> usize {
        self.store.count()
    }

    /// Whether there are no residents.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts changes: equal numbers mean equal content.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The resident with this txid.
    pub fn get(&self, txid: &TxId) -> Option<&Entry> {
        self.store.by_txid(txid).map(|slot| self.store.entry(slot))
    }

    /// The resident with this wtxid.
    pub fn get_by_wtxid(&self, wtxid: &Wtxid) -> Option<&Entry> {
        self.store
            .by_wtxid(wtxid)
            .map(|slot| self.store.entry(slot))
    }

    /// Whether there is no point in fetching this transaction: resident, orphan, or refused since
    /// the last tip.
    pub fn knows(&self, wtxid: &Wtxid) -> bool {
        self.store.by_wtxid(wtxid).is_some()
            || self.orphans.contains(wtxid)
            || self.rejects.contains(wtxid)
    }

    /// Whether this transaction was refused since the last tip.
    pub fn is_rejected(&self, wtxid: &Wtxid) -> bool {
        self.rejects.contains(wtxid)
    }

    /// The resident that spends an outpoint.
    pub fn spender(&self, outpoint: &OutPoint) -> Option<&Entry> {
        self.store
            .spender(outpoint)
            .map(|slot| self.store.entry(slot))
    }

    /// The residents that pay to or spend from a key hash, oldest first.
    pub fn of_owner(&self, owner: &KeyHash) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = self
            .store
            .by_owner(*owner)
            .map(|slot| self.store.entry(slot))
            .collect();
        entries.sort_by_key(|entry| (entry.time_added_s, entry.txid()));
        entries
    }

    /// How the residents change what a key hash has, in pebbles.
    pub fn pending_delta(&self, owner: &KeyHash) -> i128 {
        self.store
            .by_owner(*owner)
            .map(|slot| self.store.entry(slot).delta(owner))
            .sum()
    }

    /// The rate at which a resident will be mined, with what it is mined with.
    pub fn chunk_fee_rate(&self, txid: &TxId) -> Option<FeeRate> {
        let rate = self.store.chunk_rate(self.store.by_txid(txid)?);
        Some(FeeRate::of(Amount(rate.fee), rate.weight))
    }

    /// All residents, best chunk first, parents before children.
    pub fn by_fee_rate(&self) -> impl Iterator<Item = &Entry> {
        self.store.in_order().map(|slot| self.store.entry(slot))
    }

    /// The wtxids of all residents, ascending: the quick way to match a block's short ids, because
    /// only those that match need be looked up.
    pub fn wtxids(&self) -> impl Iterator<Item = &Wtxid> {
        self.store.wtxids()
    }

    /// The residents that a transaction depends on directly.
    pub fn parents<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = &'a Entry> {
        entry.parents.iter().map(|slot| self.store.entry(*slot))
    }

    /// For each depth (ascending): the chunk fee rate at which that much weight is ahead; `None`
    /// where the pool is not that deep.
    pub fn fee_rates_at(&self, depths: &[Weight]) -> Vec<Option<FeeRate>> {
        let mut rates = Vec::with_capacity(depths.len());
        let mut passed: Weight = 0;
        for key in self.store.chunks() {
            passed += key.rate.weight;
            while rates.len() < depths.len() && depths[rates.len()] < passed {
                rates.push(Some(FeeRate::of(Amount(key.rate.fee), key.rate.weight)));
            }
            if rates.len() == depths.len() {
                break;
            }
        }
        rates.resize(depths.len(), None);
        rates
    }

    /// Coins as they would be if all residents were mined next, at `height`, on top of `base`.
    pub fn view<'a, V: ?Sized>(&'a self, base: &'a V, height: Height) -> PoolView<'a, V> {
        PoolView {
            pool: self,
            base,
            height,
        }
    }

    /// Residents for the file that survives a restart, parents first, with their times.
    pub fn dump(&self) -> Vec<(Arc<Transaction>, u64)> {
        self.by_fee_rate()
            .map(|e| (Arc::clone(&e.transaction), e.time_added_s))
            .collect()
    }
}

/// See [`Mempool::view`].
#[derive(Debug)]
pub struct PoolView<'a, V: ?Sized> {
    pool: &'a Mempool,
    base: &'a V,
    height: Height,
}

impl<V: CoinView + ?Sized> CoinView for PoolView<'_, V> {
    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, Fault> {
        if self.pool.spender(outpoint).is_some() {
            return Ok(None);
        }
        match self.pool.get(&outpoint.txid) {
            Some(parent) => Ok(resident_coin(parent, outpoint, self.height)),
            None => self.base.coin(outpoint),
        }
    }
}
