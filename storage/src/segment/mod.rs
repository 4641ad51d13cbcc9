//! Append-only logs of checksummed records, kept in numbered segment files.
//!
//! ```text
//!  DIR/00000000.seg   DIR/00000001.seg   DIR/00000002.seg
//!  [head][f][f][f]    [head][f][f]       [head][f][f][f]........
//!                                                      ^durable  ^end
//! ```
//!
//! Blocks and undo records live here: large, written once, read by position, dropped by unlinking a
//! whole segment. Three invariants make the log trustworthy after a power cut:
//!
//! * a segment is synced, and so is its directory, before the next one is begun;
//! * each frame carries the position up to which the log was synced when the frame was written, and a
//!   digest over its own position and contents;
//! * hence a bad frame at position `p` is a *torn tail* (cut off, nothing promised was lost) unless a
//!   later intact frame says that `p` was durable already, or the caller knows it: then it is
//!   *damage*, told and never cut off.

mod frame;
mod log;
mod reader;
mod recovery;

pub use frame::{FRAME_HEAD_BYTES, Frame, PAYLOAD_BYTES_MAX, Position};
pub use log::{SegmentLog, SegmentOptions};
pub use reader::{Frames, SegmentReader};
pub use recovery::Recovery;
