//! Recomputing a stored chain from the bytes of its blocks and comparing every stored row.
//!
//! The log is read from its beginning, every digest checked. From block bytes alone a second chain is
//! built in a scratch directory: each block is connected by the protocol's rules with its signatures
//! checked, each undo record compared. Then the rows of both are walked side by side. Header rules
//! (work, targets, times) are the engine's and checked by the caller if it wants.
//!
//! Invariant: nothing stored is believed, except which block the tip is.

use super::file::Progress;
use super::options::StoreOptions;
use super::record::Record;
use super::rows::{
    ADDRESSES, BodyPlace, COINS, FLUSHED, Flushed, HEADER_NUMBERS, HEADERS, HEIGHTS, HeaderRow,
    META, TRANSACTIONS, UNKNOWN_WORK, decode, key_text, number_key, own_work, read_height_value,
    work_after,
};
use super::snapshot::read_block;
use super::store::ChainStore;
use crate::disk::Disk;
use crate::error::{Result, StorageError};
use crate::segment::Position;
use crate::table::{Row, Table, TableReader};
use cairn_protocol::codec;
use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::{BlockUndo, CheckedBlock, ConnectError, connect_block};
use cairn_protocol::pow::work_to_bytes;
use cairn_protocol::signature::SignatureCheck;
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

/// Most problems that are listed; one is enough to fail.
const PROBLEMS_MAX: usize = 50;

/// What a verification did and found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Records of the log read.
    pub records: u64,
    /// Blocks connected.
    pub blocks: u64,
    /// Rows compared.
    pub rows: u64,
    /// What is wrong, each naming its key or record; empty if the store is sound.
    pub problems: Vec<String>,
}

impl Verified {
    fn problem(&mut self, text: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(text);
        }
    }

    fn full(&self) -> bool {
        self.problems.len() >= PROBLEMS_MAX
    }
}

