//! What the database's tests share: a log in memory that can be hostile, tables, futures run by hand.
#![allow(dead_code)]

use cairn_database::catalog::{Column, Index, IndexPart, IndexState, Relation, Table};
use cairn_database::commit::{CommitLog, Outcome, Ticket, Visit};
use cairn_database::entry::{Change, CommitTs, EntryBuilder, Incarnation, Kind, Membership, Stamp};
use cairn_database::key::Direction;
use cairn_database::store::{RedbEngine, Store, StoreError};
use cairn_database::transaction::{Database, DatabaseOptions, Error, Result, Transaction};
use cairn_database::types::{DataType, Value};
use cairn_storage::disk::{Disk, FakeDisk};
use parking_lot::{Condvar, Mutex};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// What became of an entry that was proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pending,
    Committed(u64),
    Lost,
    Unknown,
}

#[derive(Debug, Default)]
struct LogState {
    committed: Vec<Vec<u8>>,
    pending: Vec<(usize, Vec<u8>)>,
    fates: Vec<Fate>,
    manual: bool,
    dead: Option<Fate>,
}

/// A log in memory. By itself it commits at once; in the hands of a test it commits some proposals,
/// loses its leadership, or cannot say.
#[derive(Debug, Clone, Default)]
pub struct MemoryLog {
    state: Arc<(Mutex<LogState>, Condvar)>,
}

impl MemoryLog {
    /// A new log: entry 0 is membership.
    pub fn new() -> Self {
        let log = MemoryLog::default();
        log.state.0.lock().committed.push(membership());
        log
    }

    /// A log whose proposals wait for `commit_some`.
    pub fn manual(self) -> Self {
        self.state.0.lock().manual = true;
        self
    }

    /// Number of proposals that wait.
    pub fn pending(&self) -> usize {
        self.state.0.lock().pending.len()
    }

    /// Number of committed entries.
    pub fn len(&self) -> usize {
        self.state.0.lock().committed.len()
    }

    /// Commits the first proposals that wait.
    pub fn commit_some(&self, count: usize) {
        let mut state = self.state.0.lock();
        let count = count.min(state.pending.len());
        for (ticket, entry) in state.pending.drain(..count).collect::<Vec<_>>() {
            state.fates[ticket] = Fate::Committed(state.committed.len() as u64);
            state.committed.push(entry);
        }
        self.state.1.notify_all();
    }

    /// Loses all that waits: it will never be committed.
    pub fn lose_leadership(&self) {
        let mut state = self.state.0.lock();
        for (ticket, _) in std::mem::take(&mut state.pending) {
            state.fates[ticket] = Fate::Lost;
        }
        self.state.1.notify_all();
    }

    /// Stops: of what waits the first `kept` are in the log, but nobody is told.
    pub fn stop_unknown(&self, kept: usize) {
        let mut state = self.state.0.lock();
        state.dead = Some(Fate::Unknown);
        for (index, (ticket, entry)) in std::mem::take(&mut state.pending).into_iter().enumerate() {
            state.fates[ticket] = Fate::Unknown;
            if index < kept {
                state.committed.push(entry);
            }
        }
        self.state.1.notify_all();
    }

    /// The log after a restart: what is committed.
    pub fn reopened(&self) -> Self {
        let state = self.state.0.lock();
        let after = LogState {
            committed: state.committed.clone(),
            manual: state.manual,
            ..LogState::default()
        };
        MemoryLog {
            state: Arc::new((Mutex::new(after), Condvar::new())),
        }
    }
}

struct MemoryTicket(MemoryLog, usize);

impl MemoryTicket {
    fn outcome(fate: Fate) -> Option<Outcome> {
        match fate {
            Fate::Pending => None,
            Fate::Committed(lsn) => Some(Outcome::Committed { lsn }),
            Fate::Lost => Some(Outcome::NotLeader),
            Fate::Unknown => Some(Outcome::Unknown("planned by the test".into())),
        }
    }
}

impl Ticket for MemoryTicket {
    fn try_outcome(&mut self) -> Option<Outcome> {
        Self::outcome(self.0.state.0.lock().fates[self.1])
    }

    fn wait(&mut self) -> Outcome {
        let mut state = self.0.state.0.lock();
        loop {
            if let Some(outcome) = Self::outcome(state.fates[self.1]) {
                return outcome;
            }
            self.0.state.1.wait(&mut state);
        }
    }
}

impl CommitLog for MemoryLog {
    fn propose(&self, entry: Vec<u8>) -> Box<dyn Ticket> {
        let mut state = self.state.0.lock();
        let ticket = state.fates.len();
        if let Some(fate) = state.dead {
            state.fates.push(fate);
        } else if state.manual {
            state.fates.push(Fate::Pending);
            state.pending.push((ticket, entry));
        } else {
            let lsn = state.committed.len() as u64;
            state.fates.push(Fate::Committed(lsn));
            state.committed.push(entry);
        }
        Box::new(MemoryTicket(self.clone(), ticket))
    }

