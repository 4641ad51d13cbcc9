//! Random histories: payments, double spends, blocks, reorganisations, time; after each step the pool
//! is held against what a few slow lines say about it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cairn_protocol::hash::TxId;
use cairn_protocol::ledger::check_spend;
use cairn_protocol::transaction::{OutPoint, Transaction};
use proptest::prelude::*;

use super::super::diagram::{Rate, compare, sort_chunks};
use super::super::{Mempool, OrphanPolicy, Policy, Refusal, Rejection, VerifiedTx};
use super::kit::*;

/// Small limits, so that short histories meet them.
fn policy() -> Policy {
    Policy {
        usage_bytes_max: 40_000,
        cluster_count_max: 7,
        cluster_weight_max: 4_500,
        replacement_clusters_max: 4,
        expiry_s: 1_000,
        orphans: OrphanPolicy {
            count_max: 5,
            ..OrphanPolicy::default()
        },
        ..Policy::default()
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Spend some outputs, by number among all that ever were, whether still there or not.
    Pay {
        inputs: Vec<prop::sample::Index>,
        outputs: usize,
        fee: u64,
    },
    /// Mine the best `weight` of the pool, and a payment the pool has not seen.
    Mine {
        weight: u64,
        foreign: Option<prop::sample::Index>,
    },
    /// Take off some blocks and connect one more than that; each holds some of the old ones' content.
    /// Before that, maybe, a block of a branch that is left again.
    Reorganise {
        depth: usize,
        keep: Vec<bool>,
        tried: bool,
    },
    /// Let time pass.
    Wait { seconds: u64 },
}

/// Any fee, or one of two, so that rates are often equal.
fn fee() -> impl Strategy<Value = u64> {
    prop_oneof![100u64..5_000, Just(300), Just(900)]
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        10 => (proptest::collection::vec(index(), 1..4), 1usize..4, fee())
            .prop_map(|(inputs, outputs, fee)| Step::Pay { inputs, outputs, fee }),
        2 => (0u64..6_000, proptest::option::of(index()))
            .prop_map(|(weight, foreign)| Step::Mine { weight, foreign }),
        1 => (1usize..4, proptest::collection::vec(any::<bool>(), 24), any::<bool>())
            .prop_map(|(depth, keep, tried)| Step::Reorganise { depth, keep, tried }),
        1 => (0u64..600).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

struct History {
    world: World,
    /// Every output that ever was, with its value.
    outputs: Vec<(OutPoint, u64)>,
}

impl History {
    fn new() -> History {
        let outputs = (0..12).map(|n| (coin(n), COIN)).collect();
        History {
            world: World::with_policy(12, policy()),
            outputs,
        }
    }

    fn make(&self, inputs: &[prop::sample::Index], outputs: usize, fee: u64) -> Transaction {
        let chosen: BTreeMap<OutPoint, u64> = inputs
            .iter()
            .map(|index| *index.get(&self.outputs))
            .collect();
        let total = chosen.values().sum();
        pay(&chosen.into_keys().collect::<Vec<_>>(), total, outputs, fee)
    }

    fn remember(&mut self, transaction: &Transaction) {
        let made = (0..transaction.outputs.len()).map(|index| output_of(transaction, index));
        self.outputs.extend(made);
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Pay {
                inputs,
                outputs,
                fee,
            } => self.pay(&self.make(inputs, *outputs, *fee)),
            Step::Mine { weight, foreign } => self.mine(*weight, foreign.as_ref()),
            Step::Reorganise { depth, keep, tried } => self.reorganise(*depth, keep, *tried),
            Step::Wait { seconds } => {
                self.world.now += seconds;
                self.world.pool.expire(self.world.now);
            }
        }
        self.resolve();
    }

    fn pay(&mut self, transaction: &Transaction) {
        let (before, sequence) = (content(&self.world.pool), self.world.pool.sequence());
        let diagram = whole_diagram(&self.world.pool);
        match self.world.submit(transaction) {
            Ok(accepted) => {
                self.remember(transaction);
                assert!(self.world.has(transaction));
                let mut expected = before;
                expected.insert(accepted.txid);
                for removed in &accepted.removed {
                    assert!(expected.remove(&removed.ids.txid), "removed what was there");
                }
                assert_eq!(content(&self.world.pool), expected);
                if accepted
                    .removed
                    .iter()
                    .all(|removed| removed.why.name() == "replaced")
                {
                    let after = whole_diagram(&self.world.pool);
                    assert_eq!(compare(&after, &diagram), Some(Ordering::Greater));
                }
            }
            Err(rejection) => {
                assert_eq!(content(&self.world.pool), before, "{rejection}");
                assert_eq!(self.world.pool.sequence(), sequence);
                self.keep_orphan(transaction, rejection);
            }
        }
    }

    fn keep_orphan(&mut self, transaction: &Transaction, rejection: Rejection) {
        let Rejection::Refused(Refusal::MissingInputs(missing)) = rejection else {
            return;
        };
        assert!(
            missing
                .iter()
                .all(|txid| self.world.pool.get(txid).is_none())
        );
        let peer = transaction.outputs.len() as u64;
        let orphan = Arc::new(transaction.clone());
        // Bounds may refuse it.
        let _ = self
            .world
            .pool
            .add_orphan(self.world.now, peer, orphan, missing);
    }

    /// Orphans whose parents came are tried again, for as long as that sets others free.
    fn resolve(&mut self) {
        loop {
            let ready = self.world.pool.take_ready_orphans(2);
            if ready.is_empty() {
                return;
            }
            for orphan in ready {
                self.pay(&orphan.transaction);
            }
        }
    }

    fn mine(&mut self, weight: u64, foreign: Option<&prop::sample::Index>) {
        let selection = self.world.pool.select(weight);
        let mut block: Vec<Transaction> = selection
            .transactions
            .iter()
            .map(|s| s.transaction.as_ref().clone())
            .collect();
        if let Some(index) = foreign {
            let spent: BTreeSet<OutPoint> = block.iter().flat_map(|tx| tx.inputs.clone()).collect();
            let (outpoint, value) = *index.get(&self.outputs);
            if self.world.coins.contains_key(&outpoint) && !spent.contains(&outpoint) {
                let unseen = pay(&[outpoint], value, 2, 12_345);
                self.remember(&unseen);
                block.push(unseen);
            }
        }
        self.world.mine(&block);
    }

    fn reorganise(&mut self, depth: usize, keep: &[bool], tried: bool) {
        let depth = depth.min(self.world.blocks.len());
        let mut old = Vec::new();
        for _ in 0..depth {
            old.splice(0..0, self.world.blocks.last().expect("counted").0.clone());
            self.world.disconnect();
            assert!(self.world.pool.select(u64::MAX / 2).transactions.is_empty());
        }
        if tried {
            self.world.connect(&self.connectable(old.clone()));
            self.world.disconnect();
        }
        let kept: Vec<Transaction> = old
            .iter()
            .zip(keep.iter().cycle())
            .filter(|(_, keep)| **keep)
            .map(|(tx, _)| tx.clone())
            .collect();
        for part in 0..=depth {
            let share: Vec<Transaction> =
                kept.iter().skip(part).step_by(depth + 1).cloned().collect();
            let connectable = self.connectable(share);
            self.world.connect(&connectable);
        }
        self.world.announce();
        self.assert_all_returned(&old);
    }

    /// Those of the transactions that can follow each other on the coins of this moment.
    fn connectable(&self, transactions: Vec<Transaction>) -> Vec<Transaction> {
        let mut coins: BTreeSet<OutPoint> = self.world.coins.keys().copied().collect();
        let mut fitting = Vec::new();
        for transaction in transactions {
            if transaction
                .inputs
                .iter()
                .all(|outpoint| coins.contains(outpoint))
            {
                transaction.inputs.iter().for_each(|outpoint| {
                    coins.remove(outpoint);
                });
                let made = (0..transaction.outputs.len()).map(|i| output_of(&transaction, i).0);
                coins.extend(made);
                fitting.push(transaction);
            }
        }
        fitting
    }

    /// Nothing of the abandoned blocks was forgotten that could still be admitted.
    fn assert_all_returned(&self, old: &[Transaction]) {
        let mut pool = self.world.pool.clone();
        let minimum = pool.fee_rate_min(self.world.now);
        for transaction in old {
            let verified = VerifiedTx::vouched(Arc::new(transaction.clone()), self.world.now);
            let context = self.world.context();
            let again = pool.insert(self.world.now, verified, &self.world.coins, &context);
            // A pool at its limit may have evicted it: then only a minimum above the floor.
            assert!(
                again.is_err() || minimum.0 > 250,
                "{} was forgotten",
                transaction.txid()
            );
        }
    }

    /// What must hold after every step.
    fn check(&self) {
        let world = &self.world;
        world.pool.store.assert_consistent();
        let residents: Vec<_> = world.pool.by_fee_rate().collect();
        assert!(world.pool.stats(world.now).usage_bytes <= policy().usage_bytes_max);
        assert!(world.pool.stats(world.now).orphans <= 5);

        // All residents together make a valid block, in the order of the pool.
        let (mut coins, mut fees, context) = (world.coins.clone(), 0, world.context());
        for entry in &residents {
            let spent: Vec<_> = entry
                .transaction
                .inputs
                .iter()
                .map(|outpoint| coins.remove(outpoint).expect("there and not spent before"))
                .collect();
            let verdict = check_spend(&context, &entry.transaction, &entry.ids, &spent, true);
            assert_eq!(verdict.expect("valid").fee, entry.fee);
            assert_eq!(spent, entry.spent, "the coins that the entry remembers");
            fees += entry.fee.0;
            for (index, output) in entry.transaction.outputs.iter().enumerate() {
                let coin = cairn_protocol::ledger::Coin {
                    output: output.clone(),
                    height: super::super::UNCONFIRMED,
                    is_coinbase: false,
                };
                coins.insert(Transaction::outpoint(entry.txid(), index), coin);
            }
        }
        assert_eq!(fees, world.pool.stats(world.now).fees.0);
        self.check_clusters();
        self.check_selection();
    }

    fn check_clusters(&self) {
        let residents: BTreeMap<TxId, &super::super::Entry> = self
            .world
            .pool
            .by_fee_rate()
            .map(|entry| (entry.txid(), entry))
            .collect();
        let mut name: BTreeMap<TxId, TxId> = residents.keys().map(|id| (*id, *id)).collect();
        // Names spread along links until nothing changes: slow, and right by inspection.
        let mut changed = true;
        while changed {
            changed = false;
            for entry in residents.values() {
                for outpoint in &entry.transaction.inputs {
                    let (Some(a), Some(b)) = (name.get(&entry.txid()), name.get(&outpoint.txid))
                    else {
                        continue;
                    };
                    let (low, differ) = (*a.min(b), a != b);
                    changed |= differ;
                    name.insert(entry.txid(), low);
                    name.insert(outpoint.txid, low);
                }
            }
        }
        let mut extents: BTreeMap<TxId, (usize, u64)> = BTreeMap::new();
        for (txid, cluster) in &name {
            let extent = extents.entry(*cluster).or_default();
            *extent = (extent.0 + 1, extent.1 + residents[txid].weight());
        }
        for (count, weight) in extents.values() {
            assert!(*count <= policy().cluster_count_max, "cluster of {count}");
            assert!(
                *weight <= policy().cluster_weight_max,
                "cluster of weight {weight}"
            );
        }
    }

    fn check_selection(&self) {
        for weight_max in [0, 700, 3_000, 1_000_000] {
            let selection = self.world.pool.select(weight_max);
            assert!(selection.weight <= weight_max);
            let weight: u64 = selection.transactions.iter().map(|s| s.ids.weight).sum();
            let fees: u64 = selection.transactions.iter().map(|s| s.fee.0).sum();
            assert_eq!((weight, fees), (selection.weight, selection.fees.0));
            assert_eq!(self.world.pool.best_fee_total(weight_max), selection.fees);
            let mut taken = BTreeSet::new();
            for selected in &selection.transactions {
                for outpoint in &selected.transaction.inputs {
                    let is_resident = self.world.pool.get(&outpoint.txid).is_some();
                    assert!(
                        !is_resident || taken.contains(&outpoint.txid),
                        "parents first"
                    );
                }
                taken.insert(selected.ids.txid);
            }
        }
    }
}

fn content(pool: &Mempool) -> BTreeSet<TxId> {
    pool.by_fee_rate().map(|entry| entry.txid()).collect()
}

fn whole_diagram(pool: &Mempool) -> Vec<Rate> {
    let mut chunks: Vec<Rate> = pool.store.chunks().map(|key| key.rate).collect();
    sort_chunks(&mut chunks);
    chunks
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 3_000 }))]

    #[test]
    fn every_history_keeps_the_pool_sound(steps in proptest::collection::vec(step(), 1..60)) {
        let mut history = History::new();
        for step in &steps {
            history.run(step);
            history.check();
        }
        (0..4).for_each(|peer| history.world.pool.peer_gone(peer));
        let stats = history.world.pool.stats(0);
        prop_assert_eq!((stats.orphans, stats.orphan_bytes), (0, 0));
    }

    /// The order of the pool is a function of its content: another history, the same template.
    #[test]
    fn order_depends_on_content_alone(steps in proptest::collection::vec(step(), 1..40)) {
        let mut history = History::new();
        steps.iter().for_each(|step| history.run(step));
        let pool = &history.world.pool;
        let mut other = World::with_policy(0, policy());
        other.coins.clone_from(&history.world.coins);
        (other.height, other.time) = (history.world.height, history.world.time);
        // Worst first, as far as parents allow.
        let mut left: Vec<_> = pool.dump();
        while !left.is_empty() {
            let ids: BTreeSet<TxId> = left.iter().map(|(tx, _)| tx.txid()).collect();
            let ready = |tx: &Transaction| tx.inputs.iter().all(|o| !ids.contains(&o.txid));
            let place = left.iter().rposition(|(tx, _)| ready(tx)).expect("no circle");
            let (transaction, _) = left.remove(place);
            other.accept(&transaction);
        }
        let order = |pool: &Mempool| -> Vec<TxId> { pool.by_fee_rate().map(|e| e.txid()).collect() };
        prop_assert_eq!(order(pool), order(&other.pool));
    }
}
