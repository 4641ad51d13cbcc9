//! The waits-for graph, walked when an owner blocks.
//!
//! A waiter waits for every other holder and every earlier waiter in conflict with it. A cycle needs
//! all its members to wait, so it comes to be when the last of them blocks: looking from that one is
//! enough. Edges that follow from others are not walked: a waiter behind one that is at least as
//! strong looks at that one alone, so a queue of n costs n steps, not n².

use super::table::{LockTable, OwnerId};
use hashbrown::HashSet;

/// The members of a cycle through `start`, if there is one.
pub(super) fn cycle_through(table: &LockTable, start: OwnerId) -> Option<Vec<OwnerId>> {
    let mut seen = HashSet::new();
    // Each step of the path with the neighbours that are still to be looked at.
    let mut path = vec![(start, blockers(table, start))];
    while let Some((_, neighbours)) = path.last_mut() {
        let Some(next) = neighbours.pop() else {
            path.pop();
            continue;
        };
        if next == start {
            return Some(path.into_iter().map(|(owner, _)| owner).collect());
        }
        if seen.insert(next) {
            path.push((next, blockers(table, next)));
        }
    }
    None
}

/// Whom this owner waits for, up to edges that follow from others.
fn blockers(table: &LockTable, owner: OwnerId) -> Vec<OwnerId> {
    let waiting = table
        .owners
        .get(&owner)
        .and_then(|state| state.waiting.as_ref());
    let Some(entry) = waiting.and_then(|waiting| table.entries.get(&waiting.target)) else {
        return Vec::new();
    };
    let Some(place) = entry.queue.iter().position(|waiter| waiter.owner == owner) else {
        return Vec::new();
    };
    let conflicts = entry.queue[place].mode.conflicts();
    let mut blockers = Vec::new();
    for earlier in entry.queue.iter().take(place).rev() {
        if !conflicts.has(earlier.mode) {
            continue;
        }
        blockers.push(earlier.owner);
        // It waits for all that we would wait for beyond it, except for ourselves as a holder.
        let holds = entry
            .holders
            .iter()
            .any(|holder| holder.owner == earlier.owner);
        if earlier.mode.conflicts().contains(conflicts) && !holds {
            return blockers;
        }
    }
    let held = entry.holders.iter().filter(|holder| {
        holder.owner != owner && holder.modes().conflict_with(entry.queue[place].mode)
    });
    blockers.extend(held.map(|holder| holder.owner));
    blockers
}
