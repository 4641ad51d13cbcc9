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

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_protocol::bft::{Body, Scope};
    use cairn_protocol::hash::{BlockId, Hash};

    fn draft(round: u32) -> Draft {
        Draft {
            scope: Scope {
                chain_id: BlockId::ZERO,
                ruleset_id: Hash::ZERO,
                instance: 1,
            },
            signer: 0,
            body: Body::Commit {
                round,
                id: BlockId([1; 32]),
            },
        }
    }

    #[test]
    fn nothing_leaves_before_its_record() {
        let mut outbox = Outbox::new(4);
        assert_eq!(outbox.push(4, draft(0)), [draft(0)], "on disk already");
        assert_eq!(outbox.push(5, draft(1)), []);
        assert_eq!(outbox.push(7, draft(2)), []);
        assert_eq!(outbox.durable(4), []);
        assert_eq!(outbox.durable(6), [draft(1)]);
        assert_eq!(outbox.durable(2), [], "the disk does not forget");
        assert_eq!(outbox.len(), 1);
        outbox.clear();
        assert_eq!(outbox.durable(u64::MAX), []);
        assert!(outbox.is_empty());
    }

    #[test]
    fn the_order_is_kept_and_a_later_record_covers_earlier_ones() {
        let mut outbox = Outbox::new(0);
        for (after, round) in [(1, 1), (2, 2), (3, 3)] {
            assert_eq!(outbox.push(after, draft(round)), []);
        }
        assert_eq!(outbox.durable(3), [draft(1), draft(2), draft(3)]);
    }
}
