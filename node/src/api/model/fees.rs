//! Fee estimates.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::amount::Pebbles;

/// The rate that would confirm a transaction in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FeeTarget {
    /// Within this many blocks.
    pub blocks: u64,
    /// Pebbles per 1000 weight.
    pub fee_rate: Pebbles,
}

/// Fee rates that one block's transactions paid, in pebbles per 1000 weight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockFees {
    /// The block's height.
    pub height: u64,
    /// The lowest.
    pub min: Pebbles,
    /// The middle one.
    pub median: Pebbles,
    /// The mean.
    pub mean: Pebbles,
    /// The highest.
    pub max: Pebbles,
}

/// `GET /v1/fees`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fees {
    /// Below this rate nothing is taken in now, in pebbles per 1000 weight.
    pub min_fee_rate: Pebbles,
    /// Estimates, soonest first.
    pub targets: Vec<FeeTarget>,
    /// What recent blocks with transactions paid, newest first.
    pub blocks: Vec<BlockFees>,
}
