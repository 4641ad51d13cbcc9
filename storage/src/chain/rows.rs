//! The rows of the chain's tables: their keys and values in bytes.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `flushed` | [`Flushed`] |
//! | `coins` | txid, index BE | coin (canonical encoding) |
//! | `header_numbers` | block id | number BE |
//! | `headers` | number BE, in order of arrival | [`HeaderRow`] |
//! | `heights` | height BE | block id, number BE (the active chain) |
//! | `transactions` | txid | height BE, index BE (0 is the coinbase) |
//! | `addresses` | key hash, 0 | [`Summary`] |
//! | | key hash, 1, txid, index BE | 1 if the key alone opens the coin, else 0 |
//! | | key hash, 2, height BE, index BE | txid |
//!
//! Invariant: a value decodes only from exactly the bytes that encoding it gives.

use crate::error::{Result, StorageError};
use crate::segment::Position;
use crate::table::Table;
use cairn_protocol::block::HeaderRecord;
use cairn_protocol::codec;
use cairn_protocol::hash::{BlockId, KeyHash, TxId};
use cairn_protocol::ledger::Coin;
use cairn_protocol::pow::{Bits, Work, work_from_bytes, work_of, work_to_bytes};
use cairn_protocol::state::LedgerState;
use cairn_protocol::transaction::OutPoint;
use cairn_protocol::units::Height;
use serde::{Deserialize, Serialize};

pub(super) const META: Table = Table {
    index: 0,
    name: "meta",
};
pub(super) const COINS: Table = Table {
    index: 1,
    name: "coins",
};
pub(super) const HEADER_NUMBERS: Table = Table {
    index: 2,
    name: "header_numbers",
};
pub(super) const HEADERS: Table = Table {
    index: 3,
    name: "headers",
};
pub(super) const HEIGHTS: Table = Table {
    index: 4,
    name: "heights",
};
pub(super) const TRANSACTIONS: Table = Table {
    index: 5,
    name: "transactions",
};
pub(super) const ADDRESSES: Table = Table {
    index: 6,
    name: "addresses",
};

/// All tables, each at its own index.
pub(super) const TABLES: &[Table] = &[
    META,
    COINS,
    HEADER_NUMBERS,
    HEADERS,
    HEIGHTS,
    TRANSACTIONS,
    ADDRESSES,
];

/// Key of the one row of `meta`.
pub(super) const FLUSHED: &[u8] = b"flushed";

/// Largest row that is decoded: a state with its largest validator sets and lists fits.
const ROW_BYTES_MAX: usize = 1 << 20;

/// Reads a row; `what` names it in an error.
pub(super) fn decode<T>(bytes: &[u8], what: impl FnOnce() -> String) -> Result<T>
where
    T: serde::de::DeserializeOwned + Serialize,
{
    codec::decode(bytes, ROW_BYTES_MAX)
        .map_err(|error| StorageError::damaged(format!("{}: {error}", what())))
}

/// What one flush made durable: the fold of the log up to `position`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Flushed {
    /// Genesis of the chain.
    pub chain_id: BlockId,
    /// Log records before this place are folded in.
    pub position: u64,
    /// Number of the next header.
    pub next_number: u64,
    /// The block below which nothing is reorganised.
    pub floor: Option<BlockId>,
    /// The state after the tip.
    pub state: LedgerState,
}

/// Where a body lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyPlace {
    /// Position of its log record, see [`Position::to_u64`].
    pub position: u64,
    /// Bytes of the block.
    pub bytes: u32,
}

/// What is stored of a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderRow {
    /// Its height.
    pub height: Height,
    /// Work of its whole chain, big-endian.
    pub work: [u8; 32],
    /// Its body, if stored.
    pub body: Option<BodyPlace>,
    /// Position of the log record of its newest connection, if there was one.
    pub undo: Option<u64>,
    /// The rule that it broke, if it was found invalid.
    pub invalid: Option<String>,
    /// The header and what it commits to.
    pub record: HeaderRecord,
}

impl HeaderRow {
    /// Position of the body's record.
    pub fn body_position(&self) -> Option<Position> {
        self.body.map(|body| Position::from_u64(body.position))
    }

    /// Position of the undo data's record.
    pub fn undo_position(&self) -> Option<Position> {
        self.undo.map(Position::from_u64)
    }
}

/// A transaction's place in the active chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxPlace {
    /// Height of its block.
    pub height: Height,
    /// 0 is the coinbase, i + 1 the block's transaction i.
    pub index: u32,
}

/// Work of a header row whose parent's is not known yet: bodies come in any order. It is filled in
/// when the block is connected, which is when its whole chain is known.
pub(super) const UNKNOWN_WORK: [u8; 32] = [0; 32];

/// Work that one header shows; 0 for bits that are no target.
pub(super) fn own_work(bits: Bits) -> Work {
    bits.to_target().map(work_of).unwrap_or_default()
}

/// Work of the chain that ends with a header of these bits after a `parent` of this work.
pub(super) fn work_after(parent: Option<&[u8; 32]>, bits: Bits) -> [u8; 32] {
    match parent {
        None | Some(&UNKNOWN_WORK) => UNKNOWN_WORK,
        Some(parent) => {
            let sum = work_from_bytes(parent).checked_add(own_work(bits));
            work_to_bytes(sum.unwrap_or(Work::MAX))
        }
    }
}

