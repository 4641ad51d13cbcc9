//! What mining on all cores costs the node beside it: block connect, API and gossip, idle and mining.
//!
//! `cargo bench -p cairn-node --bench mining -- [--rounds 8] [--calls 16000] [--payments 60]`
//!
//! Two nodes on one machine; the first one mines with a thread for each core while the second
//! follows. The rounds alternate, so that both states see the same machine. Idle rounds get their
//! block from `generatetoaddress`, whose search has ended when the block is connected. Clients run
//! on the same cores and are in the figures of both states.

mod kit;

use cairn_fixtures::{TestChain, TestKey, easy_file};
use cairn_protocol::codec;
use cairn_protocol::ledger::Coin;
use cairn_protocol::pow::Bits;
use cairn_protocol::spec::ChainParams;
use cairn_protocol::transaction::{OutPoint, Transaction};
use kit::payments::{paid, pay_all};
use kit::process::{Node, post, text};
use serde_json::json;
use std::time::{Duration, Instant};

/// 2^27 hashes a block: some seconds of search, so that blocks do not crowd out what is measured.
const BITS: Bits = Bits(0x1d20_0000);
/// Transactions of a round's block: enough that connecting them, not the empty block, is measured.
const TRANSACTIONS: u64 = 2_000;

struct Options {
    rounds: usize,
    calls: usize,
    payments: usize,
}

fn options() -> Options {
    let mut options = Options {
        rounds: 8,
        calls: 16_000,
        payments: 60,
    };
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        let number = value
            .parse()
            .unwrap_or_else(|_| panic!("{argument}: `{value}` is no number"));
        match argument.as_str() {
            "--rounds" => options.rounds = number,
            "--calls" => options.calls = number,
            "--payments" => options.payments = number,
            other => panic!("`{other}`: expected --rounds, --calls or --payments"),
        }
    }
    options
}

/// What was measured in one of the two states.
#[derive(Default)]
struct Figures {
    connect_us: Vec<f64>,
    call_ms: Vec<f64>,
    gossip_ms: Vec<f64>,
}

struct World {
    mining: Node,
    following: Node,
    signer: TestChain,
    keys: Vec<TestKey>,
    coins: Vec<(OutPoint, Coin)>,
    sink: String,
    _folder: tempfile::TempDir,
}

fn main() {
    let options = options();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut world = World::new(cores);
    let (mut idle, mut mining) = (Figures::default(), Figures::default());
    for round in 0..options.rounds {
        world.pause(true);
        world.round(&options, &mut idle, true);
        world.pause(false);
        world.round(&options, &mut mining, false);
        println!(
            "round {round}: connect {:.2} idle, {:.2} mining (us a transaction)",
            idle.connect_us[round], mining.connect_us[round]
        );
    }
    println!("{cores} threads mining, {TRANSACTIONS} transactions a block");
    row(
        "block connect, median us a transaction",
        [&idle, &mining],
        |figures| quantile(&figures.connect_us, 0.5),
    );
    row("API call, p99 ms", [&idle, &mining], |figures| {
        quantile(&figures.call_ms, 0.99)
    });
    row("API call, median ms", [&idle, &mining], |figures| {
        quantile(&figures.call_ms, 0.5)
    });
    row(
        "gossip to the other node, median ms",
        [&idle, &mining],
        |figures| quantile(&figures.gossip_ms, 0.5),
    );
    row(
        "gossip to the other node, p99 ms",
        [&idle, &mining],
        |figures| quantile(&figures.gossip_ms, 0.99),
    );
}

fn row(name: &str, [idle, mining]: [&Figures; 2], figure: impl Fn(&Figures) -> f64) {
    let (idle, mining) = (figure(idle), figure(mining));
    println!(
        "{name}: idle {idle:.3}, mining {mining:.3}: {:.2}x (aim <= 2)",
        mining / idle
    );
}

