//! Insert rate of the mempool with 100,000 residents, signatures excluded; also the cost of a template,
//! of a block and of the worst cluster. `cargo bench -p cairn-consensus --bench mempool`
//!
//! Prints one line a measure and judges nothing: figures belong to a machine and its load.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use cairn_consensus::mempool::{Mempool, Policy, VerifiedTx};
use cairn_protocol::address::key_hash;
use cairn_protocol::hash::{BlockId, TxId};
use cairn_protocol::ledger::{Coin, SpendContext};
use cairn_protocol::lock::{At, Lock, Witness};
use cairn_protocol::signature::{PublicKey, Signature};
use cairn_protocol::spec::Limits;
use cairn_protocol::transaction::{OutPoint, Output, Transaction};
use cairn_protocol::units::Amount;

const RESIDENT: u32 = 100_000;
const MEASURED: u32 = 50_000;
const COIN: u64 = 1_000_000_000;
const BLOCK_WEIGHT: u64 = 4_000_000;

const LIMITS: Limits = Limits {
    block_weight_max: BLOCK_WEIGHT,
    transaction_weight_max: 400_000,
    coinbase_maturity: 100,
    money_cap: Amount::from_crn(21_000_000),
};

const CONTEXT: SpendContext<'static> = SpendContext {
    chain_id: BlockId::ZERO,
    limits: &LIMITS,
    height: 101,
    parent_time: 1_000_000,
};

type Coins = BTreeMap<OutPoint, Coin>;

/// Each transaction has an owner of its own, as real ones do.
fn key(n: u32) -> PublicKey {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    PublicKey(bytes)
}

fn output(n: u32, value: u64) -> Output {
    Output {
        value: Amount(value),
        lock: Lock::Key(key_hash(&key(n))),
    }
}

fn outpoint(n: u32) -> OutPoint {
    let mut txid = [1; 32];
    txid[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b1).to_le_bytes());
    OutPoint {
        txid: TxId(txid),
        index: n,
    }
}

/// One input, two outputs; `n` owns all of them.
fn payment(input: OutPoint, n: u32, value: u64, fee: u64) -> Transaction {
    Transaction {
        version: 1,
        inputs: vec![input],
        outputs: vec![output(n, value - fee - 1_000), output(n, 1_000)],
        valid_from: At::START,
        witnesses: vec![Witness::Key {
            key: key(n),
            signature: Signature([0; 64]),
        }],
    }
}

fn coins(count: u32) -> Coins {
    let coin = |n| Coin {
        output: output(n, COIN),
        height: 1,
        is_coinbase: false,
    };
    (0..count).map(|n| (outpoint(n), coin(n))).collect()
}

/// Fees that fall in no order.
fn fee(n: u32) -> u64 {
    500 + u64::from(n.wrapping_mul(2_654_435_761) % 100_000)
}

fn verified(transaction: Transaction) -> VerifiedTx {
    VerifiedTx::vouched(Arc::new(transaction), 0)
}

/// A stretch of work: wall time, and the time this thread was on a core, which a busy machine does
/// not stretch.
struct Watch {
    wall: Instant,
    core_ns: Option<u64>,
}

impl Watch {
    fn start() -> Watch {
        Watch {
            wall: Instant::now(),
            core_ns: core_ns(),
        }
    }

    fn report(self, name: &str, count: u64) {
        let wall = self.wall.elapsed().as_secs_f64();
        let core = self
            .core_ns
            .and_then(|start| Some((core_ns()? - start) as f64 / 1e9));
        let rate = |seconds: f64| count as f64 / seconds;
        let core = core.map_or("-".to_owned(), |core| format!("{:.0}", rate(core)));
        let each = wall * 1e6 / count as f64;
        println!(
            "{name:<52} {:>10.0} /s wall {core:>10} /s core {each:>10.2} us",
            rate(wall)
        );
    }
}

/// Nanoseconds that this thread ran; Linux only.
fn core_ns() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn insert_all(pool: &mut Mempool, view: &Coins, transactions: Vec<VerifiedTx>) {
    for transaction in transactions {
        pool.insert(0, transaction, view, &CONTEXT)
            .expect("acceptable");
    }
}

