//! Messages that wait for the disk.
//!
//! Invariant: a draft leaves only after a record of its rank or a higher one is durable, in the
//! order in which the core made it.
//! Rules: `spec/09-bft.md#durability`.

use cairn_protocol::bft::Draft;
use std::collections::VecDeque;

/// The queue between the core's `Send` effects and the signer. One per instance.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Outbox {
    durable: u64,
    waiting: VecDeque<(u64, Draft)>,
}

impl Outbox {
    /// An empty queue, with everything up to this rank on disk: 0, or the rank of the record that
    /// the core was started from.
    pub fn new(durable: u64) -> Outbox {
        Outbox {
            durable,
            waiting: VecDeque::new(),
        }
    }

    /// Takes a `Send` effect; answers what may leave now.
    #[must_use = "these messages may leave now"]
    pub fn push(&mut self, after: u64, draft: Draft) -> Vec<Draft> {
        self.waiting.push_back((after, draft));
        self.release()
    }

    /// A record of rank `seq` is on disk; answers what may leave now.
    #[must_use = "these messages may leave now"]
    pub fn durable(&mut self, seq: u64) -> Vec<Draft> {
        self.durable = self.durable.max(seq);
        self.release()
    }

    /// A write failed: nothing that waits may ever leave.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn release(&mut self) -> Vec<Draft> {
        // Ranks rise along the queue, so the first one that must wait holds all behind it.
        let ready = |(after, _): &(u64, Draft)| *after <= self.durable;
        let count = self.waiting.iter().take_while(|sent| ready(sent)).count();
        self.waiting
            .drain(..count)
            .map(|(_, draft)| draft)
            .collect()
    }
}
