//! The seam between HTTP and the node: everything that the API asks for, as plain types.
//!
//! Invariant: the API decides nothing about the ledger and keeps no state of its own; each answer
//! comes from one call here, and all reads of one request come from one [`ChainView`], so that no
//! answer mixes two tips. Methods may block (they read disks); the API calls them on blocking
//! threads, a bounded number at a time.

use std::sync::Arc;

use serde::Deserialize;
use utoipa::ToSchema;

use super::model::address::{AddressSummary, UtxoPage};
use super::model::amount::PebblesDelta;
use super::model::block::{BlockDetail, BlockRef, BlockSeal, BlockSummary, ChainPoint, HeaderItem};
use super::model::chain::{Readiness, Schedule, Status, Supply, Validators};
use super::model::fees::Fees;
use super::model::hash::Hash32;
use super::model::mempool::Mempool;
use super::model::miner::MinerStatus;
use super::model::peer::Peers;
use super::model::transaction::{TransactionDetail, TransactionPage, TransactionProof};

/// Why the node has no answer. A thing that does not exist is `Ok(None)`, not an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// Our disk or our bug: the operator must look.
    #[error("{0}")]
    Fault(String),
    /// Too much asked at once, or the node is starting or stopping: ask again.
    #[error("{0}")]
    Busy(String),
    /// A part that this node does not have or was not started with; names it.
    #[error("{0}")]
    NotAvailable(String),
    /// The caller's request makes no sense on this chain; says why.
    #[error("{0}")]
    Invalid(String),
}

/// Answers of the backend.
pub type Answer<T> = Result<T, BackendError>;

/// Why a transaction was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Not the canonical encoding of a transaction.
    #[error("{0}")]
    Undecodable(String),
    /// It breaks a rule of the chain.
    #[error("{detail}")]
    Invalid {
        /// The rule's id, such as `TX-03`.
        rule: String,
        /// What is wrong, with value and bound.
        detail: String,
    },
    /// It spends what another transaction spends, here or in the chain.
    #[error("{0}")]
    Conflict(String),
    /// Policy: valid, and not wanted now (fee too low, cluster too large …).
    #[error("{0}")]
    Refused(String),
    /// Too much at once: send it again.
    #[error("{0}")]
    Busy(String),
    /// Our disk or our bug.
    #[error("{0}")]
    Fault(String),
}

/// Why a text is no address of this chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not an address at all.
    #[error("{0}")]
    Malformed(String),
    /// An address of another network.
    #[error("{0}")]
    OtherNetwork(String),
}

/// `POST /v1/sql`
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlRequest {
    /// One statement.
    pub sql: String,
    /// Values of `$1`, `$2`, …: strings, numbers, booleans or null.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub params: Vec<serde_json::Value>,
}

/// Why a statement failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlFailure {
    /// Five characters of PostgreSQL's list.
    pub sqlstate: String,
    /// One line for people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// An address that was read by [`Backend::parse_address`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The text as given.
    pub text: String,
    /// The key hash it names.
    pub key_hash: Hash32,
}

/// The chain as of one tip. Lives for one request.
pub trait ChainView: Send + Sync {
    /// The tip.
    fn tip(&self) -> ChainPoint;

    /// The highest certified or anchored block; genesis in pure proof of work.
    fn finalized(&self) -> ChainPoint;

    /// The main chain's block at a height.
    ///
    /// # Errors
    /// When the store fails.
    fn block_summary(&self, height: u64) -> Answer<Option<BlockSummary>>;

    /// The main chain's block id at a height.
    ///
    /// # Errors
    /// When the store fails.
    fn block_id(&self, height: u64) -> Answer<Option<Hash32>> {
        Ok(self.block_summary(height)?.map(|block| block.id))
    }

    /// One block in full, by height or id.
    ///
    /// # Errors
    /// When the store fails.
    fn block(&self, block: BlockRef) -> Answer<Option<BlockDetail>>;

