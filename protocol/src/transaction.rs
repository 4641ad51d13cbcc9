//! Transactions: their bytes, ids, weight and what their signatures sign.
//!
//! Invariant: `txid` covers all but the witnesses, `wtxid` covers all; a sighash binds chain,
//! transaction, input and everything that is spent.
//! Rules: `spec/04-transactions.md`.

use crate::codec::{self, bounded};
use crate::hash::{self, BlockId, TxId, Wtxid};
use crate::limits::{INPUTS_MAX, OUTPUTS_MAX};
use crate::lock::{At, Lock, Witness};
use crate::units::{Amount, Weight};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The only transaction version so far.
pub const TRANSACTION_VERSION: u32 = 1;

/// Weight units of a body byte; a witness byte has one. Outputs stay in every node's coin set,
/// witnesses do not.
pub const BODY_WEIGHT: u64 = 4;

/// The name of an output.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct OutPoint {
    /// The transaction or coinbase.
    pub txid: TxId,
    /// Index among its outputs.
    pub index: u32,
}

impl OutPoint {
    /// Bytes of [`OutPoint::to_key`].
    pub const KEY_BYTES: usize = 36;

    /// Fixed-width bytes whose order is the order of outpoints: txid, then index big-endian.
    pub fn to_key(&self) -> [u8; Self::KEY_BYTES] {
        let mut key = [0; Self::KEY_BYTES];
        key[..32].copy_from_slice(self.txid.as_bytes());
        key[32..].copy_from_slice(&self.index.to_be_bytes());
        key
    }

    /// Reads what [`OutPoint::to_key`] wrote.
    pub fn from_key(key: &[u8; Self::KEY_BYTES]) -> OutPoint {
        let (txid, index) = key.split_first_chunk::<32>().expect("36 bytes");
        let index = u32::from_be_bytes(index.try_into().expect("4 bytes"));
        OutPoint {
            txid: TxId(*txid),
            index,
        }
    }
}

impl fmt::Display for OutPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.txid, self.index)
    }
}

/// An amount under a lock.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Output {
    /// The amount.
    pub value: Amount,
    /// The lock.
    pub lock: Lock,
}

/// A transaction. The encoding is its fields in this order.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Transaction {
    /// `TRANSACTION_VERSION`.
    pub version: u32,
    /// What it spends, in order, without repetition.
    #[serde(deserialize_with = "bounded::<_, _, INPUTS_MAX>")]
    pub inputs: Vec<OutPoint>,
    /// What it creates.
    #[serde(deserialize_with = "bounded::<_, _, OUTPUTS_MAX>")]
    pub outputs: Vec<Output>,
    /// No block before this point may contain it.
    pub valid_from: At,
    /// One witness an input, in the same order.
    #[serde(deserialize_with = "bounded::<_, _, INPUTS_MAX>")]
    pub witnesses: Vec<Witness>,
}

/// The part that `txid` covers.
#[derive(Serialize)]
struct Body<'a> {
    version: u32,
    inputs: &'a [OutPoint],
    outputs: &'a [Output],
    valid_from: At,
}

/// Both ids of a transaction and its weight, which all come from one encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransactionIds {
    /// Id without witnesses.
    pub txid: TxId,
    /// Id with witnesses.
    pub wtxid: Wtxid,
    /// Weight.
    pub weight: Weight,
    /// Bytes of the whole encoding.
    pub bytes: u64,
}

impl Transaction {
    /// The canonical bytes without witnesses.
    pub fn body_bytes(&self) -> Vec<u8> {
        let Transaction {
            version,
            inputs,
            outputs,
            valid_from,
            witnesses: _,
        } = self;
        let body = Body {
            version: *version,
            inputs,
            outputs,
            valid_from: *valid_from,
        };
        codec::encode(&body)
    }

    /// Ids and weight, computed together.
    pub fn ids(&self) -> TransactionIds {
        let body = self.body_bytes();
        let witnesses = codec::encode(&self.witnesses);
        let txid = hash::TXID.hash(&[&body]);
        let wtxid = hash::WTXID.hash(&[&txid, &witnesses]);
        let (body, witness) = (body.len() as u64, witnesses.len() as u64);
        TransactionIds {
            txid: TxId(txid),
            wtxid: Wtxid(wtxid),
            weight: BODY_WEIGHT * body + witness,
            bytes: body + witness,
        }
    }

    /// Id without witnesses.
    pub fn txid(&self) -> TxId {
        TxId(hash::TXID.hash(&[&self.body_bytes()]))
    }

    /// Id with witnesses.
    pub fn wtxid(&self) -> Wtxid {
        self.ids().wtxid
    }

    /// Weight: four units per body byte, one per witness byte.
    pub fn weight(&self) -> Weight {
        self.ids().weight
    }

    /// The outpoint of output `index`.
    pub fn outpoint(txid: TxId, index: usize) -> OutPoint {
        OutPoint {
            txid,
            index: u32::try_from(index).expect("outputs are bounded"),
        }
    }
}

/// What all inputs of one transaction sign, up to the input's index.
///
/// The spent outputs are hashed once, so that signing and checking cost is linear in bytes.
#[derive(Clone, Debug)]
pub struct SighashBase {
    chain_id: BlockId,
    txid: TxId,
    spent: [u8; 32],
}

impl SighashBase {
    /// For the transaction `txid` on the chain `chain_id`, spending `spent` in input order.
    pub fn new<'a>(
        chain_id: BlockId,
        txid: TxId,
        spent: impl IntoIterator<Item = &'a Output>,
    ) -> SighashBase {
        let mut hasher = hash::SPENT_OUTPUTS.hasher();
        let mut buffer = Vec::new();
        for output in spent {
            buffer = codec::encode_into(output, buffer);
            hasher.update(&buffer);
            buffer.clear();
        }
        SighashBase {
            chain_id,
            txid,
            spent: *hasher.finalize().as_bytes(),
        }
    }

    /// The 32 bytes that a signature of input `index` signs.
    pub fn sighash(&self, index: u32) -> [u8; 32] {
        let index = index.to_le_bytes();
        let parts = [
            self.chain_id.as_ref(),
            self.txid.as_ref(),
            index.as_slice(),
            self.spent.as_slice(),
        ];
        hash::SIGHASH.hash(&parts)
    }
}
