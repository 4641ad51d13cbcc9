//! Coins and the view through which rules read them.

use crate::codec;
use crate::hash;
use crate::lthash::LtHash;
use crate::transaction::{OutPoint, Output};
use crate::units::Height;
use serde::{Deserialize, Serialize};

/// An unspent output.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Coin {
    /// Amount and lock.
    pub output: Output,
    /// Height of the block that created it.
    pub height: Height,
    /// Whether a coinbase created it.
    pub is_coinbase: bool,
}

impl Coin {
    /// The element of the coin set's LtHash: the outpoint and the coin, in postcard.
    pub fn element(&self, outpoint: &OutPoint) -> Vec<u8> {
        codec::encode(&(outpoint, self))
    }

    /// Adds this coin to the set's commitment.
    pub fn add_to(&self, outpoint: &OutPoint, coins: &mut LtHash) {
        coins.add(&hash::COIN, &self.element(outpoint));
    }

    /// Removes this coin from the set's commitment.
    pub fn remove_from(&self, outpoint: &OutPoint, coins: &mut LtHash) {
        coins.remove(&hash::COIN, &self.element(outpoint));
    }
}

/// Our own fault: a disk, a damaged row, a bug. Never the sender's; the node stops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

/// Where rules find coins.
pub trait CoinView {
    /// The coin at `outpoint`, or `None` if it does not exist or is spent.
    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, Fault>;
}

impl<V: CoinView + ?Sized> CoinView for &V {
    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, Fault> {
        (**self).coin(outpoint)
    }
}

impl CoinView for std::collections::BTreeMap<OutPoint, Coin> {
    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, Fault> {
        Ok(self.get(outpoint).cloned())
    }
}
