//! The peers that sync may ask: what they claim, how fast they are, who is benched.
//!
//! Invariant: a failure benches a peer for a time that doubles with each one in a row and is
//! halved by nothing but success, so an honest peer is asked sooner or later, and then always.

use std::collections::BTreeMap;

use cairn_protocol::units::Height;

use super::{BLOCKS_PER_BATCH, DEADLINE_MS_MAX, DEADLINE_MS_MIN, Tip};

/// First time on the bench.
const BENCH_MS_MIN: u64 = 1_000;
/// Longest time on the bench.
const BENCH_MS_MAX: u64 = 300_000;
/// Weight of the newest latency: 1/8, as TCP smooths its round trip times.
const EMA_SHIFT: u32 = 3;
/// Requests to wait in a row after which the next one counts as a failure.
const WAITS_MAX: u32 = 8;
/// Claims in a row that were not proven after which a peer's word counts for nothing until it proves
/// one.
const UNPROVEN_MAX: u32 = 3;
/// A new peer is taken to be this fast, so that it is tried.
const LATENCY_MS_FIRST: u64 = 200;

/// One peer.
#[derive(Clone, Debug)]
pub struct SyncPeer {
    /// Its best block, as it says; lowered when it cannot show it.
    pub tip: Tip,
    /// Lowest height whose block it serves.
    pub lowest: Height,
    /// Smoothed latency of successful requests, as if each had brought a full batch.
    pub latency_ms: u64,
    /// Blocks asked for at once: twice what the last answer brought, so that a peer that sends
    /// few of them holds up few.
    pub batch_blocks: usize,
    /// Failures in a row.
    pub failures: u32,
    /// Not asked before this time.
    pub benched_until_ms: u64,
    /// Batches under way.
    pub batches: usize,
    /// Answers in a row that asked to wait.
    pub waits: u32,
    /// Claims in a row that it did not prove. Only a proven claim ends the row.
    pub unproven: u32,
    /// Not asked for headers before this time, whatever else it brings.
    pub headers_at_ms: u64,
}

impl SyncPeer {
    /// Whether what it claims counts before it is shown.
    pub fn is_believed(&self) -> bool {
        self.unproven < UNPROVEN_MAX
    }
}

/// All peers, and the deadline that they share.
#[derive(Clone, Debug)]
pub struct SyncPeers<P> {
    peers: BTreeMap<P, SyncPeer>,
    deadline_ms: u64,
}

impl<P: Ord + Copy> SyncPeers<P> {
    pub fn new() -> Self {
        Self {
            peers: BTreeMap::new(),
            deadline_ms: DEADLINE_MS_MIN,
        }
    }

    /// A peer's status.
    pub fn update(&mut self, peer: P, tip: Tip, lowest: Height) {
        let known = self.peers.entry(peer).or_insert(SyncPeer {
            tip,
            lowest,
            latency_ms: LATENCY_MS_FIRST,
            batch_blocks: BLOCKS_PER_BATCH,
            failures: 0,
            benched_until_ms: 0,
            batches: 0,
            waits: 0,
            unproven: 0,
            headers_at_ms: 0,
        });
        known.tip = tip;
        known.lowest = lowest;
    }

    pub fn remove(&mut self, peer: &P) {
        self.peers.remove(peer);
    }

    pub fn get(&self, peer: &P) -> Option<&SyncPeer> {
        self.peers.get(peer)
    }

    pub fn get_mut(&mut self, peer: &P) -> Option<&mut SyncPeer> {
        self.peers.get_mut(peer)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&P, &SyncPeer)> {
        self.peers.iter()
    }

    /// How long the next request may take: doubled by every time-out up to 64 s, so that a slow
    /// line does not send everyone away, and shrinking with every success.
    pub fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    /// A request was answered after `latency_ms`.
    pub fn succeeded(&mut self, peer: &P, latency_ms: u64) {
        self.deadline_ms = (self.deadline_ms * 85 / 100).max(DEADLINE_MS_MIN);
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.failures = 0;
            peer.waits = 0;
            peer.benched_until_ms = 0;
            let old = peer.latency_ms - (peer.latency_ms >> EMA_SHIFT);
            peer.latency_ms = (old + (latency_ms >> EMA_SHIFT)).max(1);
        }
    }

    /// A batch of `asked` blocks brought `brought` of them, at least one, after `latency_ms`.
    pub fn brought(&mut self, peer: &P, latency_ms: u64, asked: usize, brought: usize) {
        let of_full_batch = latency_ms.saturating_mul(asked as u64) / brought.max(1) as u64;
        self.succeeded(peer, of_full_batch.min(DEADLINE_MS_MAX));
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.batch_blocks = (2 * brought).clamp(1, BLOCKS_PER_BATCH);
        }
    }

    /// A request timed out: the deadline of all grows.
    pub fn timed_out(&mut self, now_ms: u64, peer: &P) {
        self.deadline_ms = (self.deadline_ms * 2).min(DEADLINE_MS_MAX);
        self.bench(now_ms, peer);
    }

    /// Sends a peer to the bench.
    pub fn bench(&mut self, now_ms: u64, peer: &P) {
        if let Some(peer) = self.peers.get_mut(peer) {
            let bench_ms = BENCH_MS_MIN << peer.failures.min(20);
            peer.benched_until_ms = now_ms + bench_ms.min(BENCH_MS_MAX);
            peer.failures = peer.failures.saturating_add(1);
        }
    }

    /// Leaves a peer alone for a while, without blame; one that never does anything else is benched
    /// like one that fails.
    pub fn wait(&mut self, now_ms: u64, peer: &P, ms: u64) {
        let Some(known) = self.peers.get_mut(peer) else {
            return;
        };
        known.waits += 1;
        if known.waits > WAITS_MAX {
            known.waits = 0;
            self.bench(now_ms, peer);
            return;
        }
        let until_ms = now_ms + ms.clamp(1, BENCH_MS_MAX);
        known.benched_until_ms = known.benched_until_ms.max(until_ms);
    }

    /// A peer did not prove what it claimed: it is asked for headers after a time that doubles until
    /// it proves something.
    pub fn unproven(&mut self, now_ms: u64, peer: &P) {
        if let Some(peer) = self.peers.get_mut(peer) {
            let wait_ms = (BENCH_MS_MIN << peer.unproven.min(20)).min(BENCH_MS_MAX);
            peer.headers_at_ms = now_ms + wait_ms;
            peer.unproven = peer.unproven.saturating_add(1);
        }
    }

    /// A peer showed all that it claimed.
    pub fn proven(&mut self, peer: &P) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.unproven = 0;
        }
    }

    /// Asks a peer for no headers for a while, for a reason of our own.
    pub fn headers_later(&mut self, now_ms: u64, peer: &P, ms: u64) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.headers_at_ms = peer.headers_at_ms.max(now_ms + ms);
        }
    }
}
