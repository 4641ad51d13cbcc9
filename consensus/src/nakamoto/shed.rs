//! Forgetting: how the header tree stays bounded when strangers send side branches.
//!
//! Kept always: the best header chain, every entry whose body is stored, and their ancestors. Of
//! the rest the branches with most work stay, up to half the bound, and the newest invalid blocks
//! whose parent is good.
//!
//! Invariant: what is kept is closed under parents, and parents stay before children.

use std::cmp::Reverse;

use super::tree::{HeaderTree, Index, Status};
use crate::limits::INVALID_IDS_MAX;

/// Where the entries of a tree went when some were forgotten.
#[derive(Clone, Debug)]
pub struct Remap(Vec<Option<Index>>);

impl Remap {
    /// The new place of an entry; `None` if it was forgotten.
    #[must_use]
    pub fn get(&self, old: Index) -> Option<Index> {
        self.0.get(old.0 as usize).copied().flatten()
    }
}

/// Entries chosen to stay.
struct Keep(Vec<bool>);

impl Keep {
    /// Keeps an entry and its ancestors; returns how many were not kept before.
    fn branch(&mut self, tree: &HeaderTree, index: Index) -> usize {
        let (mut at, mut added) = (Some(index), 0);
        while let Some(index) = at {
            if std::mem::replace(&mut self.0[index.0 as usize], true) {
                break;
            }
            added += 1;
            at = tree.parent(index);
        }
        added
    }
}

impl HeaderTree {
    /// Forgets side branches if more than `side_max` entries are neither on the best header chain
    /// nor have a body. All indexes handed out before are void then, and lead to the new ones
    /// through the result.
    pub fn shed(&mut self, side_max: usize) -> Option<Remap> {
        let best_height =
            usize::try_from(self.entry(self.best_header()).height).unwrap_or(usize::MAX);
        // Cheap first: entries that are certainly on the best header chain or have a body are not
        // counted one by one.
        if self.len() <= best_height.saturating_add(side_max) {
            return None;
        }
        let mut keep = Keep(vec![false; self.len()]);
        keep.branch(self, self.best_header());
        for index in self.indexes() {
            if matches!(self.entry(index).status, Status::Stored | Status::Connected) {
                keep.branch(self, index);
            }
        }
        let spare: Vec<Index> = self
            .indexes()
            .filter(|index| !keep.0[index.0 as usize])
            .collect();
        if spare.len() <= side_max {
            return None;
        }
        self.keep_strongest(&mut keep, &spare, side_max / 2);
        self.keep_invalid_roots(&mut keep, &spare);
        Some(self.rebuild(&keep))
    }

    fn indexes(&self) -> impl Iterator<Item = Index> + use<> {
        (0..self.len() as u32).map(Index)
    }

    fn keep_strongest(&self, keep: &mut Keep, spare: &[Index], budget: usize) {
        let mut living: Vec<Index> = spare
            .iter()
            .copied()
            .filter(|&index| self.entry(index).status == Status::HeaderOnly)
            .collect();
        living.sort_by_key(|&index| (Reverse(self.entry(index).score), index));
        let mut kept = 0;
        for index in living {
            if kept >= budget {
                break;
            }
            kept += keep.branch(self, index);
        }
    }

    fn keep_invalid_roots(&self, keep: &mut Keep, spare: &[Index]) {
        let is_root = |index: Index| {
            let parent = self.parent(index).expect("genesis is never spare");
            self.entry(index).status == Status::Invalid && keep.0[parent.0 as usize]
        };
        let roots: Vec<Index> = spare
            .iter()
            .rev()
            .copied()
            .filter(|&index| is_root(index))
            .take(INVALID_IDS_MAX)
            .collect();
        for index in roots {
            keep.0[index.0 as usize] = true;
        }
    }

    fn rebuild(&mut self, keep: &Keep) -> Remap {
        let mut next = 0;
        let places = keep.0.iter().map(|&kept| {
            kept.then(|| {
                next += 1;
                Index(next - 1)
            })
        });
        let remap = Remap(places.collect());
        self.apply(&remap);
        remap
    }
}
