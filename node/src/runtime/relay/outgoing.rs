//! Transactions on their way out that no gossip message brought: own ones, and those that waited for
//! their parents. Gathered for a random moment; own ones are offered again until mined.
//!
//! Invariant: what is offered again is still in the mempool; a transaction's origin does not show
//! by its timing.

use super::Relay;
use crate::runtime::clock::monotonic_ms;
use cairn_network::relay::Batches;
use cairn_network::{PublishError, Topic};
use cairn_protocol::codec;
use cairn_protocol::hash::TxId;
use cairn_protocol::transaction::Transaction;
use cairn_protocol::wire::TxBatch;
use std::collections::VecDeque;

/// Longest wait of an own transaction for its batch.
const DELAY_MS_MAX: u64 = 200;

/// Own transactions that are offered again until they are mined.
const OWN_MAX: usize = 1_000;

/// Parents that go with a transaction which waited for them.
const PARENTS_MAX: usize = 8;

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

    /// Queues a transaction of others that entered the mempool after its own message was judged. It
    /// goes with its parents, or with another resident where they are confirmed: gossip knows a
    /// message by its content and would take a batch of it alone for the one that came.
    pub fn pass_on(&self, txid: &TxId) {
        let together: Vec<Transaction> = {
            let pool = self.ledger.mempool().read();
            let Some(entry) = pool.get(txid) else {
                return;
            };
            let mut before: Vec<_> = pool.parents(entry).take(PARENTS_MAX).collect();
            if before.is_empty() {
                before.extend(pool.by_fee_rate().find(|other| other.txid() != *txid));
            }
            let all = before.into_iter().chain([entry]);
            all.map(|entry| Transaction::clone(&entry.transaction))
                .collect()
        };
        let mut outgoing = self.outgoing.lock();
        for transaction in together {
            push(&mut outgoing.batches, transaction);
        }
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