fn quantile(numbers: &[f64], part: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

impl World {
    fn new(cores: usize) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = easy_file(TRANSACTIONS);
        file.genesis.bits = BITS;
        file.schedule[0].initial_bits = BITS;
        // Without a bound, as on a public network.
        file.mining.hashes_per_second = 0;
        let spec = folder.path().join("chain.toml");
        std::fs::write(&spec, file.to_toml()).expect("written");
        let signer = TestChain::new(ChainParams::new(file).expect("a valid chain"));
        let keys = TestKey::many(TRANSACTIONS);
        let coins = (0..keys.len()).map(|i| signer.funded(i)).collect();
        let sink = TestKey::new(1_000_000)
            .address(signer.params().network())
            .to_string();
        let threads = cores.to_string();
        let mining = Node::start(
            &folder.path().join("mining"),
            &spec,
            &["--mine", "--threads", &threads, "--mine-to", &sink],
        );
        let world = World {
            following: Node::start(
                &folder.path().join("following"),
                &spec,
                &["--bootnode", &mining.p2p],
            ),
            mining,
            signer,
            keys,
            coins,
            sink,
            _folder: folder,
        };
        world.pause(true);
        world.wait("the two nodes to agree", || world.agree());
        world
    }

    fn pause(&self, paused: bool) {
        let answer = post(&self.mining.api, "/v1/miner", &json!({ "paused": paused }));
        answer.expect("the miner answers");
    }

    fn agree(&self) -> bool {
        let tip = self.mining.tip();
        tip.is_some() && tip == self.following.tip()
    }

    fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let started = Instant::now();
        while !done() {
            std::thread::sleep(Duration::from_millis(20));
            assert!(
                started.elapsed() < Duration::from_secs(300),
                "no end of waiting for {what}"
            );
        }
    }

    fn send(&self, payment: &Transaction) -> String {
        let body = json!({ "hex": hex::encode(codec::encode(payment)) });
        let answer = post(&self.mining.api, "/v1/transactions", &body).expect("it answers");
        answer["txid"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"))
            .to_owned()
    }

    /// One block's worth of payments, of which the first are timed on their way to the other node.
    fn round(&mut self, options: &Options, figures: &mut Figures, is_idle: bool) {
        // Before the payments: a template of 2,000 transactions is no cost of the search.
        for _ in 0..options.calls / options.rounds {
            let started = Instant::now();
            text(&self.mining.api, "/v1/status").expect("it answers");
            figures.call_ms.push(started.elapsed().as_secs_f64() * 1e3);
        }
        let before = self.connected();
        let payments = pay_all(&self.signer, &self.keys, &self.coins);
        let timed = options.payments.min(payments.len());
        for payment in &payments[..timed] {
            let started = Instant::now();
            let path = format!("/v1/transactions/{}", self.send(payment));
            while text(&self.following.api, &path).is_none() {
                std::thread::sleep(Duration::from_micros(200));
            }
            figures
                .gossip_ms
                .push(started.elapsed().as_secs_f64() * 1e3);
        }
        for payment in &payments[timed..] {
            self.send(payment);
        }
        if is_idle {
            self.wait("the payments' gossip", || {
                self.following.pool() >= TRANSACTIONS
            });
            let call = json!({"jsonrpc": "2.0", "id": 1, "method": "generatetoaddress", "params": [1, self.sink]});
            let answer = post(&self.mining.api, "/rpc", &call).expect("it answers");
            assert!(answer["error"].is_null(), "{answer}");
        }
        self.wait("the payments' block", || {
            self.mining.pool() == 0 && self.following.pool() == 0 && self.agree()
        });
        // Both nodes connected all payments once.
        let spent = self.connected() - before;
        figures
            .connect_us
            .push(spent * 1e6 / (2 * TRANSACTIONS) as f64);
        let height = self.mining.tip().expect("it answers").0;
        self.coins = paid(&payments, height);
    }

    /// Seconds that both nodes spent in connecting blocks.
    fn connected(&self) -> f64 {
        let sum = |node: &Node| -> f64 {
            let page = text(&node.api, "/metrics").expect("it answers");
            let line = page
                .lines()
                .find_map(|line| line.strip_prefix("cairn_block_connect_seconds_sum "));
            line.and_then(|number| number.parse().ok()).expect("a sum")
        };
        sum(&self.mining) + sum(&self.following)
    }
}
