//! Locators: a few ids by which two nodes find the highest block they share, and what follows it.
//!
//! Invariant: a locator has at most [`LOCATOR_MAX`] ids, the first is the tip, the last genesis.
//!
//! Rule: `spec/08-sync.md#locator`.

use cairn_protocol::hash::BlockId;
use cairn_protocol::limits::LOCATOR_MAX;
use cairn_protocol::units::Height;

use super::path::Path;
use super::tree::{HeaderTree, Index};

/// Ids with growing gaps: the last ten heights one by one, then each gap twice the last.
#[must_use]
pub fn locator(tree: &HeaderTree, tip: Index) -> Vec<BlockId> {
    let mut ids = Vec::new();
    let (mut height, mut gap) = (tree.entry(tip).height, 1);
    let mut at = tip;
    while height > 0 && ids.len() + 1 < LOCATOR_MAX {
        ids.push(tree.entry(at).id);
        if ids.len() >= 10 {
            gap *= 2;
        }
        height = height.saturating_sub(gap);
        at = tree.ancestor(at, height).expect("below the last one");
    }
    ids.push(tree.entry(Index::GENESIS).id);
    ids
}

/// Heights `(first, last)` of `path` that follow the first id of `locator` that lies on it: at most
/// `max`, up to and including `stop` if that is on the path. `None` if nothing follows.
#[must_use]
pub fn range_after(
    tree: &HeaderTree,
    path: &Path,
    locator: &[BlockId],
    stop: &BlockId,
    max: usize,
) -> Option<(Height, Height)> {
    let on_path = |id: &BlockId| tree.find(id).filter(|&index| path.contains(tree, index));
    let shared = locator
        .iter()
        .take(LOCATOR_MAX)
        .find_map(on_path)
        .unwrap_or(Index::GENESIS);
    let first = tree.entry(shared).height + 1;
    let mut last = path
        .height()
        .min(first.saturating_add(max as Height).saturating_sub(1));
    if let Some(stop) = on_path(stop) {
        last = last.min(tree.entry(stop).height);
    }
    (first <= last).then_some((first, last))
}
