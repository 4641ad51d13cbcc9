//! The database of one group: store, log, locks and the pipeline between them.

use super::clock::{Clock, SystemClock};
use super::constraint::Expressions;
use super::error::{Error, Result};
use super::maintenance::Upkeep;
use super::planted::Planted;
use super::state::{Begin, Transaction};
use super::write_set::WRITE_SET_MEMORY_BYTES;
use crate::catalog::{Deriver, Schema};
use crate::commit::{CommitLog, Pipeline, PipelineOptions, replay};
use crate::entry::{CommitTs, Incarnation};
use crate::lock::{LockManager, OwnerId};
use crate::store::{CATALOG, SEQUENCES, Store};
use crate::tree::TileFiles;
use crate::version::{Snapshot, StorageId, place, split_place};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Schemas in memory: those of running transactions, mostly one.
const SCHEMAS_CACHED: usize = 16;

/// How a database is opened.
#[derive(Debug)]
pub struct DatabaseOptions {
    /// Where large write sets spill to. It must exist.
    pub spill_directory: PathBuf,
    /// Bytes of a write set in memory.
    pub write_set_memory_bytes: usize,
    /// Time for timeouts.
    pub clock: Arc<dyn Clock>,
    /// How long old versions stay readable at least.
    pub history_ms: u64,
    /// Evaluates expressions of constraints and indexes.
    pub expressions: Arc<dyn Expressions>,
    /// Threads of its own run the pipeline; else somebody calls `step`.
    pub threads: bool,
    /// Faults to build in.
    pub planted: Planted,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        DatabaseOptions {
            spill_directory: std::env::temp_dir(),
            write_set_memory_bytes: WRITE_SET_MEMORY_BYTES,
            clock: Arc::new(SystemClock::default()),
            history_ms: super::maintenance::HISTORY_MS,
            expressions: Arc::new(crate::sql::SqlExpressions::default()),
            threads: true,
            planted: Planted::default(),
        }
    }
}

/// The database of one group.
#[derive(Debug)]
pub struct Database {
    pub(super) store: Arc<Store>,
    pub(super) locks: Arc<LockManager>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) options: DatabaseOptions,
    pub(super) upkeep: Upkeep,
    schemas: Mutex<BTreeMap<CommitTs, Arc<Schema>>>,
    active: Mutex<BTreeMap<CommitTs, usize>>,
    next_owner: AtomicU64,
    next_age: AtomicU64,
    next_object: AtomicU64,
    /// Sequence -> next value and how many are left of the reservation.
    pub(crate) reserved: Mutex<HashMap<u64, crate::catalog::Reserved>>,
}

impl Database {
    /// Opens a database: applies what the log has and the store has not, then takes transactions.
    ///
    /// # Errors
    /// Faults and damage of the store or the log.
    pub fn open(
        store: Store,
        log: Arc<dyn CommitLog>,
        options: DatabaseOptions,
    ) -> Result<Arc<Self>> {
        Self::open_with(store, log, None, options)
    }

