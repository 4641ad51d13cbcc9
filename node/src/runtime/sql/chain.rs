//! The ledger as read-only tables: schema `chain`.
//!
//! Invariant: all tables of one statement are read from one view of the chain, which a reorganisation
//! never changes; columns have the names of the API's JSON fields. Peers and the mempool are as of now:
//! nobody keeps an older state of them.

use crate::api::backend::{Backend, BackendError, ChainView};
use crate::api::model::block::BlockRef;
use crate::api::model::hash::Hash32;
use crate::api::model::transaction::TransactionDetail;
use cairn_database::sql::{
    Pushed, Result, SqlError, SqlType, VirtualColumn, VirtualContext, VirtualKey, VirtualRows,
    VirtualSnapshot, VirtualTable, VirtualTables,
};
use cairn_database::types::Value;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A view of the chain is kept at most this long: it holds back what the store may forget.
const AGE_MAX: Duration = Duration::from_secs(60);
/// Transactions of the mempool that are listed.
const MEMPOOL_MAX: usize = 100_000;
/// Coins that one page of an address has.
const PAGE: usize = 1_000;
/// Addresses that a scan of all of them remembers, so that it names each once.
const ADDRESSES_MAX: usize = 1_000_000;

/// Name, columns as `name type` (`!` is NOT NULL), keys as `columns:unique:ordered`.
const TABLES: &[(&str, &str, &[&str])] = &[
    (
        "blocks",
        "id text!, height bigint!, parent text!, time bigint!, engine text!, transactions bigint!, \
         finalized boolean!, bytes bigint!, version bigint!, bits bigint!, nonce bigint!, root text!, \
         state_root text!, coinbase text!",
        &["height:unique:ordered", "id:unique"],
    ),
    (
        "transactions",
        "txid text!, wtxid text!, version bigint!, coinbase boolean!, bytes bigint!, weight bigint!, \
         fee bigint!, fee_rate bigint!, block text!, height bigint!, index bigint, time bigint!",
        &["txid:unique", "height:ordered"],
    ),
    (
        "inputs",
        "txid text!, position bigint!, spent_txid text!, spent_index bigint!, value bigint!, \
         address text, height bigint!",
        &["txid", "height:ordered"],
    ),
    (
        "outputs",
        "txid text!, index bigint!, value bigint!, address text, lock jsonb!, height bigint!",
        &["txid", "height:ordered"],
    ),
    (
        "utxos",
        "txid text!, index bigint!, value bigint!, address text, lock jsonb!, height bigint!, \
         coinbase boolean!",
        &["txid", "address", "height:ordered"],
    ),
    (
        "addresses",
        "address text!, balance bigint!, transactions bigint!",
        &["address:unique"],
    ),
    (
        "mempool",
        "txid text!, wtxid text!, fee bigint!, fee_rate bigint!, bytes bigint!, weight bigint!, \
         time bigint!",
        &[],
    ),
    (
        "peers",
        "peer_id text!, address text!, direction text!, agent text, height bigint, \
         ping_ms double precision, score double precision!, connected_seconds bigint!",
        &[],
    ),
    (
        "validators",
        "key text!, power bigint!, jailed boolean!",
        &[],
    ),
];

/// The first oid of these tables: fixed, and not one of PostgreSQL's.
const FIRST_OID: u32 = 14_000;

/// The provider.
pub struct ChainTables {
    backend: Arc<dyn Backend>,
    tables: Vec<Arc<VirtualTable>>,
}

impl std::fmt::Debug for ChainTables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChainTables")
    }
}

impl ChainTables {
    /// Over a node.
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        let tables = TABLES.iter().zip(FIRST_OID..).map(table).collect();
        ChainTables { backend, tables }
    }
}

fn table((row, oid): (&(&str, &str, &[&str]), u32)) -> Arc<VirtualTable> {
    let (name, columns, keys) = row;
    let columns: Vec<VirtualColumn> = columns.split(", ").map(column).collect();
    let key = |text: &&str| {
        let mut parts = text.split(':');
        let column = parts.next().unwrap_or_default();
        let words: Vec<&str> = parts.collect();
        let place = columns.iter().position(|known| known.name == column);
        VirtualKey {
            name: format!("{name}_{column}"),
            columns: place.into_iter().collect(),
            unique: words.contains(&"unique"),
            ordered: words.contains(&"ordered"),
        }
    };
    Arc::new(VirtualTable {
        name: (*name).to_owned(),
        oid,
        keys: keys.iter().map(key).collect(),
        columns,
    })
}

