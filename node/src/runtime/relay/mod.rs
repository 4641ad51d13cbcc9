//! Gossip in and out: compact blocks and batches of transactions.
//!
//! Invariants: a block is forwarded after its header rules and before its body's; each block id
//! once; a message is rejected only for what its sender could have checked itself.
//! Rules: `spec/08-sync.md#relay`.

mod outgoing;
mod rebuild;

use super::ledger::{LedgerHandle, SubmitError};
use super::peers::PeerNumbers;
use cairn_network::relay::RelayInput;
use cairn_network::{GossipToken, NetworkHandle, PeerId, PublishError, Topic, Verdict};
use cairn_protocol::block::SealBytes;
use cairn_protocol::codec;
use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::CheckedBlock;
use cairn_protocol::limits::{COMPACT_BLOCK_BYTES_MAX, TX_BATCH_BYTES_MAX};
use cairn_protocol::rules::Violation;
use cairn_protocol::signature::Ed25519;
use cairn_protocol::wire::{CompactBlock, TxBatch};
use outgoing::Outgoing;
use parking_lot::Mutex;
use rebuild::Rebuilds;
pub(super) use rebuild::fill_from_mempool;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Blocks this deep below our tip are not relayed.
const SIDE_DEPTH_MAX: u64 = 6;

/// How often the time of waiting things is looked at.
const TICK: Duration = Duration::from_millis(50);

/// Block ids that were forwarded or are being rebuilt; older ones are known to the ledger.
const RECENT_BLOCKS_MAX: usize = 256;

/// Time between two offers: above the duplicate cache of gossip.
const REBROADCAST_EVERY: Duration = Duration::from_secs(150);

/// The relay.
pub struct Relay {
    ledger: LedgerHandle,
    network: NetworkHandle,
    peers: Arc<PeerNumbers>,
    recent: Mutex<RecentBlocks>,
    rebuilds: Mutex<Rebuilds>,
    outgoing: Mutex<Outgoing>,
    ready_peers: AtomicUsize,
}

/// The last block ids, oldest first.
#[derive(Debug, Default)]
struct RecentBlocks {
    order: VecDeque<BlockId>,
    ids: BTreeSet<BlockId>,
}

impl RecentBlocks {
    /// Whether the id is new; it is not afterwards.
    fn insert(&mut self, id: BlockId) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > RECENT_BLOCKS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }

    fn remove(&mut self, id: &BlockId) {
        self.ids.remove(id);
        self.order.retain(|other| other != id);
    }
}

impl Relay {
    /// A relay, and the task that keeps its time.
    pub fn new(
        ledger: LedgerHandle,
        network: NetworkHandle,
        peers: Arc<PeerNumbers>,
    ) -> Arc<Relay> {
        let relay = Arc::new(Relay {
            ledger,
            network,
            peers,
            recent: Mutex::default(),
            rebuilds: Mutex::default(),
            outgoing: Mutex::default(),
            ready_peers: AtomicUsize::new(0),
        });
        tokio::spawn(Arc::clone(&relay).keep_time());
        relay
    }

    /// Moves what waits for a moment: questions without an answer, own transactions.
    async fn keep_time(self: Arc<Self>) {
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

    /// Tells the swarm of a block of ours.
    pub async fn announce_block(&self, id: &BlockId) {
        let snapshot = self.ledger.snapshot();
        let block = match snapshot.block(id) {
            Ok(Some(block)) => block,
            Ok(None) => return,
            Err(error) => return tracing::warn!(%error, "cannot read a block to announce"),
        };
        let Ok(checked) = CheckedBlock::new(block, self.ledger.params().limits()) else {
            return;
        };
        self.recent.lock().insert(*id);
        let bytes = codec::encode(&CompactBlock::new(&checked));
        match self.network.publish(Topic::Block, bytes).await {
            Ok(()) | Err(PublishError::Duplicate | PublishError::NoPeers) => {}
            Err(error) => tracing::warn!(%error, %id, "cannot announce a block"),
        }
    }

    /// Tells the swarm of a block that validators decided.
    pub async fn announce_sealed(&self, block: &CheckedBlock, seal: SealBytes) {
        let id = block.id();
        self.recent.lock().insert(id);
        let mut compact = CompactBlock::new(block);
        compact.seal = seal;
        match self
            .network
            .publish(Topic::Block, codec::encode(&compact))
            .await
        {
            Ok(()) | Err(PublishError::Duplicate | PublishError::NoPeers) => {}
            Err(error) => tracing::warn!(%error, %id, "cannot announce a block"),
        }
    }

    /// A block came by gossip.
    pub async fn block(self: Arc<Self>, from: PeerId, data: Vec<u8>, token: GossipToken) {
        let compact: CompactBlock = match codec::decode(&data, COMPACT_BLOCK_BYTES_MAX) {
            Ok(compact) => compact,
            Err(_) => return self.network.verdict(token, Verdict::Reject),
        };
        if !CompactBlock::is_bound(&compact) {
            return self.network.verdict(token, Verdict::Reject);
        }
        let id = compact.id();
        // Work, or a seal, is shown before anything is kept or asked.
        let params = self.ledger.params();
        let height = compact.extension.height;
        let is_shown = if params.is_bft(height) {
            let place = (height, id, compact.extension.proposed_round);
            cairn_consensus::sealed::check_seal(params, &Ed25519, place, &compact.seal).is_ok()
        } else {
            cairn_consensus::nakamoto::check_work(params, &compact.header).is_ok()
        };
        if !is_shown {
            return self.network.verdict(token, Verdict::Reject);
        }
        if !self.recent.lock().insert(id) {
            self.drive(RelayInput::AnnouncedAgain {
                peer: from,
                block: id,
            });
            return self.network.verdict(token, Verdict::Ignore);
        }
        let Ok((outcome, place)) = self.ledger.headers(vec![compact.record()]).await else {
            return;
        };
        let deep =
            place.is_some_and(|place| place.height + SIDE_DEPTH_MAX < self.ledger.view().height);
        let verdict = match &outcome.violation {
            Some(Violation::UnknownParent { .. }) => {
                // The sender's status names its tip: the headers between come by sync.
                self.recent.lock().remove(&id);
                Verdict::Ignore
            }
            Some(violation) if violation.is_temporary() => {
                self.recent.lock().remove(&id);
                Verdict::Ignore
            }
            // Whoever forwarded it may not have judged the ancestor's body yet.
            Some(Violation::InvalidAncestor { .. }) => Verdict::Ignore,
            Some(_) => Verdict::Reject,
            // Old branches cost their sender little: they come by sync if they ever win.
            None if deep || outcome.refusal.is_some() => Verdict::Ignore,
            None => Verdict::Accept,
        };
        self.network.verdict(token, verdict);
        if verdict == Verdict::Accept {
            self.rebuild(from, compact).await;
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
