//! Reads a log from its first kept frame to its end, and says whether the end is torn or damaged.
//!
//! A frame is written only after the one before was synced. So at most one frame can be incomplete
//! after a stop, and it is the last: what does not pass and has no intact frame behind it is a torn
//! tail, whose commits nobody was told of. What does not pass and has one is damage.
//!
//! Invariant: nothing is changed here.

use super::error::{LogError, Result};
use super::frame::{Digest, FrameKind};
use super::segment::{Frame, Place, Segments};

/// What the files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scan {
    /// The last intact frame.
    pub last: Option<Place>,
    pub last_kind: Option<FrameKind>,
    /// Where the next frame goes.
    pub end: Place,
    pub next_batch: u64,
    pub last_digest: Digest,
    pub generation: u64,
    pub frames: u64,
    /// A frame was begun at the end and is not intact.
    pub torn: bool,
}

/// Reads all frames in order.
///
/// # Errors
/// `Damaged` if a frame that was synced is not intact or not the next one; those of `visit`.
pub(super) fn scan(
    segments: &Segments,
    mut visit: impl FnMut(Place, &Frame) -> Result<()>,
) -> Result<Option<Scan>> {
    let Some(first) = segments.heads().next() else {
        return Ok(None);
    };
    let mut scan = Scan {
        last: None,
        last_kind: None,
        end: Place {
            segment: first.number,
            offset: first.first_frame(),
        },
        next_batch: first.first_batch,
        last_digest: first.previous,
        generation: 0,
        frames: 0,
        torn: false,
    };
    for head in segments.heads() {
        if (head.first_batch, head.previous) != (scan.next_batch, scan.last_digest) {
            return Err(LogError::Damaged(format!(
                "{}: no intact frame, but segment {} begins with batch {} and {} was expected",
                segments.describe(scan.end),
                head.number,
                head.first_batch,
                scan.next_batch
            )));
        }
        scan.end = Place {
            segment: head.number,
            offset: head.first_frame(),
        };
        while let Some(frame) = segments.frame(scan.end)? {
            check_next(segments, &scan, &frame)?;
            visit(scan.end, &frame)?;
            scan.last = Some(scan.end);
            scan.last_kind = Some(frame.head.kind);
            scan.next_batch = frame.head.batch + 1;
            scan.last_digest = frame.digest;
            scan.generation = frame.head.generation;
            scan.frames += 1;
            scan.end.offset += head.room(frame.payload.len());
        }
    }
    if let Some(behind) = segments.intact_behind(scan.end)? {
        return Err(LogError::Damaged(format!(
            "{}: no intact frame of batch {}, but one at offset {} that was written after it was synced",
            segments.describe(scan.end),
            scan.next_batch,
            behind.offset
        )));
    }
    scan.torn = segments.is_begun(scan.end)?;
    Ok(Some(scan))
}

fn check_next(segments: &Segments, scan: &Scan, frame: &Frame) -> Result<()> {
    let head = &frame.head;
    let is_opening = head.kind == FrameKind::Opening;
    let generation_fits = match scan.frames {
        0 => true,
        _ => head.generation == scan.generation + u64::from(is_opening),
    };
    if head.batch != scan.next_batch || head.previous != scan.last_digest || !generation_fits {
        return Err(LogError::Damaged(format!(
            "{}: the frame of batch {} generation {} does not follow batch {} generation {}",
            segments.describe(scan.end),
            head.batch,
            head.generation,
            scan.next_batch.wrapping_sub(1),
            scan.generation
        )));
    }
    Ok(())
}
