//! Gossip in and out: compact blocks and batches of transactions.
//!
//! Invariants: a block is forwarded after its header rules, those of its coinbase and after it was
//! put together, and before its coins are looked at; each block id once; a message is rejected only
//! for what its sender could have checked itself.
//! Rules: `spec/08-sync.md#relay`.

mod matching;
mod outgoing;
mod own;
mod rebuild;
mod recent;

pub use own::Announce;

use super::ledger::{LedgerHandle, SubmitError};
use super::peers::PeerNumbers;
use cairn_consensus::sealed::check_claimed_seal;
use cairn_network::relay::RelayInput;
use cairn_network::{GossipToken, NetworkHandle, PeerId, Verdict};
use cairn_protocol::codec;
use cairn_protocol::limits::{COMPACT_BLOCK_BYTES_MAX, TX_BATCH_BYTES_MAX};
use cairn_protocol::rules::Violation;
use cairn_protocol::signature::Ed25519;
use cairn_protocol::wire::{CompactBlock, TxBatch};
pub(super) use matching::fill_from_mempool;
use outgoing::Outgoing;
use parking_lot::Mutex;
use rebuild::{Rebuilds, Version};
use recent::{IdsDigest, Seen};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Blocks this deep below our tip are not relayed.
const SIDE_DEPTH_MAX: u64 = 6;

/// How often the time of waiting things is looked at.
const TICK: Duration = Duration::from_millis(50);

/// Time between two offers: above the duplicate cache of gossip.
const REBROADCAST_EVERY: Duration = Duration::from_secs(150);

/// The relay.
pub struct Relay {
    ledger: LedgerHandle,
    network: NetworkHandle,
    peers: Arc<PeerNumbers>,
    rebuilds: Mutex<Rebuilds>,
    outgoing: Mutex<Outgoing>,
    ready_peers: AtomicUsize,
}

impl Relay {
    /// A relay; [`Relay::keep_time`] is to run beside it.
    pub fn new(
        ledger: LedgerHandle,
        network: NetworkHandle,
        peers: Arc<PeerNumbers>,
    ) -> Arc<Relay> {
        Arc::new(Relay {
            ledger,
            network,
            peers,
            rebuilds: Mutex::default(),
            outgoing: Mutex::default(),
            ready_peers: AtomicUsize::new(0),
        })
    }

    /// Moves what waits for a moment: questions without an answer, own transactions.
    pub async fn keep_time(self: Arc<Self>) -> String {
        let mut tick = tokio::time::interval(TICK);
        let mut again = tokio::time::interval(REBROADCAST_EVERY);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    self.drive(RelayInput::Tick);
                    self.publish_due().await;
                }
                _ = again.tick() => self.offer_again(),
            }
        }
    }

    /// A peer left.
    pub fn peer_gone(self: &Arc<Self>, peer: PeerId) {
        self.drive(RelayInput::PeerGone(peer));
    }

    /// Peers whose status was accepted.
    pub fn peers(&self) -> usize {
        self.ready_peers.load(Ordering::Relaxed)
    }

    /// Sets that number.
    pub fn set_peers(&self, count: usize) {
        self.ready_peers.store(count, Ordering::Relaxed);
    }

    /// A block came by gossip.
    pub async fn block(self: Arc<Self>, from: PeerId, data: Vec<u8>, token: GossipToken) {
        let compact = match codec::decode(&data, COMPACT_BLOCK_BYTES_MAX) {
            Ok(compact) => compact,
            Err(_) => return self.network.verdict(token, Verdict::Reject),
        };
        if !self.is_sound(&compact) {
            return self.network.verdict(token, Verdict::Reject);
        }
        let (id, record) = (compact.id(), compact.record());
        let digest = IdsDigest::of(&compact.short_ids);
        let version = Version::new(from, digest, compact, token);
        match self.enter(id, version) {
            Seen::New => {}
            Seen::Judging => return self.try_versions(id).await,
            Seen::Known(_) => return,
        }
        // The first of its id: this task judges its header, and with it all its versions.
        match self.judge_header(record).await {
            Ok(()) => self.rebuild(id).await,
            Err(verdict) => self.give_up(id, verdict),
        }
    }

    /// What the sender of a compact block could have seen without its header's ancestors: it belongs
    /// together, shows its work or its seal, and its coinbase keeps the rules.
    fn is_sound(&self, compact: &CompactBlock) -> bool {
        let params = self.ledger.params();
        if !compact.is_bound() {
            return false;
        }
        // Work, or a seal, is shown before anything is kept or asked.
        let id = compact.id();
        let claimed = (id, &compact.extension);
        let is_shown = match check_claimed_seal(params, &Ed25519, claimed, &compact.seal) {
            Some(verdict) => verdict.is_ok(),
            None => cairn_consensus::nakamoto::check_work(params, &compact.header).is_ok(),
        };
        if !is_shown {
            return false;
        }
        let frame = compact.check(params);
        if let Err(violation) = &frame {
            tracing::warn!(%id, %violation, "invalid block in gossip");
        }
        frame.is_ok()
    }

    /// Gives the header to the ledger; an error is the verdict on a block that goes no further.
    async fn judge_header(
        &self,
        record: cairn_protocol::block::HeaderRecord,
    ) -> Result<(), Verdict> {
        let Ok((outcome, place)) = self.ledger.headers(vec![record]).await else {
            return Err(Verdict::Ignore);
        };
        let tip = self.ledger.view().height;
        let deep = place.is_some_and(|place| place.height + SIDE_DEPTH_MAX < tip);
        match &outcome.violation {
            // The sender's status names its tip: the headers between come by sync.
            Some(Violation::UnknownParent { .. }) => Err(Verdict::Ignore),
            Some(violation) if violation.is_temporary() => Err(Verdict::Ignore),
            // Whoever forwarded it may not have connected the ancestor yet.
            Some(Violation::InvalidAncestor { .. }) => Err(Verdict::Ignore),
            Some(_) => Err(Verdict::Reject),
            // Old branches cost their sender little: they come by sync if they ever win.
            None if deep || outcome.refusal.is_some() => Err(Verdict::Ignore),
            None => Ok(()),
        }
    }

    /// Transactions came by gossip.
    pub async fn transactions(self: Arc<Self>, from: PeerId, data: Vec<u8>, token: GossipToken) {
        let TxBatch(batch) = match codec::decode(&data, TX_BATCH_BYTES_MAX) {
            Ok(batch) => batch,
            Err(_) => return self.network.verdict(token, Verdict::Reject),
        };
        if batch.is_empty() {
            return self.network.verdict(token, Verdict::Reject);
        }
        let source = self.peers.source(from);
        let Ok(verdicts) = self.ledger.submit(batch, source).await else {
            return;
        };
        let invalid = |v: &Result<_, SubmitError>| matches!(v, Err(SubmitError::Invalid(violation)) if is_senders_fault(violation));
        let verdict = if verdicts.iter().any(invalid) {
            Verdict::Reject
        } else if verdicts.iter().any(Result::is_ok) {
            Verdict::Accept
        } else {
            Verdict::Ignore
        };
        self.network.verdict(token, verdict);
    }
}

/// Whether the sender could have known: everything that depends on our coins may differ at theirs.
fn is_senders_fault(violation: &Violation) -> bool {
    !matches!(
        violation,
        Violation::MissingCoin { .. }
            | Violation::NotYetValid { .. }
            | Violation::ImmatureCoinbase { .. }
            | Violation::LockNotOpen { .. }
    )
}
