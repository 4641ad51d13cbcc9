//! The last block ids of gossip, and which short ids stand for each block that is known whole.
//!
//! Invariant: bounded; an id is either being judged by one task or known with its short ids, and one
//! that was given up or not judged is neither, so that it may come again.

use cairn_protocol::hash::{BlockId, sha256};
use cairn_protocol::wire::ShortId;
use std::collections::{BTreeMap, VecDeque};

/// Block ids remembered; older ones are known to the ledger.
const RECENT_BLOCKS_MAX: usize = 256;

/// A digest of short ids in block order: 32 bytes stand for up to 150 kB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct IdsDigest([u8; 32]);

impl IdsDigest {
    pub(super) fn of(ids: &[ShortId]) -> IdsDigest {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.0).collect();
        IdsDigest(sha256(&bytes))
    }
}

/// What is known of a block id that came by gossip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// Nothing: the caller judges it now.
    New,
    /// Somebody judges it.
    Judging,
    /// The block is here, and these are its short ids.
    Known(IdsDigest),
}

/// The last block ids, oldest first.
#[derive(Debug, Default)]
pub(super) struct RecentBlocks {
    order: VecDeque<BlockId>,
    ids: BTreeMap<BlockId, Option<IdsDigest>>,
}

impl RecentBlocks {
    /// What is known of the id; a new one is being judged afterwards.
    pub(super) fn see(&mut self, id: BlockId) -> Seen {
        match self.ids.get(&id) {
            Some(Some(digest)) => Seen::Known(*digest),
            Some(None) => Seen::Judging,
            None => {
                self.insert(id, None);
                Seen::New
            }
        }
    }

    /// The block is here whole.
    pub(super) fn known(&mut self, id: BlockId, digest: IdsDigest) {
        self.insert(id, Some(digest));
    }

    /// The id may come again.
    pub(super) fn forget(&mut self, id: &BlockId) {
        if self.ids.remove(id).is_some() {
            self.order.retain(|other| other != id);
        }
    }

    fn insert(&mut self, id: BlockId, digest: Option<IdsDigest>) {
        if self.ids.insert(id, digest).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > RECENT_BLOCKS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u16) -> BlockId {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&n.to_le_bytes());
        BlockId(bytes)
    }

    #[test]
    fn an_id_is_judged_once_and_the_list_is_bounded() {
        let mut recent = RecentBlocks::default();
        assert_eq!(recent.see(id(1)), Seen::New);
        assert_eq!(recent.see(id(1)), Seen::Judging);
        recent.forget(&id(1));
        assert_eq!(recent.see(id(1)), Seen::New);
        let digest = IdsDigest::of(&[ShortId([1; 6])]);
        recent.known(id(1), digest);
        assert_eq!(recent.see(id(1)), Seen::Known(digest));
        assert_ne!(digest, IdsDigest::of(&[ShortId([2; 6])]));
        for n in 2..2_000 {
            recent.see(id(n));
        }
        assert_eq!((recent.order.len(), recent.ids.len()), (256, 256));
        assert_eq!(recent.see(id(1)), Seen::New, "the oldest went");
    }
}
