//! Commands to the ledger thread, and the handle that sends them.
//!
//! Invariant: the queue is bounded; a full queue makes the caller wait, so that the network's own
//! bounds, and not memory, take the pressure.

use super::bft::BftCommand;
use super::submit::SubmitError;
use super::worker::Published;
use cairn_consensus::chain::{BlockOutcome, BlockPlace, HeadersOutcome, Source};
use cairn_consensus::mempool::Mempool;
use cairn_consensus::template::BlockTemplate;
use cairn_protocol::block::{Block, HeaderRecord};
use cairn_protocol::hash::{BlockId, TxId};
use cairn_protocol::lock::Lock;
use cairn_protocol::spec::ChainParams;
use cairn_protocol::transaction::Transaction;
use cairn_storage::chain::ChainSnapshot;
use parking_lot::RwLock;
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
        block: Box<Block>,
        source: Source,
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
        reply: oneshot::Sender<Vec<(u64, BlockId)>>,
    },
    /// An order of a BFT engine.
    Bft(BftCommand),
    Forget {
        source: Source,
    },
    Stop {
        reply: oneshot::Sender<()>,
    },
}

/// What became of a batch of headers, and the place of the last of them that is kept.
pub type HeadersReply = (HeadersOutcome, Option<BlockPlace>);

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
    pub async fn block(&self, block: Block, source: Source) -> Result<BlockReply, LedgerStopped> {
        let block = Box::new(block);
        self.ask(|reply| Command::Block {
            block,
            source,
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

    /// The lowest bodies that are missing on the best header chain.
    pub async fn missing_bodies(&self, max: usize) -> Result<Vec<(u64, BlockId)>, LedgerStopped> {
        self.ask(|reply| Command::MissingBodies { max, reply })
            .await
    }

    /// Forgets what a peer that left has waiting here.
    pub async fn forget(&self, source: Source) {
        // A stopped ledger has nothing to forget.
        let _ = self.commands.send(Command::Forget { source }).await;
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
