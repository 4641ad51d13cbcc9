//! What to put into a block: the best chunks that fit.
//!
//! Invariants: parents come before children; the choice is a function of the pool's content and the
//! limits (ties by rate go to the lower tag); no chunk is taken whose cluster had an earlier chunk
//! left out. Rule: `spec/11-mempool.md#template`.

use std::collections::BTreeSet;
use std::sync::Arc;

use cairn_protocol::limits::BLOCK_TRANSACTIONS_MAX;
use cairn_protocol::transaction::{Transaction, TransactionIds};
use cairn_protocol::units::{Amount, Weight};

use super::diagram::Rate;
use super::pool::Mempool;
use super::slab::Slot;
use super::store::ChunkKey;
use crate::template::Chosen;

/// Chunks that may fail to fit in a row before the search ends: the block is as good as full.
const MISSES_MAX: usize = 500;

/// A transaction chosen for a block.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The transaction.
    pub transaction: Arc<Transaction>,
    /// Its ids and weight.
    pub ids: TransactionIds,
    /// What it pays.
    pub fee: Amount,
}

/// The transactions of a block to be, in block order; see [`chosen`](Selection::chosen).
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Parents before children, best chunk first.
    pub transactions: Vec<Selected>,
    /// Sum of the fees.
    pub fees: Amount,
    /// Sum of the weights.
    pub weight: Weight,
}

impl Selection {
    /// As [`BlockTemplate::new`](crate::template::BlockTemplate::new) takes them.
    pub fn chosen(&self) -> Vec<Chosen<'_>> {
        let chosen = self.transactions.iter().map(
            |Selected {
                 transaction,
                 ids,
                 fee,
             }| Chosen {
                transaction,
                ids,
                fee: *fee,
            },
        );
        chosen.collect()
    }
}

impl Mempool {
    /// Chooses transactions of at most `weight_max` together: the block's limit less what header,
    /// extension and coinbase take. Empty while a reorganisation is under way.
    pub fn select(&self, weight_max: Weight) -> Selection {
        let mut selection = Selection::default();
        let total = self.walk_best(weight_max, |slots| {
            selection.transactions.extend(slots.iter().map(|&slot| {
                let entry = self.store.entry(slot);
                let transaction = Arc::clone(&entry.transaction);
                Selected {
                    transaction,
                    ids: entry.ids,
                    fee: entry.fee,
                }
            }));
        });
        selection.fees = Amount(total.fee);
        selection.weight = total.weight;
        selection
    }

    /// The fees that [`select`](Mempool::select) would collect, without collecting: compare with
    /// those of the template in work to know whether a new one is worth it.
    pub fn best_fee_total(&self, weight_max: Weight) -> Amount {
        Amount(self.walk_best(weight_max, |_| {}).fee)
    }

    /// Visits the chosen chunks in order and returns what they pay and weigh together.
    fn walk_best(&self, weight_max: Weight, mut visit: impl FnMut(&[Slot])) -> Rate {
        let (mut total, mut count, mut misses) = (Rate::default(), 0, 0);
        let mut blocked: BTreeSet<Slot> = BTreeSet::new();
        if self.reorg.is_some() {
            return total;
        }
        for ChunkKey {
            rate,
            index,
            cluster,
            ..
        } in self.store.chunks()
        {
            let slots = self.store.cluster(*cluster).chunk(*index);
            let fits = total.weight + rate.weight <= weight_max
                && count + slots.len() <= BLOCK_TRANSACTIONS_MAX;
            if !fits || blocked.contains(cluster) {
                blocked.insert(*cluster);
                misses += 1;
                if misses > MISSES_MAX {
                    break;
                }
                continue;
            }
            misses = 0;
            total = total.plus(*rate);
            count += slots.len();
            visit(slots);
        }
        total
    }
}
