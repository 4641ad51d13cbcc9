//! One step of the tip: what connecting or taking off a block does to coins and indexes.
//!
//! Invariant: `created` and `removed` have no outpoint in common; taking a block off is the same step
//! with the lists exchanged.

use cairn_protocol::block::Block;
use cairn_protocol::hash::{BlockId, KeyHash, TxId};
use cairn_protocol::ledger::{BlockUndo, Coin, CoinChanges};
use cairn_protocol::lock::{Lock, LockRef};
use cairn_protocol::transaction::OutPoint;
use cairn_protocol::units::Height;

/// A step of the tip.
#[derive(Debug)]
pub(super) struct Change {
    /// True if the block was connected, false if it was taken off.
    pub connect: bool,
    /// Height of the block.
    pub height: Height,
    /// The block.
    pub id: BlockId,
    /// Its header's number.
    pub number: u64,
    /// Coins that appear.
    pub created: Vec<(OutPoint, Coin)>,
    /// Coins that go.
    pub removed: Vec<(OutPoint, Coin)>,
    /// Ids of coinbase (0) and transactions (from 1).
    pub txids: Vec<TxId>,
    /// Which of them touches which key hash; no pair twice.
    pub touches: Vec<(u32, KeyHash)>,
}

impl Change {
    /// The step of a block whose ids are known: coinbase first.
    pub fn new(
        connect: bool,
        (height, id, number): (Height, BlockId, u64),
        changes: CoinChanges,
        txids: Vec<TxId>,
        touches: Vec<(u32, KeyHash)>,
    ) -> Self {
        let CoinChanges { created, removed } = changes;
        Change {
            connect,
            height,
            id,
            number,
            created,
            removed,
            txids,
            touches,
        }
    }

    /// Memory that the change and its entries in a layer take, estimated in bytes.
    pub fn bytes(&self) -> usize {
        // A list entry of (outpoint, coin) and its cell in the coin map with the map's slack.
        const COIN: usize = std::mem::size_of::<(OutPoint, Coin)>() + 110;
        // An id or a touch, and its entry in the index.
        const ID: usize = 32 + 80;
        const TOUCH: usize = 36 + 90;
        (self.created.len() + self.removed.len()) * (COIN + TOUCH)
            + self.txids.len() * ID
            + self.touches.len() * TOUCH
    }
}

/// Calls `visit` with each key hash that a lock names and whether that key alone opens it.
pub(super) fn owners(lock: &Lock, mut visit: impl FnMut(KeyHash, bool)) {
    if let LockRef::Key(hash) = lock.open().1 {
        return visit(*hash, true);
    }
    for hash in lock.key_hashes() {
        visit(hash, false);
    }
}

/// Which transactions of a block touch which key hashes, by the coins they spend and create.
pub(super) fn touches(block: &Block, undo: &BlockUndo) -> Vec<(u32, KeyHash)> {
    let mut touches = Touches {
        all: Vec::with_capacity(block.transactions.len() * 3 + 1),
        first: 0,
        transaction: 0,
    };
    for output in &block.coinbase.outputs {
        touches.add(&output.lock);
    }
    touches.next();
    let mut spent = undo.spent.iter();
    for tx in &block.transactions {
        for coin in spent.by_ref().take(tx.inputs.len()) {
            touches.add(&coin.output.lock);
        }
        for output in &tx.outputs {
            touches.add(&output.lock);
        }
        touches.next();
    }
    touches.all
}

/// Up to this many key hashes of one transaction are compared one by one.
const FEW: usize = 16;

struct Touches {
    all: Vec<(u32, KeyHash)>,
    /// Where those of the present transaction begin.
    first: usize,
    transaction: u32,
}

impl Touches {
    fn add(&mut self, lock: &Lock) {
        owners(lock, |hash, _| {
            let seen = &self.all[self.first..];
            if seen.len() > FEW || !seen.iter().any(|(_, other)| *other == hash) {
                self.all.push((self.transaction, hash));
            }
        });
    }

    fn next(&mut self) {
        if self.all.len() - self.first > FEW {
            let mut many = self.all.split_off(self.first);
            many.sort_unstable();
            many.dedup();
            self.all.append(&mut many);
        }
        self.first = self.all.len();
        self.transaction += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_protocol::lock::{After, At, HashLock, InnerLock, Threshold};
    use cairn_protocol::signature::PublicKey;

    fn list(lock: &Lock) -> Vec<(KeyHash, bool)> {
        let mut list = Vec::new();
        owners(lock, |hash, alone| list.push((hash, alone)));
        list
    }

    fn hash_lock(claim: u8, refund: u8) -> HashLock {
        let (claim, refund) = (KeyHash([claim; 32]), KeyHash([refund; 32]));
        HashLock {
            digest: [9; 32],
            claim,
            refund,
            refund_at: At::Height(5),
        }
    }

    #[test]
    fn only_a_key_lock_is_opened_alone_also_behind_a_time() {
        let key = KeyHash([1; 32]);
        assert_eq!(list(&Lock::Key(key)), [(key, true)]);
        let after = After {
            at: At::Height(9),
            lock: InnerLock::Key(key),
        };
        assert_eq!(list(&Lock::After(Box::new(after))), [(key, true)]);
        let both = list(&Lock::HashLock(Box::new(hash_lock(1, 2))));
        assert_eq!(both, [(KeyHash([1; 32]), false), (KeyHash([2; 32]), false)]);
        let one = list(&Lock::HashLock(Box::new(hash_lock(3, 3))));
        assert_eq!(one, [(KeyHash([3; 32]), false)]);
        let keys = vec![PublicKey([1; 32]), PublicKey([2; 32]), PublicKey([3; 32])];
        let threshold = list(&Lock::Threshold(Box::new(Threshold { m: 2, keys })));
        assert_eq!(threshold.len(), 3);
        assert!(threshold.iter().all(|(_, alone)| !alone));
        assert_eq!(list(&Lock::Data(Default::default())), []);
    }

    #[test]
    fn a_transaction_touches_each_key_once_however_many_outputs_it_has() {
        let mut touches = Touches {
            all: Vec::new(),
            first: 0,
            transaction: 0,
        };
        for transaction in 0..2 {
            for n in 0..60u8 {
                touches.add(&Lock::Key(KeyHash([n % 25; 32])));
            }
            touches.next();
            let mine = touches
                .all
                .iter()
                .filter(|(number, _)| *number == transaction);
            assert_eq!(mine.count(), 25);
        }
    }
}
