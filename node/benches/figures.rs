//! Figures of whole processes: a devnet's start, memory and CPU; sync against import; relay of a
//! full block over one hop. Raw runs are printed, then the ratio that the project aims at.
//!
//! `cargo bench -p cairn-node --bench figures -- [--blocks 10000] [--wait 60] [--relay-blocks 12]`
//! runs all three; a name of `devnet`, `sync`, `relay` runs that one.

mod kit;

use cairn_fixtures::{TestChain, TestKey, easy_file};
use cairn_protocol::codec;
use cairn_protocol::ledger::Coin;
use cairn_protocol::spec::ChainParams;
use cairn_protocol::transaction::OutPoint;
use cairn_storage::chain::ChainFileWriter;
use kit::payments::{paid, pay_all};
use kit::process::{CAIRN, Node, get, post, stop, tip};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Transactions of a block in the sync figure.
const SYNC_TRANSACTIONS: u64 = 50;
/// Transactions of a block in the relay figure.
const RELAY_TRANSACTIONS: u64 = 2_000;

struct Options {
    only: Option<String>,
    blocks: u64,
    wait: Duration,
    relay_blocks: usize,
    devnets: usize,
}

fn options() -> Options {
    let mut options = Options {
        only: None,
        blocks: 10_000,
        wait: Duration::from_secs(60),
        relay_blocks: 12,
        devnets: 5,
    };
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        let mut number = || -> u64 {
            let text = arguments.next().unwrap_or_default();
            text.parse()
                .unwrap_or_else(|_| panic!("{argument}: `{text}` is no number"))
        };
        match argument.as_str() {
            "--blocks" => options.blocks = number(),
            "--wait" => options.wait = Duration::from_secs(number()),
            "--relay-blocks" => options.relay_blocks = number() as usize,
            "--devnets" => options.devnets = number() as usize,
            "devnet" | "sync" | "relay" => options.only = Some(argument),
            other => panic!("`{other}`: expected devnet, sync, relay or a flag of the first lines"),
        }
    }
    options
}

