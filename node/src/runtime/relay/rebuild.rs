//! From a compact block to a block: the mempool first, then those who announced it.
//!
//! Invariant: whom to ask is decided by the network's pure relay; a block that does not fit its
//! header after it was put together blames nobody and is fetched whole.
//! Rules: `spec/08-sync.md#compact-blocks`.

use super::Relay;
use crate::runtime::clock::now_ms;
use cairn_consensus::chain::BlockOutcome;
use cairn_network::relay::{CompactRelay, RelayEffect, RelayInput, RelayRequest};
use cairn_network::{Offence, PeerId};
use cairn_protocol::block::Block;
use cairn_protocol::hash::BlockId;
use cairn_protocol::limits::COMPACT_INDEXES_MAX;
use cairn_protocol::transaction::Transaction;
use cairn_protocol::wire::{
    CompactBlock, Reconstruction, ShortId, SyncRequest, SyncResponse, short_id, short_id_key,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Time for missing transactions; another announcer is asked before it is over.
const TRANSACTIONS_DEADLINE: Duration = Duration::from_secs(5);

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

    /// Fills in what the mempool has. Two residents with one short id are both left out.
    fn fill_from_mempool(&self, compact: CompactBlock) -> Reconstruction {
        let key = short_id_key(&compact.id());
        let wanted: BTreeSet<ShortId> = compact.short_ids.iter().copied().collect();
        let mut found: BTreeMap<ShortId, Option<Arc<Transaction>>> = BTreeMap::new();
        let pool = self.ledger.mempool().read();
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
        drop(pool);
        compact.reconstruct(|short| found.get(short)?.as_deref().cloned())
    }

    /// Tells the machine what happened and runs what it decides.
    pub(super) fn drive(self: &Arc<Self>, input: RelayInput<PeerId>) {
        let mut effects = Vec::new();
        self.rebuilds
            .lock()
            .machine
            .handle(now_ms(), input, &mut effects);
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
            .network
            .request(peer, question, TRANSACTIONS_DEADLINE)
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

    async fn ask_block(self: Arc<Self>, peer: PeerId, request: RelayRequest, id: BlockId) {
        let question = SyncRequest::BlocksById(vec![id]);
        match self.network.request(peer, question, BLOCK_DEADLINE).await {
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
        let source = self.peers.source(from);
        let Ok(reply) = self.ledger.block(block, source).await else {
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
            if !violation.is_temporary() {
                tracing::warn!(peer = %from, %id, %violation, "invalid block");
                self.network.report(from, Offence::InvalidBlock);
            }
        }
        self.rebuilds.lock().blocks.remove(&id);
        self.drive(RelayInput::Done(id));
    }
}