    /// A block's canonical bytes.
    ///
    /// # Errors
    /// When the store fails.
    fn block_bytes(&self, block: BlockRef) -> Answer<Option<Vec<u8>>>;

    /// The main chain's header record at a height.
    ///
    /// # Errors
    /// When the store fails.
    fn header(&self, height: u64) -> Answer<Option<HeaderItem>>;

    /// The certificate of a block; none for a block of proof of work.
    ///
    /// # Errors
    /// When the store fails.
    fn seal(&self, block: BlockRef) -> Answer<Option<BlockSeal>>;

    /// A confirmed transaction or a coinbase.
    ///
    /// # Errors
    /// When the store fails.
    fn transaction(&self, txid: Hash32) -> Answer<Option<TransactionDetail>>;

    /// The coinbase and the transactions of the main chain's block at a height, in order; none above
    /// the tip.
    ///
    /// # Errors
    /// When the store fails, or this view has no such list.
    fn block_transactions(&self, height: u64) -> Answer<Vec<TransactionDetail>> {
        let _ = height;
        Err(BackendError::NotAvailable(
            "this view does not list a block's transactions".to_owned(),
        ))
    }

    /// Whether an output is unspent at the tip.
    ///
    /// # Errors
    /// When the store fails, or this view has no coins.
    fn is_unspent(&self, txid: Hash32, index: u32) -> Answer<bool> {
        let _ = (txid, index);
        Err(BackendError::NotAvailable(
            "this view has no coins".to_owned(),
        ))
    }

    /// A proof that a transaction is in its block; none when it is not confirmed.
    ///
    /// # Errors
    /// When the store fails.
    fn transaction_proof(&self, txid: Hash32) -> Answer<Option<TransactionProof>>;

    /// An address' confirmed balance and number of transactions; zeros when it is unknown. The
    /// caller fills in `pending`.
    ///
    /// # Errors
    /// When the store fails.
    fn address(&self, address: &Address) -> Answer<AddressSummary>;

    /// An address' coins, from `cursor` on (a cursor of an earlier page).
    ///
    /// # Errors
    /// [`BackendError::Invalid`] for a cursor that no page had.
    fn address_utxos(
        &self,
        address: &Address,
        cursor: Option<&str>,
        limit: usize,
    ) -> Answer<UtxoPage>;

    /// An address' transactions, newest first, from `cursor` on.
    ///
    /// # Errors
    /// [`BackendError::Invalid`] for a cursor that no page had.
    fn address_transactions(
        &self,
        address: &Address,
        cursor: Option<&str>,
        limit: usize,
    ) -> Answer<TransactionPage>;

    /// Issued and burned money at the tip.
    ///
    /// # Errors
    /// When the store fails.
    fn supply(&self) -> Answer<Supply>;

    /// The engine schedule.
    ///
    /// # Errors
    /// When the store fails.
    fn schedule(&self) -> Answer<Schedule>;

    /// The validators at the tip.
    ///
    /// # Errors
    /// When the store fails.
    fn validators(&self) -> Answer<Validators>;
}

