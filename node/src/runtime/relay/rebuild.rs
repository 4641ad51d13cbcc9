//! From a compact block to a block: the mempool first, then those who announced it.
//!
//! Invariant: whom to ask is decided by the network's pure relay; a block that does not fit its
//! header after it was put together blames nobody and is fetched whole.
//! Rules: `spec/08-sync.md#compact-blocks`.

use super::Relay;
use crate::runtime::clock::monotonic_ms;
use cairn_consensus::chain::{BlockOutcome, Source};
use cairn_consensus::mempool::Mempool;
use cairn_network::relay::{CompactRelay, RelayEffect, RelayInput, RelayRequest};
use cairn_network::{Offence, PeerId, RequestError};
use cairn_protocol::block::Block;
use cairn_protocol::hash::BlockId;
use cairn_protocol::limits::COMPACT_INDEXES_MAX;
use cairn_protocol::transaction::Transaction;
use cairn_protocol::wire::{
    CompactBlock, ErrorCode, Reconstruction, ShortId, SyncRequest, SyncResponse, short_id,
    short_id_key,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Time for missing transactions; another announcer is asked before it is over.
const TRANSACTIONS_DEADLINE: Duration = Duration::from_secs(5);

/// Waits between questions to a peer that has nothing yet: doubled, so some two seconds together.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LAST_WAIT: Duration = Duration::from_millis(1_000);

/// Time for a whole block.
const BLOCK_DEADLINE: Duration = Duration::from_secs(15);

/// Blocks that lack something, and whom they are asked of.
#[derive(Debug, Default)]
pub(super) struct Rebuilds {
    machine: CompactRelay<PeerId>,
    blocks: BTreeMap<BlockId, Reconstruction>,
}

impl Relay {
    /// Puts a compact block together, or begins to ask for what is missing.
    pub(super) async fn rebuild(self: &Arc<Self>, from: PeerId, compact: CompactBlock) {
        let id = compact.id();
        let reconstruction = self.fill_from_mempool(compact);
        let missing = reconstruction.missing();
        if missing.is_empty() {
            return self.assembled(from, id, reconstruction).await;
        }
        let too_many = missing.len() > COMPACT_INDEXES_MAX;
        self.rebuilds.lock().blocks.insert(id, reconstruction);
        self.drive(RelayInput::Announced {
            peer: from,
            block: id,
            missing,
        });
        if too_many {
            self.drive(RelayInput::Collision(id));
        }
    }

    fn fill_from_mempool(&self, compact: CompactBlock) -> Reconstruction {
        fill_from_mempool(&self.ledger.mempool().read(), compact)
    }
}

/// Fills in what the mempool has. Two residents with one short id are both left out.
pub(in crate::runtime) fn fill_from_mempool(
    pool: &Mempool,
    compact: CompactBlock,
) -> Reconstruction {
    let key = short_id_key(&compact.id());
    let wanted: BTreeSet<ShortId> = compact.short_ids.iter().copied().collect();
    let mut found: BTreeMap<ShortId, Option<Arc<Transaction>>> = BTreeMap::new();
    for wtxid in pool.wtxids() {
        let short = short_id(key, wtxid);
        if wanted.contains(&short) {
            let transaction = || {
                pool.get_by_wtxid(wtxid)
                    .map(|entry| Arc::clone(&entry.transaction))
            };
            found
                .entry(short)
                .and_modify(|known| *known = None)
                .or_insert_with(transaction);
        }
    }
    compact.reconstruct(|short| found.get(short)?.as_deref().cloned())
}

impl Relay {
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
                RelayEffect::GiveUp(id) => {
                    self.rebuilds.lock().blocks.remove(&id);
                    self.recent.lock().remove(&id);
                }
                RelayEffect::Punish { peer, offence } => self.network.report(peer, offence),
            }
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
        match self
            .ask_patiently(peer, question, TRANSACTIONS_DEADLINE)
            .await
        {
            Ok(SyncResponse::Transactions(transactions)) => {
                let filled = {
                    let mut rebuilds = self.rebuilds.lock();
                    // Another answer may have come first.
                    let Some(half) = rebuilds.blocks.get_mut(&block) else {
                        return;
                    };
                    let fits = half.fill(transactions);
                    fits.then(|| rebuilds.blocks.remove(&block)).flatten()
                };
                match filled {
                    Some(reconstruction) => {
                        self.drive(RelayInput::Answered(request));
                        self.assembled(peer, block, reconstruction).await;
                    }
                    None => self.drive(RelayInput::WrongAnswer(request)),
                }
            }
            Ok(SyncResponse::Error(_)) | Err(_) => self.drive(RelayInput::Failed(request)),
            Ok(_) => self.drive(RelayInput::WrongAnswer(request)),
        }
    }

    /// Asks again while the peer has nothing yet: it forwards a block before it has the body.
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
                Some(block) if block.id() == id => {
                    self.drive(RelayInput::Answered(request));
                    self.take(peer, id, block, false).await;
                }
                Some(_) => self.drive(RelayInput::WrongAnswer(request)),
                None => self.drive(RelayInput::Failed(request)),
            },
            Ok(SyncResponse::Error(_)) | Err(_) => self.drive(RelayInput::Failed(request)),
            Ok(_) => self.drive(RelayInput::WrongAnswer(request)),
        }
    }

    async fn assembled(self: &Arc<Self>, from: PeerId, id: BlockId, whole: Reconstruction) {
        if let Some(block) = whole.block() {
            self.take(from, id, block, true).await;
        }
    }

    /// Hands a block to the ledger. One that was put together and does not fit is fetched whole.
    async fn take(self: &Arc<Self>, from: PeerId, id: BlockId, block: Block, rebuilt: bool) {
        let Ok(reply) = self.ledger.block(block, Source::LOCAL).await else {
            return;
        };
        if let BlockOutcome::Invalid(violation) = &reply.outcome {
            if rebuilt && violation.is_mutation() {
                // It may not have been asked for anything yet: then the machine hears of it now.
                let announced = RelayInput::Announced {
                    peer: from,
                    block: id,
                    missing: Vec::new(),
                };
                if !self.rebuilds.lock().machine.is_pending(&id) {
                    self.drive(announced);
                }
                return self.drive(RelayInput::Collision(id));
            }
            tracing::warn!(peer = %from, %id, %violation, "invalid block");
            // Blocks are forwarded by their headers: only who answered with another body is at
            // fault, not who passed on what a miner made wrong.
            if !rebuilt && violation.is_mutation() {
                self.network.report(from, Offence::InvalidBlock);
            }
        }
        self.rebuilds.lock().blocks.remove(&id);
        self.drive(RelayInput::Done(id));
    }
}