fn column(text: &str) -> VirtualColumn {
    let (name, data_type) = text.split_once(' ').expect("a name and a type");
    let (data_type, not_null) = match data_type.strip_suffix('!') {
        Some(data_type) => (data_type, true),
        None => (data_type, false),
    };
    VirtualColumn {
        name: name.to_owned(),
        data_type: SqlType::from_name(data_type).expect("a type's name, as a test shows"),
        not_null,
    }
}

impl VirtualTables for ChainTables {
    fn schema(&self) -> &str {
        "chain"
    }

    fn tables(&self) -> &[Arc<VirtualTable>] {
        &self.tables
    }

    fn pin(&self) -> Result<Arc<dyn VirtualSnapshot>> {
        Ok(Arc::new(Pinned {
            backend: self.backend.clone(),
            chain: self.backend.chain().map_err(failed)?,
            since: Instant::now(),
        }))
    }
}

fn failed(error: BackendError) -> SqlError {
    let code = match &error {
        BackendError::Fault(_) => "58030",
        BackendError::Busy(_) => "57P03",
        BackendError::NotAvailable(_) => "0A000",
        BackendError::Invalid(_) => "22023",
    };
    SqlError::new(code, format!("the ledger: {error}"))
}

/// The chain as of one tip.
#[derive(Clone)]
struct Pinned {
    backend: Arc<dyn Backend>,
    chain: Arc<dyn ChainView>,
    since: Instant,
}

impl std::fmt::Debug for Pinned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pinned(at {})", self.chain.tip().height)
    }
}

/// Which heights, and in which order.
struct Heights {
    from: u64,
    to: u64,
    reverse: bool,
}

impl Iterator for Heights {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        if self.from >= self.to {
            return None;
        }
        if self.reverse {
            self.to -= 1;
            return Some(self.to);
        }
        self.from += 1;
        Some(self.from - 1)
    }
}

impl VirtualSnapshot for Pinned {
    fn scan(
        &self,
        table: &VirtualTable,
        _context: &VirtualContext,
        pushed: &Pushed,
    ) -> Result<VirtualRows> {
        self.check_age()?;
        // By what rows are looked for: the key's column and its value.
        let by = match pushed {
            Pushed::Equal { key, values } => {
                let place = table.keys[*key].columns.first();
                place
                    .zip(values.first())
                    .map(|(place, value)| (table.columns[*place].name.as_str(), value.clone()))
            }
            _ => None,
        };
        match (table.name.as_str(), by) {
            ("blocks", Some(("id", Value::Text(id)))) => self.block_by_id(&id),
            ("blocks", _) => self.by_height(table, pushed, |pinned, height| pinned.block(height)),
            ("transactions", Some(("txid", Value::Text(id)))) => self.of(&id, transaction),
            ("transactions", _) => self.by_transaction(table, pushed, transaction),
            ("inputs", Some(("txid", Value::Text(id)))) => self.of(&id, inputs),
            ("inputs", _) => self.by_transaction(table, pushed, inputs),
            ("outputs", Some(("txid", Value::Text(id)))) => self.of(&id, outputs),
            ("outputs", _) => self.by_transaction(table, pushed, outputs),
            ("utxos", Some(("address", Value::Text(text)))) => self.coins_of(&text),
            ("utxos", Some(("txid", Value::Text(id)))) => self.unspent_of(&id),
            ("utxos", _) => self.by_height(table, pushed, |pinned, height| {
                let transactions = pinned.chain.block_transactions(height).map_err(failed)?;
                pinned.unspent(&transactions)
            }),
            ("addresses", Some(("address", Value::Text(text)))) => self.address(&text),
            ("addresses", _) => self.addresses(),
            ("mempool", _) => self.mempool(),
            ("peers", _) => self.peers(),
            ("validators", _) => self.validators(),
            (other, _) => Err(SqlError::new(
                "42P01",
                format!("chain.{other} does not exist"),
            )),
        }
    }
}

impl Pinned {
    fn check_age(&self) -> Result<()> {
        if self.since.elapsed() <= AGE_MAX {
            return Ok(());
        }
        let why = format!(
            "the view of the ledger is older than {} s: a transaction may read it that long",
            AGE_MAX.as_secs()
        );
        Err(SqlError::new("72000", why))
    }

