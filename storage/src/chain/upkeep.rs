//! Upkeep of the store: flushing layers to the tables, releasing old readers, pruning the log.
//!
//! Time is an input. Invariant: at most one flush runs; a flush stores layer, state and log position as
//! of one moment, after the log was synced up to it.

use super::base::Base;
use super::flush::{FlushJob, cache_changes};
use super::layer::Layer;
use super::rows::Flushed;
use super::store::ChainStore;
use crate::error::{Result, StorageError};
use crate::segment::Position;
use crate::table::TableReader;
use cairn_protocol::state::LedgerState;
use cairn_protocol::units::Height;
use std::sync::Arc;
use std::time::Duration;

impl ChainStore {
    /// Begins a flush if there is enough; waits for a running one if there is too much.
    pub(super) fn flush_if_full(&mut self) -> Result<()> {
        let (coins, bytes) = self.layers[0].size();
        let full = |times: usize| {
            coins >= times * self.options.dirty_coins_max
                || bytes >= times * self.options.dirty_bytes_max
        };
        if !full(1) {
            return Ok(());
        }
        let too_full = full(2);
        self.collect_flush(too_full)?;
        if self.in_flight.is_none() {
            self.begin_flush()
        } else {
            Ok(())
        }
    }

    /// Drops bodies and undo data of blocks below `keep_from`, as far as whole segments of the log
    /// hold nothing newer, and returns how many segments went. Reading such a block then answers
    /// `Pruned`; the node can no longer serve, verify or export them, nor take the chain back there.
    ///
    /// # Errors
    /// `Misuse` if the tip's own block would go.
    pub fn prune(&mut self, keep_from: Height) -> Result<u32> {
        if keep_from > self.state.height {
            let text = format!(
                "cannot prune up to {keep_from}: the tip is {}",
                self.state.height
            );
            return Err(StorageError::Misuse(text));
        }
        // Records behind the flushed place are needed for a replay.
        self.flush()?;
        let mut oldest = self.folded;
        self.visit_headers(|_, row| {
            if row.height >= keep_from {
                let places = [row.body_position(), row.undo_position()];
                oldest = places.into_iter().flatten().fold(oldest, Position::min);
            }
        })?;
        let result = self.log.prune_before(oldest.segment);
        self.stop_on_failure(result)
    }

    /// To be called every few seconds with a monotonic time: flushes what is old enough, finishes a
    /// flush that ran beside, takes readers from snapshots that are too old.
    pub fn maintain(&mut self, now: Duration) -> Result<()> {
        self.now = now;
        self.retired.retain(|(since, base)| match base.upgrade() {
            Some(base) if now.saturating_sub(*since) >= self.options.snapshot_age_max => {
                base.expire();
                false
            }
            base => base.is_some(),
        });
        self.check_running()?;
        self.collect_flush(false)?;
        if self.layers[0].is_empty() {
            self.dirty_since = None;
            return Ok(());
        }
        let since = *self.dirty_since.get_or_insert(now);
        let due = now.saturating_sub(since) >= self.options.flush_interval;
        if due && self.in_flight.is_none() {
            self.begin_flush()
        } else {
            Ok(())
        }
    }

    /// Writes everything to the tables and waits for it. A clean stop calls this.
    pub fn flush(&mut self) -> Result<()> {
        self.check_running()?;
        self.collect_flush(true)?;
        if self.layers[0].is_empty() && self.folded == self.flushed {
            return self.sync();
        }
        self.begin_flush()?;
        self.collect_flush(true)
    }

    fn begin_flush(&mut self) -> Result<()> {
        let result = self.freeze();
        let job = self.stop_on_failure(result)?;
        if self.options.background_flush {
            let thread = std::thread::Builder::new().name("chain-flush".to_owned());
            let spawned = thread.spawn(move || job.run());
            let spawned = spawned.map_err(|error| StorageError::Table {
                doing: "start a flush",
                cause: error.to_string(),
            });
            self.in_flight = Some(self.stop_on_failure(spawned)?);
            return Ok(());
        }
        let result = job.run();
        let reader = self.stop_on_failure(result)?;
        self.finish_flush(reader);
        Ok(())
    }

    /// The log is synced first: no row is ever newer than the record that caused it.
    fn freeze(&mut self) -> Result<FlushJob> {
        assert_eq!(self.layers.len(), 1, "one flush at a time");
        self.log.sync()?;
        let layer = self.layers[0].clone();
        self.layers.insert(0, Arc::new(Layer::default()));
        self.dirty_since = None;
        self.flushed = self.folded;
        self.publish();
        let flushed = Flushed {
            chain_id: self.params.chain_id(),
            position: self.folded.to_u64(),
            next_number: self.next_number,
            floor: self.floor,
            state: LedgerState::clone(&self.state),
        };
        Ok(FlushJob {
            layer,
            tables: self.tables.clone(),
            flushed,
        })
    }

    fn collect_flush(&mut self, wait: bool) -> Result<()> {
        let Some(thread) = self.in_flight.take() else {
            return Ok(());
        };
        if !wait && !thread.is_finished() {
            self.in_flight = Some(thread);
            return Ok(());
        }
        let result = thread.join().unwrap_or_else(|_| {
            Err(StorageError::Table {
                doing: "flush",
                cause: "the flush panicked".to_owned(),
            })
        });
        let reader = self.stop_on_failure(result)?;
        self.finish_flush(reader);
        Ok(())
    }

    fn finish_flush(&mut self, reader: Arc<dyn TableReader>) {
        let layer = self
            .layers
            .pop()
            .expect("the frozen layer is there until its flush ends");
        let generation = self.base.generation() + 1;
        let cache = self.base.cache().clone();
        {
            let inner = layer.inner();
            let (gone, appeared) = cache_changes(&inner);
            cache.advance(generation, gone.iter(), appeared.into_iter());
        }
        let before = std::mem::replace(
            &mut self.base,
            Arc::new(Base::new(generation, reader, cache)),
        );
        self.retired.push((self.now, Arc::downgrade(&before)));
        self.flushes += 1;
        self.publish();
    }
}
