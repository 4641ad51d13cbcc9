//! From a compact block to a block: the mempool first, then those who announced it.
//!
//! ```text
//!   version of a peer ─▶ mempool ─▶ whole? ──────────────┬─▶ root fits ─▶ forward it, ledger
//!                          └─ lacks some ─▶ ask that peer ┘      └─ does not ─▶ other versions, block
//! ```
//! Peers may send different short ids for one block. Each version is tried by itself; when the block
//! is known, its own short ids say which version was right: that one is forwarded, and the link that
//! brought another is blamed. As nobody forwards ids before the block was put together from them,
//! only who made them up, or did not look, can be hit.
//!
//! Invariant: whom to ask is decided by the network's pure relay; each version gets one verdict.
//! Rules: `spec/08-sync.md#compact-blocks`.

use super::Relay;
use super::matching::fill_from_mempool;
use super::recent::{IdsDigest, RecentBlocks, Seen};
use crate::runtime::clock::monotonic_ms;
use cairn_consensus::chain::{BlockOutcome, Body, Source};
use cairn_network::relay::{CompactRelay, RelayEffect, RelayInput, RelayRequest};
use cairn_network::{GossipToken, Offence, PeerId, RequestError, Verdict};
use cairn_protocol::block::Block;
use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::CheckedBlock;
use cairn_protocol::transaction::Transaction;
use cairn_protocol::wire::{
    CompactBlock, ErrorCode, Reconstruction, SyncRequest, SyncResponse, short_ids,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Time for missing transactions; another announcer is asked before it is over.
const TRANSACTIONS_DEADLINE: Duration = Duration::from_secs(5);

/// Waits between questions to a peer that has nothing yet: doubled, so some two seconds together.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LAST_WAIT: Duration = Duration::from_millis(1_000);

/// Time for a whole block.
const BLOCK_DEADLINE: Duration = Duration::from_secs(15);

/// Versions of one block that are kept. Honest peers have one between them.
const VERSIONS_MAX: usize = 4;

/// Blocks that lack something, and whom they are asked of.
#[derive(Debug, Default)]
pub(super) struct Rebuilds {
    pub(super) recent: RecentBlocks,
    machine: CompactRelay<PeerId>,
    blocks: BTreeMap<BlockId, Half>,
}

/// A block that is being put together.
#[derive(Debug, Default)]
struct Half {
    versions: Vec<Version>,
    /// Its header is judged: versions may be tried.
    header_is_good: bool,
}

/// One peer's compact block.
#[derive(Debug)]
pub(super) struct Version {
    from: PeerId,
    digest: IdsDigest,
    token: GossipToken,
    state: Attempt,
}

#[derive(Debug)]
enum Attempt {
    /// Not looked at yet.
    Fresh(Box<CompactBlock>),
    /// Lacks transactions.
    Lacking(Box<Reconstruction>),
    /// Being put together, or found not to fit.
    Spent,
}

impl Version {
    pub(super) fn new(
        from: PeerId,
        digest: IdsDigest,
        compact: CompactBlock,
        token: GossipToken,
    ) -> Version {
        let state = Attempt::Fresh(Box::new(compact));
        Version {
            from,
            digest,
            token,
            state,
        }
    }
}

impl Relay {
    /// Notes a version. Of a known block it gets its verdict at once, likewise one too many.
    pub(super) fn enter(&self, id: BlockId, version: Version) -> Seen {
        let mut rebuilds = self.rebuilds.lock();
        let seen = rebuilds.recent.see(id);
        let refuse = |version: Version, verdict| {
            self.network.verdict(version.token, verdict);
            Seen::Known(version.digest)
        };
        match seen {
            Seen::New => {
                let versions = vec![version];
                let header_is_good = false;
                let half = Half {
                    versions,
                    header_is_good,
                };
                rebuilds.blocks.insert(id, half);
                Seen::New
            }
            Seen::Known(digest) if digest == version.digest => refuse(version, Verdict::Ignore),
            Seen::Known(_) => refuse(version, Verdict::Reject),
            Seen::Judging => match rebuilds.blocks.get_mut(&id) {
                Some(half)
                    if half.versions.len() < VERSIONS_MAX
                        && half.versions.iter().all(|v| v.digest != version.digest) =>
                {
                    half.versions.push(version);
                    Seen::Judging
                }
                _ => refuse(version, Verdict::Ignore),
            },
        }
    }

    /// Puts a block together whose header is good, or begins to ask for what is missing.
    pub(super) async fn rebuild(self: &Arc<Self>, id: BlockId) {
        if let Some(digest) = self.stored_ids(id).await {
            // Sync was faster: the block is here.
            return self.settle(id, digest);
        }
        if let Some(half) = self.rebuilds.lock().blocks.get_mut(&id) {
            half.header_is_good = true;
        }
        self.try_versions(id).await;
    }

    /// The short ids of a block that the store has.
    async fn stored_ids(&self, id: BlockId) -> Option<IdsDigest> {
        let snapshot = self.ledger.snapshot();
        // Headers are stored with their bodies: most blocks end here.
        snapshot.header(&id).ok().flatten()?;
        let read = tokio::task::spawn_blocking(move || {
            let block = snapshot.block(&id).ok().flatten()?;
            let ids: Vec<_> = block.transactions.iter().map(Transaction::ids).collect();
            Some(IdsDigest::of(&short_ids(&id, &ids)))
        });
        read.await.ok().flatten()
    }

    /// Tries the versions that nobody looked at yet.
    pub(super) async fn try_versions(self: &Arc<Self>, id: BlockId) {
        while let Some((from, compact)) = self.next_version(&id) {
            let whole = fill_from_mempool(&self.ledger.mempool().read(), compact);
            let missing = whole.missing();
            if missing.is_empty() {
                self.assembled(from, id, whole).await;
                continue;
            }
            let lacking = Attempt::Lacking(Box::new(whole));
            self.with_version(&id, from, |version| version.state = lacking);
            self.drive(RelayInput::Announced {
                peer: from,
                block: id,
                missing,
            });
        }
    }

    fn next_version(&self, id: &BlockId) -> Option<(PeerId, CompactBlock)> {
        let mut rebuilds = self.rebuilds.lock();
        let half = rebuilds.blocks.get_mut(id)?;
        let mut versions = half.versions.iter_mut().filter(|_| half.header_is_good);
        versions.find_map(
            |version| match std::mem::replace(&mut version.state, Attempt::Spent) {
                Attempt::Fresh(compact) => Some((version.from, *compact)),
                other => {
                    version.state = other;
                    None
                }
            },
        )
    }

    fn with_version<T>(
        &self,
        id: &BlockId,
        from: PeerId,
        change: impl FnOnce(&mut Version) -> T,
    ) -> Option<T> {
        let mut rebuilds = self.rebuilds.lock();
        let half = rebuilds.blocks.get_mut(id)?;
        let version = half.versions.iter_mut().find(|v| v.from == from)?;
        Some(change(version))
    }

    /// Tells the machine what happened and runs what it decides.
    pub(super) fn drive(self: &Arc<Self>, input: RelayInput<PeerId>) {
        let mut effects = Vec::new();
        self.rebuilds
            .lock()
            .machine
            .handle(monotonic_ms(), input, &mut effects);
        for effect in effects {
            match effect {
                RelayEffect::AskTransactions {
                    peer,
                    request,
                    block,
                    indexes,
                } => {
                    let relay = Arc::clone(self);
                    tokio::spawn(relay.ask_transactions(peer, request, block, indexes));
                }
                RelayEffect::AskBlock {
                    peer,
                    request,
                    block,
                } => {
                    tokio::spawn(Arc::clone(self).ask_block(peer, request, block));
                }
                RelayEffect::GiveUp(id) => self.give_up(id, Verdict::Ignore),
                RelayEffect::Punish { peer, offence } => self.network.report(peer, offence),
            }
        }
    }

    /// Ends the work on a block that may come again, with one verdict for all its versions.
    pub(super) fn give_up(&self, id: BlockId, verdict: Verdict) {
        let half = {
            let mut rebuilds = self.rebuilds.lock();
            rebuilds.recent.forget(&id);
            rebuilds.blocks.remove(&id)
        };
        for version in half.into_iter().flat_map(|half| half.versions) {
            self.network.verdict(version.token, verdict);
        }
    }

    /// Ends the work on a block whose short ids are known: forwards the version that has them.
    fn settle(&self, id: BlockId, digest: IdsDigest) {
        let half = {
            let mut rebuilds = self.rebuilds.lock();
            rebuilds.recent.known(id, digest);
            rebuilds.blocks.remove(&id)
        };
        for version in half.into_iter().flat_map(|half| half.versions) {
            let is_right = version.digest == digest;
            let verdict = if is_right {
                Verdict::Accept
            } else {
                let peer = version.from;
                tracing::warn!(%peer, %id, "short ids that are not the block's");
                Verdict::Reject
            };
            self.network.verdict(version.token, verdict);
        }
    }

    async fn ask_transactions(
        self: Arc<Self>,
        peer: PeerId,
        request: RelayRequest,
        block: BlockId,
        indexes: Vec<u32>,
    ) {
        let question = SyncRequest::BlockTransactions { block, indexes };
        let answer = self
            .ask_patiently(peer, question, TRANSACTIONS_DEADLINE)
            .await;
        let transactions = match answer {
            Ok(SyncResponse::Transactions(transactions)) => transactions,
            Ok(SyncResponse::Error(_)) | Err(_) => {
                return self.drive(RelayInput::Failed(request));
            }
            Ok(_) => return self.drive(RelayInput::WrongAnswer(request)),
        };
        let filled = self.with_version(&block, peer, |version| {
            let Attempt::Lacking(half) = &mut version.state else {
                return None;
            };
            if !half.fill(transactions) {
                return Some(None);
            }
            match std::mem::replace(&mut version.state, Attempt::Spent) {
                Attempt::Lacking(whole) => Some(Some(whole)),
                _ => None,
            }
        });
        match filled.flatten() {
            Some(Some(whole)) => {
                self.drive(RelayInput::Answered(request));
                self.assembled(peer, block, *whole).await;
            }
            // Not what its own compact block names.
            Some(None) => self.drive(RelayInput::WrongAnswer(request)),
            // Another answer came first.
            None => self.drive(RelayInput::Answered(request)),
        }
    }

    /// Asks again while the peer has nothing yet: it may have announced a block that it is storing.
    async fn ask_patiently(
        &self,
        peer: PeerId,
        question: SyncRequest,
        deadline: Duration,
    ) -> Result<SyncResponse, RequestError> {
        let mut wait = FIRST_WAIT;
        loop {
            let answer = self.network.request(peer, question.clone(), deadline).await;
            let has_none = match &answer {
                Ok(SyncResponse::Error(ErrorCode::Unavailable)) => true,
                Ok(SyncResponse::Blocks(blocks)) => blocks.is_empty(),
                _ => false,
            };
            if !has_none || wait > LAST_WAIT {
                return answer;
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }

    async fn ask_block(self: Arc<Self>, peer: PeerId, request: RelayRequest, id: BlockId) {
        let question = SyncRequest::BlocksById(vec![id]);
        match self.ask_patiently(peer, question, BLOCK_DEADLINE).await {
            Ok(SyncResponse::Blocks(mut blocks)) => match blocks.pop() {
                Some(block) if block.id() == id => self.whole_block(peer, request, block).await,
                Some(_) => self.drive(RelayInput::WrongAnswer(request)),
                None => self.drive(RelayInput::Failed(request)),
            },
            Ok(SyncResponse::Error(_)) | Err(_) => self.drive(RelayInput::Failed(request)),
            Ok(_) => self.drive(RelayInput::WrongAnswer(request)),
        }
    }

    /// A block that was fetched whole.
    async fn whole_block(self: &Arc<Self>, peer: PeerId, request: RelayRequest, block: Block) {
        let id = block.id();
        match CheckedBlock::new(block.clone(), self.ledger.params().limits()) {
            Ok(checked) => {
                self.drive(RelayInput::Answered(request));
                self.finish(id, checked).await;
            }
            Err(violation) if violation.is_mutation() => {
                // Blocks are announced before they are connected: only who answered with another
                // body is at fault, not who passed on what a miner made wrong.
                tracing::warn!(%peer, %id, %violation, "another body under a block's id");
                self.network.report(peer, Offence::InvalidBlock);
                self.drive(RelayInput::Failed(request));
            }
            Err(_) => {
                self.drive(RelayInput::Answered(request));
                self.invalid(id, block).await;
            }
        }
    }

    /// A version has all its transactions: does the header's root say so too?
    async fn assembled(self: &Arc<Self>, from: PeerId, id: BlockId, whole: Reconstruction) {
        let Some((block, ids)) = whole.clone().block() else {
            return;
        };
        match CheckedBlock::with_ids(block, ids, self.ledger.params().limits()) {
            Ok(checked) => self.finish(id, checked).await,
            Err(violation) if violation.is_mutation() => {
                self.drive(RelayInput::Collision {
                    peer: from,
                    block: id,
                });
            }
            Err(_) => {
                if let Some((block, _)) = whole.block() {
                    self.invalid(id, block).await;
                }
            }
        }
    }

    /// The block is here and keeps every rule that needs no coins: forward it, then connect it.
    async fn finish(self: &Arc<Self>, id: BlockId, checked: CheckedBlock) {
        let digest = IdsDigest::of(&short_ids(&id, checked.transaction_ids()));
        self.settle(id, digest);
        self.drive(RelayInput::Done(id));
        self.take(id, checked.into()).await;
    }

    /// The block is here and breaks a rule: nobody forwards it, and nobody is blamed for a miner.
    async fn invalid(self: &Arc<Self>, id: BlockId, block: Block) {
        self.drive(RelayInput::Done(id));
        self.take(id, block.into()).await;
        self.give_up(id, Verdict::Ignore);
    }

    async fn take(&self, id: BlockId, body: Body) {
        let Ok(reply) = self.ledger.block(body, Source::LOCAL).await else {
            return;
        };
        if let BlockOutcome::Invalid(violation) = &reply.outcome {
            tracing::warn!(%id, %violation, "invalid block");
        }
    }
}
