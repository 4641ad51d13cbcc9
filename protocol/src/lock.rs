//! Locks: the small closed set of conditions under which a coin may be spent, and their witnesses.
//!
//! Invariant: tags are fixed for ever; `After` has depth one by its type; unknown tags do not decode.
//! Rules: `spec/04-transactions.md#locks`.

use crate::codec::{BoundedBytes, array, bounded};
use crate::hash::KeyHash;
use crate::limits::{DATA_BYTES_MAX, THRESHOLD_KEYS_MAX};
use crate::signature::{PublicKey, Signature};
use crate::units::Height;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A point of the chain: a height, or a median time in seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum At {
    /// Tag 0: reached by a block of this height or a higher one.
    Height(Height),
    /// Tag 1: reached once the parent's median time (PoW) or time (BFT) is this or later.
    Time(u32),
}

impl At {
    /// The earliest point: every block has reached it.
    pub const START: At = At::Height(0);

    /// Whether a block of `height` whose parent's time is `parent_time` has reached it.
    pub fn is_reached(self, height: Height, parent_time: u32) -> bool {
        match self {
            At::Height(at) => at <= height,
            At::Time(at) => at <= parent_time,
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Height(height) => write!(f, "height {height}"),
            At::Time(time) => write!(f, "time {time}"),
        }
    }
}

/// `m` of these keys must sign.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Threshold {
    /// Signatures needed.
    pub m: u8,
    /// Public keys, strictly ascending.
    #[serde(deserialize_with = "bounded::<_, _, THRESHOLD_KEYS_MAX>")]
    pub keys: Vec<PublicKey>,
}

/// Two ways out: who knows a preimage, or after a point of the chain who paid in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct HashLock {
    /// SHA-256 of a secret of 32 bytes.
    #[serde(with = "array")]
    pub digest: [u8; 32],
    /// Who may spend with the preimage, at any time.
    pub claim: KeyHash,
    /// Who may spend without it from `refund_at` on.
    pub refund: KeyHash,
    /// When the refund opens.
    pub refund_at: At,
}

/// A lock that `After` may wrap. The tags equal those of `Lock`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InnerLock {
    /// Tag 0.
    Key(KeyHash),
    /// Tag 1.
    Threshold(Box<Threshold>),
    /// Tag 2.
    HashLock(Box<HashLock>),
}

/// `After`: the inner lock, closed before a point of the chain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct After {
    /// When the coin may first be spent.
    pub at: At,
    /// The lock that holds from then on.
    pub lock: InnerLock,
}

/// What guards an output. Tags 5, 6 and 7 are reserved for `Bond`, `Delegation` and `Unbonding`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lock {
    /// Tag 0: the owner of the key with this hash.
    Key(KeyHash),
    /// Tag 1: several keys.
    Threshold(Box<Threshold>),
    /// Tag 2: a preimage, or a refund.
    HashLock(Box<HashLock>),
    /// Tag 3: another lock from a point of the chain on.
    After(Box<After>),
    /// Tag 4: bytes that no coin holds; the value is 0.
    Data(BoundedBytes<DATA_BYTES_MAX>),
}

/// A lock by reference, with `After` unwrapped.
#[derive(Clone, Copy, Debug)]
pub enum LockRef<'a> {
    /// See [`Lock::Key`].
    Key(&'a KeyHash),
    /// See [`Lock::Threshold`].
    Threshold(&'a Threshold),
    /// See [`Lock::HashLock`].
    HashLock(&'a HashLock),
    /// See [`Lock::Data`].
    Data,
}

impl Lock {
    /// The lock beneath `After`, and the point before which it is closed.
    pub fn open(&self) -> (Option<At>, LockRef<'_>) {
        match self {
            Lock::Key(hash) => (None, LockRef::Key(hash)),
            Lock::Threshold(threshold) => (None, LockRef::Threshold(threshold)),
            Lock::HashLock(hash_lock) => (None, LockRef::HashLock(hash_lock)),
            Lock::After(after) => {
                let inner = match &after.lock {
                    InnerLock::Key(hash) => LockRef::Key(hash),
                    InnerLock::Threshold(threshold) => LockRef::Threshold(threshold),
                    InnerLock::HashLock(hash_lock) => LockRef::HashLock(hash_lock),
                };
                (Some(after.at), inner)
            }
            Lock::Data(_) => (None, LockRef::Data),
        }
    }

    /// Whether outputs with this lock become coins.
    pub fn makes_coin(&self) -> bool {
        !matches!(self, Lock::Data(_))
    }

    /// The key hashes that this lock names, for indexes by address: each key hash that could spend
    /// it alone or together with others.
    pub fn key_hashes(&self) -> Vec<KeyHash> {
        match self.open().1 {
            LockRef::Key(hash) => vec![*hash],
            LockRef::Threshold(threshold) => threshold
                .keys
                .iter()
                .map(crate::address::key_hash)
                .collect(),
            LockRef::HashLock(lock) if lock.claim == lock.refund => vec![lock.claim],
            LockRef::HashLock(lock) => vec![lock.claim, lock.refund],
            LockRef::Data => Vec::new(),
        }
    }
}

/// What an input shows to open its lock.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    /// Tag 0: for `Key`.
    Key {
        /// The key.
        key: PublicKey,
        /// Its signature of the sighash.
        signature: Signature,
    },
    /// Tag 1: for `Threshold`.
    Threshold {
        /// Bit i is set if key i of the lock signed; no bit above the last key.
        signers: u16,
        /// One signature a set bit, in key order.
        #[serde(deserialize_with = "bounded::<_, _, THRESHOLD_KEYS_MAX>")]
        signatures: Vec<Signature>,
    },
    /// Tag 2: the claim branch of `HashLock`.
    Claim {
        /// The secret.
        #[serde(with = "array")]
        preimage: [u8; 32],
        /// The claimant's key.
        key: PublicKey,
        /// Its signature of the sighash.
        signature: Signature,
    },
    /// Tag 3: the refund branch of `HashLock`.
    Refund {
        /// The refunded key.
        key: PublicKey,
        /// Its signature of the sighash.
        signature: Signature,
    },
}
