//! The tasks that live as long as the node: one that ends takes the node with it.
//!
//! Invariant: none of these tasks ends by itself while the node runs, so that the first that does is
//! a fault of ours, with its name and what it said; a node without its sync or its swarm would answer
//! and promise, and be a ghost.

use super::error::NodeError;
use super::ledger::panic_text;
use cairn_protocol::ledger::Fault;
use std::collections::HashMap;
use std::future::Future;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};

/// The tasks.
#[derive(Debug, Default)]
pub struct Tasks {
    running: JoinSet<String>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// Starts a task. What it returns says why it could not go on.
    pub fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = String> + Send + 'static,
    ) {
        let handle = self.running.spawn(task);
        self.names.insert(handle.id(), name);
    }

    /// Returns when a task ended, or the ledger thread did.
    pub async fn first_end(&mut self, ledger: &mut mpsc::Receiver<Fault>) -> NodeError {
        tokio::select! {
            // The ledger first: other parts end because it did.
            biased;
            fault = ledger.recv() => {
                let fault = fault.unwrap_or_else(|| Fault("the ledger thread ended".to_owned()));
                NodeError::Fault(fault)
            }
            Some(ended) = self.running.join_next_with_id() => self.ended(ended),
        }
    }

    fn ended(&self, ended: Result<(Id, String), tokio::task::JoinError>) -> NodeError {
        let (id, why) = match ended {
            Ok((id, why)) => (id, why),
            Err(error) => {
                let id = error.id();
                let why = match error.try_into_panic() {
                    Ok(panic) => format!("it panicked: {}", panic_text(&*panic)),
                    Err(error) => error.to_string(),
                };
                (id, why)
            }
        };
        let part = self.names.get(&id).copied().unwrap_or("unknown");
        NodeError::Part { part, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn end_of(task: impl Future<Output = String> + Send + 'static) -> String {
        let (_open, mut ledger) = mpsc::channel(1);
        let mut tasks = Tasks::default();
        tasks.spawn("sync", std::future::pending());
        tasks.spawn("network", task);
        tasks.first_end(&mut ledger).await.to_string()
    }

    #[tokio::test]
    async fn a_task_that_ends_is_named_with_its_cause() {
        let ended = end_of(async { "the swarm has stopped".to_owned() }).await;
        assert_eq!(ended, "the network task ended: the swarm has stopped");
        let ended = end_of(async { panic!("index 7 of 3") }).await;
        assert_eq!(ended, "the network task ended: it panicked: index 7 of 3");
    }

    #[tokio::test]
    async fn the_ledger_thread_comes_first() {
        let (sender, mut ledger) = mpsc::channel(1);
        let mut tasks = Tasks::default();
        tasks.spawn("sync", async { "the ledger has stopped".to_owned() });
        sender
            .send(Fault("sync: no space".to_owned()))
            .await
            .unwrap();
        let ended = tasks.first_end(&mut ledger).await;
        assert_eq!(ended.to_string(), "sync: no space");
        drop(sender);
        let (_, mut ledger) = mpsc::channel(1);
        let ended = Tasks::default().first_end(&mut ledger).await;
        assert_eq!(ended.to_string(), "the ledger thread ended");
    }
}
