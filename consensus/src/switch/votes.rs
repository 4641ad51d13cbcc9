//! What an honest validator asks of its own heaviest chain, and when a certificate is a floor.
//!
//! Invariant: nothing here is a rule that others check. A validator that follows it cannot be used by
//! a minority branch: the anchor is buried on its own chain, and the parent of TERMINAL's block is
//! near its tip.
//!
//! Rules: `spec/12-switching.md#anchor`, `spec/12-switching.md#terminal`.

use cairn_protocol::hash::BlockId;
use cairn_protocol::spec::ChainParams;

use super::rules::rules_after;
use crate::nakamoto::{HeaderTree, Index};

/// What a validator makes of a value in ANCHOR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnchorVote {
    /// It is the block that it would propose.
    Yes,
    /// Its own chain has not come so far.
    NotYet,
    /// Its own chain has another block there, or no switch to that entry is under way on it.
    No,
}

/// The block that ANCHOR of `entry` should decide by the chain that ends at `tip`: its block at the
/// anchor's height, once it is buried. `None` before, and where no switch to that entry waits for its
/// anchor.
#[must_use]
pub fn anchor_choice(
    params: &ChainParams,
    tree: &HeaderTree,
    tip: Index,
    entry: usize,
) -> Option<BlockId> {
    if rules_after(params, tree, tip).pending() != Some(entry) {
        return None;
    }
    let entry = &params.schedule()[entry];
    let at = entry.anchor_height();
    if tree.entry(tip).height < at + entry.burial() {
        return None;
    }
    tree.ancestor(tip, at).map(|index| tree.entry(index).id)
}

/// Whether a validator whose heaviest chain ends at `tip` votes for `anchor` in ANCHOR of `entry`.
#[must_use]
pub fn anchor_vote(
    params: &ChainParams,
    tree: &HeaderTree,
    tip: Index,
    (entry, anchor): (usize, BlockId),
) -> AnchorVote {
    let place = &params.schedule()[entry];
    let is_early = tree.entry(tip).height < place.anchor_height() + place.burial();
    match anchor_choice(params, tree, tip, entry) {
        Some(choice) if choice == anchor => AnchorVote::Yes,
        None if is_early => AnchorVote::NotYet,
        _ => AnchorVote::No,
    }
}

/// Whether `parent` forks from the chain that ends at `tip` at most `depth` deep.
#[must_use]
pub fn is_near(tree: &HeaderTree, tip: Index, parent: Index, depth: u64) -> bool {
    let fork = tree.fork_point(tip, parent);
    tree.entry(tip).height - tree.entry(fork).height <= depth
}

/// Whether a certificate of `entry` is a floor for a node whose heaviest chain ends at `tip`: that
/// chain committed to the set that signed it, at F + 1. The sets of `pbft` are in the specification
/// and the same on every branch, so there it is enough that the chain has come past F while work
/// made it; a set that is read from the state is compared here.
#[must_use]
pub fn counts_as_floor(params: &ChainParams, tree: &HeaderTree, tip: Index, entry: usize) -> bool {
    let fixed_at = params.schedule()[entry].fixed_at();
    let Some(fixed) = tree.ancestor(tip, fixed_at) else {
        return false;
    };
    let rules = rules_after(params, tree, fixed);
    let set = params.entry_set(entry);
    rules.pending() == Some(entry) && set.is_some_and(|set| set.hash() == rules.next_set_hash())
}
