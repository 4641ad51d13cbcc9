//! What each worker did: shares, blocks, hash rate.
//!
//! Invariant: at most [`WORKERS_MAX`] workers are held; one that is connected is never dropped for
//! a new one. Time is an input.

use std::collections::BTreeMap;

use super::difficulty::Difficulty;
use super::limits::{RATE_WINDOW_MS, WORKERS_MAX};
use super::session::Worker;
use super::shares::Verdict;

/// The numbers of one worker.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerRow {
    /// The address that is paid.
    pub address: String,
    /// The worker's name; may be empty.
    pub name: String,
    /// Connections that authorized it and are open.
    pub connections: u32,
    /// Shares by verdict, in the order of [`Verdict::ALL`].
    pub shares: [u64; 5],
    /// Blocks of the chain that it found.
    pub blocks: u64,
    /// Difficulty of its last share; 0 before the first.
    pub difficulty: f64,
    /// Hashes per second, lately.
    pub hashes_per_second: f64,
    /// Milliseconds since its last accepted share; none before the first.
    pub silent_ms: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Row {
    connections: u32,
    shares: [u64; 5],
    blocks: u64,
    difficulty: f64,
    /// Hashes of accepted shares, fading with the window; as of `seen_ms`.
    hashes: f64,
    since_ms: u64,
    seen_ms: u64,
    share_ms: Option<u64>,
}

impl Row {
    fn fade(&self, now_ms: u64) -> f64 {
        let elapsed = now_ms.saturating_sub(self.seen_ms) as f64;
        self.hashes * (-elapsed / RATE_WINDOW_MS as f64).exp()
    }

    /// The fading sum over the part of the window that has passed.
    fn rate(&self, now_ms: u64) -> f64 {
        let age = now_ms.saturating_sub(self.since_ms).max(1_000) as f64;
        let window = RATE_WINDOW_MS as f64;
        let covered_s = window * (1.0 - (-age / window).exp()) / 1000.0;
        self.fade(now_ms) / covered_s
    }
}

/// All workers.
#[derive(Debug, Default)]
pub struct Workers {
    rows: BTreeMap<(String, String), Row>,
}

impl Workers {
    /// A worker was authorized on a connection.
    pub fn joined(&mut self, now_ms: u64, worker: &Worker) {
        let key = key(worker);
        if !self.rows.contains_key(&key) {
            if self.rows.len() >= WORKERS_MAX && !self.drop_one() {
                return;
            }
            let row = Row {
                since_ms: now_ms,
                seen_ms: now_ms,
                ..Row::default()
            };
            self.rows.insert(key.clone(), row);
        }
        if let Some(row) = self.rows.get_mut(&key) {
            row.connections += 1;
        }
    }

    /// A connection of a worker ended.
    pub fn left(&mut self, worker: &Worker) {
        if let Some(row) = self.rows.get_mut(&key(worker)) {
            row.connections = row.connections.saturating_sub(1);
        }
    }

    /// A share came.
    pub fn share(&mut self, now_ms: u64, worker: &Worker, verdict: Verdict, worth: Difficulty) {
        let Some(row) = self.rows.get_mut(&key(worker)) else {
            return;
        };
        row.shares[verdict as usize] += 1;
        if verdict == Verdict::Accepted {
            row.hashes = row.fade(now_ms) + worth.hashes();
            row.seen_ms = now_ms;
            row.share_ms = Some(now_ms);
            row.difficulty = worth.value();
        }
    }

    /// A block of a worker became part of the chain.
    pub fn block(&mut self, worker: &Worker) {
        if let Some(row) = self.rows.get_mut(&key(worker)) {
            row.blocks += 1;
        }
    }

    /// The workers as of now; the fastest first, at most `limit`.
    pub fn rows(&self, now_ms: u64, limit: usize) -> Vec<WorkerRow> {
        let mut rows: Vec<WorkerRow> = self
            .rows
            .iter()
            .map(|((address, name), row)| WorkerRow {
                address: address.clone(),
                name: name.clone(),
                connections: row.connections,
                shares: row.shares,
                blocks: row.blocks,
                difficulty: row.difficulty,
                hashes_per_second: row.rate(now_ms),
                silent_ms: row.share_ms.map(|at| now_ms.saturating_sub(at)),
            })
            .collect();
        rows.sort_by(|a, b| b.hashes_per_second.total_cmp(&a.hashes_per_second));
        rows.truncate(limit);
        rows
    }

    /// Workers that are held.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// The rate of all workers together.
    pub fn hashes_per_second(&self, now_ms: u64) -> f64 {
        self.rows.values().map(|row| row.rate(now_ms)).sum()
    }

    /// Drops the worker that left the longest ago. Whether there was one.
    fn drop_one(&mut self) -> bool {
        let gone = self.rows.iter().filter(|(_, row)| row.connections == 0);
        let oldest = gone.min_by_key(|(_, row)| row.seen_ms);
        let key = oldest.map(|(key, _)| key.clone());
        key.is_some_and(|key| self.rows.remove(&key).is_some())
    }
}

fn key(worker: &Worker) -> (String, String) {
    (worker.address.to_string(), worker.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_protocol::address::{Address, Network};
    use cairn_protocol::hash::KeyHash;

    fn worker(i: u32) -> Worker {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&i.to_le_bytes());
        Worker {
            address: Address {
                network: Network::Devnet,
                key_hash: KeyHash(hash),
            },
            name: "rig".into(),
        }
    }

    #[test]
    fn the_rate_is_that_of_the_shares() {
        let (mut workers, worker) = (Workers::default(), worker(1));
        workers.joined(0, &worker);
        let worth = Difficulty::new(0.01).unwrap();
        for second in 1..=600u64 {
            workers.share(second * 1000, &worker, Verdict::Accepted, worth);
            if second >= 30 {
                let rate = workers.hashes_per_second(second * 1000);
                let ratio = rate / worth.hashes();
                assert!((0.9..1.1).contains(&ratio), "{second}: {ratio}");
            }
        }
        let later = workers.hashes_per_second(600_000 + 10 * RATE_WINDOW_MS);
        assert!(later < worth.hashes() / 1000.0, "{later}");
        workers.share(600_000, &worker, Verdict::Stale, worth);
        workers.block(&worker);
        let row = &workers.rows(600_500, 10)[0];
        assert_eq!((row.shares, row.blocks), ([600, 1, 0, 0, 0], 1));
        assert_eq!((row.connections, row.silent_ms), (1, Some(500)));
    }

    #[test]
    fn memory_is_bounded_and_the_connected_stay() {
        let mut workers = Workers::default();
        for i in 0..WORKERS_MAX as u32 {
            workers.joined(u64::from(i), &worker(i));
        }
        workers.joined(9_999, &worker(1_000_000));
        assert_eq!(workers.count(), WORKERS_MAX);
        workers.share(
            9_999,
            &worker(1_000_000),
            Verdict::Accepted,
            Difficulty::new(1.0).unwrap(),
        );
        workers.left(&worker(7));
        workers.joined(9_999, &worker(1_000_001));
        assert_eq!(workers.count(), WORKERS_MAX);
        let has = |i| workers.rows.contains_key(&key(&worker(i)));
        assert!(!has(7) && has(8) && has(1_000_001));
    }
}
