//! What every handler shares, and the one way into the node.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use super::access::Access;
use super::backend::{Answer, Backend, ChainView};
use super::events::EventHub;
use super::limits::Limits;
use super::problem::Problem;
use crate::metrics::Metrics;

/// The state behind all handlers.
pub struct Api {
    /// The node.
    pub backend: Arc<dyn Backend>,
    /// News of the chain and the mempool.
    pub events: Arc<EventHub>,
    /// The node's numbers.
    pub metrics: Arc<Metrics>,
    /// Who may ask for what.
    pub access: Access,
    /// How much and how slowly.
    pub limits: Limits,
    /// Room for calls into the node.
    calls: Arc<Semaphore>,
    /// Room for WebSockets.
    pub websockets: Arc<Semaphore>,
    /// Room for long polls.
    pub long_polls: Arc<Semaphore>,
    /// Turns true when the server stops.
    pub stopping: watch::Receiver<bool>,
}

impl Api {
    /// Puts the parts together.
    pub fn new(
        backend: Arc<dyn Backend>,
        events: Arc<EventHub>,
        metrics: Arc<Metrics>,
        access: Access,
        limits: Limits,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self {
            backend,
            events,
            metrics,
            access,
            calls: Arc::new(Semaphore::new(limits.calls_max)),
            websockets: Arc::new(Semaphore::new(limits.websockets_max)),
            long_polls: Arc::new(Semaphore::new(limits.long_polls_max)),
            limits,
            stopping,
        }
    }

    /// Runs a call into the node on a blocking thread, when there is room.
    ///
    /// # Errors
    /// What the call answers; a panic inside it is our fault and ends this request only.
    pub async fn call<T, F>(&self, call: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Backend) -> Result<T, Problem> + Send + 'static,
    {
        let room = Arc::clone(&self.calls)
            .acquire_owned()
            .await
            .map_err(|_| Problem::busy("the node is stopping"))?;
        let backend = Arc::clone(&self.backend);
        let answer = tokio::task::spawn_blocking(move || {
            // The room is given back when the call ends, also when nobody waits for it any more.
            let _room = room;
            call(&*backend)
        });
        answer
            .await
            .unwrap_or_else(|_| Err(Problem::fault("the request failed inside the node")))
    }

    /// Reads from the chain as of one tip.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub async fn read<T, F>(&self, read: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce(&dyn ChainView) -> Answer<T> + Send + 'static,
    {
        self.call(move |backend| Ok(read(&*backend.chain()?)?))
            .await
    }
}
