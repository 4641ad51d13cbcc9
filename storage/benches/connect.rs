//! Throughput of connecting blocks of 1-input 2-output payments, by size of the coin set.
//!
//! `cargo bench -p cairn-storage --bench connect -- [COINS ...]` (default 10000 100000 1000000), with
//! `CAIRN_BENCH_MEMORY_GIB` of memory for caches (default 2, half of it for pages of the tables), on a
//! real directory below the system's temporary one. Signatures count as known; everything else is done:
//! rules, commitment, undo, log, indexes. A row tells from where the spent coins come: `cache` (flushed,
//! cached), `layer` (changed in memory), `ahead` (tables just opened, coin cache empty: the block's coins
//! are read by several threads while its body is synced), `cold` (the same without a coin cache, so that
//! rules read the tables themselves), `warm` (tables with every coin read once, no coin cache). Inputs per
//! second are those of rules and store together, the parts are microseconds an input, all in CPU time of
//! the one thread, so that other work on the machine does not count. The last column is by the clock, from
//! the body's arrival to the connection, sync and reading ahead included. Nothing is asserted.

#[path = "../tests/common/mod.rs"]
mod common;

use cairn_protocol::hash::KeyHash;
use cairn_protocol::ledger::{BlockStore, CheckedBlock, Coin, connect_block};
use cairn_protocol::spec::ChainParams;
use cairn_protocol::transaction::{OutPoint, Output, Transaction};
use cairn_storage::chain::{ChainStore, StoreOptions};
use cairn_storage::disk::RealDisk;
use common::*;
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

const OWNERS: u16 = 1000;
const INPUTS_PER_BLOCK: usize = 5_000;
const BLOCKS: usize = 8;

/// An unspent coin with its owner.
type Owned = (OutPoint, Coin, u16);

#[derive(Default)]
struct Times {
    inputs: u64,
    check: Duration,
    put: Duration,
    rules: Duration,
    store: Duration,
    flush: Duration,
    /// By the clock: body stored, rules, connected.
    wall: Duration,
}

fn main() {
    let sizes: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let sizes = if sizes.is_empty() {
        vec![10_000, 100_000, 1_000_000]
    } else {
        sizes
    };
    println!(
        "{:>9} {:<8} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>11}",
        "coins",
        "from",
        "inputs/s",
        "us rules",
        "us store",
        "us check",
        "us put",
        "us flush",
        "RSS MB",
        "by clock/s"
    );
    for size in sizes {
        let directory = tempfile::tempdir().expect("a temporary directory");
        measure(size, directory.path());
    }
}

fn measure(size: usize, directory: &Path) {
    let params = params_funding_with(OWNERS, 4, 500_000_000_000);
    // Flushes only where they are measured.
    let options = StoreOptions {
        background_flush: false,
        dirty_coins_max: 2_000_000,
        dirty_bytes_max: usize::MAX / 4,
        ..StoreOptions::with_memory(memory_gib() << 30)
    };
    let mut bench = Bench::new(directory, params, options);
    bench.grow(size);
    bench.store.flush().expect("a flush");
    // Right after a flush the newest coins are in the cache of flushed coins.
    bench.report(size, "cache", |coins| coins.pop_back());
    bench.report(size, "layer", |coins| coins.pop_back());
    // Without a coin cache, coins are only in the tables; these are taken from all over.
    let without = StoreOptions {
        coin_cache_bytes: 0,
        ..options
    };
    let mut pick = 1u64;
    let mut anywhere = |coins: &mut VecDeque<Owned>| {
        pick = pick.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let old = coins.len() * 3 / 4;
        coins.swap_remove_front((pick >> 33) as usize % old)
    };
    let mut bench = bench.reopen(directory, options);
    bench.report(size, "ahead", &mut anywhere);
    let mut bench = bench.reopen(directory, without);
    bench.report(size, "cold", &mut anywhere);
    for (outpoint, ..) in &bench.coins {
        assert!(bench.store.tip_coin(outpoint).expect("a read").is_some());
    }
    bench.report(size, "warm", &mut anywhere);
}

struct Bench {
    store: ChainStore,
    /// Oldest first.
    coins: VecDeque<Owned>,
    salt: u64,
}

impl Bench {
    fn new(directory: &Path, params: Arc<ChainParams>, options: StoreOptions) -> Self {
        let coins = params.genesis_coins().iter().enumerate();
        let coins = coins.map(|(at, (outpoint, coin))| (*outpoint, coin.clone(), (at / 4) as u16));
        let coins = coins.collect();
        let store = ChainStore::open(Arc::new(RealDisk), directory, params, options);
        Bench {
            store: store.expect("a store"),
            coins,
            salt: 0,
        }
    }

