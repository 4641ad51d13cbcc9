//! What a log's files hold when it is opened: where it ends, and whether the end is torn or damaged.
//!
//! Invariant: bytes are cut off only where no intact later frame, and not the caller, ever called them
//! durable. See the module's head for why that is sound.

use super::frame::{FRAME_HEAD_BYTES, Position, SEGMENT_HEAD_BYTES, find_magic, segment_head};
use super::reader::{Outcome, SegmentReader};
use crate::error::{IoContext, Result, StorageError};

/// What opening a log found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Number of the oldest kept segment.
    pub first_segment: u32,
    /// Where the log ends; none if there was no log.
    pub end: Option<Position>,
    /// Intact records from the floor on.
    pub records: u64,
    /// Bytes of a torn tail that were cut off.
    pub cut_bytes: u64,
}

/// Finds the end of the log, cutting off a torn tail.
pub(super) fn recover(reader: &SegmentReader, floor: Position) -> Result<Recovery> {
    let Some((first, mut last)) = segment_range(reader)? else {
        if floor != Position::default() {
            let what = format!("the {} log is gone, it reached {floor}", reader.log());
            return Err(StorageError::damaged(what));
        }
        return Ok(Recovery::default());
    };
    let mut recovery = Recovery {
        first_segment: first,
        ..Recovery::default()
    };
    // Only the newest segment can have an unfinished head: the next one is begun after a sync.
    if !head_is_intact(reader, last)? {
        let path = reader.path(last);
        let bytes = reader.file(last)?.len().at("measure", &path)?;
        // A frame is written only behind a synced head.
        let had_frames = bytes > u64::from(SEGMENT_HEAD_BYTES);
        if had_frames
            || (Position {
                segment: last,
                offset: 0,
            }) < floor
        {
            return Err(damaged_head(reader, last));
        }
        recovery.cut_bytes += bytes;
        reader.set_first(first);
        if last == first {
            // Nothing of this log was ever finished; the writer begins segment 0 again.
            return if first == 0 {
                Ok(Recovery {
                    end: None,
                    ..recovery
                })
            } else {
                Err(damaged_head(reader, last))
            };
        }
        reader.disk().remove(&path).at("remove", &path)?;
        let directory = reader.directory();
        reader
            .disk()
            .sync_directory(directory)
            .at("sync directory", directory)?;
        last -= 1;
    }
    let start = Position {
        segment: first,
        offset: SEGMENT_HEAD_BYTES,
    };
    scan(reader, start.max(floor), last, floor, &mut recovery)?;
    Ok(recovery)
}

fn scan(
    reader: &SegmentReader,
    from: Position,
    last: u32,
    floor: Position,
    recovery: &mut Recovery,
) -> Result<()> {
    let mut at = from;
    at.offset = at.offset.max(SEGMENT_HEAD_BYTES);
    if at.segment > last {
        let what = format!(
            "the {} log ends in segment {last}, it reached {floor}",
            reader.log()
        );
        return Err(StorageError::damaged(what));
    }
    loop {
        if at.offset == SEGMENT_HEAD_BYTES && !head_is_intact(reader, at.segment)? {
            return Err(damaged_head(reader, at.segment));
        }
        match reader.frame(at)? {
            Outcome::Intact(frame) => {
                recovery.records += 1;
                at = frame.end();
            }
            Outcome::EndOfSegment => {
                let path = reader.path(at.segment);
                let len = reader.file(at.segment)?.len().at("measure", &path)?;
                if len < u64::from(at.offset) {
                    let what = format!("{} has {len} bytes, it reached {at}", path.display());
                    return Err(StorageError::damaged(what));
                }
                if at.segment == last {
                    recovery.end = Some(at);
                    return Ok(());
                }
                at = Position {
                    segment: at.segment + 1,
                    offset: SEGMENT_HEAD_BYTES,
                };
            }
            Outcome::Bad(why) => {
                if at.segment < last || was_durable(reader, at)? {
                    let what = format!("{}: {why}, and it had been synced", reader.name(at));
                    return Err(StorageError::damaged(what));
                }
                recovery.cut_bytes += cut(reader, at)?;
                recovery.end = Some(at);
                return Ok(());
            }
        }
    }
}

/// Looks for an intact frame behind `bad` that was written when `bad` was durable already.
fn was_durable(reader: &SegmentReader, bad: Position) -> Result<bool> {
    let path = reader.path(bad.segment);
    let file = reader.file(bad.segment)?;
    let len = file.len().at("measure", &path)?;
    let begin = u64::from(bad.offset) + 1;
    let mut bytes = vec![0; len.saturating_sub(begin) as usize];
    file.read_at(begin, &mut bytes).at("read", &path)?;
    let mut from = 0;
    while let Some(found) = find_magic(&bytes[from..]) {
        let at = Position {
            offset: (begin + (from + found) as u64) as u32,
            ..bad
        };
        if let Outcome::Intact(frame) = reader.frame(at)? {
            if frame.durable > bad {
                return Ok(true);
            }
            from += found + FRAME_HEAD_BYTES as usize + frame.payload.len();
        } else {
            from += found + 1;
        }
    }
    Ok(false)
}

fn cut(reader: &SegmentReader, at: Position) -> Result<u64> {
    let path = reader.path(at.segment);
    let file = reader.file(at.segment)?;
    let len = file.len().at("measure", &path)?;
    file.set_len(u64::from(at.offset)).at("cut", &path)?;
    file.sync().at("sync", &path)?;
    Ok(len - u64::from(at.offset))
}

fn head_is_intact(reader: &SegmentReader, segment: u32) -> Result<bool> {
    let path = reader.path(segment);
    let file = reader.file(segment)?;
    if file.len().at("measure", &path)? < u64::from(SEGMENT_HEAD_BYTES) {
        return Ok(false);
    }
    let mut head = [0; SEGMENT_HEAD_BYTES as usize];
    file.read_at(0, &mut head).at("read", &path)?;
    Ok(head == segment_head(reader.log(), segment))
}

fn damaged_head(reader: &SegmentReader, segment: u32) -> StorageError {
    let path = reader.path(segment);
    StorageError::damaged(format!(
        "{} does not begin with its segment head",
        path.display()
    ))
}

/// First and last segment number; the numbers between must all be there.
fn segment_range(reader: &SegmentReader) -> Result<Option<(u32, u32)>> {
    let directory = reader.directory();
    let names = reader.disk().list(directory).at("list", directory)?;
    let numbers: Vec<u32> = names
        .iter()
        .filter_map(|name| name.strip_suffix(".seg")?.parse().ok())
        .collect();
    let (Some(&first), Some(&last)) = (numbers.iter().min(), numbers.iter().max()) else {
        return Ok(None);
    };
    if numbers.len() as u64 != u64::from(last - first) + 1 {
        let missing = (first..=last)
            .find(|number| !numbers.contains(number))
            .unwrap_or(first);
        let path = reader.path(missing);
        return Err(StorageError::damaged(format!(
            "{} is missing",
            path.display()
        )));
    }
    Ok(Some((first, last)))
}
