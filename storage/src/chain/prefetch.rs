//! Reading the coins that a block spends before the block is connected, several at a time.
//!
//! In a large set each coin lies on a page of its own that no cache holds. One reader would wait for
//! one page after the other; several wait together, and they do so while the body is synced, which
//! waits as well.
//!
//! Invariant: a hint. What is read only warms the caches; a coin that is not there, or an error, is
//! found again by whoever connects the block.

use super::base::Base;
use super::layer::{Found, Layer};
use cairn_protocol::transaction::OutPoint;
use std::sync::Arc;
use std::thread;

/// Readers at a time. They wait for the disk, so that more of them than cores help.
const READERS: usize = 4;

/// Fewer coins than this are read by the block itself: to start the readers costs as much.
const COINS_MIN: usize = 128;

/// Does `work` while the coins at `outpoints` are read.
pub(super) fn while_reading<T>(
    layers: &[Arc<Layer>],
    base: &Base,
    mut outpoints: Vec<OutPoint>,
    work: impl FnOnce() -> T,
) -> T {
    if outpoints.len() < COINS_MIN {
        return work();
    }
    // Neighbours share pages.
    outpoints.sort_unstable();
    thread::scope(|scope| {
        for part in outpoints.chunks(outpoints.len().div_ceil(READERS)) {
            // Without a thread the coins are read later.
            let _ = thread::Builder::new()
                .name("cairn-coins".to_owned())
                .spawn_scoped(scope, || read(layers, base, part));
        }
        work()
    })
}

fn read(layers: &[Arc<Layer>], base: &Base, outpoints: &[OutPoint]) {
    let is_in_memory = |outpoint: &OutPoint| {
        let mut found = layers.iter().map(|layer| layer.coin(outpoint, u32::MAX));
        found.any(|found| found != Found::Unknown)
    };
    for outpoint in outpoints {
        if !is_in_memory(outpoint) && base.coin(outpoint).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::coin_cache::CoinCache;
    use super::super::rows::coin_value;
    use super::*;
    use crate::error::{Result, StorageError};
    use crate::table::{Rows, Table, TableReader};
    use cairn_protocol::hash::{KeyHash, TxId};
    use cairn_protocol::ledger::Coin;
    use cairn_protocol::lock::Lock;
    use cairn_protocol::transaction::Output;
    use cairn_protocol::units::Amount;
    use std::ops::Bound;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn coin(value: u64) -> Coin {
        Coin {
            output: Output {
                value: Amount(value),
                lock: Lock::Key(KeyHash([1; 32])),
            },
            height: 1,
            is_coinbase: false,
        }
    }

    fn outpoints(count: u32) -> Vec<OutPoint> {
        let at = |index| OutPoint {
            txid: TxId([7; 32]),
            index,
        };
        (0..count).map(at).collect()
    }

    /// Rows that count how often they are read; the first reads wait for each other.
    struct Counted {
        reads: AtomicU64,
        together: Option<Barrier>,
        fails: bool,
    }

    impl TableReader for Counted {
        fn get(&self, _: Table, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
            let before = self.reads.fetch_add(1, Ordering::SeqCst);
            if let Some(barrier) = &self.together
                && before < READERS as u64
            {
                barrier.wait();
            }
            if self.fails {
                return Err(StorageError::SnapshotExpired);
            }
            visit(&coin_value(&coin(u64::from(key[35]) + 1)));
            Ok(true)
        }

        fn scan<'a>(
            &'a self,
            _: Table,
            _: Bound<&[u8]>,
            _: Bound<&[u8]>,
            _: bool,
        ) -> Result<Rows<'a>> {
            Ok(Box::new(std::iter::empty()))
        }
    }

    fn base(reader: &Arc<Counted>) -> Base {
        let reader: Arc<dyn TableReader> = reader.clone();
        Base::new(0, reader, Arc::new(CoinCache::new(1 << 20)))
    }

    /// The readers of the first coins wait until all of them are there: one alone would wait for ever.
    #[test]
    fn coins_are_read_together_and_once() {
        let reader = Arc::new(Counted {
            reads: AtomicU64::new(0),
            together: Some(Barrier::new(READERS)),
            fails: false,
        });
        let base = base(&reader);
        let wanted = outpoints(200);
        let answer = while_reading(&[], &base, wanted.clone(), || "synced");
        assert_eq!(answer, "synced");
        assert_eq!(reader.reads.load(Ordering::SeqCst), 200);
        for (outpoint, value) in wanted.iter().zip(1..) {
            assert_eq!(base.coin(outpoint).unwrap(), Some(coin(value)));
        }
        assert_eq!(reader.reads.load(Ordering::SeqCst), 200, "they are cached");
    }

    #[test]
    fn few_coins_and_failing_reads_are_left_to_the_block() {
        let reader = Arc::new(Counted {
            reads: AtomicU64::new(0),
            together: None,
            fails: true,
        });
        let base = base(&reader);
        assert_eq!(while_reading(&[], &base, outpoints(5), || 1), 1);
        assert_eq!(reader.reads.load(Ordering::SeqCst), 0);
        assert_eq!(while_reading(&[], &base, outpoints(200), || 2), 2);
        assert!(reader.reads.load(Ordering::SeqCst) <= READERS as u64);
        assert!(base.coin(&outpoints(1)[0]).is_err());
    }
}
