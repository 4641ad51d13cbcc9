//! What a transaction has written: a stack of layers.
//!
//! ```text
//!   statement   the running statement's own writes, which it does not read
//!   savepoint   ...
//!   base        since BEGIN
//! ```
//! A statement that ends is folded into the layer below it; one that begins anew, or a savepoint rolled
//! back, drops layers.
//!
//! Invariant: layers below the running statement's do not change while it runs, so that a scan holds
//! them as they are.

use super::layer::{Layer, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes of writes in memory, per transaction; more go to a temporary file.
pub const WRITE_SET_MEMORY_BYTES: usize = 64 << 20;

/// The stack.
#[derive(Debug)]
pub struct WriteSet {
    layers: Vec<Arc<Layer>>,
    /// Where spilled writes go.
    directory: PathBuf,
    memory_bytes_max: usize,
}

impl WriteSet {
    /// Nothing written. `directory` takes temporary files.
    pub fn new(directory: PathBuf, memory_bytes_max: usize) -> Self {
        WriteSet {
            layers: vec![Arc::default()],
            directory,
            memory_bytes_max,
        }
    }

    /// Opens a layer and says how deep the stack was.
    pub fn push(&mut self) -> usize {
        self.layers.push(Arc::default());
        self.layers.len() - 1
    }

    /// Drops the layers above `depth`.
    pub fn truncate(&mut self, depth: usize) {
        self.layers.truncate(depth.max(1));
    }

    /// Folds the layers above `depth` into the one at its top.
    ///
    /// # Errors
    /// The temporary file cannot be read or written.
    pub fn fold(&mut self, depth: usize) -> std::io::Result<()> {
        while self.layers.len() > depth.max(1) {
            let upper = self.layers.pop().expect("the base stays");
            let below = self.layers.last_mut().expect("the base stays");
            if below.is_empty() {
                *below = upper;
            } else if !upper.is_empty() {
                let upper = Arc::try_unwrap(upper).unwrap_or_else(|shared| Layer::clone(&shared));
                Arc::make_mut(below).absorb(upper);
            }
        }
        self.spill()
    }

    /// Depth of the stack.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Writes into the top layer.
    ///
    /// # Errors
    /// The temporary file cannot be written.
    pub fn write(&mut self, place: Vec<u8>, write: Write) -> std::io::Result<()> {
        let top = Arc::make_mut(self.layers.last_mut().expect("the base stays"));
        top.write(place, write);
        if top.memory_bytes() > self.memory_bytes_max {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> std::io::Result<()> {
        let bytes: usize = self.layers.iter().map(|layer| layer.memory_bytes()).sum();
        if bytes <= self.memory_bytes_max {
            return Ok(());
        }
        let top = Arc::make_mut(self.layers.last_mut().expect("the base stays"));
        top.spill(&self.directory)
    }

    /// Says that a place was touched, whether or not it is written.
    pub fn touch(&mut self, place: Vec<u8>) {
        Arc::make_mut(self.layers.last_mut().expect("the base stays")).touch(place);
    }

    /// The layers a reader sees: all, or those below the running statement's.
    pub fn visible(&self, depth: usize) -> &[Arc<Layer>] {
        &self.layers[..depth.min(self.layers.len())]
    }

    /// The last write at a place in the lowest `depth` layers.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub fn get(&self, depth: usize, place: &[u8]) -> std::io::Result<Option<Write>> {
        for layer in self.visible(depth).iter().rev() {
            if let Some(write) = layer.get(place)? {
                return Ok(Some(write));
            }
        }
        Ok(None)
    }

    /// True if nothing was written.
    pub fn is_empty(&self) -> bool {
        self.layers.iter().all(|layer| layer.is_empty())
    }

    /// Everything in one layer.
    ///
    /// # Errors
    /// The temporary file cannot be read or written.
    pub fn finish(&mut self) -> std::io::Result<Arc<Layer>> {
        self.fold(1)?;
        Ok(std::mem::take(&mut self.layers[0]))
    }
}
