//! Where a newcomer would stand: the cluster it joins and the residents it would replace.
//!
//! A transaction that spends what residents spend replaces them and all that depends on them, if
//! (1) it depends on none of them, (2) it pays their fees and its own relay on top, and (3) the
//! fee-rate diagram of all clusters touched gets better: nowhere lower, somewhere higher. So a miner
//! of any block size prefers the new pool, and no sequence of replacements is free.
//! Rule: `spec/11-mempool.md#replacement`.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use cairn_protocol::transaction::{Transaction, TransactionIds};
use cairn_protocol::units::{Amount, Weight};

use super::diagram::{Rate, compare, sort_chunks};
use super::pool::{Mempool, Terms};
use super::refusal::Refusal;
use super::slab::Slot;
use super::store::Newcomer;

impl Mempool {
    /// The residents that the transaction would replace; empty without conflict.
    pub(super) fn check_place(
        &self,
        transaction: &Transaction,
        ids: &TransactionIds,
        fee: Amount,
        (terms, signed): (Terms, bool),
    ) -> Result<BTreeSet<Slot>, Refusal> {
        let parents = self.store.parents_of(&transaction.inputs);
        let conflicts = self.direct_conflicts(transaction, terms)?;
        if conflicts.is_empty() {
            let joined = self.store.clusters_of(parents);
            let (count, weight) = self.store.extent(&joined);
            self.check_cluster(count + 1, weight + ids.weight)?;
            return Ok(BTreeSet::new());
        }
        let newcomer = Newcomer {
            txid: ids.txid,
            rate: Rate::new(fee.0, ids.weight),
            parents,
        };
        let replaced = self.check_replacement(&newcomer, conflicts)?;
        // Up to a hundred clusters are ordered for a verdict: not for someone who may not even own
        // the coins. Unsigned candidates get it at insertion.
        if signed {
            self.check_diagram(&newcomer, &replaced)?;
        }
        Ok(replaced)
    }

    fn direct_conflicts(
        &self,
        transaction: &Transaction,
        terms: Terms,
    ) -> Result<BTreeSet<Slot>, Refusal> {
        let mut conflicts = BTreeSet::new();
        for outpoint in &transaction.inputs {
            let Some(slot) = self.store.spender(outpoint) else {
                continue;
            };
            if terms == Terms::Return {
                let spender = self.store.entry(slot).txid();
                return Err(Refusal::Conflict {
                    outpoint: *outpoint,
                    spender,
                });
            }
            conflicts.insert(slot);
        }
        Ok(conflicts)
    }

    fn check_cluster(&self, count: usize, weight: Weight) -> Result<(), Refusal> {
        let max = self.policy.cluster_count_max;
        if count > max {
            return Err(Refusal::ClusterCount { count, max });
        }
        let max = self.policy.cluster_weight_max;
        if weight > max {
            return Err(Refusal::ClusterWeight { weight, max });
        }
        Ok(())
    }

    fn check_replacement(
        &self,
        newcomer: &Newcomer,
        conflicts: BTreeSet<Slot>,
    ) -> Result<BTreeSet<Slot>, Refusal> {
        let linked = conflicts.iter().chain(&newcomer.parents).copied();
        let touched = self.store.clusters_of(linked);
        let (clusters, max) = (touched.len(), self.policy.replacement_clusters_max);
        if clusters > max {
            return Err(Refusal::ReplacementTooWide { clusters, max });
        }
        let replaced = self.store.with_descendants(conflicts);
        if let Some(parent) = newcomer
            .parents
            .iter()
            .find(|parent| replaced.contains(parent))
        {
            return Err(Refusal::SpendsReplaced(self.store.entry(*parent).txid()));
        }
        self.check_replacement_fee(newcomer, &replaced)?;
        Ok(replaced)
    }

    fn check_replacement_fee(
        &self,
        newcomer: &Newcomer,
        replaced: &BTreeSet<Slot>,
    ) -> Result<(), Refusal> {
        let paid: u64 = replaced
            .iter()
            .map(|slot| self.store.entry(*slot).fee.0)
            .sum();
        let relay = self.policy.fee_rate_step.fee(newcomer.rate.weight);
        let (fee, needed) = (
            Amount(newcomer.rate.fee),
            Amount(paid.saturating_add(relay.0)),
        );
        if fee < needed {
            return Err(Refusal::ReplacementFee { fee, needed });
        }
        Ok(())
    }

    fn check_diagram(&self, newcomer: &Newcomer, replaced: &BTreeSet<Slot>) -> Result<(), Refusal> {
        let linked = replaced.iter().chain(&newcomer.parents).copied();
        let touched = self.store.clusters_of(linked);
        let (mut before, mut kept) = (Vec::new(), Vec::new());
        for cluster in touched.iter().map(|slot| self.store.cluster(*slot)) {
            before.extend(cluster.chunks.iter().map(|chunk| chunk.rate));
            kept.extend(
                cluster
                    .order
                    .iter()
                    .copied()
                    .filter(|slot| !replaced.contains(slot)),
            );
        }
        let (mut own, mut after) = (Vec::new(), Vec::new());
        for part in self.store.components(kept) {
            if newcomer.parents.iter().any(|parent| part.contains(parent)) {
                own.extend(part);
            } else {
                after.extend(self.store.arrange(part, None).chunks.iter().map(|c| c.rate));
            }
        }
        let weight: Weight = own
            .iter()
            .map(|slot| self.store.entry(*slot).weight())
            .sum();
        self.check_cluster(own.len() + 1, weight + newcomer.rate.weight)?;
        after.extend(
            self.store
                .arrange(own, Some(newcomer))
                .chunks
                .iter()
                .map(|c| c.rate),
        );
        sort_chunks(&mut before);
        sort_chunks(&mut after);
        match compare(&after, &before) {
            Some(Ordering::Greater) => Ok(()),
            _ => Err(Refusal::ReplacementDiagram),
        }
    }
}