/// The node as the API sees it.
pub trait Backend: Send + Sync + 'static {
    /// Whether this chain's specification is marked `devnet = true`.
    fn is_devnet(&self) -> bool;

    /// The state of the node in a few numbers.
    ///
    /// # Errors
    /// When a part of the node does not answer.
    fn status(&self) -> Answer<Status>;

    /// Whether this node should be given work.
    fn readiness(&self) -> Readiness;

    /// The chain as of now. Published before the events of the same change.
    ///
    /// # Errors
    /// When the store is not open.
    fn chain(&self) -> Answer<Arc<dyn ChainView>>;

    /// Reads an address of this chain.
    ///
    /// # Errors
    /// When the text is no address, or one of another network.
    fn parse_address(&self, text: &str) -> Result<Address, AddressError>;

    /// The mempool's totals and its best transactions, at most `limit`.
    ///
    /// # Errors
    /// When the mempool does not answer.
    fn mempool(&self, limit: usize) -> Answer<Mempool>;

    /// A transaction that waits in the mempool.
    ///
    /// # Errors
    /// When the mempool does not answer.
    fn mempool_transaction(&self, txid: Hash32) -> Answer<Option<TransactionDetail>>;

    /// What the mempool would change in an address' balance.
    ///
    /// # Errors
    /// When the mempool does not answer.
    fn pending(&self, address: &Address) -> Answer<PebblesDelta>;

    /// The transactions in the mempool that touch an address, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the mempool does not answer.
    fn pending_transactions(
        &self,
        address: &Address,
        limit: usize,
    ) -> Answer<Vec<TransactionDetail>>;

    /// Hands a transaction in: checks it, puts it into the mempool, gives it to the peers. A
    /// transaction that already waits is taken again.
    ///
    /// # Errors
    /// Says which kind of refusal it is.
    fn submit_transaction(&self, bytes: &[u8]) -> Result<Hash32, SubmitError>;

    /// Fee estimates.
    ///
    /// # Errors
    /// When the estimator does not answer.
    fn fees(&self) -> Answer<Fees>;

    /// The connected peers.
    ///
    /// # Errors
    /// When the swarm does not answer.
    fn peers(&self) -> Answer<Peers>;

    /// The miner.
    ///
    /// # Errors
    /// When the miner does not answer.
    fn miner(&self) -> Answer<MinerStatus>;

    /// Pauses or resumes the miner.
    ///
    /// # Errors
    /// [`BackendError::NotAvailable`] when this node was started without `--mine`.
    fn set_miner_paused(&self, paused: bool) -> Answer<MinerStatus>;

    /// Mines `blocks` blocks at once to an address; the API asks on devnets only.
    ///
    /// # Errors
    /// [`BackendError::NotAvailable`] when this node cannot.
    fn generate_to_address(&self, blocks: u32, address: &Address) -> Answer<Vec<Hash32>>;

    /// A block template for scripts that mine, as the JSON of `getblocktemplate`.
    ///
    /// # Errors
    /// [`BackendError::NotAvailable`] when this node cannot.
    fn block_template(&self) -> Answer<serde_json::Value>;

    /// Whether a template made now would differ from the one with this `longpollid`: another tip, or
    /// more fees. An id that no template had is old.
    ///
    /// # Errors
    /// When the node cannot tell.
    fn template_is_old(&self, longpollid: &str) -> Answer<bool>;

    /// Takes a solved block in its canonical encoding; a text says why it was rejected.
    ///
    /// # Errors
    /// [`BackendError::NotAvailable`] when this node cannot.
    fn submit_block(&self, bytes: &[u8]) -> Answer<Result<Hash32, String>>;

    /// A header to search (`getwork` without a parameter), as the JSON of the method. `user` is
    /// whom the miner names, and is paid if it is an address.
    ///
    /// # Errors
    /// [`BackendError::NotAvailable`] when this node cannot, or the chain's proof-of-work function
    /// is not the one that foreign miners have.
    fn get_work(&self, user: Option<&str>) -> Answer<serde_json::Value>;

    /// Takes a solved header (`getwork` with data); a text says why it was not good.
    ///
    /// # Errors
    /// As [`Backend::get_work`].
    fn submit_work(&self, data: &[u8]) -> Answer<Result<(), String>>;

    /// Runs one SQL statement: its rows as lines of JSON, or what is wrong with it. None when this node
    /// does not serve SQL.
    ///
    /// # Errors
    /// [`BackendError::NotAvailable`] when SQL asks for a password and this API asks for none.
    fn sql(&self, request: SqlRequest) -> Answer<Option<Result<String, SqlFailure>>> {
        let _ = request;
        Ok(None)
    }

    /// libp2p's own metrics as an OpenMetrics page; empty when there are none.
    fn libp2p_metrics(&self) -> String;

    /// Brings gauges up to date (sizes, peers) before the metrics page is written.
    fn refresh_metrics(&self) {}
}
