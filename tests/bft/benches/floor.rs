//! The floor under a BFT decision: the happy path alone, over TCP, with a disk sync before each vote.
//!
//! Four replicas in threads, one TCP connection for each pair, Ed25519 signatures, no faults, no
//! view change, no ledger. What remains is the cost that any PBFT with durable votes pays here, so
//! the engine's figures are stated as ratios to it.
//!
//! `cargo bench -p cairn-bft --bench floor -- [--heights 2000] [--body-bytes 0] [--dir DIR]`

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use ed25519_zebra::{Signature, SigningKey, VerificationKey};

const REPLICAS: usize = 4;
const QUORUM: usize = 3;
/// Bytes of a safety record, as the engine writes before each vote.
const RECORD_BYTES: usize = 512;

const PRE_PREPARE: u8 = 0;
const PREPARE: u8 = 1;
const COMMIT: u8 = 2;

/// One message: who says what of which height, signed; a pre-prepare has the body behind it.
struct Message {
    from: usize,
    kind: u8,
    height: u64,
    id: [u8; 32],
    signature: [u8; 64],
    body: Vec<u8>,
}

/// Bytes before the body: length u32, from, kind, height, id, signature.
const HEAD_BYTES: usize = 4 + 1 + 1 + 8 + 32 + 64;

impl Message {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.body.len());
        bytes.extend((self.body.len() as u32).to_le_bytes());
        bytes.extend([self.from as u8, self.kind]);
        bytes.extend(self.height.to_le_bytes());
        bytes.extend(self.id);
        bytes.extend(self.signature);
        bytes.extend(&self.body);
        bytes
    }

    fn read(stream: &mut impl Read) -> io::Result<Message> {
        let mut head = [0; HEAD_BYTES];
        stream.read_exact(&mut head)?;
        let length = u32::from_le_bytes(head[..4].try_into().expect("four bytes"));
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body)?;
        Ok(Message {
            from: usize::from(head[4]),
            kind: head[5],
            height: u64::from_le_bytes(head[6..14].try_into().expect("eight bytes")),
            id: head[14..46].try_into().expect("32 bytes"),
            signature: head[46..].try_into().expect("64 bytes"),
            body,
        })
    }
}

fn sign_bytes(kind: u8, height: u64, id: &[u8; 32]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(height.to_le_bytes());
    bytes.extend(id);
    bytes
}

/// Votes of one height.
#[derive(Default)]
struct Height {
    proposal: Option<[u8; 32]>,
    prepares: usize,
    commits: usize,
    prepared: bool,
    committed: bool,
}

struct Replica {
    index: usize,
    key: SigningKey,
    keys: Vec<VerificationKey>,
    peers: Vec<TcpStream>,
    inbox: Receiver<Message>,
    record: File,
    body_bytes: usize,
}

impl Replica {
    fn message(&self, kind: u8, height: u64, id: [u8; 32], body: Vec<u8>) -> Message {
        let signature = self.key.sign(&sign_bytes(kind, height, &id)).into();
        Message {
            from: self.index,
            kind,
            height,
            id,
            signature,
            body,
        }
    }

    /// Makes the vote durable, then sends it to everyone else.
    fn vote(&mut self, message: &Message) {
        let mut record = [0; RECORD_BYTES];
        record[0] = message.kind;
        record[1..9].copy_from_slice(&message.height.to_le_bytes());
        record[9..41].copy_from_slice(&message.id);
        // Two slots in turn, so that a torn write leaves the other.
        let slot = message.height % 2 * RECORD_BYTES as u64;
        self.record.write_all_at(&record, slot).expect("written");
        self.record.sync_data().expect("synced");
        let bytes = message.encode();
        for peer in &mut self.peers {
            peer.write_all(&bytes).expect("sent");
        }
    }

    fn is_valid(&self, message: &Message) -> bool {
        let signature = Signature::from(message.signature);
        let bytes = sign_bytes(message.kind, message.height, &message.id);
        let signed = self.keys[message.from].verify(&signature, &bytes).is_ok();
        signed
            && (message.kind != PRE_PREPARE
                || *blake3::hash(&message.body).as_bytes() == message.id)
    }

    /// Decides `heights` heights; the times of those it led, from proposal to decision.
    fn run(mut self, heights: u64) -> Vec<Duration> {
        let mut open: BTreeMap<u64, Height> = BTreeMap::new();
        let mut times = Vec::new();
        for height in 1..=heights {
            let started = Instant::now();
            let leads = height as usize % REPLICAS == self.index;
            if leads {
                let mut body = vec![self.index as u8; self.body_bytes.max(8)];
                body[..8].copy_from_slice(&height.to_le_bytes());
                let id = *blake3::hash(&body).as_bytes();
                let proposal = self.message(PRE_PREPARE, height, id, body);
                self.vote(&proposal);
                let state = open.entry(height).or_default();
                state.proposal = Some(id);
                // The leader's pre-prepare counts as its prepare.
                state.prepares += 1;
            }
            loop {
                self.step(height, open.entry(height).or_default());
                let state = &open[&height];
                if state.committed && state.commits >= QUORUM {
                    break;
                }
                let message = self.inbox.recv().expect("peers are alive");
                assert!(self.is_valid(&message), "a bad signature on the happy path");
                let state = open.entry(message.height).or_default();
                match message.kind {
                    PRE_PREPARE => {
                        state.proposal = Some(message.id);
                        state.prepares += 1;
                    }
                    PREPARE => state.prepares += 1,
                    COMMIT => state.commits += 1,
                    other => panic!("kind {other}"),
                }
            }
            open.remove(&height);
            if leads {
                times.push(started.elapsed());
            }
        }
        // Peers may still wait for messages on their way: keep the connections until they are done.
        for peer in &self.peers {
            peer.shutdown(std::net::Shutdown::Write).ok();
        }
        while self.inbox.recv().is_ok() {}
        times
    }

