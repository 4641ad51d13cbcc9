//! Requests for headers, blocks and transactions, and their answers.
//!
//! Invariant: an answer may be shorter than asked but is a prefix in order; empty means "have none".
//! Rules: `spec/08-sync.md#messages`.

use crate::block::{Block, HeaderRecord};
use crate::codec::{array, bounded};
use crate::hash::{BlockId, TxId, Wtxid};
use crate::limits::{
    BLOCKS_REQUEST_MAX, COMPACT_INDEXES_MAX, HEADER_BYTES, HEADERS_MAX, LOCATOR_MAX,
    TRANSACTIONS_REQUEST_MAX, TX_BATCH_MAX,
};
use crate::merkle::TxProof;
use crate::transaction::Transaction;
use crate::units::Height;
use serde::{Deserialize, Serialize};

/// A request on `sync/1`. Tags are the order of the variants.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SyncRequest {
    /// Header records after the first block of `locator` that the receiver has on its best chain.
    GetHeaders {
        /// Ids from the tip backwards with growing steps; genesis last.
        #[serde(deserialize_with = "bounded::<_, _, LOCATOR_MAX>")]
        locator: Vec<BlockId>,
        /// Last id wanted; zero for as many as allowed.
        stop: BlockId,
        /// At most this many.
        max: u32,
    },
    /// The same, answered with bare 80-byte headers: the first phase of presync.
    GetBareHeaders {
        /// See `GetHeaders`.
        #[serde(deserialize_with = "bounded::<_, _, LOCATOR_MAX>")]
        locator: Vec<BlockId>,
        /// See `GetHeaders`.
        max: u32,
    },
    /// Header records of the best chain from `start` on.
    HeadersByRange {
        /// First height.
        start: Height,
        /// At most this many.
        count: u32,
    },
    /// Blocks by id.
    BlocksById(#[serde(deserialize_with = "bounded::<_, _, BLOCKS_REQUEST_MAX>")] Vec<BlockId>),
    /// Blocks of the best chain from `start` on.
    BlocksByRange {
        /// First height.
        start: Height,
        /// At most this many.
        count: u32,
    },
    /// Transactions of the mempool by witness id.
    TransactionsById(
        #[serde(deserialize_with = "bounded::<_, _, TRANSACTIONS_REQUEST_MAX>")] Vec<Wtxid>,
    ),
    /// Transactions of one block by index, strictly ascending.
    BlockTransactions {
        /// The block.
        block: BlockId,
        /// Indexes, the coinbase not counted.
        #[serde(deserialize_with = "bounded::<_, _, COMPACT_INDEXES_MAX>")]
        indexes: Vec<u32>,
    },
    /// Proof that the best chain contains a transaction.
    Proof {
        /// The transaction.
        txid: TxId,
    },
}

/// Why a request was not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ErrorCode {
    /// The request breaks a rule of this chapter.
    InvalidRequest,
    /// A fault of the server's own.
    ServerError,
    /// The server has no such thing.
    Unavailable,
    /// Too many requests.
    RateLimited {
        /// Milliseconds after which one more is answered.
        retry_after_ms: u32,
    },
    /// The block was pruned.
    Pruned {
        /// Lowest height served.
        lowest: Height,
    },
}

/// An answer on `sync/1`. Tags are the order of the variants.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SyncResponse {
    /// Not answered.
    Error(ErrorCode),
    /// To `GetHeaders` and `HeadersByRange`.
    Headers(#[serde(deserialize_with = "bounded::<_, _, HEADERS_MAX>")] Vec<HeaderRecord>),
    /// To `GetBareHeaders`.
    BareHeaders(#[serde(deserialize_with = "bounded::<_, _, HEADERS_MAX>")] Vec<BareHeader>),
    /// To `BlocksById` and `BlocksByRange`.
    Blocks(#[serde(deserialize_with = "bounded::<_, _, BLOCKS_REQUEST_MAX>")] Vec<Block>),
    /// To `TransactionsById` and `BlockTransactions`.
    Transactions(
        #[serde(deserialize_with = "bounded::<_, _, COMPACT_INDEXES_MAX>")] Vec<Transaction>,
    ),
    /// To `Proof`.
    Proof(Box<ProofResponse>),
}

/// 80 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BareHeader(#[serde(with = "array")] pub [u8; HEADER_BYTES]);

/// A transaction and its way to a header.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProofResponse {
    /// The header record.
    pub record: HeaderRecord,
    /// The way.
    pub proof: TxProof,
    /// The transaction.
    pub transaction: Transaction,
}

/// A gossip message of topic `tx`: one to sixty-four transactions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TxBatch(
    #[serde(deserialize_with = "bounded::<_, _, TX_BATCH_MAX>")] pub Vec<Transaction>,
);
