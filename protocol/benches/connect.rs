//! What connecting a block costs, in CPU time of one thread:
//! `cargo bench -p cairn-protocol --bench connect`.
//!
//! Two figures, both with 1 input and 2 outputs a transaction and coins in a hash map:
//! * signature checking inside an uncached connect against the bare batch verifier of `ed25519-zebra`,
//!   in alternating rounds of the same run;
//! * inputs a second with cached signatures.
//!
//! The rest says where the time goes. Nothing here is a test: the numbers depend on the machine.

use cairn_fixtures::{Payment, TestChain, TestKey, easy_file, easy_params};
use cairn_protocol::block::Block;
use cairn_protocol::hash::Wtxid;
use cairn_protocol::ledger::{
    CheckedBlock, Coin, CoinView, Fault, check_spend, connect_block, disconnect_block,
};
use cairn_protocol::ledger::{Connected, SpendContext};
use cairn_protocol::lthash::LtHash;
use cairn_protocol::signature::{Ed25519, SignatureCheck, SignatureJob, SignatureScheme};
use cairn_protocol::spec::ChainParams;
use cairn_protocol::state::LedgerState;
use cairn_protocol::transaction::{OutPoint, Transaction};
use ed25519_zebra::batch;
use std::collections::HashMap;
use std::time::Duration;

/// Transactions of the block: what 4,000,000 weight has room for, nearly.
const TRANSACTIONS: u64 = 7_000;
/// Coins in the view besides those that are spent.
const BYSTANDERS: u64 = 1_000_000;
/// Rounds of each measurement; the median counts.
const ROUNDS: usize = 9;
/// Signatures of a bare batch.
const BATCH: usize = 256;

fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = cpu_time();
    let result = work();
    (cpu_time() - start, result)
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}

/// The versions of the libraries that do the work, from the lock file.
fn versions() -> String {
    let lock = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    let lock: toml::Table = std::fs::read_to_string(lock)
        .ok()
        .and_then(|text| text.parse().ok())
        .expect("the lock file is committed");
    let packages = lock["package"].as_array().expect("a list of packages");
    let wanted = ["blake3", "curve25519-dalek", "ed25519-zebra", "postcard"];
    let of = |name: &str| {
        let found = packages.iter().filter(|p| p["name"].as_str() == Some(name));
        let versions: Vec<_> = found.filter_map(|p| p["version"].as_str()).collect();
        format!("{name} {}", versions.join(" and "))
    };
    wanted.map(of).join(", ")
}

fn measure<T>(mut work: impl FnMut() -> T) -> Duration {
    let times: Vec<_> = (0..ROUNDS).map(|_| timed(&mut work).0).collect();
    median(&times)
}

struct MapView(HashMap<OutPoint, Coin>);

impl CoinView for MapView {
    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, Fault> {
        Ok(self.0.get(outpoint).cloned())
    }
}

/// Either all signatures are known, or none is.
struct Signatures {
    known: bool,
}

impl SignatureCheck for Signatures {
    fn is_known(&self, _: &Wtxid) -> bool {
        self.known
    }
    fn verify(&mut self, jobs: &[SignatureJob]) -> Result<(), usize> {
        Ed25519.verify(jobs)
    }
    fn remember(&mut self, _: Wtxid) {}
}

struct Scene {
    params: ChainParams,
    state: LedgerState,
    view: MapView,
    block: Block,
    jobs: Vec<SignatureJob>,
}

/// A block whose transactions spend one coin each of many keys.
fn scene() -> Scene {
    let mut file = easy_file(1);
    file.limits.money_cap.0 = 1 << 60;
    let params = ChainParams::new(file).unwrap_or_else(|_| easy_params(1));
    let chain = TestChain::new(params);
    let keys = TestKey::many(TRANSACTIONS);
    let mut view = HashMap::new();
    let coin_of = |number: u64| {
        let outpoint = OutPoint {
            txid: cairn_protocol::hash::TxId(cairn_protocol::hash::sha256(&number.to_le_bytes())),
            index: (number % 3) as u32,
        };
        let coin = Coin {
            output: cairn_protocol::transaction::Output {
                value: cairn_protocol::units::Amount(2_000_000),
                lock: keys[(number % TRANSACTIONS) as usize].lock(),
            },
            height: 0,
            is_coinbase: false,
        };
        (outpoint, coin)
    };
    view.extend((0..TRANSACTIONS + BYSTANDERS).map(coin_of));
    let sign = |number: u64| {
        let (outpoint, coin) = coin_of(number);
        let to = &keys[((number + 1) % TRANSACTIONS) as usize];
        let payment = Payment::new()
            .spend(outpoint, &coin, &keys[number as usize])
            .pay_key(to, 1_234_567)
            .pay_key(&keys[number as usize], 700_000);
        chain.sign(&payment)
    };
    let transactions: Vec<Transaction> = (0..TRANSACTIONS).map(sign).collect();
    let context = SpendContext {
        chain_id: chain.chain_id(),
        limits: chain.params().limits(),
        height: 1,
        parent_time: chain.state().engine.median_time(),
    };
    let jobs = (0..TRANSACTIONS)
        .zip(&transactions)
        .flat_map(|(number, tx)| {
            let coins = [coin_of(number).1];
            check_spend(&context, tx, &tx.ids(), &coins, false)
                .expect("a valid transaction")
                .signatures
        })
        .collect();
    Scene {
        params: chain.params().clone(),
        state: chain.state().clone(),
        view: MapView(view),
        block: chain.block(transactions, 0),
        jobs,
    }
}

