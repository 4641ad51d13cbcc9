//! The mempool as the API shows it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::amount::Pebbles;
use super::hash::Hash32;

/// A transaction that waits for a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MempoolTransaction {
    /// Its id.
    pub txid: Hash32,
    /// Its id with witnesses.
    pub wtxid: Hash32,
    /// Its fee.
    pub fee: Pebbles,
    /// Pebbles per 1000 weight.
    pub fee_rate: Pebbles,
    /// Bytes in the canonical encoding.
    pub bytes: u64,
    /// Weight.
    pub weight: u64,
    /// Unix time in seconds when it came in.
    pub time: u64,
}

/// `GET /v1/mempool`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Mempool {
    /// Number of waiting transactions.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their weight.
    pub weight: u64,
    /// The sum of their fees.
    pub fees: Pebbles,
    /// Below this rate nothing is taken in now, in pebbles per 1000 weight.
    pub min_fee_rate: Pebbles,
    /// The best ones by fee rate, at most `limit`.
    pub transactions: Vec<MempoolTransaction>,
}
