//! A transaction: its view, its layers, its locks, and its end.

use super::access::KeyRange;
use super::database::Database;
use super::error::{Error, Result};
use super::layer::{Layer, Write, WriteKind};
use super::read_set::ReadSet;
use super::write_set::WriteSet;
use crate::catalog::{Relation, Schema};
use crate::commit::{Request, promise};
use crate::entry::{Chain, ChainBuilder, Change, CommitTs, StorageId, TransactionId};
use crate::lock::{Mark, Mode, OwnerId, Target, Wait};
use crate::store::{CATALOG, HORIZON, SEQUENCES};
use crate::version::{Snapshot, place, split_place};
use parking_lot::Mutex;
use std::sync::Arc;

/// A view older than this leaves its reader, whose pages the engine could not use again, and goes on
/// over the versions.
const VIEW_AGE_MS_MAX: u64 = 60_000;

/// What a transaction is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// A view for each statement. READ UNCOMMITTED is the same.
    #[default]
    ReadCommitted,
    /// One view.
    RepeatableRead,
    /// As if transactions came one after the other.
    Serializable,
}

/// How a transaction begins.
#[derive(Debug, Clone, Copy, Default)]
pub struct Begin {
    /// What it is promised.
    pub isolation: Isolation,
    /// It writes nothing.
    pub read_only: bool,
    /// How long it waits for a lock; zero for ever.
    pub lock_timeout_ms: u64,
}

impl Begin {
    /// At this level.
    pub fn at(isolation: Isolation) -> Self {
        Begin {
            isolation,
            ..Begin::default()
        }
    }
}

/// What a transaction reads.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) at: CommitTs,
    pub(super) snapshot: Arc<Snapshot>,
    /// The timestamp under which it is registered.
    entered: CommitTs,
    since_ms: u64,
}

#[derive(Debug)]
struct Savepoint {
    name: String,
    depth: usize,
    mark: Mark,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Active,
    Failed,
    Over,
}

/// A transaction. Dropping it rolls it back.
#[derive(Debug)]
pub struct Transaction {
    pub(super) database: Arc<Database>,
    pub(super) owner: OwnerId,
    pub(super) begin: Begin,
    pub(super) view: Option<View>,
    pub(super) writes: WriteSet,
    pub(super) reads: Option<Arc<Mutex<ReadSet>>>,
    pub(super) statement: Option<usize>,
    pub(super) deferred: Vec<super::constraint::Deferred>,
    pub(super) constraints_deferred: Option<bool>,
    schema: Option<(CommitTs, Arc<Schema>)>,
    pub(super) own_schema: bool,
    pub(super) notifications: Vec<(String, String)>,
    savepoints: Vec<Savepoint>,
    status: Status,
}

impl Transaction {
    pub(super) fn new(database: Arc<Database>, owner: OwnerId, begin: Begin) -> Self {
        let writes = WriteSet::new(
            database.options.spill_directory.clone(),
            database.options.write_set_memory_bytes,
        );
        let serializable = begin.isolation == Isolation::Serializable && !begin.read_only;
        Transaction {
            owner,
            begin,
            view: None,
            writes,
            reads: serializable.then(Arc::default),
            statement: None,
            deferred: Vec::new(),
            constraints_deferred: None,
            schema: None,
            own_schema: false,
            notifications: Vec::new(),
            savepoints: Vec::new(),
            status: Status::Active,
            database,
        }
    }

    /// Its database.
    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// The owner of its locks.
    pub fn owner(&self) -> OwnerId {
        self.owner
    }

    /// Its level.
    pub fn isolation(&self) -> Isolation {
        self.begin.isolation
    }

    /// True if it wrote nothing so far.
    pub fn is_clean(&self) -> bool {
        self.writes.is_empty() && self.notifications.is_empty()
    }

    /// Changes how long it waits for locks from here on; zero for ever.
    pub fn set_lock_timeout_ms(&mut self, ms: u64) {
        self.begin.lock_timeout_ms = ms;
    }

    pub(super) fn check_active(&self) -> Result<()> {
        match self.status {
            Status::Active => Ok(()),
            Status::Failed => Err(Error::Failed),
            Status::Over => Err(Error::State("the transaction is over")),
        }
    }

    pub(super) fn check_writable(&self, what: &'static str) -> Result<()> {
        self.check_active()?;
        if self.begin.read_only {
            return Err(Error::ReadOnly(what));
        }
        if self.statement.is_none() {
            return Err(Error::State("writes belong to a statement"));
        }
        Ok(())
    }

    /// Marks it as failed: until it is rolled back, also to a savepoint, it answers 25P02.
    pub fn fail(&mut self) {
        if self.status == Status::Active {
            self.status = Status::Failed;
        }
    }

