//! Opening a chain: the tables as flushed, then the log's records since, applied again.
//!
//! Invariant: replay gives the very state that was lost from memory. A connection is computed again
//! from block bytes and must give the undo data that the log holds; signatures are not checked again,
//! since the record says that they were.

use super::change::{Change, touches};
use super::options::StoreOptions;
use super::record::{self, Record};
use super::rows::{FLUSHED, Flushed, HeaderRow, META, TABLES, decode, own_work};
use super::store::{ChainStore, Parts};
use crate::disk::Disk;
use crate::error::{IoContext, Result, StorageError};
use crate::segment::{Frame, Position, SegmentLog};
use crate::table::{RedbOptions, RedbTables, Tables};
use cairn_protocol::hash::{BlockId, Wtxid};
use cairn_protocol::ledger::{
    BlockUndo, CheckedBlock, CoinChanges, ConnectError, connect_block, disconnect_block,
};
use cairn_protocol::pow::work_to_bytes;
use cairn_protocol::signature::{SignatureCheck, SignatureJob};
use cairn_protocol::spec::ChainParams;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// File of the tables inside a chain's directory. It can be removed: the log rebuilds it.
const TABLES_FILE: &str = "tables.redb";
/// Directory of the log inside a chain's directory.
const LOG_DIRECTORY: &str = "log";
/// Name of the log, in each of its records' digests.
const LOG_NAME: &str = "chain";

