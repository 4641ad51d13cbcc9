//! A thousand Stratum workers at one share a second each: are all answered, how fast, and how long
//! does a new tip take to reach them all.
//!
//! `cargo bench -p cairn-node --bench stratum -- [--workers 1000] [--seconds 20] [--tips 5]`
//!
//! The clients run on one thread beside the node, so their own work is in the figures. A new tip is
//! a block that one of them finds: the clock starts when its share is sent and stops when the last
//! worker has its job, so that connecting and writing the block are in it.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader as Lines};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Two million hashes a block: a second or so of this program's plain search.
const BITS: &str = "0x1e07ffff";
/// Two hashes a share: few of them are blocks, which would make the others stale.
const DIFFICULTY: f64 = 2.0 / 4_294_967_296.0;
/// Where the top 32 bits of a share's digest must be below.
const SHARE_TOP: u32 = u32::MAX / 3;

struct Node {
    child: Child,
    stratum: String,
    api: String,
    _folder: tempfile::TempDir,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start() -> Node {
    let folder = tempfile::tempdir().expect("a folder");
    let template = include_str!("../../spec/chains/devnet.toml");
    let chain = folder.path().join("chain.toml");
    std::fs::write(&chain, template.replace("0x1f00ffff", BITS)).expect("the folder is ours");
    let mut child = Command::new(env!("CARGO_BIN_EXE_cairn"))
        .args(["node", "--api", "127.0.0.1:0", "--stratum", "127.0.0.1:0"])
        .args(["--p2p", "/ip4/127.0.0.1/tcp/0", "--chain"])
        .arg(chain)
        .arg("--data-dir")
        .arg(folder.path().join("node"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let (mut stratum, mut api) = (None, None);
    while stratum.is_none() || api.is_none() {
        let line = lines.next().expect("the node starts").expect("text");
        if let Some(address) = line.strip_prefix("stratum stratum+tcp://") {
            stratum = Some(address.to_owned());
        } else if let Some(address) = line.strip_prefix("api http://") {
            api = Some(address.to_owned());
        }
    }
    std::thread::spawn(move || for _ in lines {});
    Node {
        child,
        stratum: stratum.expect("found"),
        api: api.expect("found"),
        _folder: folder,
    }
}

/// An address of the devnet that nobody has a key for.
fn address() -> String {
    use cairn_protocol::address::{Address, Network};
    let key_hash = cairn_protocol::hash::KeyHash([7; 32]);
    let network = Network::Devnet;
    Address { network, key_hash }.to_string()
}

fn sha256d(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}

fn top(digest: &[u8; 32]) -> u32 {
    u32::from_le_bytes(digest[28..].try_into().expect("four bytes"))
}

/// What a worker knows of the present job: its id, its time, and the header up to the nonce.
#[derive(Clone)]
struct Job {
    id: String,
    time: String,
    header: [u8; 80],
    clean: bool,
}

fn job(params: &Value, extra_nonce_1: &str) -> Job {
    let hex_of = |value: &Value| hex::decode(value.as_str().expect("hex")).expect("hex");
    let text = |index: usize| params[index].as_str().expect("text").to_owned();
    let number = |index: usize| u32::from_str_radix(&text(index), 16).expect("hex");
    let coinbase = format!("{}{extra_nonce_1}{:016x}{}", text(2), 0, text(3));
    let mut root = sha256d(&hex::decode(coinbase).expect("hex"));
    for node in params[4].as_array().expect("a list") {
        root = sha256d(&[&root[..], &hex_of(node)].concat());
    }
    let mut header = [0; 80];
    header[..4].copy_from_slice(&number(5).to_le_bytes());
    for (to, from) in header[4..36]
        .chunks_mut(4)
        .zip(hex_of(&params[1]).chunks(4))
    {
        to.copy_from_slice(&[from[3], from[2], from[1], from[0]]);
    }
    header[36..68].copy_from_slice(&root);
    header[68..72].copy_from_slice(&number(7).to_le_bytes());
    header[72..76].copy_from_slice(&number(6).to_le_bytes());
    Job {
        id: text(0),
        time: text(7),
        header,
        clean: params[8] == true,
    }
}

/// The first nonce from `from` on whose digest begins below `bound`.
fn search(job: &Job, from: u32, bound: u32) -> u32 {
    let mut header = job.header;
    (from..)
        .find(|nonce| {
            header[76..].copy_from_slice(&nonce.to_le_bytes());
            top(&sha256d(&header)) < bound
        })
        .expect("some nonce is good")
}

/// What happens at a worker.
enum Event {
    Ready,
    /// An answer to a share, and how long it took.
    Answer(Duration, bool),
    /// A job for a new tip.
    Tip(Instant),
}

struct Worker {
    index: usize,
    lines: Lines<TcpStream>,
    user: String,
    extra_nonce_1: String,
    job: Option<Job>,
    events: mpsc::UnboundedSender<Event>,
}

impl Worker {
    async fn connect(index: usize, at: &str, events: mpsc::UnboundedSender<Event>) -> Worker {
        let stream = TcpStream::connect(at).await.expect("the node listens");
        stream.set_nodelay(true).expect("a socket");
        Worker {
            index,
            lines: Lines::new(stream),
            user: format!("{}.{index}", address()),
            extra_nonce_1: String::new(),
            job: None,
            events,
        }
    }

    async fn send(&mut self, id: usize, method: &str, params: Value) {
        let line = format!(
            "{}\n",
            json!({"id": id, "method": method, "params": params})
        );
        let stream = self.lines.get_mut();
        stream
            .write_all(line.as_bytes())
            .await
            .expect("the node reads");
    }

    async fn line(&mut self) -> Value {
        let mut line = String::new();
        let bytes = self.lines.read_line(&mut line).await.expect("a line");
        assert!(bytes > 0, "the node closed worker {}", self.index);
        serde_json::from_str(&line).expect("JSON")
    }

    fn take_in(&mut self, line: &Value) {
        if line["method"] == "mining.notify" {
            let at = Instant::now();
            let job = job(&line["params"], &self.extra_nonce_1);
            if job.clean && self.job.is_some() {
                let _ = self.events.send(Event::Tip(at));
            }
            self.job = Some(job);
        }
    }

    async fn begin(&mut self) {
        self.send(1, "mining.subscribe", json!(["bench"])).await;
        let answer = self.line().await;
        self.extra_nonce_1 = answer["result"][1].as_str().expect("hex").to_owned();
        let params = json!([self.user, format!("d={DIFFICULTY}")]);
        self.send(2, "mining.authorize", params).await;
        while self.job.is_none() {
            let line = self.line().await;
            self.take_in(&line);
        }
        let _ = self.events.send(Event::Ready);
    }

    /// A share each second.
    async fn mine(mut self) {
        self.begin().await;
        let phase = Duration::from_micros(self.index as u64 * 7_919 % 1_000_000);
        let start = tokio::time::Instant::now() + phase;
        let mut second = tokio::time::interval_at(start, Duration::from_secs(1));
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut nonce, mut sent): (u32, Option<Instant>) = (0, None);
        let mut line = String::new();
        loop {
            tokio::select! {
                read = self.lines.read_line(&mut line) => {
                    assert!(read.expect("a line") > 0, "the node closed worker {}", self.index);
                    let value: Value = serde_json::from_str(&line).expect("JSON");
                    line.clear();
                    if value["id"] == 4
                        && let Some(at) = sent.take()
                    {
                        let took = at.elapsed();
                        // A share for the tip before is answered too, with its code.
                        let good = value["result"] == true || value["error"][0] == 21;
                        let _ = self.events.send(Event::Answer(took, good));
                    }
                    self.take_in(&value);
                }
                _ = second.tick(), if sent.is_none() => {
                    let job = self.job.clone().expect("begun");
                    nonce = search(&job, nonce + 1, SHARE_TOP);
                    let share = json!([self.user, job.id, "0".repeat(16), job.time, format!("{nonce:08x}")]);
                    sent = Some(Instant::now());
                    self.send(4, "mining.submit", share).await;
                }
            }
        }
    }
}

fn quantile(sorted: &[Duration], share: f64) -> f64 {
    let index = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1;
    sorted[index].as_secs_f64() * 1e3
}

fn main() {
    let (mut workers, mut seconds, mut tips) = (1_000usize, 20u64, 5usize);
    let mut arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(flag) = arguments.next() {
        let text = arguments.next().unwrap_or_default();
        let number = text
            .parse()
            .unwrap_or_else(|_| panic!("{flag}: `{text}` is no number"));
        match flag.as_str() {
            "--workers" => workers = number,
            "--seconds" => seconds = number as u64,
            "--tips" => tips = number,
            other => panic!("`{other}`: expected --workers, --seconds or --tips"),
        }
    }
    let node = start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .expect("a runtime")
        .block_on(run(&node, workers, seconds, tips));
}

async fn run(node: &Node, workers: usize, seconds: u64, tips: usize) {
    let (events, mut inbox) = mpsc::unbounded_channel();
    for index in 0..workers {
        let worker = Worker::connect(index, &node.stratum, events.clone()).await;
        tokio::spawn(worker.mine());
    }
    let mut ready = 0;
    while ready < workers {
        if let Event::Ready = inbox.recv().await.expect("workers run") {
            ready += 1;
        }
    }
    println!("{workers} workers, a share a second each, {seconds} s");
    let (mut took, mut bad) = (Vec::new(), 0usize);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(seconds) {
        if let Event::Answer(time, good) = inbox.recv().await.expect("workers run") {
            took.push(time);
            bad += usize::from(!good);
        }
    }
    took.sort();
    let rate = took.len() as f64 / started.elapsed().as_secs_f64();
    println!(
        "  answers {} ({rate:.0} a second), refused {bad}; p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms (aim: p99 <= 50 ms)",
        took.len(),
        quantile(&took, 0.5),
        quantile(&took, 0.99),
        quantile(&took, 1.0),
    );
    // One more finds the blocks; its own news do not count.
    let (own, _own) = mpsc::unbounded_channel();
    let mut probe = Worker::connect(workers, &node.stratum, own).await;
    probe.begin().await;
    let mut reached = Vec::new();
    while reached.len() < tips {
        // The newest job of the probe; jobs for time alone may have come meanwhile.
        let job = probe.job.clone().expect("begun");
        let bound = 0x0000_0800;
        let at = tokio::task::spawn_blocking({
            let job = job.clone();
            move || {
                let mut from = 0;
                loop {
                    let nonce = search(&job, from, bound);
                    let mut header = job.header;
                    header[76..].copy_from_slice(&nonce.to_le_bytes());
                    // 0x1e07ffff: the top 24 bits zero, the next 8 at most 7.
                    if top(&sha256d(&header)) <= 0x0000_07fe {
                        return nonce;
                    }
                    from = nonce + 1;
                }
            }
        });
        let nonce = at.await.expect("the search ends");
        while inbox.try_recv().is_ok() {}
        let params = json!([
            probe.user,
            job.id,
            "0".repeat(16),
            job.time,
            format!("{nonce:08x}")
        ]);
        let sent = Instant::now();
        probe.send(9, "mining.submit", params).await;
        // Its lines end with the answer: a worker's share may have been a block before.
        let answer = loop {
            let line = probe.line().await;
            if line["id"] == 9 {
                break line;
            }
            probe.take_in(&line);
        };
        if answer["result"] != true {
            println!("  once more: {}", answer["error"][1]);
            continue;
        }
        let (mut count, mut last) = (0, Duration::ZERO);
        let limit = tokio::time::Instant::now() + Duration::from_secs(10);
        while count < workers {
            match tokio::time::timeout_at(limit, inbox.recv()).await {
                Ok(Some(Event::Tip(at))) => {
                    count += 1;
                    last = last.max(at.saturating_duration_since(sent));
                }
                Ok(Some(_)) => {}
                _ => break,
            }
        }
        assert_eq!(count, workers, "a new tip reached {count} of {workers}");
        reached.push(last);
        let old = probe.job.as_ref().expect("begun").id.clone();
        while probe.job.as_ref().is_some_and(|job| job.id == old) {
            let line = probe.line().await;
            probe.take_in(&line);
        }
        while inbox.try_recv().is_ok() {}
    }
    let each: Vec<String> = reached
        .iter()
        .map(|t| format!("{:.1}", t.as_secs_f64() * 1e3))
        .collect();
    reached.sort();
    println!(
        "  a new tip reaches all {workers} in {} ms; median {:.1} ms (aim: 100 ms)",
        each.join(", "),
        quantile(&reached, 0.5),
    );
    let status: Value = ureq::get(format!("http://{}/v1/miner", node.api))
        .call()
        .expect("the node answers")
        .body_mut()
        .read_json()
        .expect("JSON");
    println!(
        "  workers of the node: {}",
        status["stratum"]["workers_total"]
    );
}
