//! Reads a whole log again, changes nothing, and says what holds: the part of `cairn db verify` below
//! the rows.
//!
//! Checked: heads, frames, their chain and their records; each entry's spelling, bounds, order of
//! changes and root; timestamps, incarnation and chains of each group; and, given the tiles, that the
//! leaf of every kept entry and the root of the tree are the stored ones.

use super::error::{IoContext, LogError, Result};
use super::group::Groups;
use super::position::{Group, Lsn};
use super::recovery::scan;
use super::segment::Segments;
use crate::entry::{Base, Entry, History};
use crate::tree::{Frontier, TileFiles};
use cairn_storage::disk::Disk;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Leaf hashes read at a time.
const LEAVES_STEP: u64 = 4096;

/// What was found to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogReport {
    /// Intact frames.
    pub frames: u64,
    /// The last frame is incomplete; the next open drops it.
    pub torn: bool,
    /// By group.
    pub groups: BTreeMap<Group, GroupReport>,
}

/// What was found of one group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupReport {
    /// The first entry that is kept.
    pub start: Lsn,
    /// Behind the last entry.
    pub end: Lsn,
    /// Changes in the kept entries.
    pub changes: u64,
    /// The last entry's numbers.
    pub last: Option<Base>,
    /// Transactions with prewrites and no resolve.
    pub unresolved: u64,
}

/// Verifies the log in `directory`. `trees` gives the directory of a group's tiles and the frontier
/// that the store keeps.
///
/// # Errors
/// `Damaged` with the first thing that does not hold, by name and place.
pub fn verify(
    disk: &Arc<dyn Disk>,
    directory: &Path,
    trees: &[(Group, &Path, Frontier)],
) -> Result<LogReport> {
    disk.list(directory).at("list", directory)?;
    let segments = Segments::open(disk.clone(), directory.to_owned())?;
    let mut groups = Groups::default();
    let Some(found) = scan(&segments, |place, frame| groups.fold(place, &frame.payload))? else {
        return Err(LogError::Damaged(format!(
            "{} has no segment",
            directory.display()
        )));
    };
    groups.check_complete()?;
    let mut report = LogReport {
        frames: found.frames,
        torn: found.torn,
        groups: BTreeMap::new(),
    };
    for group in groups.0.keys() {
        let tree = trees.iter().find(|(of, _, _)| of == group);
        let tree = tree.map(|(_, directory, frontier)| (*directory, frontier));
        let found = verify_group(disk, &segments, &groups, *group, tree)?;
        report.groups.insert(*group, found);
    }
    Ok(report)
}

fn verify_group(
    disk: &Arc<dyn Disk>,
    segments: &Segments,
    groups: &Groups,
    group: Group,
    tree: Option<(&Path, &Frontier)>,
) -> Result<GroupReport> {
    let log = &groups.0[&group];
    let mut tiles = match tree {
        Some((directory, frontier)) => Some(verify_tiles(disk, directory, frontier)?),
        None => None,
    };
    let mut report = GroupReport {
        start: log.start.end,
        end: log.end(),
        ..GroupReport::default()
    };
    if let Some(tiles) = &tiles
        && (tiles.frontier().size() < report.start.0 || tiles.frontier().size() > report.end.0)
    {
        return Err(LogError::Damaged(format!(
            "the tree of group {} has {} leaves, its log has entries {} to {}",
            group.0,
            tiles.frontier().size(),
            report.start,
            report.end
        )));
    }
    let mut history = None;
    let mut frame = None;
    for (lsn, slot) in (log.start.end.0..).zip(&log.slots) {
        let wrong = |what: &dyn std::fmt::Display| {
            LogError::Damaged(format!(
                "{}, group {} entry {lsn}: {what}",
                segments.describe(slot.place),
                group.0
            ))
        };
        if frame.as_ref().is_none_or(|(place, _)| *place != slot.place) {
            let found = segments.frame(slot.place)?;
            frame = Some((slot.place, found.ok_or_else(|| wrong(&"no intact frame"))?));
        }
        let Some((_, frame)) = &frame else { continue };
        let range = slot.from as usize..(slot.from + slot.length) as usize;
        let entry = Entry::decode(&frame.payload[range]).map_err(|error| wrong(&error))?;
        let history = history.get_or_insert_with(|| match lsn {
            0 => History::new(),
            // What stood before is purged: the first kept entry is taken as it is.
            _ => History::before(&entry),
        });
        history.push(&entry).map_err(|error| wrong(&error))?;
        report.changes += u64::from(entry.header.changes);
        if let Some(tiles) = &mut tiles
            && lsn < tiles.frontier().size()
            && tiles.leaves(lsn, 1)? != [entry.leaf()]
        {
            return Err(wrong(&"the tree has another leaf for it"));
        }
    }
    if let Some(history) = history {
        report.last = history.last();
        report.unresolved = history.unresolved().count() as u64;
    }
    Ok(report)
}

/// Recomputes the tree from its leaf hashes.
fn verify_tiles(disk: &Arc<dyn Disk>, directory: &Path, stored: &Frontier) -> Result<TileFiles> {
    let mut tiles = TileFiles::open(disk.clone(), directory.to_owned(), stored.clone())?;
    let mut frontier = Frontier::default();
    while frontier.size() < stored.size() {
        let count = LEAVES_STEP.min(stored.size() - frontier.size());
        for leaf in tiles.leaves(frontier.size(), count)? {
            frontier.push(leaf);
        }
    }
    if frontier != *stored {
        return Err(LogError::Damaged(format!(
            "{}: the {} leaves have another root than the one that was stored",
            directory.display(),
            stored.size()
        )));
    }
    Ok(tiles)
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