impl ChainStore {
    /// Opens or creates the chain of `params` in `directory`, which the caller has locked.
    ///
    /// # Errors
    /// `Damaged` naming the record, `Misuse` if the directory holds another chain, `Io`.
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: &Path,
        params: Arc<ChainParams>,
        options: StoreOptions,
    ) -> Result<Self> {
        disk.create_directory(directory)
            .at("create directory", directory)?;
        let path = directory.join(TABLES_FILE);
        let table_options = RedbOptions {
            cache_bytes: options.table_cache_bytes,
        };
        let tables = RedbTables::open(disk.as_ref(), &path, TABLES, table_options)?;
        let flushed = read_flushed(&tables)?;
        if let Some(flushed) = &flushed
            && flushed.chain_id != params.chain_id()
        {
            let holder = directory.display().to_string();
            return Err(other_chain(&holder, &flushed.chain_id, &params));
        }
        let is_new = flushed.is_none();
        let flushed = flushed.unwrap_or_else(|| Flushed {
            chain_id: params.chain_id(),
            position: Position::default().to_u64(),
            next_number: 0,
            floor: None,
            state: params.genesis_state().clone(),
        });
        let floor = Position::from_u64(flushed.position);
        let log_directory: PathBuf = directory.join(LOG_DIRECTORY);
        let (log, recovery) =
            SegmentLog::open(disk, log_directory, LOG_NAME, options.segments, floor)?;
        if recovery.cut_bytes > 0 {
            tracing::warn!(
                bytes = recovery.cut_bytes,
                "cut off a torn tail of the chain's log"
            );
        }
        let parts = Parts {
            params,
            options,
            log,
            tables: Arc::new(tables),
            flushed,
        };
        let mut store = ChainStore::from_parts(parts)?;
        if is_new {
            if recovery.first_segment > 0 {
                let what = "the tables are gone and the log's beginning has been pruned";
                return Err(StorageError::damaged(what));
            }
            store.begin_at_genesis();
        }
        let replayed = store.replay(floor)?;
        store.store_genesis_body()?;
        store.publish();
        if replayed > 0 {
            tracing::info!(
                records = replayed,
                height = store.state.height,
                "replayed the log"
            );
            store.flush()?;
        }
        Ok(store)
    }

    /// Removes the tables of a chain, so that the next opening rebuilds them from the log.
    pub fn drop_tables(disk: &dyn Disk, directory: &Path) -> Result<()> {
        let path = directory.join(TABLES_FILE);
        disk.remove(&path).at("remove", &path)?;
        disk.sync_directory(directory)
            .at("sync directory", directory)
    }

    fn begin_at_genesis(&mut self) {
        let params = self.params.clone();
        let genesis = params.genesis();
        let work = work_to_bytes(own_work(genesis.header.bits));
        self.apply_header(params.chain_id(), 0, &genesis.record(), work);
        let changes = CoinChanges {
            created: params.genesis_coins().to_vec(),
            removed: Vec::new(),
        };
        let undo = BlockUndo {
            spent: Vec::new(),
            engine: Default::default(),
        };
        let mut block = genesis.clone();
        // Funded accounts are outputs of genesis to every index, though its coinbase has none.
        let funded = params.genesis_coins().iter();
        block.coinbase.outputs = funded.map(|(_, coin)| coin.output.clone()).collect();
        let touches = touches(&block, &undo);
        let txids = vec![genesis.coinbase.id()];
        let place = (0, params.chain_id(), 0);
        self.layers[0].apply(Change::new(true, place, changes, txids, touches));
        self.folded = Position::default();
    }

    /// The log of a new chain begins with the bytes of genesis.
    fn store_genesis_body(&mut self) -> Result<()> {
        let params = self.params.clone();
        let (number, row) = self.known_header(&params.chain_id())?;
        if row.body.is_some() {
            return Ok(());
        }
        let bytes = params.genesis().to_bytes();
        let position = record::put_block(&mut self.log, &bytes)?;
        self.log.sync()?;
        self.apply_body(params.chain_id(), number, &row, position, bytes.len());
        Ok(())
    }

    fn replay(&mut self, from: Position) -> Result<u64> {
        let reader = self.log.reader();
        let mut replayed = 0;
        for frame in reader.frames(from.max(reader.start())) {
            let frame = frame?;
            self.replay_frame(&frame)
                .map_err(|error| self.name_frame(error, &frame))?;
            self.folded = frame.end();
            replayed += 1;
            self.flush_if_full()?;
        }
        Ok(replayed)
    }

    fn name_frame(&self, error: StorageError, frame: &Frame) -> StorageError {
        match error {
            StorageError::Damaged { what, advice } => {
                let place = self.log.reader().name(frame.position);
                StorageError::Damaged {
                    what: format!("{what} (replaying {place})"),
                    advice,
                }
            }
            other => other,
        }
    }

    fn replay_frame(&mut self, frame: &Frame) -> Result<()> {
        match Record::read(&self.log.reader(), frame)? {
            Record::Header(height, record) => {
                let id = record.header.id();
                if self.header_numbered(&id)?.is_none() {
                    let work = self.chain_work(&record)?;
                    self.apply_header(id, height, &record, work);
                }
            }
            Record::Block(block) => {
                let id = block.id();
                // The log of a chain begins with the bytes of its genesis.
                if block.extension.height == 0 && id != self.params.chain_id() {
                    return Err(other_chain(
                        &self.log.reader().name(frame.position),
                        &id,
                        &self.params,
                    ));
                }
                let (number, row) = self.known(&id)?;
                self.apply_body(id, number, &row, frame.position, frame.payload.len());
            }
            Record::Connect(id, undo) => self.replay_connection(&id, &undo, frame.position)?,
            Record::Disconnect(id) => self.replay_disconnection(&id)?,
            Record::Invalid(id, text) => {
                let (number, row) = self.known(&id)?;
                self.apply_invalid(id, number, &row, &text);
            }
            Record::Floor(id) => self.floor = Some(id),
        }
        Ok(())
    }

    /// In a log, a header that is not known is damage and not the caller's mistake.
    fn known(&self, id: &BlockId) -> Result<(u64, Arc<HeaderRow>)> {
        let missing = || StorageError::damaged(format!("no record of header {id}"));
        self.header_numbered(id)?.ok_or_else(missing)
    }

    fn replay_connection(
        &mut self,
        id: &BlockId,
        undo: &BlockUndo,
        position: Position,
    ) -> Result<()> {
        let (number, row) = self.known(id)?;
        let block = self.read_block(&row, id)?;
        let block = block
            .ok_or_else(|| StorageError::damaged(format!("no record of block {id}'s body")))?;
        let broken = |why: String| StorageError::damaged(format!("block {id}: {why}"));
        let block = CheckedBlock::new(block, self.params.limits());
        let block = block.map_err(|violation| broken(violation.to_string()))?;
        if block.block().header.parent != self.state.tip {
            return Err(broken(format!(
                "it does not follow the tip {}",
                self.state.tip
            )));
        }
        let params = self.params.clone();
        let connected = connect_block(&params, &self.state, &block, self, &mut Signed);
        let connected = connected.map_err(|error| match error {
            ConnectError::Invalid(violation) => broken(violation.to_string()),
            ConnectError::Fault(fault) => broken(fault.to_string()),
        })?;
        if connected.undo != *undo {
            return Err(broken(
                "its undo data is not what connecting it gives".to_owned(),
            ));
        }
        self.apply_connection(&block, number, &row, position, connected)
    }

    fn replay_disconnection(&mut self, id: &BlockId) -> Result<()> {
        let broken = |why: &str| StorageError::damaged(format!("block {id}: {why}"));
        if *id != self.state.tip {
            return Err(broken("it is taken off but is not the tip"));
        }
        let (number, row) = self.known(id)?;
        let block = self
            .read_block(&row, id)?
            .ok_or_else(|| broken("its body is missing"))?;
        let undo = self
            .read_undo(&row, id)?
            .ok_or_else(|| broken("its undo data is missing"))?;
        let disconnected = disconnect_block(&self.state, &block, &undo);
        let disconnected = disconnected.map_err(|fault| broken(&fault.to_string()))?;
        self.apply_disconnection(&block, (row.height, *id, number), &undo, disconnected);
        Ok(())
    }
}

fn other_chain(holder: &str, found: &BlockId, params: &ChainParams) -> StorageError {
    StorageError::Misuse(format!(
        "{holder} holds the chain of genesis {found}, not {} ({}); choose another --data-dir or --chain",
        params.chain_id(),
        params.name(),
    ))
}

fn read_flushed(tables: &dyn Tables) -> Result<Option<Flushed>> {
    let value = tables.reader()?.value(META, FLUSHED)?;
    value
        .map(|value| decode(&value, || "row flushed of table meta".to_owned()))
        .transpose()
}

/// Blocks of the log had their signatures checked before they were connected first.
pub(super) struct Signed;

impl SignatureCheck for Signed {
    fn is_known(&self, _wtxid: &Wtxid) -> bool {
        true
    }

    /// Known transactions give no job; those of evidence were checked with its block.
    fn verify(&mut self, _jobs: &[SignatureJob]) -> std::result::Result<(), usize> {
        Ok(())
    }

    fn remember(&mut self, _wtxid: Wtxid) {}
}