/// Totals of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Summary {
    /// Pebbles of the coins that the key alone opens.
    pub balance: u64,
    /// Coins that the key can open, alone or with others.
    pub coins: u64,
    /// Transactions that touch it.
    pub transactions: u64,
}

pub(super) fn number_key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

pub(super) fn height_value(id: &BlockId, number: u64) -> [u8; 40] {
    let mut value = [0; 40];
    value[..32].copy_from_slice(id.as_bytes());
    value[32..].copy_from_slice(&number.to_be_bytes());
    value
}

pub(super) fn read_height_value(value: &[u8], height: Height) -> Result<(BlockId, u64)> {
    let (id, number) = value
        .split_first_chunk::<32>()
        .and_then(|(id, rest)| Some((BlockId(*id), u64::from_be_bytes(rest.try_into().ok()?))))
        .ok_or_else(|| row_damaged("heights", &height.to_string()))?;
    Ok((id, number))
}

pub(super) fn place_value(place: TxPlace) -> [u8; 12] {
    let mut value = [0; 12];
    value[..8].copy_from_slice(&place.height.to_be_bytes());
    value[8..].copy_from_slice(&place.index.to_be_bytes());
    value
}

pub(super) fn read_place(value: &[u8]) -> Option<TxPlace> {
    let (height, index) = value.split_first_chunk::<8>()?;
    Some(TxPlace {
        height: u64::from_be_bytes(*height),
        index: u32::from_be_bytes(index.try_into().ok()?),
    })
}

pub(super) fn coin_value(coin: &Coin) -> Vec<u8> {
    codec::encode(coin)
}

pub(super) fn read_coin(value: &[u8], outpoint: &OutPoint) -> Result<Coin> {
    decode(value, || format!("row of coin {outpoint}"))
}

const SUMMARY: u8 = 0;
const COIN: u8 = 1;
const TRANSACTION: u8 = 2;

/// Key of an address's totals.
pub(super) fn summary_key(address: &KeyHash) -> Vec<u8> {
    [address.as_bytes().as_slice(), &[SUMMARY]].concat()
}

/// Key of a coin by address.
pub(super) fn address_coin_key(address: &KeyHash, outpoint: &OutPoint) -> Vec<u8> {
    [address.as_bytes().as_slice(), &[COIN], &outpoint.to_key()].concat()
}

/// Key of a transaction by address.
pub(super) fn address_transaction_key(address: &KeyHash, place: TxPlace) -> Vec<u8> {
    [
        address.as_bytes().as_slice(),
        &[TRANSACTION],
        &place_value(place),
    ]
    .concat()
}

/// First key behind an address's coins, which is the first that a transaction of it can have.
pub(super) fn coins_end(address: &KeyHash) -> Vec<u8> {
    [address.as_bytes().as_slice(), &[COIN + 1]].concat()
}

/// First key that a coin of the address can have.
pub(super) fn coins_start(address: &KeyHash) -> Vec<u8> {
    [address.as_bytes().as_slice(), &[COIN]].concat()
}

/// First key behind an address's transactions.
pub(super) fn transactions_end(address: &KeyHash) -> Vec<u8> {
    [address.as_bytes().as_slice(), &[TRANSACTION + 1]].concat()
}

/// The outpoint in a coin's key by address.
pub(super) fn coin_of_key(key: &[u8]) -> Option<OutPoint> {
    Some(OutPoint::from_key(key.get(33..)?.try_into().ok()?))
}

/// The place in a transaction's key by address.
pub(super) fn place_of_key(key: &[u8]) -> Option<TxPlace> {
    read_place(key.get(33..)?)
}

/// The id in a row's value.
pub(super) fn read_txid(value: &[u8]) -> Option<TxId> {
    Some(TxId(value.try_into().ok()?))
}

pub(super) fn row_damaged(table: &str, key: &str) -> StorageError {
    StorageError::damaged(format!("row {key} of table {table} cannot be read"))
}

/// A row's key as people read it: the parts by their meaning.
pub(super) fn key_text(table: Table, key: &[u8]) -> String {
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).ok();
    match table.name {
        "coins" => match key.try_into() {
            Ok(key) => format!("coin {}", OutPoint::from_key(key)),
            Err(_) => format!("coin {}", hex(key)),
        },
        "heights" => number(key).map_or(hex(key), |height| format!("height {height}")),
        "headers" => number(key).map_or(hex(key), |number| format!("header number {number}")),
        "header_numbers" => format!("header {}", hex(key)),
        "transactions" => format!("transaction {}", hex(key)),
        "addresses" if key.len() > 32 => {
            let address = hex(&key[..32]);
            match (key[32], coin_of_key(key), place_of_key(key)) {
                (COIN, Some(outpoint), _) => format!("address {address} coin {outpoint}"),
                (TRANSACTION, _, Some(place)) => format!(
                    "address {address} transaction at height {} index {}",
                    place.height, place.index
                ),
                (SUMMARY, ..) => format!("address {address} summary"),
                _ => format!("address {address} {}", hex(&key[32..])),
            }
        }
        _ => String::from_utf8_lossy(key).into_owned(),
    }
}