impl Scene {
    fn connect(&self, block: &CheckedBlock, known: bool) -> Connected {
        let mut signatures = Signatures { known };
        connect_block(
            &self.params,
            &self.state,
            block,
            &self.view,
            &mut signatures,
        )
        .expect("the block is valid")
    }

    /// The library's own batches over the same jobs, randomised as its documentation says.
    fn bare_batches(&self) {
        for jobs in self.jobs.chunks(BATCH) {
            let mut verifier = batch::Verifier::new();
            for job in jobs {
                let key = ed25519_zebra::VerificationKeyBytes::from(job.key.0);
                let signature = ed25519_zebra::Signature::from(job.signature.0);
                verifier.queue((key, signature, &job.message));
            }
            verifier.verify(Factors(1)).expect("valid signatures");
        }
    }
}

/// A fast random source, so that the bare rate pays for nothing but the batch.
struct Factors(u64);

impl rand_core::TryRng for Factors {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.try_next_u64().map(|value| value as u32)
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Ok(self.0)
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in out.chunks_mut(8) {
            let bytes = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Factors {}

fn per_input(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6 / TRANSACTIONS as f64
}

fn line(name: &str, time: Duration) {
    let us = per_input(time);
    println!("{name:<58} {us:8.2} us/input {:>12.0} inputs/s", 1e6 / us);
}

fn main() {
    let scene = scene();
    let bytes = scene.block.to_bytes();
    println!(
        "block of {TRANSACTIONS} transactions, 1 input and 2 outputs each, {} bytes; {} coins in the view; \
         median of {ROUNDS} rounds, CPU time of one thread",
        bytes.len(),
        scene.view.0.len()
    );
    #[cfg(target_arch = "x86_64")]
    println!(
        "avx512f and avx512vl: {}",
        std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512vl")
    );
    println!("{}", versions());
    let checked = CheckedBlock::new(scene.block.clone(), scene.params.limits()).expect("valid");
    let (mut bare, mut uncached, mut cached) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(timed(|| scene.bare_batches()).0);
        uncached.push(timed(|| scene.connect(&checked, false)).0);
        cached.push(timed(|| scene.connect(&checked, true)).0);
    }
    for (name, rounds) in [
        ("bare", &bare),
        ("uncached", &uncached),
        ("cached", &cached),
    ] {
        let raw: Vec<_> = rounds
            .iter()
            .map(|t| format!("{:.2}", per_input(*t)))
            .collect();
        println!("raw rounds, us/input, {name}: {}", raw.join(" "));
    }
    let (bare, uncached, cached) = (median(&bare), median(&uncached), median(&cached));
    line("bare ed25519-zebra batches of 256", bare);
    line("connect_block, signatures uncached", uncached);
    line("connect_block, signatures cached", cached);
    let signatures = uncached.saturating_sub(cached);
    println!(
        "signature checking inside connect: {:.2}x the bare rate (whole uncached connect {:.2}x)",
        bare.as_secs_f64() / signatures.as_secs_f64(),
        bare.as_secs_f64() / uncached.as_secs_f64()
    );
    parts(&scene, &checked, &bytes);
}

/// Where the time goes.
fn parts(scene: &Scene, checked: &CheckedBlock, bytes: &[u8]) {
    line(
        "decode the block",
        measure(|| Block::from_bytes(bytes).expect("canonical")),
    );
    line("encode the block", measure(|| scene.block.to_bytes()));
    let ids = || {
        scene
            .block
            .transactions
            .iter()
            .map(Transaction::ids)
            .collect::<Vec<_>>()
    };
    line("ids of all transactions", measure(ids));
    line(
        "CheckedBlock::new, with a clone of the block",
        measure(|| CheckedBlock::new(scene.block.clone(), scene.params.limits()).expect("valid")),
    );
    line("clone of the block", measure(|| scene.block.clone()));
    let connected = scene.connect(checked, true);
    line(
        "LtHash of one removed and two created coins",
        measure(|| {
            let mut coins = LtHash::default();
            for (outpoint, coin) in &connected.changes.removed {
                coin.remove_from(outpoint, &mut coins);
            }
            for (outpoint, coin) in &connected.changes.created {
                coin.add_to(outpoint, &mut coins);
            }
            coins
        }),
    );
    line(
        "look up the coin",
        measure(|| {
            let inputs = scene.block.transactions.iter().flat_map(|tx| &tx.inputs);
            inputs
                .filter(|o| scene.view.coin(o).expect("memory").is_some())
                .count()
        }),
    );
    line(
        "disconnect_block",
        measure(|| {
            disconnect_block(&connected.state, checked.block(), &connected.undo).expect("our undo")
        }),
    );
}