fn main() {
    println!("cairn-consensus {}, mempool", env!("CARGO_PKG_VERSION"));
    let view = coins(RESIDENT + MEASURED);
    let make = |n| payment(outpoint(n), n, COIN, fee(n));
    let mut pool = Mempool::new(Policy {
        usage_bytes_max: 1 << 40,
        ..Policy::default()
    });

    let before_kib = resident_kib();
    insert_all(
        &mut pool,
        &view,
        (0..RESIDENT).map(make).map(verified).collect(),
    );
    if let (Some(before), Some(after)) = (before_kib, resident_kib()) {
        let charged = pool.stats(0).usage_bytes / u64::from(RESIDENT);
        let taken = (after - before) * 1024 / u64::from(RESIDENT);
        println!("{RESIDENT} residents: {charged} bytes charged each, {taken} bytes taken each");
    }

    let fresh: Vec<VerifiedTx> = (RESIDENT..RESIDENT + MEASURED)
        .map(make)
        .map(verified)
        .collect();
    let mut grown = pool.clone();
    let watch = Watch::start();
    insert_all(&mut grown, &view, fresh.clone());
    watch.report("insert of verified, 100,000 resident", u64::from(MEASURED));

    let mut both = pool.clone();
    let transactions: Vec<Arc<Transaction>> = fresh
        .iter()
        .map(|verified| Arc::clone(verified.transaction()))
        .collect();
    let watch = Watch::start();
    for transaction in transactions {
        let candidate = both
            .prepare(0, transaction, &view, &CONTEXT)
            .expect("acceptable");
        both.insert(0, candidate.verified(), &view, &CONTEXT)
            .expect("acceptable");
    }
    watch.report("prepare and insert, 100,000 resident", u64::from(MEASURED));

    children(&pool, &view);
    replacements(&pool, &view);

    full_pool(&pool, &view);
    dense_cluster();

    let watch = Watch::start();
    let selection = pool.select(BLOCK_WEIGHT);
    watch.report(&format!("template of {}", selection.transactions.len()), 1);
    let watch = Watch::start();
    black_box(pool.best_fee_total(BLOCK_WEIGHT));
    watch.report("fee total of the best block", 1);

    let block: Vec<Transaction> = selection
        .transactions
        .iter()
        .map(|s| s.transaction.as_ref().clone())
        .collect();
    let ids: Vec<_> = selection
        .transactions
        .iter()
        .map(|selected| selected.ids)
        .collect();
    let watch = Watch::start();
    let removed = pool.block_connected(101, &block, &ids).len() as u64;
    watch.report(
        &format!("block of {removed} connected, per transaction"),
        removed,
    );

    // The view is the one from before the block, as it is after taking the block off.
    let watch = Watch::start();
    pool.block_disconnected(101, &block);
    pool.tip_changed(0, &view, &CONTEXT)
        .expect("a map never fails");
    assert_eq!(pool.len(), RESIDENT as usize);
    watch.report("reorganisation of that block, 100,000 resident", 1);
}

/// Chains of 64 on top of residents: every insert orders its cluster anew.
fn children(pool: &Mempool, view: &Coins) {
    let mut pool = pool.clone();
    let mut chains = Vec::new();
    for n in 0..100 {
        let mut parent = payment(outpoint(n), n, COIN, fee(n));
        for _ in 1..64 {
            let input = Transaction::outpoint(parent.txid(), 0);
            let value = parent.outputs[0].value.0;
            parent = payment(input, n, value, fee(n));
            chains.push(verified(parent.clone()));
        }
    }
    let count = chains.len() as u64;
    let watch = Watch::start();
    insert_all(&mut pool, view, chains);
    watch.report("insert into chains growing to 64", count);
}

/// Each replaces one resident.
fn replacements(pool: &Mempool, view: &Coins) {
    let mut pool = pool.clone();
    let better = |n| verified(payment(outpoint(n), n, COIN, fee(n) + 10_000));
    let replacements: Vec<VerifiedTx> = (0..MEASURED).map(better).collect();
    let watch = Watch::start();
    insert_all(&mut pool, view, replacements);
    watch.report("replacement of single residents", u64::from(MEASURED));
}

/// A pool at its cap: the cheap are refused, each of the better ones drives out the worst.
fn full_pool(pool: &Mempool, view: &Coins) {
    let usage_bytes_max = pool.stats(0).usage_bytes;
    let policy = Policy {
        usage_bytes_max,
        ..Policy::default()
    };
    let mut full = Mempool::new(policy);
    for (transaction, _) in pool.dump() {
        full.insert(0, verified(transaction.as_ref().clone()), view, &CONTEXT)
            .expect("fits");
    }
    let range = RESIDENT..RESIDENT + MEASURED / 2;
    let rich: Vec<VerifiedTx> = range
        .clone()
        .map(|n| verified(payment(outpoint(n), n, COIN, 200_000 + fee(n))))
        .collect();
    let count = rich.len() as u64;
    let watch = Watch::start();
    insert_all(&mut full, view, rich);
    watch.report("insert into a full pool, each evicts", count);
    let poor: Vec<Arc<Transaction>> = (RESIDENT + MEASURED / 2..RESIDENT + MEASURED)
        .map(|n| Arc::new(payment(outpoint(n), n, COIN, 500)))
        .collect();
    let count = poor.len() as u64;
    let watch = Watch::start();
    for transaction in poor {
        full.prepare(0, transaction, view, &CONTEXT)
            .expect_err("too cheap");
    }
    watch.report("refusal of a cheap one by a full pool", count);
}

/// The costliest order: 64 transactions, each spending many of the earlier ones.
fn dense_cluster() {
    use cairn_consensus::mempool::diagram::Rate;
    use cairn_consensus::mempool::graph::Graph;
    use cairn_consensus::mempool::linearize::linearize;
    use cairn_consensus::mempool::members::Members;

    const GRAPHS: u64 = 1_000;
    let graphs: Vec<Graph> = (0..GRAPHS as u32)
        .map(|seed| {
            let mut random = seed.wrapping_mul(0x9e37_79b1) | 1;
            let mut next = || {
                random ^= random << 13;
                random ^= random >> 17;
                random ^= random << 5;
                random
            };
            let nodes: Vec<(Rate, Members)> = (0..64)
                .map(|child| {
                    let mut parents = Members::EMPTY;
                    (0..child)
                        .filter(|_| next() % 8 == 0)
                        .for_each(|p| parents.insert(p));
                    (
                        Rate::new(u64::from(next() % 10_000), 400 + u64::from(next() % 1_000)),
                        parents,
                    )
                })
                .collect();
            Graph::new(&nodes)
        })
        .collect();
    let watch = Watch::start();
    for graph in &graphs {
        black_box(linearize(graph));
    }
    watch.report("order of a dense cluster of 64", GRAPHS);
}
