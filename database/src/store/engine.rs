//! What the versions need of a storage engine: sorted trees, one writer, readers of one state each.

use super::Result;

/// The trees of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree {
    /// Versions that hold now.
    Current,
    /// Versions that have ended.
    History,
    /// Parts of transactions that are not resolved: transaction, part -> entry.
    Intents,
    /// What the store knows of itself.
    Meta,
}

impl Tree {
    /// All of them.
    pub const ALL: [Tree; 4] = [Tree::Current, Tree::History, Tree::Intents, Tree::Meta];
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Pairs of a range. It holds its state by itself.
pub type Rows = Box<dyn Iterator<Item = Result<Pair>> + Send>;

/// Trees with one writer and any number of readers.
pub trait Engine: Send + Sync {
    /// A reader of the last committed state.
    ///
    /// # Errors
    /// Faults of the engine.
    fn reader(&self) -> Result<std::sync::Arc<dyn EngineReader>>;
    /// Runs one write transaction: all of it or, after an error, nothing. It is on the medium when
    /// this returns only if `durable`.
    ///
    /// # Errors
    /// Those of `change` and of the engine.
    fn write(
        &self,
        durable: bool,
        change: &mut dyn FnMut(&mut dyn EngineWriter) -> Result<()>,
    ) -> Result<()>;
}

/// One state.
pub trait EngineReader: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// Faults of the engine.
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>>;
    /// Keys in `[from, to)`, in order or in reverse.
    ///
    /// # Errors
    /// Faults of the engine.
    fn range(&self, tree: Tree, bounds: (&[u8], &[u8]), reverse: bool) -> Result<Rows>;
}

/// An open write transaction, which sees its own changes.
pub trait EngineWriter {
    /// The value of a key.
    ///
    /// # Errors
    /// Faults of the engine.
    fn get(&mut self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>>;
    /// Sets a key and gives the value that it had.
    ///
    /// # Errors
    /// Faults of the engine.
    fn put(&mut self, tree: Tree, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>>;
    /// Removes a key and gives the value that it had.
    ///
    /// # Errors
    /// Faults of the engine.
    fn remove(&mut self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>>;
    /// At most `limit` pairs from `from` on, below `to`.
    ///
    /// # Errors
    /// Faults of the engine.
    fn some(&mut self, tree: Tree, bounds: (&[u8], &[u8]), limit: usize) -> Result<Vec<Pair>>;
}
