//! The fee rates of one block, in five numbers.
//!
//! Invariant: `min <= median <= max` and `min <= mean <= max`; all are zero for a block without
//! transactions. A transaction counts with the rate at which it was mined: that of its chunk, so
//! that a parent paid for by its child does not look like a cheap entry.

use std::collections::BTreeMap;

use cairn_protocol::hash::TxId;
use cairn_protocol::transaction::{Transaction, TransactionIds};
use cairn_protocol::units::{Amount, FeeRate, Height, Weight};
use serde::{Deserialize, Serialize};

use crate::mempool::diagram::Rate;
use crate::mempool::linearize::cut_rates;

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BlockFees {
    /// Height of the block.
    pub height: Height,
    /// Transactions besides the coinbase.
    pub transactions: u32,
    /// Their weight.
    pub weight: Weight,
    /// The lowest rate.
    pub min: FeeRate,
    /// The rate at half of the weight.
    pub median: FeeRate,
    /// Fees over weight.
    pub mean: FeeRate,
    /// The highest rate.
    pub max: FeeRate,
}

impl BlockFees {
    /// Sums a block up. `ids` and `fees` are those of `transactions`, in block order.
    ///
    /// # Panics
    /// If the three have different lengths.
    pub fn of(
        height: Height,
        transactions: &[Transaction],
        ids: &[TransactionIds],
        fees: &[Amount],
    ) -> BlockFees {
        let count = transactions.len();
        assert!(
            ids.len() == count && fees.len() == count,
            "ids and fees of every transaction"
        );
        let rates: Vec<Rate> = ids
            .iter()
            .zip(fees)
            .map(|(ids, fee)| Rate::new(fee.0, ids.weight))
            .collect();
        let mut chunks: Vec<Rate> = families(transactions, ids)
            .into_iter()
            .flat_map(|family| cut_rates(family.into_iter().map(|place| rates[place])))
            .map(|chunk| chunk.rate)
            .collect();
        chunks.sort_by(Rate::cmp_rate);
        let total = rates
            .iter()
            .fold(Rate::default(), |sum, rate| sum.plus(*rate));
        let [min, median, max] = match (chunks.first(), chunks.last()) {
            (Some(first), Some(last)) => [
                per_mille(*first),
                per_mille(median(&chunks, total.weight)),
                per_mille(*last),
            ],
            _ => [FeeRate(0); 3],
        };
        let mean = if count == 0 {
            FeeRate(0)
        } else {
            per_mille(total)
        };
        let transactions = u32::try_from(count).expect("a block has at most 25,000 transactions");
        BlockFees {
            height,
            transactions,
            weight: total.weight,
            min,
            median,
            mean,
            max,
        }
    }
}

fn per_mille(rate: Rate) -> FeeRate {
    FeeRate::of(Amount(rate.fee), rate.weight)
}

/// The chunk in which half of the weight is reached.
fn median(chunks: &[Rate], weight: Weight) -> Rate {
    let mut passed = 0;
    let half = |chunk: &&Rate| {
        passed += chunk.weight;
        passed * 2 >= weight
    };
    *chunks
        .iter()
        .find(half)
        .expect("all chunks together reach half of their weight")
}

/// The places of transactions joined by spends of each other's outputs, each family in block order.
fn families(transactions: &[Transaction], ids: &[TransactionIds]) -> Vec<Vec<usize>> {
    let places: BTreeMap<TxId, usize> = ids
        .iter()
        .enumerate()
        .map(|(place, ids)| (ids.txid, place))
        .collect();
    let mut family: Vec<usize> = (0..transactions.len()).collect();
    for (place, transaction) in transactions.iter().enumerate() {
        for outpoint in &transaction.inputs {
            let Some(&parent) = places.get(&outpoint.txid) else {
                continue;
            };
            let (a, b) = (head(&mut family, place), head(&mut family, parent));
            family[a.max(b)] = a.min(b);
        }
    }
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for place in 0..transactions.len() {
        members
            .entry(head(&mut family, place))
            .or_default()
            .push(place);
    }
    members.into_values().collect()
}

/// The first member of a family; paths are halved on the way.
fn head(family: &mut [usize], mut place: usize) -> usize {
    while family[place] != place {
        family[place] = family[family[place]];
        place = family[place];
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mempool::tests::kit::*;

    fn summed(transactions: &[Transaction], fees: &[u64]) -> BlockFees {
        let ids: Vec<TransactionIds> = transactions.iter().map(Transaction::ids).collect();
        let fees: Vec<Amount> = fees.iter().copied().map(Amount).collect();
        BlockFees::of(7, transactions, &ids, &fees)
    }

    #[test]
    fn an_empty_block_is_all_zero() {
        let zero = FeeRate(0);
        let expected = BlockFees {
            height: 7,
            transactions: 0,
            weight: 0,
            min: zero,
            median: zero,
            mean: zero,
            max: zero,
        };
        assert_eq!(summed(&[], &[]), expected);
    }

    #[test]
    fn five_numbers_of_unrelated_transactions() {
        let block: Vec<Transaction> = (0..3).map(|n| spend(coin(n), COIN, 1_000)).collect();
        let weight = block[0].weight();
        let fees = summed(&block, &[3_000, 1_000, 2_000]);
        let rate = |fee| FeeRate::of(Amount(fee), weight);
        assert_eq!(
            (fees.min, fees.median, fees.max),
            (rate(1_000), rate(2_000), rate(3_000))
        );
        assert_eq!(
            (fees.mean, fees.weight, fees.transactions),
            (rate(2_000), 3 * weight, 3)
        );
    }

    #[test]
    fn a_parent_paid_for_by_its_child_counts_with_it() {
        let family = chain(coin(0), 2, 1_000);
        let fees = summed(&family, &[0, 4_000]);
        let together = FeeRate::of(Amount(4_000), family[0].weight() + family[1].weight());
        assert_eq!((fees.min, fees.max), (together, together));
    }
}