    /// Casts the votes that `state` calls for.
    fn step(&mut self, height: u64, state: &mut Height) {
        let Some(id) = state.proposal else { return };
        if !state.prepared {
            state.prepared = true;
            if height as usize % REPLICAS != self.index {
                let prepare = self.message(PREPARE, height, id, Vec::new());
                self.vote(&prepare);
                state.prepares += 1;
            }
        }
        if !state.committed && state.prepares >= QUORUM {
            state.committed = true;
            let commit = self.message(COMMIT, height, id, Vec::new());
            self.vote(&commit);
            state.commits += 1;
        }
    }
}

fn read_all(mut stream: TcpStream, inbox: Sender<Message>) {
    let mut buffered = io::BufReader::with_capacity(1 << 16, &mut stream);
    while let Ok(message) = Message::read(&mut buffered) {
        if inbox.send(message).is_err() {
            return;
        }
    }
}

/// Connects everyone with everyone: the streams of each replica.
fn mesh() -> Vec<Vec<TcpStream>> {
    let mut streams: Vec<Vec<TcpStream>> = (0..REPLICAS).map(|_| Vec::new()).collect();
    for a in 0..REPLICAS {
        for b in a + 1..REPLICAS {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
            let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
            let (far, _) = listener.accept().expect("accepts");
            for stream in [&near, &far] {
                stream.set_nodelay(true).expect("a socket option");
            }
            streams[a].push(near);
            streams[b].push(far);
        }
    }
    streams
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn quantile(sorted: &[Duration], per_mille: usize) -> f64 {
    sorted[(sorted.len() - 1) * per_mille / 1_000].as_secs_f64() * 1e3
}

struct Options {
    heights: u64,
    body_bytes: usize,
    dir: PathBuf,
}

fn options() -> Options {
    let mut options = Options {
        heights: 2_000,
        body_bytes: 0,
        dir: std::env::temp_dir(),
    };
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        let number = || {
            value
                .parse()
                .unwrap_or_else(|_| panic!("{argument}: `{value}` is no number"))
        };
        match argument.as_str() {
            "--heights" => options.heights = number(),
            "--body-bytes" => options.body_bytes = number() as usize,
            "--dir" => options.dir = PathBuf::from(&value),
            other => panic!("`{other}`: expected --heights, --body-bytes or --dir"),
        }
    }
    options
}

fn main() {
    let options = options();
    let keys: Vec<SigningKey> = (0..REPLICAS)
        .map(|index| SigningKey::from([index as u8 + 1; 32]))
        .collect();
    let verification: Vec<VerificationKey> = keys.iter().map(VerificationKey::from).collect();
    let mut replicas = Vec::new();
    for (index, peers) in mesh().into_iter().enumerate() {
        let (sender, inbox) = mpsc::channel();
        for peer in &peers {
            let stream = peer.try_clone().expect("a second handle");
            let sender = sender.clone();
            thread::spawn(move || read_all(stream, sender));
        }
        let path = options
            .dir
            .join(format!("cairn-floor-{}-{index}", std::process::id()));
        let record = File::create(&path).expect("a record file");
        // The file lives as long as its handle.
        std::fs::remove_file(&path).expect("unlinked");
        record
            .write_all_at(&[0; 2 * RECORD_BYTES], 0)
            .expect("written");
        record.sync_all().expect("synced");
        replicas.push(Replica {
            index,
            key: keys[index],
            keys: verification.clone(),
            peers,
            inbox,
            record,
            body_bytes: options.body_bytes,
        });
    }
    let probe = sync_probe(&options.dir);
    let (started, cpu) = (Instant::now(), cpu_time());
    let heights = options.heights;
    let threads: Vec<_> = replicas
        .into_iter()
        .map(|replica| thread::spawn(move || replica.run(heights)))
        .collect();
    let mut times: Vec<Duration> = threads
        .into_iter()
        .flat_map(|thread| thread.join().expect("no replica panics"))
        .collect();
    let (elapsed, cpu) = (started.elapsed().as_secs_f64(), cpu_time() - cpu);
    times.sort_unstable();
    println!(
        "floor: replicas {REPLICAS}, body {} bytes, heights {heights}, sync probe {:.3} ms",
        options.body_bytes.max(8),
        probe
    );
    println!(
        "floor: {:.0} decisions/s, p50 {:.2} ms, p99 {:.2} ms, {:.1} MB/s, CPU per height {:.2} ms",
        heights as f64 / elapsed,
        quantile(&times, 500),
        quantile(&times, 990),
        heights as f64 * options.body_bytes as f64 / elapsed / 1e6,
        cpu.as_secs_f64() * 1e3 / heights as f64
    );
}

/// Median time of one small write and its sync, in milliseconds.
fn sync_probe(dir: &std::path::Path) -> f64 {
    let path = dir.join(format!("cairn-probe-{}", std::process::id()));
    let file = File::create(&path).expect("a probe file");
    std::fs::remove_file(&path).expect("unlinked");
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            let started = Instant::now();
            file.write_all_at(&[1; RECORD_BYTES], 0).expect("written");
            file.sync_data().expect("synced");
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    quantile(&times, 500)
}
