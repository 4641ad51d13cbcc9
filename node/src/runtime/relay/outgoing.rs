//! Own transactions on their way out: gathered for a random moment, offered again until mined.
//!
//! Invariant: what is offered again is still in the mempool; a transaction's origin does not show
//! by its timing.

use super::Relay;
use crate::runtime::clock::monotonic_ms;
use cairn_network::relay::Batches;
use cairn_network::{PublishError, Topic};
use cairn_protocol::codec;
use cairn_protocol::transaction::Transaction;
use cairn_protocol::wire::TxBatch;
use std::collections::VecDeque;

/// Longest wait of an own transaction for its batch.
const DELAY_MS_MAX: u64 = 200;

/// Own transactions that are offered again until they are mined.
const OWN_MAX: usize = 1_000;

/// What waits, and what was sent.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    batches: Batches<Transaction>,
    own: VecDeque<Transaction>,
}

impl Relay {
    /// Queues a transaction of ours for gossip; `false` if no message can carry it.
    pub fn announce_transaction(&self, transaction: Transaction) -> bool {
        let mut outgoing = self.outgoing.lock();
        outgoing.own.push_back(transaction.clone());
        if outgoing.own.len() > OWN_MAX {
            outgoing.own.pop_front();
        }
        push(&mut outgoing.batches, transaction)
    }

    /// Publishes the batches whose moment has come.
    pub(super) async fn publish_due(&self) {
        loop {
            let batch = self.outgoing.lock().batches.take(monotonic_ms());
            let Some(batch) = batch.filter(|batch| !batch.is_empty()) else {
                return;
            };
            let bytes = codec::encode(&TxBatch(batch));
            match self.network.publish(Topic::Transactions, bytes).await {
                Ok(()) | Err(PublishError::Duplicate | PublishError::NoPeers) => {}
                Err(error) => tracing::debug!(%error, "cannot publish transactions now"),
            }
        }
    }

    /// Queues every own transaction again that still waits for a block.
    pub(super) fn offer_again(&self) {
        let pool = self.ledger.mempool().read();
        let mut outgoing = self.outgoing.lock();
        outgoing
            .own
            .retain(|transaction| pool.get(&transaction.txid()).is_some());
        for transaction in outgoing.own.clone() {
            push(&mut outgoing.batches, transaction);
        }
    }
}

fn push(batches: &mut Batches<Transaction>, transaction: Transaction) -> bool {
    let bytes = codec::encode(&transaction).len();
    batches.push(
        monotonic_ms(),
        transaction,
        bytes,
        rand::random_range(1..=DELAY_MS_MAX),
    )
}