    fn heights(&self, table: &VirtualTable, pushed: &Pushed) -> Heights {
        let end = self.chain.tip().height + 1;
        let is_height = |key: usize| {
            let column = table.keys[key].columns.first();
            column.is_some_and(|column| table.columns[*column].name == "height")
        };
        let number = |value: &Value| match value.as_integer() {
            Some(number) => u64::try_from(number).ok(),
            None => Some(0),
        };
        let none = Heights {
            from: 0,
            to: 0,
            reverse: false,
        };
        match pushed {
            Pushed::Equal { key, values } if is_height(*key) => {
                let height = values.first().and_then(Value::as_integer);
                match height.and_then(|height| u64::try_from(height).ok()) {
                    Some(height) if height < end => Heights {
                        from: height,
                        to: height + 1,
                        reverse: false,
                    },
                    _ => none,
                }
            }
            Pushed::Range {
                key,
                from,
                to,
                reverse,
            } if is_height(*key) => {
                let from = match from {
                    Bound::Unbounded => 0,
                    Bound::Included(value) => number(value).unwrap_or(0),
                    Bound::Excluded(value) => number(value).map_or(0, |height| height + 1),
                };
                let to = match to {
                    Bound::Unbounded => end,
                    Bound::Included(value) => number(value).map_or(0, |height| height + 1),
                    Bound::Excluded(value) => number(value).unwrap_or(0),
                };
                Heights {
                    from,
                    to: to.min(end),
                    reverse: *reverse,
                }
            }
            _ => Heights {
                from: 0,
                to: end,
                reverse: false,
            },
        }
    }

    /// Rows block by block, read when they are asked for.
    fn by_height(
        &self,
        table: &VirtualTable,
        pushed: &Pushed,
        rows: impl Fn(&Pinned, u64) -> Result<Vec<Vec<Value>>> + Send + 'static,
    ) -> Result<VirtualRows> {
        let pinned = self.clone();
        let mut heights = self.heights(table, pushed);
        let mut ready: VecDeque<Vec<Value>> = VecDeque::new();
        let mut ended = false;
        Ok(Box::new(std::iter::from_fn(move || {
            loop {
                if let Some(row) = ready.pop_front() {
                    return Some(Ok(row));
                }
                if ended {
                    return None;
                }
                let height = heights.next()?;
                let read = pinned.check_age().and_then(|()| rows(&pinned, height));
                match read {
                    Ok(rows) => ready.extend(rows),
                    Err(error) => {
                        ended = true;
                        return Some(Err(error));
                    }
                }
            }
        })))
    }

    fn by_transaction(
        &self,
        table: &VirtualTable,
        pushed: &Pushed,
        rows: fn(&TransactionDetail) -> Vec<Vec<Value>>,
    ) -> Result<VirtualRows> {
        self.by_height(table, pushed, move |pinned, height| {
            let transactions = pinned.chain.block_transactions(height).map_err(failed)?;
            Ok(transactions.iter().flat_map(rows).collect())
        })
    }

    fn transaction(&self, id: &str) -> Result<Option<TransactionDetail>> {
        // What is no hash is the name of no transaction.
        match id.parse::<Hash32>() {
            Ok(txid) => self.chain.transaction(txid).map_err(failed),
            Err(_) => Ok(None),
        }
    }

    fn of(&self, id: &str, rows: fn(&TransactionDetail) -> Vec<Vec<Value>>) -> Result<VirtualRows> {
        let found = self.transaction(id)?;
        Ok(all(found.iter().flat_map(rows).collect()))
    }

    fn block(&self, height: u64) -> Result<Vec<Vec<Value>>> {
        let summary = self.chain.block_summary(height).map_err(failed)?;
        let header = self.chain.header(height).map_err(failed)?;
        let Some((summary, header)) = summary.zip(header) else {
            return Ok(Vec::new());
        };
        Ok(vec![vec![
            hash(summary.id),
            number(summary.height),
            hash(summary.parent),
            number(summary.time),
            Value::Text(summary.engine),
            number(summary.transactions),
            Value::Boolean(summary.finalized),
            number(summary.bytes),
            number(header.version),
            number(header.bits),
            number(header.nonce),
            hash(header.root),
            hash(header.state_root),
            hash(header.coinbase),
        ]])
    }

