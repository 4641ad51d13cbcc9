//! Commands to the ledger thread, and the handle that sends them.
//!
//! Invariant: the queue is bounded; a full queue makes the caller wait, so that the network's own
//! bounds, and not memory, take the pressure.

use super::bft::BftCommand;
use super::submit::SubmitError;
use super::worker::Published;
use cairn_consensus::chain::{BlockOutcome, BlockPlace, Body, HeadersOutcome, Source};
use cairn_consensus::mempool::Mempool;
use cairn_consensus::template::BlockTemplate;
use cairn_protocol::block::HeaderRecord;
use cairn_protocol::hash::{BlockId, TxId};
use cairn_protocol::lock::Lock;
use cairn_protocol::spec::ChainParams;
use cairn_protocol::transaction::Transaction;
use cairn_storage::chain::ChainSnapshot;
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::event::LedgerEvent;
use crate::runtime::view::ChainView;

/// Commands that wait at most. Each is at most one block or one batch, and their senders wait.
pub(super) const COMMANDS_MAX: usize = 256;

/// One command.
pub(super) enum Command {
    Headers {
        records: Vec<HeaderRecord>,
        reply: oneshot::Sender<HeadersReply>,
    },
    Block {
        body: Box<Body>,
        source: Source,
        /// Told when the block is on disk, before it is connected.
        stored: Option<oneshot::Sender<()>>,
        reply: oneshot::Sender<BlockReply>,
    },
    Submit {
        transactions: Vec<Transaction>,
        source: Source,
        reply: oneshot::Sender<Vec<Result<TxId, SubmitError>>>,
    },
    Template {
        reward: Lock,
        reply: oneshot::Sender<Result<BlockTemplate, String>>,
    },
    MissingBodies {
        max: usize,
        toward: Vec<BlockId>,
        reply: oneshot::Sender<MissingBodies>,
    },
    /// An order of a BFT engine.
    Bft(BftCommand),
    Find {
        id: BlockId,
        reply: oneshot::Sender<Option<BlockPlace>>,
    },
    #[cfg(test)]
    Panic,
    Stop {
        reply: oneshot::Sender<()>,
    },
}

/// What became of a batch of headers, and the place of the last of them that is kept.
pub type HeadersReply = (HeadersOutcome, Option<BlockPlace>);

/// Bodies that are missing: along the best header chain, then along the branch of each id asked for
/// that is in the header tree and has more work than the tip.
#[derive(Clone, Debug, Default)]
pub struct MissingBodies {
    /// Along the best header chain, ascending.
    pub best: Vec<(u64, BlockId)>,
    /// Along each other branch.
    pub others: Vec<(BlockId, Vec<(u64, BlockId)>)>,
}

/// The answer to a block.
#[derive(Clone, Debug)]
pub struct BlockReply {
    /// What became of it.
    pub outcome: BlockOutcome,
    /// Whether it is on the chain that ends at the tip now.
    pub connected: bool,
}

/// The ledger thread has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger has stopped")]
pub struct LedgerStopped;

/// A hold on the ledger; cheap to clone.
#[derive(Clone)]
pub struct LedgerHandle {
    pub(super) params: Arc<ChainParams>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) published: Arc<Published>,
    pub(super) events: broadcast::Sender<LedgerEvent>,
    pub(super) gone: Arc<Mutex<Vec<Source>>>,
}

impl LedgerHandle {
    /// The chain's parameters.
    pub fn params(&self) -> &Arc<ChainParams> {
        &self.params
    }

    /// The chain as of now; keep it for one request.
    pub fn snapshot(&self) -> Arc<ChainSnapshot> {
        self.published.reader.snapshot()
    }

    /// Tip, best header and work as of now.
    pub fn view(&self) -> Arc<ChainView> {
        self.published.view.load_full()
    }

    /// The mempool, to read.
    pub fn mempool(&self) -> &RwLock<Mempool> {
        &self.published.mempool
    }

    /// The fee estimator and other published state.
    pub fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// Events from now on. A receiver that falls behind is told how many it missed.
    pub fn subscribe(&self) -> broadcast::Receiver<LedgerEvent> {
        self.events.subscribe()
    }

    /// Takes in header records.
    pub async fn headers(&self, records: Vec<HeaderRecord>) -> Result<HeadersReply, LedgerStopped> {
        self.ask(|reply| Command::Headers { records, reply }).await
    }

    /// Takes in a block and moves the tip.
    pub async fn block(
        &self,
        block: impl Into<Body>,
        source: Source,
    ) -> Result<BlockReply, LedgerStopped> {
        self.give_block(block.into(), source, None).await
    }

    /// The same, and tells `stored` when the block is on disk, before it is connected. If it is not
    /// stored, `stored` is dropped.
    pub async fn block_stored(
        &self,
        block: impl Into<Body>,
        source: Source,
        stored: oneshot::Sender<()>,
    ) -> Result<BlockReply, LedgerStopped> {
        self.give_block(block.into(), source, Some(stored)).await
    }

    async fn give_block(
        &self,
        body: Body,
        source: Source,
        stored: Option<oneshot::Sender<()>>,
    ) -> Result<BlockReply, LedgerStopped> {
        let body = Box::new(body);
        self.ask(|reply| Command::Block {
            body,
            source,
            stored,
            reply,
        })
        .await
    }

    /// Offers transactions to the mempool; one answer each, in order.
    pub async fn submit(
        &self,
        transactions: Vec<Transaction>,
        source: Source,
    ) -> Result<Vec<Result<TxId, SubmitError>>, LedgerStopped> {
        self.ask(|reply| Command::Submit {
            transactions,
            source,
            reply,
        })
        .await
    }

    /// A block for miners, whose reward goes to `reward`.
    pub async fn template(
        &self,
        reward: Lock,
    ) -> Result<Result<BlockTemplate, String>, LedgerStopped> {
        self.ask(|reply| Command::Template { reward, reply }).await
    }

    /// The lowest bodies that are missing on the best header chain and on the branches that lead to
    /// other headers; at most `max` of each.
    pub async fn missing_bodies(
        &self,
        max: usize,
        toward: Vec<BlockId>,
    ) -> Result<MissingBodies, LedgerStopped> {
        self.ask(|reply| Command::MissingBodies { max, toward, reply })
            .await
    }

    /// The place of a header that the ledger knows, with or without its body.
    pub async fn find(&self, id: BlockId) -> Result<Option<BlockPlace>, LedgerStopped> {
        self.ask(|reply| Command::Find { id, reply }).await
    }

    /// Forgets, soon, what a peer that left has waiting here. Never waits.
    pub fn forget(&self, source: Source) {
        self.gone.lock().push(source);
    }

    /// Makes the ledger thread panic.
    #[cfg(test)]
    pub async fn panic(&self) {
        let _ = self.commands.send(Command::Panic).await;
    }

    /// Stops the thread after a last flush; returns when all is on disk.
    pub async fn stop(&self) {
        let _ = self.ask(|reply| Command::Stop { reply }).await;
    }

    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, LedgerStopped> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| LedgerStopped)?;
        answer.await.map_err(|_| LedgerStopped)
    }
}