    /// True after an error that was not rolled back.
    pub fn is_failed(&self) -> bool {
        self.status == Status::Failed
    }

    /// Takes a new view.
    pub(super) fn renew_view(&mut self) {
        self.drop_view();
        let snapshot = self.database.enter();
        let entered = snapshot.ts;
        let ahead = u64::from(self.database.options.planted.visibility_off_by_one);
        self.view = Some(View {
            at: CommitTs(entered.0 + ahead),
            entered,
            snapshot,
            since_ms: self.database.options.clock.now_ms(),
        });
    }

    fn drop_view(&mut self) {
        if let Some(view) = self.view.take() {
            self.database.leave(view.entered);
        }
    }

    /// The view, taken now if there is none.
    pub(super) fn view(&mut self) -> &View {
        if self.view.is_none() {
            self.renew_view();
        }
        let now_ms = self.database.options.clock.now_ms();
        let view = self.view.as_mut().expect("taken above");
        if now_ms.saturating_sub(view.since_ms) > VIEW_AGE_MS_MAX {
            view.snapshot = self.database.store.snapshot();
            view.since_ms = now_ms;
        }
        view
    }

    /// The timestamp it reads at.
    pub fn snapshot_ts(&mut self) -> CommitTs {
        self.view().at
    }

    /// The schema that goes with what it reads, with its own changes of the catalog.
    ///
    /// # Errors
    /// Damage of the catalog.
    pub fn schema(&mut self) -> Result<Arc<Schema>> {
        self.check_active()?;
        let view = self.view().clone();
        if self.own_schema {
            let (from, to) = (place(CATALOG, &[]), place(StorageId(CATALOG.0 + 1), &[]));
            let depth = self.writes.depth();
            let rows = self.merged(&view.snapshot, view.at, depth, &from, &to, false)?;
            let mut all = Vec::new();
            for row in rows {
                let (place, row) = row?;
                let key = split_place(&place).map(|(_, key)| key.to_vec());
                all.push((key.unwrap_or_default(), row));
            }
            return Ok(Arc::new(Schema::load(all)?));
        }
        if let Some((at, schema)) = &self.schema
            && *at == view.at
        {
            return Ok(schema.clone());
        }
        let schema = self.database.schema_at(&view.snapshot, view.at)?;
        self.schema = Some((view.at, schema.clone()));
        Ok(schema)
    }

    /// A table by name. A serializable transaction depends on what it found.
    ///
    /// # Errors
    /// `Undefined`.
    pub fn relation(&mut self, schema: &str, name: &str) -> Result<Arc<Relation>> {
        let all = self.schema()?;
        self.record_place(&place(CATALOG, &crate::catalog::name_key(schema, name)));
        let found = all.find(schema, name).cloned();
        let found = found.ok_or_else(|| Error::Undefined {
            kind: "relation",
            name: name.to_owned(),
        })?;
        let (from, to) = crate::catalog::table_range(found.table.id);
        self.record(&from, &to);
        Ok(found)
    }

    pub(super) fn record(&self, from: &[u8], to: &[u8]) {
        if let Some(reads) = &self.reads {
            reads.lock().add(from, to);
        }
    }

    pub(super) fn record_place(&self, place: &[u8]) {
        if let Some(reads) = &self.reads {
            reads.lock().add_place(place);
        }
    }

    /// How long a lock may be waited for from now on.
    pub(super) fn patience(&self) -> Wait {
        let timeout = self.begin.lock_timeout_ms;
        let until = (timeout > 0).then(|| self.database.options.clock.now_ms() + timeout);
        Wait::Until(until)
    }

    /// Takes a lock until the end of the transaction or of a savepoint that is rolled back.
    ///
    /// # Errors
    /// `LockNotAvailable`, `Deadlock`, `Cancelled`.
    pub async fn lock(&mut self, target: Target, mode: Mode, wait: Wait) -> Result<()> {
        self.check_active()?;
        let waiting = self.database.locks.acquire(self.owner, target, mode, wait);
        match waiting.ready() {
            Some(outcome) => Ok(outcome?),
            None => Ok(waiting.await?),
        }
    }