    fn block_by_id(&self, id: &str) -> Result<VirtualRows> {
        let Ok(id) = id.parse::<Hash32>() else {
            return Ok(all(Vec::new()));
        };
        let found = self.chain.block(BlockRef::Id(id)).map_err(failed)?;
        match found.filter(|block| block.main_chain) {
            Some(block) => Ok(all(self.block(block.summary.height)?)),
            None => Ok(all(Vec::new())),
        }
    }

    fn unspent(&self, transactions: &[TransactionDetail]) -> Result<Vec<Vec<Value>>> {
        let mut rows = Vec::new();
        for detail in transactions {
            let height = detail.block.as_ref().map_or(0, |block| block.height);
            for output in &detail.outputs {
                let unspent = self.chain.is_unspent(detail.txid, output.index);
                if unspent.map_err(failed)? {
                    rows.push(vec![
                        hash(detail.txid),
                        number(output.index),
                        number(output.value.0),
                        text_or_null(output.address.clone()),
                        json(&output.lock)?,
                        number(height),
                        Value::Boolean(detail.coinbase),
                    ]);
                }
            }
        }
        Ok(rows)
    }

    fn unspent_of(&self, id: &str) -> Result<VirtualRows> {
        let found = self.transaction(id)?;
        Ok(all(self.unspent(found.as_slice())?))
    }

    fn coins_of(&self, text: &str) -> Result<VirtualRows> {
        let Ok(address) = self.backend.parse_address(text) else {
            return Ok(all(Vec::new()));
        };
        let mut rows = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            self.check_age()?;
            let page = self.chain.address_utxos(&address, cursor.as_deref(), PAGE);
            let page = page.map_err(failed)?;
            for coin in page.utxos {
                rows.push(vec![
                    hash(coin.txid),
                    number(coin.index),
                    number(coin.value.0),
                    Value::Text(address.text.clone()),
                    json(&coin.lock)?,
                    number(coin.height),
                    Value::Boolean(coin.coinbase),
                ]);
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(all(rows));
            }
        }
    }

    fn address(&self, text: &str) -> Result<VirtualRows> {
        let Ok(address) = self.backend.parse_address(text) else {
            return Ok(all(Vec::new()));
        };
        let summary = self.chain.address(&address).map_err(failed)?;
        // An address without a transaction is not in the table, though the API answers zeros for it.
        let rows = (summary.transactions > 0).then(|| {
            vec![
                Value::Text(summary.address),
                number(summary.balance.0),
                number(summary.transactions),
            ]
        });
        Ok(all(rows.into_iter().collect()))
    }

    /// Every address that an output was ever locked to, each once.
    fn addresses(&self) -> Result<VirtualRows> {
        let pinned = self.clone();
        let seen = parking_lot::Mutex::new(BTreeSet::new());
        let table = table((&TABLES[5], FIRST_OID + 5));
        self.by_height(&table, &Pushed::All, move |_, height| {
            let mut rows = Vec::new();
            for detail in pinned.chain.block_transactions(height).map_err(failed)? {
                for text in detail
                    .outputs
                    .into_iter()
                    .filter_map(|output| output.address)
                {
                    let mut seen = seen.lock();
                    if seen.contains(&text) {
                        continue;
                    }
                    if seen.len() >= ADDRESSES_MAX {
                        let why =
                            format!("more than {ADDRESSES_MAX} addresses: ask for one of them");
                        return Err(SqlError::new("54000", why));
                    }
                    seen.insert(text.clone());
                    drop(seen);
                    for row in pinned.address(&text)? {
                        rows.push(row?);
                    }
                }
            }
            Ok(rows)
        })
    }

    fn mempool(&self) -> Result<VirtualRows> {
        let mempool = self.backend.mempool(MEMPOOL_MAX).map_err(failed)?;
        let row = |waiting: crate::api::model::mempool::MempoolTransaction| {
            vec![
                hash(waiting.txid),
                hash(waiting.wtxid),
                number(waiting.fee.0),
                number(waiting.fee_rate.0),
                number(waiting.bytes),
                number(waiting.weight),
                number(waiting.time),
            ]
        };
        Ok(all(mempool.transactions.into_iter().map(row).collect()))
    }

    fn peers(&self) -> Result<VirtualRows> {
        let peers = self.backend.peers().map_err(failed)?.peers;
        let row = |peer: crate::api::model::peer::Peer| {
            vec![
                Value::Text(peer.peer_id),
                Value::Text(peer.address),
                Value::Text(peer.direction),
                text_or_null(peer.agent),
                peer.height.map_or(Value::Null, number),
                peer.ping_ms.map_or(Value::Null, Value::Double),
                Value::Double(peer.score),
                number(peer.connected_seconds),
            ]
        };
        Ok(all(peers.into_iter().map(row).collect()))
    }

    fn validators(&self) -> Result<VirtualRows> {
        let set = self.chain.validators().map_err(failed)?;
        let row = |validator: crate::api::model::chain::Validator| {
            vec![
                hash(validator.key),
                number(validator.power),
                Value::Boolean(validator.jailed),
            ]
        };
        Ok(all(set.validators.into_iter().map(row).collect()))
    }
}

