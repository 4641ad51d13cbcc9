//! From the protocol's types to the API's.

use crate::api::model::amount::Pebbles;
use crate::api::model::hash::{Hash32, HexBytes};
use crate::api::model::mempool::MempoolTransaction;
use crate::api::model::transaction::{
    AtJson, Confirmation, LockJson, TransactionDetail, TransactionInput, TransactionOutput,
};
use cairn_consensus::mempool::Entry;
use cairn_protocol::address::{Address, Network};
use cairn_protocol::codec;
use cairn_protocol::coinbase::Coinbase;
use cairn_protocol::ledger::Coin;
use cairn_protocol::lock::{At, HashLock, InnerLock, Lock, LockRef, Threshold};
use cairn_protocol::transaction::{Output, Transaction, TransactionIds};
use cairn_protocol::units::{Amount, FeeRate};

pub(super) fn pebbles(amount: Amount) -> Pebbles {
    Pebbles(amount.0)
}

pub(super) fn rate(rate: FeeRate) -> Pebbles {
    Pebbles(rate.0)
}

fn at(at: At) -> AtJson {
    match at {
        At::Height(height) => AtJson::Height(height),
        At::Time(time) => AtJson::Time(time),
    }
}

fn key(hash: &cairn_protocol::hash::KeyHash) -> LockJson {
    LockJson::Key {
        key_hash: Hash32(hash.0),
    }
}

fn threshold(lock: &Threshold) -> LockJson {
    let keys = lock
        .keys
        .iter()
        .map(|key| HexBytes(key.0.to_vec()))
        .collect();
    LockJson::Threshold { m: lock.m, keys }
}

fn hash_lock(lock: &HashLock) -> LockJson {
    LockJson::HashLock {
        digest: Hash32(lock.digest),
        claim: Hash32(lock.claim.0),
        refund: Hash32(lock.refund.0),
        refund_at: at(lock.refund_at),
    }
}

pub(super) fn lock(lock: &Lock) -> LockJson {
    match lock {
        Lock::Key(hash) => key(hash),
        Lock::Threshold(inner) => threshold(inner),
        Lock::HashLock(inner) => hash_lock(inner),
        Lock::After(after) => {
            let inner = match &after.lock {
                InnerLock::Key(hash) => key(hash),
                InnerLock::Threshold(inner) => threshold(inner),
                InnerLock::HashLock(inner) => hash_lock(inner),
            };
            LockJson::After {
                at: at(after.at),
                lock: Box::new(inner),
            }
        }
        Lock::Data(bytes) => LockJson::Data {
            hex: HexBytes(bytes.as_slice().to_vec()),
        },
    }
}

/// The address that opens a lock alone, if there is one.
fn address(network: Network, lock: &Lock) -> Option<String> {
    match lock.open().1 {
        LockRef::Key(key_hash) => Some(
            Address {
                network,
                key_hash: *key_hash,
            }
            .to_string(),
        ),
        _ => None,
    }
}

pub(super) fn outputs(network: Network, outputs: &[Output]) -> Vec<TransactionOutput> {
    let convert = |(index, output): (usize, &Output)| TransactionOutput {
        index: u32::try_from(index).expect("outputs are bounded"),
        value: pebbles(output.value),
        address: address(network, &output.lock),
        lock: lock(&output.lock),
    };
    outputs.iter().enumerate().map(convert).collect()
}

/// Where a confirmed transaction stands.
pub(super) struct Place {
    pub(super) confirmation: Confirmation,
    pub(super) confirmations: u64,
}

/// A transaction with the coins it spends, in input order.
pub(super) fn transaction(
    network: Network,
    tx: &Transaction,
    ids: &TransactionIds,
    spent: &[Coin],
    place: Option<Place>,
) -> TransactionDetail {
    let inputs = tx
        .inputs
        .iter()
        .zip(spent)
        .map(|(outpoint, coin)| TransactionInput {
            txid: Hash32(outpoint.txid.0),
            index: outpoint.index,
            value: pebbles(coin.output.value),
            address: address(network, &coin.output.lock),
            lock: lock(&coin.output.lock),
        });
    let sum = |values: &mut dyn Iterator<Item = Amount>| Amount::checked_sum(values);
    let spent_sum = sum(&mut spent.iter().map(|coin| coin.output.value)).unwrap_or_default();
    let made_sum = sum(&mut tx.outputs.iter().map(|output| output.value)).unwrap_or_default();
    let fee = spent_sum.checked_sub(made_sum).unwrap_or_default();
    TransactionDetail {
        txid: Hash32(ids.txid.0),
        wtxid: Hash32(ids.wtxid.0),
        version: tx.version,
        coinbase: false,
        bytes: ids.bytes,
        weight: ids.weight,
        fee: pebbles(fee),
        fee_rate: rate(FeeRate::of(fee, ids.weight)),
        valid_from: at(tx.valid_from),
        inputs: inputs.collect(),
        outputs: outputs(network, &tx.outputs),
        confirmations: place.as_ref().map_or(0, |place| place.confirmations),
        block: place.map(|place| place.confirmation),
        hex: HexBytes(codec::encode(tx)),
    }
}

/// A coinbase in the shape of a transaction; its two ids are one.
pub(super) fn coinbase(network: Network, coinbase: &Coinbase, place: Place) -> TransactionDetail {
    let (id, bytes) = (Hash32(coinbase.id().0), coinbase.to_bytes());
    TransactionDetail {
        txid: id,
        wtxid: id,
        version: coinbase.version,
        coinbase: true,
        bytes: bytes.len() as u64,
        weight: cairn_protocol::transaction::BODY_WEIGHT * bytes.len() as u64,
        fee: Pebbles(0),
        fee_rate: Pebbles(0),
        valid_from: AtJson::Height(coinbase.height),
        inputs: Vec::new(),
        outputs: outputs(network, &coinbase.outputs),
        confirmations: place.confirmations,
        block: Some(place.confirmation),
        hex: HexBytes(bytes),
    }
}

pub(super) fn mempool_transaction(entry: &Entry) -> MempoolTransaction {
    MempoolTransaction {
        txid: Hash32(entry.txid().0),
        wtxid: Hash32(entry.wtxid().0),
        fee: pebbles(entry.fee),
        fee_rate: rate(entry.fee_rate()),
        bytes: entry.ids.bytes,
        weight: entry.ids.weight,
        time: entry.time_added_s,
    }
}