/// Verifies a store. A second chain is built in `scratch` (an empty directory on `disk`, to be
/// removed by the caller); `signatures` checks signatures, and `progress` is told after each block.
///
/// # Errors
/// Faults of the verification itself, and a pruned log. What it finds wrong is in [`Verified`].
pub fn verify(
    store: &mut ChainStore,
    disk: Arc<dyn Disk>,
    scratch: &Path,
    signatures: &mut dyn SignatureCheck,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verified> {
    store.flush()?;
    if store.log.reader().start().segment > 0 {
        return Err(StorageError::Pruned {
            what: "the beginning of the block log".to_owned(),
        });
    }
    let mut verified = Verified::default();
    let Some(log) = scan_log(store, &mut verified)? else {
        return Ok(verified);
    };
    compare_headers(store, &log, &mut verified)?;
    let Some(chain) = active_chain(store, &log, &mut verified) else {
        return Ok(verified);
    };
    let options = StoreOptions {
        sync_each_block: false,
        ..store.options
    };
    let mut second = ChainStore::open(disk, scratch, store.params.clone(), options)?;
    let mut done = Progress {
        blocks_total: chain.len() as u64,
        ..Progress::default()
    };
    for id in &chain {
        let place = log.bodies[id];
        if let Err(error) = rebuild(store, &mut second, &log, id, signatures) {
            if !matches!(error, StorageError::Damaged { .. }) {
                return Err(error);
            }
            verified.problem(error.to_string());
            return Ok(verified);
        }
        verified.blocks += 1;
        done.blocks += 1;
        done.bytes += u64::from(place.bytes);
        progress(done);
    }
    second.flush()?;
    compare_state(store, &second, &mut verified)?;
    let (stored, fresh) = (store.base.reader()?, second.base.reader()?);
    for table in [COINS, HEIGHTS, TRANSACTIONS, ADDRESSES] {
        guarded(&mut verified, table, |verified| {
            compare_table(stored.as_ref(), fresh.as_ref(), table, verified)
        })?;
    }
    Ok(verified)
}

/// What the log says.
#[derive(Default)]
struct Log {
    /// Header rows in order of arrival.
    headers: Vec<(BlockId, HeaderRow)>,
    bodies: HashMap<BlockId, BodyPlace>,
    parents: HashMap<BlockId, BlockId>,
    /// Undo data of the newest connection.
    undo: HashMap<BlockId, Position>,
    floor: Option<BlockId>,
}

/// Reads the whole log. None if it is damaged.
fn scan_log(store: &ChainStore, verified: &mut Verified) -> Result<Option<Log>> {
    let genesis = store.params.genesis();
    let mut log = Log::default();
    let mut numbers: HashMap<BlockId, usize> = HashMap::new();
    let genesis_work = work_to_bytes(own_work(genesis.header.bits));
    let mut works: HashMap<BlockId, [u8; 32]> = HashMap::new();
    let add = |log: &mut Log, work, height, record: cairn_protocol::block::HeaderRecord| {
        let id = record.header.id();
        let row = HeaderRow {
            height,
            work,
            body: None,
            undo: None,
            invalid: None,
            record,
        };
        log.headers.push((id, row));
        (id, log.headers.len() - 1)
    };
    let (id, number) = add(&mut log, genesis_work, 0, genesis.record());
    numbers.insert(id, number);
    works.insert(id, genesis_work);
    let reader = store.log.reader();
    let mut frames = reader.frames(Position::default());
    while let Some(frame) = frames.next() {
        let record = frame.and_then(|frame| Ok((Record::read(&reader, &frame)?, frame)));
        let (record, frame) = match record {
            Ok(found) => found,
            Err(StorageError::Damaged { what, .. }) => {
                let owner = owner_of(store, frames.position())?;
                verified.problem(format!("{owner}{what}"));
                return Ok(None);
            }
            Err(other) => return Err(other),
        };
        verified.records += 1;
        let orphan = |id: &BlockId| format!("log record of {id} stands before its header's");
        match record {
            Record::Header(height, record) => {
                let id = record.header.id();
                if !record.root_matches() || record.extension.height != height {
                    verified.problem(format!("header {id}: its record does not match its root"));
                }
                if numbers.contains_key(&id) {
                    continue;
                }
                let parent = works.get(&record.header.parent);
                let work = work_after(parent, record.header.bits);
                let (id, number) = add(&mut log, work, height, *record);
                numbers.insert(id, number);
                works.insert(id, work);
            }
            Record::Block(block) => {
                let id = block.id();
                let place = BodyPlace {
                    position: frame.position.to_u64(),
                    bytes: frame.payload.len() as u32,
                };
                let Some(&number) = numbers.get(&id) else {
                    verified.problem(orphan(&id));
                    continue;
                };
                let row = &mut log.headers[number].1;
                // A seal of its own is known of a tip only and stands outside the block.
                let record = cairn_protocol::block::HeaderRecord {
                    seal: None,
                    ..row.record.clone()
                };
                if record != block.record() {
                    verified.problem(format!("header {id}: its record is not its block's"));
                }
                row.body = Some(place);
                log.bodies.insert(id, place);
                log.parents.insert(id, block.header.parent);
            }
            Record::Connect(id, _) => {
                let Some(&number) = numbers.get(&id) else {
                    verified.problem(orphan(&id));
                    continue;
                };
                let row = &mut log.headers[number].1;
                row.undo = Some(frame.position.to_u64());
                if row.work == UNKNOWN_WORK {
                    let header = row.record.header;
                    row.work = work_after(works.get(&header.parent), header.bits);
                    works.insert(id, row.work);
                }
                log.undo.insert(id, frame.position);
            }
            Record::Disconnect(_) => {}
            Record::Invalid(id, text) => {
                let Some(&number) = numbers.get(&id) else {
                    verified.problem(orphan(&id));
                    continue;
                };
                log.headers[number].1.invalid = Some(text);
            }
            Record::Floor(id) => log.floor = Some(id),
        }
    }
    Ok(Some(log))
}

/// Names the block whose body or undo data begins at a damaged place, by the stored rows.
fn owner_of(store: &ChainStore, position: Position) -> Result<String> {
    let mut owner = String::new();
    let place = position.to_u64();
    // The rows may be damaged too; then the place in the file must do.
    let _ = store.visit_headers(|id, row| {
        if row.undo == Some(place) {
            owner = format!("undo data of block {id}: ");
        } else if row.body.is_some_and(|body| body.position == place) {
            owner = format!("body of block {id}: ");
        }
    });
    Ok(owner)
}

/// Ids from height 1 to the stored tip, by parent links in block bytes.
fn active_chain(store: &ChainStore, log: &Log, verified: &mut Verified) -> Option<Vec<BlockId>> {
    let genesis = store.params.chain_id();
    let mut chain = Vec::new();
    let mut seen = BTreeSet::new();
    let mut id = store.state.tip;
    while id != genesis {
        let parent = log.parents.get(&id).filter(|_| seen.insert(id));
        let Some(parent) = parent else {
            let text = format!("block {id}, an ancestor of the stored tip, is not in the log");
            verified.problem(text);
            return None;
        };
        chain.push(id);
        id = *parent;
    }
    chain.reverse();
    Some(chain)
}

/// Connects the next block in the second chain and compares its undo data.
fn rebuild(
    store: &ChainStore,
    second: &mut ChainStore,
    log: &Log,
    id: &BlockId,
    signatures: &mut dyn SignatureCheck,
) -> Result<()> {
    let broken = |why: String| StorageError::damaged(format!("block {id}: {why}"));
    let reader = store.log.reader();
    let position = Position::from_u64(log.bodies[id].position);
    let block = read_block(&reader, position, id)?;
    let height = block.extension.height;
    let block = CheckedBlock::new(block, store.params.limits());
    let block = block.map_err(|violation| broken(violation.to_string()))?;
    second.add_header(id, height, &block.record())?;
    second.add_block(&block)?;
    let connected = connect_block(&store.params, &second.state, &block, &*second, signatures);
    let connected = connected.map_err(|error| match error {
        ConnectError::Invalid(violation) => broken(violation.to_string()),
        ConnectError::Fault(fault) => broken(fault.to_string()),
    })?;
    let position = log.undo.get(id);
    let position = *position.ok_or_else(|| broken("it has no undo data in the log".to_owned()))?;
    let frame = reader.read(position)?;
    let stored: Option<BlockUndo> = match Record::read(&reader, &frame)? {
        Record::Connect(found, undo) if found == *id => Some(*undo),
        _ => None,
    };
    if stored.as_ref() != Some(&connected.undo) {
        let text = format!("undo data of block {id} is not what connecting it gives");
        return Err(StorageError::damaged(text));
    }
    second.add_connection(&block, connected)
}

fn compare_state(store: &ChainStore, second: &ChainStore, verified: &mut Verified) -> Result<()> {
    verified.rows += 1;
    let value = store
        .base
        .reader()?
        .value(META, FLUSHED)?
        .unwrap_or_default();
    let stored: Flushed = match decode(&value, || "row flushed of table meta".to_owned()) {
        Ok(stored) => stored,
        Err(error) => {
            verified.problem(error.to_string());
            return Ok(());
        }
    };
    let expected = Flushed {
        chain_id: store.params.chain_id(),
        position: store.folded.to_u64(),
        next_number: store.next_number,
        floor: store.floor,
        state: (**second.ledger_state()).clone(),
    };
    if stored != expected {
        verified.problem("row flushed of table meta differs from the recomputed state".to_owned());
    }
    Ok(())
}

/// Header rows and numbers against what the log says.
fn compare_headers(store: &ChainStore, log: &Log, verified: &mut Verified) -> Result<()> {
    let reader = store.base.reader()?;
    let by_number = log.headers.iter().zip(0u64..).map(|((_, row), number)| {
        let row: Row = (number_key(number).to_vec(), codec::encode(row));
        Ok(row)
    });
    guarded(verified, HEADERS, |verified| {
        let rows = reader.scan(HEADERS, Bound::Unbounded, Bound::Unbounded, false)?;
        compare_rows(rows, by_number, HEADERS, verified)
    })?;
    let mut ids: Vec<(BlockId, u64)> = log
        .headers
        .iter()
        .zip(0..)
        .map(|((id, _), number)| (*id, number))
        .collect();
    ids.sort_unstable();
    let by_id = ids.iter().map(|(id, number)| {
        let row: Row = (id.as_bytes().to_vec(), number_key(*number).to_vec());
        Ok(row)
    });
    guarded(verified, HEADER_NUMBERS, |verified| {
        let rows = reader.scan(HEADER_NUMBERS, Bound::Unbounded, Bound::Unbounded, false)?;
        compare_rows(rows, by_id, HEADER_NUMBERS, verified)
    })?;
    if store.next_number != log.headers.len() as u64 || store.floor != log.floor {
        verified.problem("row flushed of table meta differs from the log".to_owned());
    }
    Ok(())
}

fn compare_table(
    stored: &dyn TableReader,
    fresh: &dyn TableReader,
    table: Table,
    verified: &mut Verified,
) -> Result<()> {
    let rows = stored.scan(table, Bound::Unbounded, Bound::Unbounded, false)?;
    let expected = fresh.scan(table, Bound::Unbounded, Bound::Unbounded, false)?;
    if table != HEIGHTS {
        return compare_rows(rows, expected, table, verified);
    }
    // Numbers follow the order of arrival, which the second chain does not repeat.
    let id_only = |row: Result<Row>| {
        let (key, value) = row?;
        let id = read_height_value(&value, 0).map(|(id, _)| id.as_bytes().to_vec());
        Ok((key, id.unwrap_or(value)))
    };
    compare_rows(rows.map(id_only), expected.map(id_only), table, verified)?;
    let rows = stored.scan(table, Bound::Unbounded, Bound::Unbounded, false)?;
    for row in rows {
        let (key, value) = row?;
        let Ok((id, number)) = read_height_value(&value, 0) else {
            continue;
        };
        let known = stored.value(HEADER_NUMBERS, id.as_bytes())?;
        if known.as_deref() != Some(number_key(number).as_slice()) {
            let text = format!(
                "row {} of table heights: wrong number",
                key_text(table, &key)
            );
            verified.problem(text);
        }
    }
    Ok(())
}

/// Walks both sequences in key order.
fn compare_rows(
    stored: impl Iterator<Item = Result<Row>>,
    expected: impl Iterator<Item = Result<Row>>,
    table: Table,
    verified: &mut Verified,
) -> Result<()> {
    let name = |key: &[u8]| format!("row {} of table {}", key_text(table, key), table.name);
    // A damaged inner page can lead a walk astray, even in circles.
    let mut last: Option<Vec<u8>> = None;
    let in_order = |row: Result<Row>| {
        let (key, value) = row?;
        if last.as_ref().is_some_and(|last| *last >= key) {
            return Err(StorageError::damaged(format!(
                "{} is out of order",
                name(&key)
            )));
        }
        last = Some(key.clone());
        Ok((key, value))
    };
    let (mut stored, mut expected) = (stored.map(in_order).peekable(), expected.peekable());
    while !verified.full() {
        let order = match (stored.peek(), expected.peek()) {
            (None, None) => return Ok(()),
            (Some(Ok((left, _))), Some(Ok((right, _)))) => left.cmp(right),
            (Some(_), None) | (Some(Err(_)), _) => std::cmp::Ordering::Less,
            (None, Some(_)) | (_, Some(Err(_))) => std::cmp::Ordering::Greater,
        };
        verified.rows += 1;
        match order {
            std::cmp::Ordering::Less => {
                let (key, _) = stored.next().expect("it was peeked")?;
                verified.problem(format!("{} should not be there", name(&key)));
            }
            std::cmp::Ordering::Greater => {
                let (key, _) = expected.next().expect("it was peeked")?;
                verified.problem(format!("{} is missing", name(&key)));
            }
            std::cmp::Ordering::Equal => {
                let (key, left) = stored.next().expect("it was peeked")?;
                let (_, right) = expected.next().expect("it was peeked")?;
                if left != right {
                    verified.problem(format!("{} differs from the recomputed one", name(&key)));
                }
            }
        }
    }
    Ok(())
}

/// Runs a walk over a table; damage that ends it is a problem found, not a failure to look.
fn guarded(
    verified: &mut Verified,
    table: Table,
    walk: impl FnOnce(&mut Verified) -> Result<()>,
) -> Result<()> {
    match walk(verified) {
        Err(error @ StorageError::Damaged { .. }) => {
            verified.problem(format!("table {}: {error}", table.name));
            Ok(())
        }
        other => other,
    }
}
