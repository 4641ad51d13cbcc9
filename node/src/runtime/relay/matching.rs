//! Short ids of a compact block against the mempool.
//!
//! Invariant: two residents with one short id are both left out; the pool's lock is held for one
//! pass over its ids, most of which a table of 8 KiB turns away.
//! Rule: `spec/08-sync.md#compact-blocks`.

use cairn_consensus::mempool::Mempool;
use cairn_protocol::hash::BlockId;
use cairn_protocol::transaction::{Transaction, TransactionIds};
use cairn_protocol::wire::{CompactBlock, Reconstruction, ShortId, short_id, short_id_key};
use std::collections::BTreeMap;
use std::sync::Arc;

type Found = (Arc<Transaction>, TransactionIds);

/// Fills in what the mempool has.
pub(in crate::runtime) fn fill_from_mempool(
    pool: &Mempool,
    compact: CompactBlock,
) -> Reconstruction {
    let mut found = residents(pool, &compact.id(), &compact.short_ids);
    // A short id that stands twice in a block is found for its first place only; the other place is
    // missing and asked for by its index.
    compact.reconstruct(|short| found.remove(short).flatten())
}

fn residents(
    pool: &Mempool,
    block: &BlockId,
    wanted: &[ShortId],
) -> BTreeMap<ShortId, Option<Found>> {
    let key = short_id_key(block);
    let mut table = Table::new();
    wanted.iter().for_each(|id| table.insert(id));
    let mut sorted = wanted.to_vec();
    sorted.sort_unstable();
    let mut found: BTreeMap<ShortId, Option<Found>> = BTreeMap::new();
    for wtxid in pool.wtxids() {
        let short = short_id(key, wtxid);
        if table.may_hold(&short) && sorted.binary_search(&short).is_ok() {
            let resident = || {
                let entry = pool.get_by_wtxid(wtxid)?;
                Some((Arc::clone(&entry.transaction), entry.ids))
            };
            found
                .entry(short)
                .and_modify(|known| *known = None)
                .or_insert_with(resident);
        }
    }
    found
}

/// One bit for each value of the first two bytes of a short id.
struct Table(Box<[u64; 1024]>);

impl Table {
    fn new() -> Table {
        Table(Box::new([0; 1024]))
    }

    fn place(id: &ShortId) -> (usize, u64) {
        let low = usize::from(u16::from_le_bytes([id.0[0], id.0[1]]));
        (low / 64, 1 << (low % 64))
    }

    fn insert(&mut self, id: &ShortId) {
        let (word, bit) = Table::place(id);
        self.0[word] |= bit;
    }

    fn may_hold(&self, id: &ShortId) -> bool {
        let (word, bit) = Table::place(id);
        self.0[word] & bit != 0
    }
}
