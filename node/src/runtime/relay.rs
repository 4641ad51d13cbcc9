//! Gossip in and out: compact blocks and batches of transactions.
//!
//! Invariants: a block is forwarded after its header rules and before its body's; each block id
//! once; a message is rejected only for what its sender could have checked itself.
//! Rules: `spec/08-sync.md#relay`.

use super::ledger::{LedgerHandle, SubmitError};
use super::peers::PeerNumbers;
use cairn_consensus::chain::BlockOutcome;
use cairn_network::{GossipToken, NetworkHandle, Offence, PeerId, PublishError, Topic, Verdict};
use cairn_protocol::block::Block;
use cairn_protocol::codec;
use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::CheckedBlock;
use cairn_protocol::limits::{
    COMPACT_BLOCK_BYTES_MAX, COMPACT_INDEXES_MAX, TX_BATCH_BYTES_MAX, TX_BATCH_MAX,
};
use cairn_protocol::rules::Violation;
use cairn_protocol::transaction::Transaction;
use cairn_protocol::wire::{
    CompactBlock, Reconstruction, ShortId, SyncRequest, SyncResponse, TxBatch, short_id,
    short_id_key,
};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// Time that a peer has for the missing transactions of a block, before the next one is asked.
const MISSING_DEADLINE: Duration = Duration::from_secs(2);

/// Time that a peer has for a whole block.
const BLOCK_DEADLINE: Duration = Duration::from_secs(15);

/// Block ids that were forwarded or are being rebuilt; older ones are known to the ledger.
const RECENT_BLOCKS_MAX: usize = 256;

/// Own transactions that wait for their batch; beyond this the API answers busy.
const OUTGOING_MAX: usize = 4_096;

/// Longest wait of an own transaction for its batch; the actual wait is random below it, so that
/// its origin does not show.
const BATCH_DELAY_MS_MAX: u64 = 200;

/// Own transactions that are offered again until they are mined.
const REBROADCAST_MAX: usize = 1_000;

/// Time between two offers: above the duplicate cache of gossip.
const REBROADCAST_EVERY: Duration = Duration::from_secs(150);

