//! Transactions leave in batches: one message for up to 64 of them.
//!
//! Invariant: nothing waits longer than the delay that was drawn for the batch's first item, and no
//! batch exceeds the topic's cap or [`BATCH_ITEMS_MAX`]. The random delay also hides which node
//! heard of a transaction first.

use std::collections::VecDeque;

use crate::limits::TX_BATCH_BYTES_MAX;

/// Transactions of one message.
pub const BATCH_ITEMS_MAX: usize = cairn_protocol::limits::TX_BATCH_MAX;
/// Bytes that the encoding of a batch adds to its items: the count.
const OVERHEAD_BYTES: usize = 8;
/// Items that wait at most; over it the oldest are dropped, as the next node asks for them anyway.
const WAITING_MAX: usize = 16 * BATCH_ITEMS_MAX;

/// Items that wait for their message.
#[derive(Clone, Debug)]
pub struct Batches<T> {
    waiting: VecDeque<(T, usize)>,
    bytes: usize,
    due_ms: Option<u64>,
    dropped: u64,
}

impl<T> Default for Batches<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
            due_ms: None,
            dropped: 0,
        }
    }
}

impl<T> Batches<T> {
    /// Adds an item of `bytes` encoded bytes. `delay_ms` is drawn at random by the caller and
    /// counts if nothing waits yet. `false`: the item fits no message.
    pub fn push(&mut self, now_ms: u64, item: T, bytes: usize, delay_ms: u64) -> bool {
        if bytes + OVERHEAD_BYTES > TX_BATCH_BYTES_MAX {
            return false;
        }
        self.due_ms.get_or_insert(now_ms + delay_ms);
        self.waiting.push_back((item, bytes));
        self.bytes += bytes;
        if self.waiting.len() > WAITING_MAX
            && let Some((_, bytes)) = self.waiting.pop_front()
        {
            self.bytes -= bytes;
            self.dropped += 1;
        }
        true
    }

    /// The next batch, if one is due or full. Call it until it gives nothing.
    pub fn take(&mut self, now_ms: u64) -> Option<Vec<T>> {
        let is_full = self.waiting.len() >= BATCH_ITEMS_MAX
            || self.bytes + OVERHEAD_BYTES > TX_BATCH_BYTES_MAX;
        let is_due = self.due_ms.is_some_and(|due_ms| due_ms <= now_ms);
        if !is_full && !is_due {
            return None;
        }
        let (mut batch, mut bytes) = (Vec::new(), OVERHEAD_BYTES);
        while let Some((_, next)) = self.waiting.front() {
            let fits = batch.len() < BATCH_ITEMS_MAX && bytes + next <= TX_BATCH_BYTES_MAX;
            if !fits {
                break;
            }
            if let Some((item, item_bytes)) = self.waiting.pop_front() {
                bytes += item_bytes;
                self.bytes -= item_bytes;
                batch.push(item);
            }
        }
        if self.waiting.is_empty() {
            self.due_ms = None;
        }
        Some(batch)
    }

    /// When [`Batches::take`] is due at the latest.
    pub fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// Items dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_leaves_when_due_or_full() {
        let mut batches = Batches::default();
        assert!(batches.push(100, 1, 200, 50));
        assert!(batches.push(140, 2, 200, 500));
        assert_eq!(batches.take(149), None);
        assert_eq!(batches.due_ms(), Some(150));
        assert_eq!(batches.take(150), Some(vec![1, 2]));
        assert_eq!((batches.take(9_999), batches.due_ms()), (None, None));

        for item in 0..BATCH_ITEMS_MAX {
            assert_eq!(batches.take(200), None);
            batches.push(200, item, 200, 50);
        }
        assert_eq!(
            batches.take(200).map(|batch| batch.len()),
            Some(BATCH_ITEMS_MAX)
        );
    }

    #[test]
    fn no_batch_exceeds_the_cap_and_nothing_is_lost() {
        let mut batches = Batches::default();
        for item in 0..10 {
            assert!(batches.push(0, item, 50_000, 0));
        }
        let mut seen = Vec::new();
        while let Some(batch) = batches.take(0) {
            assert!(batch.len() <= 2, "two of 50 kB fit 128 KiB");
            seen.extend(batch);
        }
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        assert!(!batches.push(0, 0, TX_BATCH_BYTES_MAX, 0));
    }

    #[test]
    fn waiting_items_are_bounded() {
        let mut batches = Batches::default();
        for item in 0..2 * WAITING_MAX {
            batches.push(0, item, 100, 1_000);
        }
        assert_eq!(batches.dropped(), WAITING_MAX as u64);
        assert_eq!(
            batches.take(0).and_then(|batch| batch.first().copied()),
            Some(WAITING_MAX)
        );
    }
}