fn main() {
    let options = options();
    let wanted = |name: &str| options.only.as_deref().is_none_or(|only| only == name);
    if wanted("devnet") {
        devnet(&options);
    }
    if wanted("sync") {
        sync(options.blocks);
    }
    if wanted("relay") {
        relay(options.relay_blocks);
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

// ---- a devnet's start, memory and CPU ----

fn devnet(options: &Options) {
    let (mut urls, mut first) = (Vec::new(), Vec::new());
    for run in 0..options.devnets {
        let folder = tempfile::tempdir().expect("a folder");
        let started = Instant::now();
        let mut child = Command::new(CAIRN)
            .args(["devnet", "--roles", "ledger", "--data-dir"])
            .arg(folder.path().join("devnet"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut wait_for = |start: &str| {
            let found = lines
                .by_ref()
                .map_while(Result::ok)
                .find(|line| line.starts_with(start));
            (
                found.unwrap_or_else(|| panic!("the devnet never said `{start}`")),
                started.elapsed(),
            )
        };
        let (_, urls_after) = wait_for("all nodes answer");
        let (line, first_after) = wait_for("first block after");
        println!(
            "devnet run {run}: URLs {} ms, first block {} ms after them ({line})",
            urls_after.as_millis(),
            (first_after - urls_after).as_millis()
        );
        urls.push(urls_after.as_secs_f64());
        first.push((first_after - urls_after).as_secs_f64());
        if run + 1 == options.devnets {
            memory_and_cpu(&folder.path().join("devnet"), options.wait);
        }
        stop(&mut child);
    }
    println!("devnet: URLs median {:.3} s (aim <= 2)", median(urls));
    println!(
        "devnet: first block median {:.3} s after the URLs (aim <= 1)",
        median(first)
    );
}

fn memory_and_cpu(folder: &Path, wait: Duration) {
    let text = fs::read(folder.join("devnet.json")).expect("devnet.json");
    let manifest: Value = serde_json::from_slice(&text).expect("JSON");
    let nodes = manifest["nodes"].as_array().expect("nodes");
    let pids: Vec<u64> = nodes
        .iter()
        .map(|node| node["pid"].as_u64().expect("a pid"))
        .collect();
    let height = |index: usize| {
        let api = nodes[index]["api"].as_str().expect("host:port");
        get(api, "/v1/status").map_or(0, |status| status["height"].as_u64().unwrap_or(0))
    };
    let (ticks, before) = (
        || pids.iter().map(|pid| cpu_ticks(*pid)).sum::<u64>(),
        height(0),
    );
    let at_start = ticks();
    std::thread::sleep(wait);
    let spent = (ticks() - at_start) as f64 / 100.0;
    let resident: Vec<u64> = pids.iter().map(|pid| resident_kib(*pid)).collect();
    let seconds = wait.as_secs_f64();
    println!(
        "devnet: {} blocks in {seconds} s, CPU of {} nodes {spent:.2} s = {:.1} % of one core (aim <= 15)",
        height(0) - before,
        pids.len(),
        100.0 * spent / seconds
    );
    println!("devnet: resident memory after {seconds} s, KiB: {resident:?} (aim <= 60 MB each)");
}

/// User and system time in clock ticks, of which Linux has 100 a second.
fn cpu_ticks(pid: u64) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let after_name = stat.rsplit_once(") ").expect("a name in brackets").1;
    let fields: Vec<&str> = after_name.split(' ').collect();
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}

fn resident_kib(pid: u64) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("VmRSS");
    line.split_whitespace()
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number")
}

// ---- sync against import ----

/// A chain in which each of `accounts` keys pays itself in every block.
fn chain(accounts: u64, blocks: u64) -> TestChain {
    let mut chain = TestChain::easy(accounts);
    let keys = TestKey::many(accounts);
    let mut coins: Vec<(OutPoint, Coin)> =
        (0..accounts as usize).map(|i| chain.funded(i)).collect();
    for _ in 0..blocks {
        let payments = pay_all(&chain, &keys, &coins);
        chain.extend(payments.clone());
        coins = paid(&payments, chain.height());
    }
    chain
}

fn sync(blocks: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    println!("sync: making {blocks} blocks x {SYNC_TRANSACTIONS} transactions");
    let chain = chain(SYNC_TRANSACTIONS, blocks);
    let spec = folder.path().join("chain.toml");
    fs::write(&spec, easy_file(SYNC_TRANSACTIONS).to_toml()).expect("written");
    let file = folder.path().join("chain.cairn");
    let out = BufWriter::new(File::create(&file).expect("created"));
    let mut writer = ChainFileWriter::new(out, chain.chain_id(), 1, blocks).expect("written");
    for block in chain.blocks() {
        writer.append(&block.block().to_bytes()).expect("written");
    }
    writer.finish().expect("written");
    let source = folder.path().join("source");
    let started = Instant::now();
    let import = Command::new(CAIRN)
        .args(["chain", "import"])
        .arg(&file)
        .arg("--chain")
        .arg(&spec)
        .arg("--data-dir")
        .arg(&source)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(
        import.expect("the program starts").success(),
        "chain import"
    );
    let imported = started.elapsed();
    println!(
        "sync: import {:.2} s = {:.0} blocks/s",
        imported.as_secs_f64(),
        rate(blocks, imported)
    );
    let server = Node::start(&source, &spec, &[]);
    let started = Instant::now();
    let client = Node::start(
        &folder.path().join("client"),
        &spec,
        &["--bootnode", &server.p2p],
    );
    while client.tip().is_none_or(|(height, _)| height < blocks) {
        std::thread::sleep(Duration::from_millis(20));
        assert!(
            started.elapsed() < Duration::from_secs(3600),
            "sync does not end"
        );
    }
    let synced = started.elapsed();
    println!(
        "sync: sync {:.2} s = {:.0} blocks/s",
        synced.as_secs_f64(),
        rate(blocks, synced)
    );
    println!(
        "sync: sync / import = {:.2} (aim >= 0.5)",
        imported.as_secs_f64() / synced.as_secs_f64()
    );
}

fn rate(blocks: u64, time: Duration) -> f64 {
    blocks as f64 / time.as_secs_f64()
}

// ---- relay of a block of known transactions ----

fn relay(blocks: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = folder.path().join("chain.toml");
    let file = easy_file(RELAY_TRANSACTIONS);
    fs::write(&spec, file.to_toml()).expect("written");
    let params = ChainParams::new(file).expect("the fixtures' chain");
    let signer = TestChain::new(params);
    let keys = TestKey::many(RELAY_TRANSACTIONS);
    let mut coins: Vec<_> = (0..keys.len()).map(|i| signer.funded(i)).collect();
    let one = Node::start(&folder.path().join("one"), &spec, &[]);
    let two = Node::start(&folder.path().join("two"), &spec, &["--bootnode", &one.p2p]);
    let sink = TestKey::new(1_000_000)
        .address(signer.params().network())
        .to_string();
    let (mut times, mut calls) = (Vec::new(), Vec::new());
    for round in 0..blocks {
        let payments = pay_all(&signer, &keys, &coins);
        for payment in &payments {
            let body = json!({ "hex": hex::encode(codec::encode(payment)) });
            let answer = post(&one.api, "/v1/transactions", &body).expect("it answers");
            assert!(answer["txid"].is_string(), "{answer}");
        }
        let started = Instant::now();
        while two.pool() < RELAY_TRANSACTIONS {
            std::thread::sleep(Duration::from_millis(20));
            assert!(
                started.elapsed() < Duration::from_secs(120),
                "{} transactions",
                two.pool()
            );
        }
        let before = one.tip().expect("it answers");
        let watch = |api: String| {
            let old = before.clone();
            std::thread::spawn(move || {
                loop {
                    if tip(&api).is_some_and(|tip| tip.0 > old.0) {
                        return Instant::now();
                    }
                    std::thread::sleep(Duration::from_micros(500));
                }
            })
        };
        let watches = [watch(one.api.clone()), watch(two.api.clone())];
        let called = Instant::now();
        let call =
            json!({"jsonrpc": "2.0", "id": 1, "method": "generatetoaddress", "params": [1, sink]});
        let answer = post(&one.api, "/rpc", &call).expect("it answers");
        assert!(answer["error"].is_null(), "{answer}");
        let [here, there] = watches.map(|watch| watch.join().expect("it sees the block"));
        let hop = there.saturating_duration_since(here).as_secs_f64() * 1_000.0;
        let all = there.saturating_duration_since(called).as_secs_f64() * 1_000.0;
        println!(
            "relay run {round}: {hop:.2} ms from one tip to the other, {all:.2} ms from the call"
        );
        calls.push(all);
        times.push(hop);
        coins = paid(&payments, before.0 + 1);
    }
    println!(
        "relay: {RELAY_TRANSACTIONS} known transactions, p50 {:.2} ms (aim <= 20)",
        median(times)
    );
    println!(
        "relay: from generatetoaddress to the other tip, p50 {:.2} ms (template, search and both nodes' work)",
        median(calls)
    );
}