    /// Takes a lock on a table, and makes sure that the table is still what this transaction knows.
    ///
    /// # Errors
    /// Those of [`Transaction::lock`]; `Restart` or `Serialization` if the table has changed.
    pub async fn lock_table(&mut self, table: u64, mode: Mode, wait: Wait) -> Result<()> {
        self.lock(Target::Table(table), mode, wait).await?;
        let View { at, snapshot, .. } = self.view().clone();
        let newest = self.database.store.snapshot();
        if newest.catalog_ts <= at {
            return Ok(());
        }
        // Committed states alone: what this transaction changed itself it holds alone.
        let known = self
            .database
            .schema_at(&snapshot, at)?
            .relation(table)
            .cloned();
        let current = self
            .database
            .schema_at(&newest, newest.ts)?
            .relation(table)
            .cloned();
        match known == current {
            true => Ok(()),
            false => Err(self.stale("the table was changed by a concurrent transaction")),
        }
    }

    /// What a row newer than the view means.
    pub(super) fn stale(&mut self, why: &'static str) -> Error {
        match self.begin.isolation {
            Isolation::ReadCommitted => Error::Restart,
            Isolation::RepeatableRead | Isolation::Serializable => Error::Serialization(why),
        }
    }

    /// Begins a savepoint.
    ///
    /// # Errors
    /// `Failed`, `State`.
    pub fn savepoint(&mut self, name: &str) -> Result<()> {
        self.check_active()?;
        if self.statement.is_some() {
            return Err(Error::State("a savepoint inside a statement"));
        }
        let savepoint = Savepoint {
            name: name.to_owned(),
            depth: self.writes.push(),
            mark: self.database.locks.mark(self.owner),
        };
        self.savepoints.push(savepoint);
        Ok(())
    }

    fn find_savepoint(&self, name: &str) -> Result<usize> {
        let place = self
            .savepoints
            .iter()
            .rposition(|savepoint| savepoint.name == name);
        place.ok_or_else(|| Error::NoSavepoint(name.to_owned()))
    }

    /// Undoes what was done since a savepoint and gives back the locks taken since. The savepoint
    /// stays. A failed transaction goes on from here.
    ///
    /// # Errors
    /// `NoSavepoint`, `State`.
    pub fn rollback_to(&mut self, name: &str) -> Result<()> {
        if self.status == Status::Over {
            return Err(Error::State("the transaction is over"));
        }
        let place = self.find_savepoint(name)?;
        self.savepoints.truncate(place + 1);
        let Savepoint { depth, mark, .. } = self.savepoints[place];
        self.statement = None;
        self.writes.truncate(depth);
        self.writes.push();
        self.deferred.retain(|deferred| deferred.depth <= depth);
        self.database.locks.release_to(self.owner, mark);
        self.status = Status::Active;
        Ok(())
    }

    /// Forgets a savepoint; what was done since stays.
    ///
    /// # Errors
    /// `NoSavepoint`, `Failed`, the temporary file's.
    pub fn release(&mut self, name: &str) -> Result<()> {
        self.check_active()?;
        let place = self.find_savepoint(name)?;
        let depth = self.savepoints[place].depth;
        self.savepoints.truncate(place);
        for deferred in &mut self.deferred {
            deferred.depth = deferred.depth.min(depth);
        }
        self.writes.fold(depth).map_err(spill_fault)
    }

    /// Delivers a notification with the commit.
    ///
    /// # Errors
    /// `Failed`, `ReadOnly`.
    pub fn notify(&mut self, channel: &str, payload: &str) -> Result<()> {
        self.check_active()?;
        let notification = (channel.to_owned(), payload.to_owned());
        if !self.notifications.contains(&notification) {
            self.notifications.push(notification);
        }
        Ok(())
    }

    /// Undoes everything.
    pub fn rollback(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if self.status != Status::Over {
            self.status = Status::Over;
            self.drop_view();
            self.database.locks.release_transaction(self.owner);
        }
    }

    /// Commits. The timestamp is that of its rows; a transaction that wrote nothing has none.
    ///
    /// # Errors
    /// `Failed` (it is rolled back then); violated deferred constraints; `Serialization`; `Unknown`.
    pub async fn commit(mut self) -> Result<Option<CommitTs>> {
        self.check_active()?;
        if self.statement.is_some() {
            return Err(Error::State("commit inside a statement"));
        }
        if self.is_clean() {
            self.end();
            return Ok(None);
        }
        self.check_deferred().await?;
        let writes = self.writes.finish().map_err(spill_fault)?;
        let chain = build_chain(&writes, &self.notifications)?;
        let (answer, outcome) = promise();
        let reads = self
            .reads
            .take()
            .map(|reads| std::mem::take(&mut *reads.lock()));
        let request = Request {
            owner: self.owner,
            chain,
            writes,
            reads,
            snapshot: self.view.as_ref().map_or(CommitTs(0), |view| view.at),
            answer,
        };
        self.database.pipeline.submit(request);
        // From here on the locks are the pipeline's to give back: a caller that is cancelled must not
        // let others in before the outcome is known.
        self.status = Status::Over;
        let outcome = outcome.await;
        self.drop_view();
        let outcome =
            outcome.unwrap_or_else(|| Err(Error::Unknown("the database closed".to_owned())));
        outcome.map(Some)
    }

