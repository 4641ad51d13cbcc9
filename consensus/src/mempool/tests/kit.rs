//! A small world for pool tests: coins by number, transactions by a few words, a chain of blocks.
//!
//! Signatures are not made: the pool takes a verified transaction at its word. Everything else is
//! real, so that locks, amounts and weights count as they do in a node.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_protocol::address::key_hash;
use cairn_protocol::hash::{BlockId, KeyHash, TxId};
use cairn_protocol::ledger::{Coin, SpendContext};
use cairn_protocol::lock::{At, Lock, Witness};
use cairn_protocol::signature::{PublicKey, Signature};
use cairn_protocol::spec::Limits;
use cairn_protocol::transaction::{OutPoint, Output, TRANSACTION_VERSION, Transaction};
use cairn_protocol::units::{Amount, Height};

use super::super::{Accepted, Mempool, Policy, Rejection, TipReport};

pub const LIMITS: Limits = Limits {
    block_weight_max: 4_000_000,
    transaction_weight_max: 400_000,
    coinbase_maturity: 10,
    money_cap: Amount::from_crn(21_000_000),
};

/// The value of every coin that a test begins with.
pub const COIN: u64 = 1_000_000_000;

/// The key number `n`; its lock is [`lock_of`].
pub fn key(n: u8) -> PublicKey {
    PublicKey([n; 32])
}

pub fn owner(n: u8) -> KeyHash {
    key_hash(&key(n))
}

pub fn lock_of(n: u8) -> Lock {
    Lock::Key(owner(n))
}

pub fn witness() -> Witness {
    Witness::Key {
        key: key(0),
        signature: Signature([0; 64]),
    }
}

/// Number `n` of the confirmed coins that exist from the start.
pub fn coin(n: u32) -> OutPoint {
    OutPoint {
        txid: TxId([0xc0; 32]),
        index: n,
    }
}

/// A chain that is only a coin set, a height and a median time.
#[derive(Clone)]
pub struct World {
    pub coins: BTreeMap<OutPoint, Coin>,
    pub height: Height,
    pub time: u32,
    pub now: u64,
    pub pool: Mempool,
    pub blocks: Vec<(Vec<Transaction>, BTreeMap<OutPoint, Coin>, u32)>,
}

impl World {
    pub fn new(coins: u32) -> World {
        World::with_policy(coins, Policy::default())
    }

    pub fn with_policy(coins: u32, policy: Policy) -> World {
        let output = Output {
            value: Amount(COIN),
            lock: lock_of(0),
        };
        let make = |n| {
            (
                coin(n),
                Coin {
                    output: output.clone(),
                    height: 1,
                    is_coinbase: false,
                },
            )
        };
        World {
            coins: (0..coins).map(make).collect(),
            height: 100,
            time: 1_000_000,
            now: 1_000_000,
            pool: Mempool::new(policy),
            blocks: Vec::new(),
        }
    }

    pub fn context(&self) -> SpendContext<'static> {
        SpendContext {
            chain_id: BlockId::ZERO,
            limits: &LIMITS,
            height: self.height + 1,
            parent_time: self.time,
        }
    }

    /// Prepares and inserts, as a node does.
    pub fn submit(&mut self, transaction: &Transaction) -> Result<Accepted, Rejection> {
        let (context, now) = (self.context(), self.now);
        let transaction = Arc::new(transaction.clone());
        let candidate = self.pool.prepare(now, transaction, &self.coins, &context)?;
        self.pool
            .insert(now, candidate.verified(), &self.coins, &context)
    }

    pub fn accept(&mut self, transaction: &Transaction) -> Accepted {
        self.submit(transaction)
            .expect("the transaction is acceptable")
    }

    /// Mines a block of these transactions and announces the tip.
    pub fn mine(&mut self, transactions: &[Transaction]) -> TipReport {
        let removed = self.connect(transactions);
        let mut report = self.announce();
        report.removed.splice(0..0, removed);
        report
    }

    /// Connects a block without announcing a tip.
    pub fn connect(&mut self, transactions: &[Transaction]) -> Vec<super::super::Removed> {
        self.blocks
            .push((transactions.to_vec(), self.coins.clone(), self.time));
        self.height += 1;
        self.time += 10;
        for transaction in transactions {
            for outpoint in &transaction.inputs {
                self.coins
                    .remove(outpoint)
                    .expect("a block spends coins that exist");
            }
            let txid = transaction.txid();
            for (index, output) in transaction.outputs.iter().enumerate() {
                let coin = Coin {
                    output: output.clone(),
                    height: self.height,
                    is_coinbase: false,
                };
                self.coins.insert(Transaction::outpoint(txid, index), coin);
            }
        }
        let ids: Vec<_> = transactions.iter().map(Transaction::ids).collect();
        self.pool.block_connected(self.height, transactions, &ids)
    }

    /// Takes the tip off without announcing a tip.
    pub fn disconnect(&mut self) {
        let (transactions, coins, time) = self.blocks.pop().expect("a block to disconnect");
        self.pool.block_disconnected(self.height, &transactions);
        self.height -= 1;
        (self.coins, self.time) = (coins, time);
    }

    pub fn announce(&mut self) -> TipReport {
        let context = self.context();
        let report = self.pool.tip_changed(self.now, &self.coins, &context);
        self.pool.store.assert_consistent();
        report.expect("a map never fails")
    }

    pub fn has(&self, transaction: &Transaction) -> bool {
        self.pool.get(&transaction.txid()).is_some()
    }
}

/// Spends `inputs` into `outputs` equal parts of what `total` less `fee` leaves.
pub fn pay(inputs: &[OutPoint], total: u64, outputs: usize, fee: u64) -> Transaction {
    let value = (total - fee) / outputs as u64;
    let rest = (total - fee) % outputs as u64;
    let output = |i| Output {
        value: Amount(value + if i == 0 { rest } else { 0 }),
        lock: lock_of(0),
    };
    Transaction {
        version: TRANSACTION_VERSION,
        inputs: inputs.to_vec(),
        outputs: (0..outputs).map(output).collect(),
        valid_from: At::START,
        witnesses: inputs.iter().map(|_| witness()).collect(),
    }
}

/// Spends one coin whole into one output.
pub fn spend(input: OutPoint, total: u64, fee: u64) -> Transaction {
    pay(&[input], total, 1, fee)
}

/// Output `index` of a transaction, and its value.
pub fn output_of(transaction: &Transaction, index: usize) -> (OutPoint, u64) {
    let outpoint = Transaction::outpoint(transaction.txid(), index);
    (outpoint, transaction.outputs[index].value.0)
}

/// A child that spends output `index`.
pub fn child(parent: &Transaction, index: usize, fee: u64) -> Transaction {
    let (outpoint, value) = output_of(parent, index);
    spend(outpoint, value, fee)
}

/// A chain of `count` transactions from a coin, each paying `fee`.
pub fn chain(from: OutPoint, count: usize, fee: u64) -> Vec<Transaction> {
    let mut chain = vec![spend(from, COIN, fee)];
    while chain.len() < count {
        let next = child(chain.last().expect("one at least"), 0, fee);
        chain.push(next);
    }
    chain
}