    fn reopen(self, directory: &Path, options: StoreOptions) -> Self {
        let Bench { store, coins, salt } = self;
        let params = store.params().clone();
        drop(store);
        let store = ChainStore::open(Arc::new(RealDisk), directory, params, options);
        Bench {
            store: store.expect("a store"),
            coins,
            salt,
        }
    }

    /// Splits coins until there are `size`.
    fn grow(&mut self, size: usize) {
        self.store.set_sync_each_block(false);
        while self.coins.len() < size {
            let mut transactions = Vec::new();
            for _ in 0..20 {
                let input = self.coins.pop_front().expect("coins never run out");
                let value = input.1.output.value.0 / 1000;
                let outputs = (0..1000).map(|n| pay(((self.salt + n) % 1000) as u16, value));
                transactions.push(payment(&[input], outputs.collect()));
                self.salt += 7;
            }
            self.step(transactions, &mut Times::default());
        }
        self.store.set_sync_each_block(true);
    }

    fn report(
        &mut self,
        size: usize,
        name: &str,
        mut take: impl FnMut(&mut VecDeque<Owned>) -> Option<Owned>,
    ) {
        let mut times = Times::default();
        for _ in 0..BLOCKS {
            let mut spent = Vec::new();
            for _ in 0..INPUTS_PER_BLOCK.min(size / (2 * BLOCKS)) {
                spent.push(take(&mut self.coins).expect("coins never run out"));
            }
            let transactions = spent.into_iter().map(pay_on).collect();
            self.step(transactions, &mut times);
        }
        let start = cpu_time();
        self.store.flush().expect("a flush");
        times.flush += cpu_time() - start;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / times.inputs as f64;
        println!(
            "{:>9} {:<8} {:>10.0} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>7} {:>11.0}",
            size,
            name,
            times.inputs as f64 / (times.rules + times.store).as_secs_f64(),
            each(times.rules),
            each(times.store),
            each(times.check),
            each(times.put),
            each(times.flush),
            resident_mb(),
            times.inputs as f64 / times.wall.as_secs_f64(),
        );
    }

    /// One block, as the chain driver connects it.
    fn step(&mut self, transactions: Vec<Transaction>, times: &mut Times) {
        let state = BlockStore::state(&self.store).clone();
        let params = self.store.params().clone();
        self.salt += 1;
        let made = block(&params, &state, transactions, 1, self.salt);
        let start = cpu_time();
        let checked = CheckedBlock::new(made, params.limits()).expect("a valid block");
        times.check += cpu_time() - start;
        let id = checked.id();
        let height = state.height + 1;
        let (start, arrived) = (cpu_time(), Instant::now());
        self.store
            .put_header(&id, height, &checked.record())
            .expect("a header");
        self.store.put_block(&checked).expect("a body");
        times.put += cpu_time() - start;
        let start = cpu_time();
        let connected = connect_block(&params, &state, &checked, &self.store, &mut Trusting);
        let connected = connected.expect("a valid block");
        times.rules += cpu_time() - start;
        times.wall += arrived.elapsed();
        times.inputs += connected.undo.spent.len() as u64;
        for (tx, ids) in checked
            .block()
            .transactions
            .iter()
            .zip(checked.transaction_ids())
        {
            for (output, at) in tx.outputs.iter().zip(0..) {
                let outpoint = Transaction::outpoint(ids.txid, at);
                let coin = Coin {
                    output: output.clone(),
                    height,
                    is_coinbase: false,
                };
                self.coins.push_back((outpoint, coin, owner_of(output)));
            }
        }
        let (start, began) = (cpu_time(), Instant::now());
        self.store
            .connect(&checked, connected)
            .expect("a connection");
        times.store += cpu_time() - start;
        times.wall += began.elapsed();
    }
}

/// Memory of the store: `CAIRN_BENCH_MEMORY_GIB`, half of it for pages of the tables.
fn memory_gib() -> usize {
    let given = std::env::var("CAIRN_BENCH_MEMORY_GIB").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// A payment of a coin to two outputs.
fn pay_on(input: Owned) -> Transaction {
    let (value, n) = (input.1.output.value.0, input.2);
    let outputs = vec![pay((n + 13) % OWNERS, value / 2), pay(n, value - value / 2)];
    payment(&[input], outputs)
}

fn owner_of(output: &Output) -> u16 {
    static BY_HASH: LazyLock<HashMap<KeyHash, u16>> =
        LazyLock::new(|| (0..OWNERS).map(|n| (owner(n), n)).collect());
    BY_HASH[&output.lock.key_hashes()[0]]
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Resident memory from `/proc`, 0 where there is none.
fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1000
}