    /// Puts a row of the catalog or of the sequences into the top layer.
    pub(crate) fn put_raw(
        &mut self,
        storage: StorageId,
        key: &[u8],
        row: Option<Vec<u8>>,
    ) -> Result<()> {
        let place = place(storage, key);
        self.writes.touch(place.clone());
        let write = Write {
            row: row.map(Arc::from),
            kind: WriteKind::Row,
        };
        self.own_schema |= storage == CATALOG;
        self.writes.write(place, write).map_err(spill_fault)
    }

    /// Puts an entry of an index into the top layer, and into the log.
    pub(crate) fn put_entry(
        &mut self,
        storage: StorageId,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<()> {
        let write = Write {
            row: value.map(Arc::from),
            kind: WriteKind::Index,
        };
        Ok(self.writes.write(place(storage, key), write)?)
    }

    pub(crate) fn check_ddl(&self) -> Result<()> {
        self.check_writable("DDL")
    }

    pub(crate) fn patience_for_ddl(&self) -> Wait {
        self.patience()
    }

    /// A locked row of the catalog must not be newer than the view.
    pub(crate) fn check_catalog_row(&mut self, key: &[u8]) -> Result<()> {
        self.check_latest(&place(CATALOG, key))
    }

    pub(crate) fn index_key_of(
        &self,
        relation: &Relation,
        index: &crate::catalog::Index,
        values: &[crate::types::Value],
    ) -> Result<Option<(Vec<u8>, bool)>> {
        self.index_key(relation, index, values)
    }

    /// All rows of a storage range as this transaction sees them, itself included.
    pub(crate) fn rows_with_own(
        &mut self,
        storage: StorageId,
        range: &KeyRange,
    ) -> Result<super::scan::Scan> {
        let view = self.view().clone();
        let (from, to) = range.places(storage);
        self.record(&from, &to);
        let depth = self.writes.depth();
        self.merged(&view.snapshot, view.at, depth, &from, &to, false)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.drop_view();
        self.end();
    }
}

pub(super) fn spill_fault(error: std::io::Error) -> Error {
    Error::Fault(format!("temporary file of a large transaction: {error}"))
}

fn random_seed() -> [u8; 16] {
    rand::random()
}

/// The entries of a transaction.
pub(super) fn build_chain(writes: &Layer, notifications: &[(String, String)]) -> Result<Chain> {
    let mut builder = ChainBuilder::new(TransactionId(random_seed()), random_seed);
    let limit = |error: crate::entry::EntryError| Error::Limit(error.to_string());
    writes.for_each::<Error>(|place, write| {
        let (storage, key) = split_place(place)
            .ok_or_else(|| Error::Damaged("a write without a storage".to_owned()))?;
        let row = write.row.as_deref();
        let change = match (write.kind, row) {
            (WriteKind::Derived, _) => return Ok(()),
            (WriteKind::Row, Some(row)) if storage == CATALOG => Change::CatalogPut { key, row },
            (WriteKind::Row, None) if storage == CATALOG => Change::CatalogDelete { key },
            (WriteKind::Row, Some(row)) if storage == SEQUENCES => {
                let number = |bytes: &[u8]| bytes.try_into().ok();
                let (Some(id), Some(value)) = (number(key), number(row)) else {
                    return Err(Error::Damaged("a reservation of odd length".to_owned()));
                };
                Change::Sequence {
                    id: u64::from_be_bytes(id),
                    reserved: i64::from_le_bytes(value),
                }
            }
            (WriteKind::Row, Some(row)) if storage == HORIZON => {
                let ts = row
                    .try_into()
                    .map_err(|_| Error::State("a horizon has 8 bytes"))?;
                Change::Horizon(CommitTs(u64::from_le_bytes(ts)))
            }
            (WriteKind::Row, Some(row)) => Change::RowPut { storage, key, row },
            (WriteKind::Row, None) => Change::RowDelete { storage, key },
            (WriteKind::Index, Some(value)) => Change::IndexPut {
                storage,
                key,
                value,
            },
            (WriteKind::Index, None) => Change::IndexDelete { storage, key },
        };
        builder.push(&change).map_err(limit)
    })?;
    for (channel, payload) in notifications {
        builder
            .push(&Change::Notify { channel, payload })
            .map_err(limit)?;
    }
    Ok(builder.finish())
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        spill_fault(error)
    }
}
