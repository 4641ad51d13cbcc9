//! Transactions, their inputs with the outputs they spend, proofs of inclusion.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::amount::Pebbles;
use super::hash::{Hash32, HexBytes};

/// When something becomes possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AtJson {
    /// From this height on.
    Height(u64),
    /// From this Unix time in seconds on.
    Time(u32),
}

/// What an output asks of the transaction that spends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LockJson {
    /// One signature by the key with this hash.
    Key {
        /// Hash of the public key.
        key_hash: Hash32,
    },
    /// Exactly `m` signatures of these keys.
    Threshold {
        /// How many.
        m: u8,
        /// The public keys, ascending.
        keys: Vec<HexBytes>,
    },
    /// A secret and one key, or after a time another key.
    HashLock {
        /// SHA-256 of the secret.
        digest: Hash32,
        /// Hash of the key that spends with the secret.
        claim: Hash32,
        /// Hash of the key that spends later.
        refund: Hash32,
        /// When the refund begins.
        refund_at: AtJson,
    },
    /// Another lock, from some time on.
    After {
        /// From when.
        at: AtJson,
        /// The lock inside.
        #[schema(value_type = Object)]
        lock: Box<LockJson>,
    },
    /// Bytes that are never a coin.
    Data {
        /// The bytes.
        hex: HexBytes,
    },
}

/// An output: an amount and what it takes to spend it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionOutput {
    /// Position in its transaction.
    pub index: u32,
    /// The amount.
    pub value: Pebbles,
    /// The address it pays to, when its lock has one.
    pub address: Option<String>,
    /// The lock.
    pub lock: LockJson,
}

/// An input with the output that it spends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionInput {
    /// The transaction that made the output.
    pub txid: Hash32,
    /// Its position there.
    pub index: u32,
    /// The output's amount.
    pub value: Pebbles,
    /// The address it was paid to, when its lock has one.
    pub address: Option<String>,
    /// The output's lock.
    pub lock: LockJson,
}

/// Where a transaction is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Confirmation {
    /// The block.
    pub id: Hash32,
    /// Its height.
    pub height: u64,
    /// Its time.
    pub time: u32,
    /// Position in the block; none for the coinbase.
    pub index: Option<u32>,
}

/// A transaction in the chain or in the mempool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionDetail {
    /// Id without witnesses.
    pub txid: Hash32,
    /// Id with witnesses; equal to `txid` for a coinbase.
    pub wtxid: Hash32,
    /// Version.
    pub version: u32,
    /// Whether it is a block's coinbase.
    pub coinbase: bool,
    /// Bytes in the canonical encoding.
    pub bytes: u64,
    /// Weight.
    pub weight: u64,
    /// The fee; 0 for a coinbase.
    pub fee: Pebbles,
    /// Pebbles per 1000 weight.
    pub fee_rate: Pebbles,
    /// From when on it may be in a block.
    pub valid_from: AtJson,
    /// What it spends.
    pub inputs: Vec<TransactionInput>,
    /// What it makes.
    pub outputs: Vec<TransactionOutput>,
    /// Its block; none while it waits in the mempool.
    pub block: Option<Confirmation>,
    /// Blocks from its own to the tip; 0 in the mempool.
    pub confirmations: u64,
    /// The canonical encoding.
    pub hex: HexBytes,
}

/// A page of an address' transactions, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionPage {
    /// The transactions.
    pub transactions: Vec<TransactionDetail>,
    /// Pass as `cursor` to go on; none at the end.
    pub next_cursor: Option<String>,
}

/// A proof that a transaction is in a block, to be checked with the block's header only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionProof {
    /// The transaction.
    pub txid: Hash32,
    /// Its id with witnesses: the leaf holds both.
    pub wtxid: Hash32,
    /// The block.
    pub block: Hash32,
    /// The block's height.
    pub height: u64,
    /// Position in the block.
    pub index: u32,
    /// Number of transactions in the block.
    pub count: u32,
    /// The siblings from the leaf up; none where a node was promoted.
    pub branch: Vec<Hash32>,
    /// Root over the transactions.
    pub tx_root: Hash32,
    /// The coinbase's id.
    pub coinbase: Hash32,
    /// Hash of the extension.
    pub extension_hash: Hash32,
    /// The header's 80 bytes.
    pub header: HexBytes,
    /// The whole proof in its canonical encoding.
    pub hex: HexBytes,
}

/// The body of `POST /v1/transactions`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    /// The transaction in its canonical encoding.
    pub hex: HexBytes,
}

/// The answer of `POST /v1/transactions`: the mempool has it and it was handed to the peers.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SubmitAnswer {
    /// The transaction's id.
    pub txid: Hash32,
}
