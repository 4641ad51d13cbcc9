//! A chain as an array: the entry at each height from genesis to one tip.
//!
//! Invariant: `at(h)` is the tip's ancestor at height h; moving the tip costs the entries that
//! change.

use cairn_protocol::units::Height;

use super::shed::Remap;
use super::tree::{HeaderTree, Index};

/// Entries by height, genesis first.
#[derive(Clone, Debug, Default)]
pub struct Path(Vec<Index>);

impl Path {
    /// The path of genesis alone.
    #[must_use]
    pub fn new() -> Path {
        Path(vec![Index::GENESIS])
    }

    /// The last entry.
    #[must_use]
    pub fn tip(&self) -> Index {
        *self.0.last().expect("a path holds genesis at least")
    }

    /// Height of the last entry.
    #[must_use]
    pub fn height(&self) -> Height {
        self.0.len() as Height - 1
    }

    /// The entry at `height`.
    #[must_use]
    pub fn at(&self, height: Height) -> Option<Index> {
        self.0.get(usize::try_from(height).ok()?).copied()
    }

    /// Whether the path goes through `index`.
    #[must_use]
    pub fn contains(&self, tree: &HeaderTree, index: Index) -> bool {
        self.at(tree.entry(index).height) == Some(index)
    }

    /// Leads the path to `tip`.
    pub fn set_tip(&mut self, tree: &HeaderTree, tip: Index) {
        let height = usize::try_from(tree.entry(tip).height).expect("heights of a tree fit memory");
        let old_len = self.0.len();
        self.0.resize(height + 1, tip);
        // Entries above the old end are unset; below it, stop at the first that is already right.
        let mut at = Some(tip);
        let mut height = height;
        while let Some(index) = at {
            if height < old_len && height + 1 < self.0.len() && self.0[height] == index {
                break;
            }
            self.0[height] = index;
            at = tree.parent(index);
            height = height.wrapping_sub(1);
        }
    }

    /// Follows the tree after it forgot entries.
    ///
    /// # Panics
    /// If an entry of the path was forgotten: what a path is led along is kept.
    pub fn remap(&mut self, remap: &Remap) {
        for index in &mut self.0 {
            *index = remap.get(*index).expect("a path's entries are kept");
        }
    }
}