    fn replay(&self, lsn: u64, visit: &mut Visit<'_>) -> std::result::Result<(), StoreError> {
        let committed = self.state.0.lock().committed.clone();
        for (at, entry) in committed.iter().enumerate().skip(lsn as usize) {
            visit(at as u64, entry)?;
        }
        Ok(())
    }

    fn purge(&self, _lsn: u64) {}
}

/// Entry 0 of a group: membership.
pub fn membership() -> Vec<u8> {
    let mut builder = EntryBuilder::new(Kind::Membership, [0; 16]);
    builder
        .push(&Change::Membership(Membership::alone(
            b"node".to_vec(),
            None,
        )))
        .unwrap();
    let stamp = Stamp {
        incarnation: Incarnation([7; 16]),
        commit_ts: CommitTs(1),
        ..Stamp::default()
    };
    builder.finish(stamp).unwrap()
}

/// A database over a disk and a log.
pub fn open(disk: &dyn Disk, log: &MemoryLog, options: DatabaseOptions) -> Arc<Database> {
    open_over(disk, Arc::new(log.clone()), options)
}

/// A database over a disk and any log.
pub fn open_over(
    disk: &dyn Disk,
    log: Arc<dyn CommitLog>,
    options: DatabaseOptions,
) -> Arc<Database> {
    let engine = RedbEngine::open(disk, Path::new("/rows.redb"), 4 << 20).unwrap();
    let store = Store::open(Box::new(engine), 0).unwrap();
    Database::open(store, log, options).unwrap()
}

/// A database in memory with its own threads.
pub fn memory() -> Arc<Database> {
    open(
        &FakeDisk::new(),
        &MemoryLog::new(),
        DatabaseOptions::default(),
    )
}

pub fn column(name: &str, data_type: DataType) -> Column {
    Column {
        name: name.to_owned(),
        data_type,
        not_null: false,
        default: None,
        missing: None,
        dropped: false,
    }
}

/// A table of these columns; the first one is its key.
pub fn table(transaction: &Transaction, name: &str, columns: &[(&str, DataType)]) -> Table {
    Table {
        id: transaction.new_object_id(),
        storage: transaction.new_object_id(),
        schema: "public".to_owned(),
        name: name.to_owned(),
        columns: columns
            .iter()
            .map(|(name, data_type)| column(name, *data_type))
            .collect(),
        primary_key: vec![0],
        primary_name: format!("{name}_pkey"),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        hidden_key: false,
        options: Vec::new(),
    }
}

pub fn index(
    transaction: &Transaction,
    table: &Table,
    name: &str,
    columns: &[usize],
    unique: bool,
) -> Index {
    let parts = columns
        .iter()
        .map(|column| (IndexPart::Column(*column), Direction::ASCENDING));
    Index {
        id: transaction.new_object_id(),
        table: table.id,
        storage: transaction.new_object_id(),
        name: name.to_owned(),
        parts: parts.collect(),
        unique,
        nulls_not_distinct: false,
        predicate: None,
        constraint: None,
        state: IndexState::Public,
    }
}

pub fn int(value: i64) -> Value {
    Value::BigInt(value)
}

pub fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

/// The key of a row whose primary key is one number.
pub fn key(value: i64) -> Vec<u8> {
    cairn_database::key::encode([&int(value)], &[]).unwrap()
}

/// A relation as a transaction sees it.
pub fn relation(transaction: &mut Transaction, name: &str) -> Result<Arc<Relation>> {
    transaction.relation("public", name)
}

struct ThreadWaker(std::thread::Thread);

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(ThreadWaker(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Runs a whole transaction of one statement, again where it could not be serialized.
pub fn run<T>(
    database: &Arc<Database>,
    mut body: impl AsyncFnMut(&mut Transaction) -> Result<T>,
) -> Result<T> {
    block_on(async {
        loop {
            let mut transaction = database.begin(Default::default());
            let value = match transaction.statement(&mut body).await {
                Ok(value) => value,
                Err(error) if error.sqlstate() == "40001" => continue,
                Err(error) => return Err(error),
            };
            match transaction.commit().await {
                Ok(_) => return Ok(value),
                Err(Error::Serialization(_)) => {}
                Err(error) => return Err(error),
            }
        }
    })
}

/// `small`, or `full` where CAIRN_TEST_BUDGET says so.
pub fn budget(small: u64, full: u64) -> u64 {
    match std::env::var("CAIRN_TEST_BUDGET").as_deref() {
        Ok("full") => full,
        _ => small,
    }
}