/// The relay.
pub struct Relay {
    ledger: LedgerHandle,
    network: NetworkHandle,
    peers: Arc<PeerNumbers>,
    recent: Mutex<RecentBlocks>,
    outgoing: mpsc::Sender<Transaction>,
    ready_peers: AtomicUsize,
    wanted: mpsc::Sender<PeerId>,
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
    /// A relay. `wanted` receives peers that seem to know headers we do not have.
    pub fn new(
        ledger: LedgerHandle,
        network: NetworkHandle,
        peers: Arc<PeerNumbers>,
        wanted: mpsc::Sender<PeerId>,
    ) -> Arc<Relay> {
        let (outgoing, queue) = mpsc::channel(OUTGOING_MAX);
        let relay = Arc::new(Relay {
            ledger,
            network,
            peers,
            recent: Mutex::default(),
            outgoing,
            ready_peers: AtomicUsize::new(0),
            wanted,
        });
        tokio::spawn(Arc::clone(&relay).publish_batches(queue));
        relay
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

    /// Queues a transaction of ours for gossip; `false` if too many wait.
    pub fn announce_transaction(&self, transaction: Transaction) -> bool {
        self.outgoing.try_send(transaction).is_ok()
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
        // Work is shown before anything is kept or asked.
        let params = self.ledger.params();
        if cairn_consensus::nakamoto::check_work(params, &compact.header).is_err() {
            return self.network.verdict(token, Verdict::Reject);
        }
        if !self.recent.lock().insert(id) {
            return self.network.verdict(token, Verdict::Ignore);
        }
        let Ok(outcome) = self.ledger.headers(vec![compact.record()]).await else {
            return;
        };
        let verdict = match &outcome.violation {
            Some(Violation::UnknownParent { .. }) => {
                // The headers between come by sync, and this block with them.
                self.recent.lock().remove(&id);
                let _ = self.wanted.try_send(from);
                Verdict::Ignore
            }
            Some(violation) if violation.is_temporary() => {
                self.recent.lock().remove(&id);
                Verdict::Ignore
            }
            Some(_) => Verdict::Reject,
            None if outcome.refusal.is_some() => Verdict::Ignore,
            None => Verdict::Accept,
        };
        self.network.verdict(token, verdict);
        if verdict == Verdict::Accept {
            self.rebuild(from, compact).await;
        }
    }

    /// Rebuilds a block from the mempool, then from the peer's transactions, then as a whole.
    async fn rebuild(&self, from: PeerId, compact: CompactBlock) {
        let (id, key) = (compact.id(), short_id_key(&compact.id()));
        let mut reconstruction = {
            let pool = self.ledger.mempool().read();
            let wanted: BTreeSet<ShortId> = compact.short_ids.iter().copied().collect();
            let mut found: BTreeMap<ShortId, Option<Arc<Transaction>>> = BTreeMap::new();
            for entry in pool.by_fee_rate() {
                let short = short_id(key, &entry.wtxid());
                if wanted.contains(&short) {
                    // Two residents with one short id: neither is trusted.
                    found
                        .entry(short)
                        .and_modify(|known| *known = None)
                        .or_insert_with(|| Some(Arc::clone(&entry.transaction)));
                }
            }
            drop(pool);
            let find = |short: &ShortId| {
                found
                    .get(short)?
                    .as_ref()
                    .map(|transaction| Transaction::clone(transaction))
            };
            compact.reconstruct(find)
        };
        if !self.fill(from, &id, &mut reconstruction).await {
            return self.fetch_whole(from, &id).await;
        }
        let Some(block) = reconstruction.block() else {
            return self.fetch_whole(from, &id).await;
        };
        self.take(from, block, true).await;
    }

    /// Asks for what is missing; `false` if the whole block is the shorter way.
    async fn fill(&self, from: PeerId, id: &BlockId, block: &mut Reconstruction) -> bool {
        let indexes = block.missing();
        if indexes.is_empty() {
            return true;
        }
        if indexes.len() > COMPACT_INDEXES_MAX {
            return false;
        }
        let request = SyncRequest::BlockTransactions {
            block: *id,
            indexes,
        };
        // The sender first; after two seconds another one.
        for peer in self.two_peers(from) {
            match self
                .network
                .request(peer, request.clone(), MISSING_DEADLINE)
                .await
            {
                Ok(SyncResponse::Transactions(transactions)) => return block.fill(transactions),
                Ok(_) | Err(_) => {}
            }
        }
        false
    }

    fn two_peers(&self, first: PeerId) -> Vec<PeerId> {
        let others = self.network.peers().into_iter().map(|info| info.peer);
        let second = others.filter(|peer| *peer != first).take(1);
        std::iter::once(first).chain(second).collect()
    }

    async fn fetch_whole(&self, from: PeerId, id: &BlockId) {
        let request = SyncRequest::BlocksById(vec![*id]);
        for peer in self.two_peers(from) {
            let answer = self
                .network
                .request(peer, request.clone(), BLOCK_DEADLINE)
                .await;
            if let Ok(SyncResponse::Blocks(mut blocks)) = answer
                && let Some(block) = blocks.pop()
                && block.id() == *id
            {
                return self.take(peer, block, false).await;
            }
        }
        self.recent.lock().remove(id);
        let _ = self.wanted.try_send(from);
    }

    /// Hands a block to the ledger. A rebuilt one that does not fit its header is fetched whole.
    async fn take(&self, from: PeerId, block: Block, rebuilt: bool) {
        let id = block.id();
        let source = self.peers.source(from);
        let Ok(reply) = self.ledger.block(block, source).await else {
            return;
        };
        match reply.outcome {
            BlockOutcome::Invalid(violation) if rebuilt && violation.is_mutation() => {
                // Two transactions share a short id: nobody is at fault.
                Box::pin(self.fetch_whole(from, &id)).await;
            }
            BlockOutcome::Invalid(violation) if !violation.is_temporary() => {
                tracing::warn!(peer = %from, %id, %violation, "invalid block");
                self.network.report(from, Offence::InvalidBlock);
            }
            BlockOutcome::Orphan { .. } => {
                let _ = self.wanted.try_send(from);
            }
            _ => {}
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

    /// Gathers own transactions for a random moment and gossips them together; offers them again
    /// until they are mined.
    async fn publish_batches(self: Arc<Self>, mut queue: mpsc::Receiver<Transaction>) {
        let mut again = tokio::time::interval(REBROADCAST_EVERY);
        let mut own: VecDeque<Transaction> = VecDeque::new();
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                first = queue.recv() => match first {
                    Some(first) => batch.push(first),
                    None => return,
                },
                _ = again.tick() => {
                    self.keep_waiting(&mut own);
                    for transactions in own.make_contiguous().chunks(TX_BATCH_MAX) {
                        self.publish(transactions.to_vec()).await;
                    }
                    continue;
                }
            }
            let delay = rand::random_range(1..=BATCH_DELAY_MS_MAX);
            tokio::time::sleep(Duration::from_millis(delay)).await;
            while batch.len() < TX_BATCH_MAX
                && let Ok(next) = queue.try_recv()
            {
                batch.push(next);
            }
            own.extend(batch.iter().cloned());
            while own.len() > REBROADCAST_MAX {
                own.pop_front();
            }
            self.publish(batch).await;
        }
    }

    /// Forgets own transactions that left the mempool.
    fn keep_waiting(&self, own: &mut VecDeque<Transaction>) {
        let pool = self.ledger.mempool().read();
        own.retain(|transaction| pool.get(&transaction.txid()).is_some());
    }

    /// Publishes a batch, in several messages if it is larger than one may be.
    async fn publish(&self, batch: Vec<Transaction>) {
        let bytes = codec::encode(&TxBatch(batch.clone()));
        if bytes.len() > TX_BATCH_BYTES_MAX && batch.len() > 1 {
            let (left, right) = batch.split_at(batch.len() / 2);
            Box::pin(self.publish(left.to_vec())).await;
            Box::pin(self.publish(right.to_vec())).await;
            return;
        }
        match self.network.publish(Topic::Transactions, bytes).await {
            Ok(()) | Err(PublishError::Duplicate | PublishError::NoPeers) => {}
            Err(error) => tracing::debug!(%error, "cannot publish transactions now"),
        }
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
