//! A small miner of Stratum, from the specification alone.

use crate::node::WAIT;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

/// Double SHA-256.
pub fn sha256d(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}

/// Each four bytes turned around.
pub fn swap(bytes: &[u8]) -> Vec<u8> {
    bytes
        .chunks(4)
        .flat_map(|word| word.iter().rev().copied())
        .collect()
}

/// The top 128 bits of a digest, which is a little-endian number.
fn top(digest: &[u8; 32]) -> u128 {
    u128::from_le_bytes(digest[16..].try_into().unwrap())
}

/// The top 128 bits of the target of a difficulty.
fn target_top(difficulty: f64) -> u128 {
    // 0xffff * 2^208, without its 128 lowest bits.
    (65_535.0 * 2f64.powi(80) / difficulty) as u128
}

/// A job as notified.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: String,
    pub parent: Vec<u8>,
    pub coinbase_1: Vec<u8>,
    pub coinbase_2: Vec<u8>,
    pub branch: Vec<Vec<u8>>,
    pub version: u32,
    pub bits: u32,
    pub time: u32,
    pub clean: bool,
    /// The difficulty that was set when it came.
    pub difficulty: f64,
}

/// A share that meets its target.
#[derive(Clone, Debug)]
pub struct Share {
    pub job: String,
    pub extra_nonce_2: u64,
    pub time: u32,
    pub nonce: u32,
    pub header: [u8; 80],
}

fn hex_of(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("hex")).expect("hex")
}

fn number_of(value: &Value) -> u32 {
    let text = value.as_str().expect("hex");
    assert_eq!(text.len(), 8, "{text}");
    u32::from_str_radix(text, 16).expect("hex")
}

/// A connection.
pub struct Client {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
    queue: VecDeque<Value>,
    next_id: u64,
    pub extra_nonce_1: Vec<u8>,
    pub difficulty: f64,
    pub job: Option<Job>,
    pub jobs: u64,
}

impl Client {
    /// Connects.
    pub fn connect(address: &str) -> Client {
        Client::over(TcpStream::connect(address).expect("the node listens"))
    }

    /// Speaks over a connection that is there.
    pub fn over(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(WAIT)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        let lines = BufReader::new(stream.try_clone().expect("a socket"));
        Client {
            stream,
            lines,
            queue: VecDeque::new(),
            next_id: 0,
            extra_nonce_1: Vec::new(),
            difficulty: 1.0,
            job: None,
            jobs: 0,
        }
    }

    /// Connects, subscribes, authorizes and waits for the first job.
    pub fn working(address: &str, user: &str) -> Client {
        let mut client = Client::connect(address);
        client.subscribe();
        let answer = client.ask("mining.authorize", json!([user, "x"]));
        assert_eq!(answer["result"], true, "{answer}");
        client.next_job();
        client
    }

    /// Subscribes and remembers the extra-nonce.
    pub fn subscribe(&mut self) {
        let answer = self.ask("mining.subscribe", json!(["cairn test"]));
        let result = &answer["result"];
        assert_eq!(result[0][1][0], "mining.notify", "{answer}");
        self.extra_nonce_1 = hex_of(&result[1]);
        assert_eq!(self.extra_nonce_1.len(), 8);
        assert_eq!(result[2], 8);
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request and does not wait.
    pub fn request(&mut self, method: &str, params: Value) -> u64 {
        self.next_id += 1;
        let request = json!({"id": self.next_id, "method": method, "params": params});
        self.send(format!("{request}\n").as_bytes())
            .expect("the node reads");
        self.next_id
    }

    /// Sends a request and waits for its answer; what comes in between is taken in.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params);
        loop {
            let line = self.line().expect("an answer");
            if line["id"] == id {
                return line;
            }
            self.take_in(&line);
        }
    }

    /// The next line; none when the node has closed.
    pub fn line(&mut self) -> Option<Value> {
        if let Some(line) = self.queue.pop_front() {
            return Some(line);
        }
        let mut text = String::new();
        match self.lines.read_line(&mut text) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no line: {error}"),
        }
    }

    /// Waits for the next job.
    pub fn next_job(&mut self) -> Job {
        let jobs = self.jobs;
        while self.jobs == jobs {
            let line = self.line().expect("a job");
            self.take_in(&line);
        }
        self.job.clone().expect("a job was counted")
    }

    fn take_in(&mut self, line: &Value) {
        let params = &line["params"];
        match line["method"].as_str() {
            Some("mining.set_difficulty") => {
                self.difficulty = params[0].as_f64().expect("a number")
            }
            Some("mining.notify") => {
                let branch = params[4].as_array().expect("a list");
                self.job = Some(Job {
                    id: params[0].as_str().expect("an id").to_owned(),
                    parent: swap(&hex_of(&params[1])),
                    coinbase_1: hex_of(&params[2]),
                    coinbase_2: hex_of(&params[3]),
                    branch: branch.iter().map(hex_of).collect(),
                    version: number_of(&params[5]),
                    bits: number_of(&params[6]),
                    time: number_of(&params[7]),
                    clean: params[8].as_bool().expect("a truth"),
                    difficulty: self.difficulty,
                });
                self.jobs += 1;
            }
            _ => {}
        }
    }

    /// The header of a job with everything that the miner chooses.
    pub fn header(&self, job: &Job, extra_nonce_2: u64, time: u32, nonce: u32) -> [u8; 80] {
        let extra_nonce_2 = extra_nonce_2.to_be_bytes();
        let coinbase = [
            &job.coinbase_1[..],
            &self.extra_nonce_1,
            &extra_nonce_2,
            &job.coinbase_2,
        ]
        .concat();
        let mut root = sha256d(&coinbase);
        for node in &job.branch {
            root = sha256d(&[&root[..], node].concat());
        }
        let mut header = [0; 80];
        header[..4].copy_from_slice(&job.version.to_le_bytes());
        header[4..36].copy_from_slice(&job.parent);
        header[36..68].copy_from_slice(&root);
        header[68..72].copy_from_slice(&time.to_le_bytes());
        header[72..76].copy_from_slice(&job.bits.to_le_bytes());
        header[76..].copy_from_slice(&nonce.to_le_bytes());
        header
    }

    /// Searches a share of a job.
    pub fn search(&self, job: &Job, extra_nonce_2: u64, good: bool) -> Share {
        let target = target_top(job.difficulty);
        let mut header = self.header(job, extra_nonce_2, job.time, 0);
        for nonce in 0..=u32::MAX {
            header[76..].copy_from_slice(&nonce.to_le_bytes());
            // A digest with the target's own top bits may be on either side.
            let digest = top(&sha256d(&header));
            if (good && digest < target) || (!good && digest > target) {
                return Share {
                    job: job.id.clone(),
                    extra_nonce_2,
                    time: job.time,
                    nonce,
                    header,
                };
            }
        }
        unreachable!("four thousand million nonces")
    }

    /// The parameters of a share.
    pub fn params(user: &str, share: &Share) -> Value {
        json!([
            user,
            share.job,
            format!("{:016x}", share.extra_nonce_2),
            format!("{:08x}", share.time),
            format!("{:08x}", share.nonce),
        ])
    }

    /// Sends a share and gives its answer.
    pub fn submit(&mut self, user: &str, share: &Share) -> Value {
        self.ask("mining.submit", Client::params(user, share))
    }
}