fn all(rows: Vec<Vec<Value>>) -> VirtualRows {
    Box::new(rows.into_iter().map(Ok))
}

fn transaction(detail: &TransactionDetail) -> Vec<Vec<Value>> {
    let Some(block) = &detail.block else {
        return Vec::new();
    };
    vec![vec![
        hash(detail.txid),
        hash(detail.wtxid),
        number(detail.version),
        Value::Boolean(detail.coinbase),
        number(detail.bytes),
        number(detail.weight),
        number(detail.fee.0),
        number(detail.fee_rate.0),
        hash(block.id),
        number(block.height),
        block.index.map_or(Value::Null, number),
        number(block.time),
    ]]
}

fn inputs(detail: &TransactionDetail) -> Vec<Vec<Value>> {
    let height = detail.block.as_ref().map_or(0, |block| block.height);
    let inputs = detail.inputs.iter().zip(0u64..);
    let row = |(input, position): (&crate::api::model::transaction::TransactionInput, u64)| {
        vec![
            hash(detail.txid),
            number(position),
            hash(input.txid),
            number(input.index),
            number(input.value.0),
            text_or_null(input.address.clone()),
            number(height),
        ]
    };
    inputs.map(row).collect()
}

fn outputs(detail: &TransactionDetail) -> Vec<Vec<Value>> {
    let height = detail.block.as_ref().map_or(0, |block| block.height);
    let row = |output: &crate::api::model::transaction::TransactionOutput| {
        vec![
            hash(detail.txid),
            number(output.index),
            number(output.value.0),
            text_or_null(output.address.clone()),
            json(&output.lock).unwrap_or(Value::Null),
            number(height),
        ]
    };
    detail.outputs.iter().map(row).collect()
}

fn hash(hash: Hash32) -> Value {
    Value::Text(hash.to_string())
}

/// Heights, sizes and amounts: all of them are far below 2^63 by the rules of the chain.
fn number(number: impl Into<u64>) -> Value {
    Value::BigInt(i64::try_from(number.into()).unwrap_or(i64::MAX))
}

fn text_or_null(text: Option<String>) -> Value {
    text.map_or(Value::Null, Value::Text)
}

fn json(value: &impl serde::Serialize) -> Result<Value> {
    let text = serde_json::to_string(value);
    let text = text.map_err(|error| SqlError::new("XX000", error.to_string()))?;
    let json = cairn_database::types::Json::parse(&text);
    json.map(Value::Jsonb)
        .map_err(|error| SqlError::new("XX000", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_well_formed() {
        for (row, oid) in TABLES.iter().zip(FIRST_OID..) {
            let table = table((row, oid));
            assert!(table.columns.len() >= 3, "{}", table.name);
            assert_eq!(table.keys.len(), row.2.len());
            assert!(
                table.keys.iter().all(|key| key.columns.len() == 1),
                "{}",
                table.name
            );
        }
        assert_eq!(TABLES[5].0, "addresses");
    }

    #[test]
    fn heights_go_both_ways() {
        let heights = |reverse| Heights {
            from: 3,
            to: 6,
            reverse,
        };
        assert_eq!(heights(false).collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(heights(true).collect::<Vec<_>>(), [5, 4, 3]);
        assert_eq!(
            Heights {
                from: 6,
                to: 3,
                reverse: false
            }
            .count(),
            0
        );
    }
}