    /// Opens a database that keeps the leaves of its tree, which must be those of the store.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn open_with(
        store: Store,
        log: Arc<dyn CommitLog>,
        mut tiles: Option<TileFiles>,
        options: DatabaseOptions,
    ) -> Result<Arc<Self>> {
        let store = Arc::new(store);
        let mut deriver = Deriver::new(Arc::new(load_schema(&store.snapshot())?));
        replay(&store, &*log, &mut deriver, tiles.as_mut())?;
        let schema = Arc::new(load_schema(&store.snapshot())?);
        let locks = Arc::new(LockManager::default());
        let pipeline = Pipeline::new(
            store.clone(),
            log.clone(),
            locks.clone(),
            Box::new(Deriver::new(schema.clone())),
            Incarnation(store.incarnation()),
            tiles,
            PipelineOptions {
                planted_same_batch_ignored: options.planted.same_batch_ignored,
                planted_early_unlock: options.planted.early_unlock,
            },
        )?;
        let database = Arc::new(Database {
            upkeep: Upkeep::new(log),
            store: store.clone(),
            locks,
            pipeline: Arc::new(pipeline),
            schemas: Mutex::new(BTreeMap::from([(
                store.snapshot().catalog_ts,
                schema.clone(),
            )])),
            active: Mutex::default(),
            next_owner: AtomicU64::new(1),
            next_age: AtomicU64::new(1),
            next_object: AtomicU64::new(
                schema.greatest_id().max(crate::store::FIRST_STORAGE.0) + 1,
            ),
            reserved: Mutex::default(),
            options,
        });
        if database.options.threads {
            database.start_threads();
        }
        Ok(database)
    }

    /// Begins a transaction of an owner of its own.
    pub fn begin(self: &Arc<Self>, begin: Begin) -> Transaction {
        let owner = self.new_owner();
        self.begin_as(owner, begin)
    }

    /// Begins a transaction of a session, which has at most one at a time.
    pub fn begin_as(self: &Arc<Self>, owner: OwnerId, begin: Begin) -> Transaction {
        let age = self.next_age.fetch_add(1, Ordering::Relaxed);
        self.locks.begin(owner, age);
        Transaction::new(self.clone(), owner, begin)
    }

    /// A number for a session.
    pub fn new_owner(&self) -> OwnerId {
        OwnerId(self.next_owner.fetch_add(1, Ordering::Relaxed))
    }

    /// The locks, for advisory ones and for `cairn.locks`.
    pub fn locks(&self) -> &Arc<LockManager> {
        &self.locks
    }

    /// The store.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// A number for an object or a storage that nobody has.
    pub(crate) fn new_object_id(&self) -> u64 {
        self.next_object.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes the newest snapshot and keeps the versions it needs until `leave`.
    pub(super) fn enter(&self) -> Arc<Snapshot> {
        let mut active = self.active.lock();
        let snapshot = self.store.snapshot();
        *active.entry(snapshot.ts).or_default() += 1;
        snapshot
    }

    /// Ends the use of a timestamp.
    pub(super) fn leave(&self, at: CommitTs) {
        let mut active = self.active.lock();
        if let Some(count) = active.get_mut(&at) {
            *count -= 1;
            if *count == 0 {
                active.remove(&at);
            }
        }
    }

    /// The lowest timestamp that a running transaction reads at.
    pub fn oldest_view(&self) -> CommitTs {
        let active = self.active.lock();
        let oldest = active.keys().next().copied();
        oldest.unwrap_or_else(|| self.store.snapshot().ts)
    }

    /// The schema that a snapshot's rows have as of `at`.
    ///
    /// # Errors
    /// Damage of the catalog.
    pub(super) fn schema_at(&self, snapshot: &Snapshot, at: CommitTs) -> Result<Arc<Schema>> {
        let version = if at >= snapshot.catalog_ts {
            snapshot.catalog_ts
        } else {
            // The catalog changed since: its rows as of then.
            return Ok(Arc::new(load_schema_at(snapshot, at)?));
        };
        if let Some(schema) = self.schemas.lock().get(&version) {
            return Ok(schema.clone());
        }
        let schema = Arc::new(load_schema_at(snapshot, version)?);
        let mut schemas = self.schemas.lock();
        schemas.insert(version, schema.clone());
        while schemas.len() > SCHEMAS_CACHED {
            schemas.pop_first();
        }
        Ok(schema)
    }

    /// The newest schema.
    ///
    /// # Errors
    /// Damage of the catalog.
    pub fn schema(&self) -> Result<Arc<Schema>> {
        let snapshot = self.store.snapshot();
        self.schema_at(&snapshot, snapshot.ts)
    }

    /// The last committed reservation of a sequence.
    pub(crate) fn reservation(&self, sequence: u64) -> Result<Option<i64>> {
        let place = place(SEQUENCES, &sequence.to_be_bytes());
        let Some((_, row)) = self.store.snapshot().current(&place)? else {
            return Ok(None);
        };
        let bytes = row.try_into();
        let bytes = bytes.map_err(|_| Error::Damaged("a reservation has not 8 bytes".into()))?;
        Ok(Some(i64::from_le_bytes(bytes)))
    }
}

fn load_schema(snapshot: &Snapshot) -> Result<Schema> {
    load_schema_at(snapshot, snapshot.ts)
}

fn load_schema_at(snapshot: &Snapshot, at: CommitTs) -> Result<Schema> {
    let mut rows = Vec::new();
    let (from, to) = (place(CATALOG, &[]), place(StorageId(CATALOG.0 + 1), &[]));
    for row in snapshot.range(&from, &to, at, false)? {
        let (place, bytes) = row?;
        let key = split_place(&place).map(|(_, key)| key.to_vec());
        rows.push((key.unwrap_or_default(), bytes));
    }
    Ok(Schema::load(rows)?)
}
