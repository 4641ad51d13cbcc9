//! Reading records by position, from any thread, while the log grows.
//!
//! Invariant: a record is returned only if its digest matches; a reader never sees half a record as a
//! whole one.

use super::frame::{FRAME_HEAD_BYTES, Frame, FrameHead, Position, SEGMENT_HEAD_BYTES};
use crate::disk::{Disk, DiskFile};
use crate::error::{IoContext, Result, StorageError};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most file handles kept open by one log. A node follows the tip in the last one or two; a peer's
/// sync walks through the others in order.
const HANDLES_MAX: usize = 32;

/// Shared access to a log's records. Clones share the open files.
#[derive(Debug, Clone)]
pub struct SegmentReader {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    log: &'static str,
    shared: RwLock<Shared>,
}

#[derive(Debug)]
struct Shared {
    handles: BTreeMap<u32, Arc<dyn DiskFile>>,
    first_segment: u32,
    end: Position,
}

/// How a read of a frame ended.
pub(super) enum Outcome {
    Intact(Frame),
    /// Nothing begins here: the end of the segment's file.
    EndOfSegment,
    /// Bytes are there, but no intact frame.
    Bad(&'static str),
}

impl SegmentReader {
    pub(super) fn new(disk: Arc<dyn Disk>, directory: PathBuf, log: &'static str) -> Self {
        let shared = Shared {
            handles: BTreeMap::new(),
            first_segment: 0,
            end: Position {
                segment: 0,
                offset: SEGMENT_HEAD_BYTES,
            },
        };
        let inner = Inner {
            disk,
            directory,
            log,
            shared: RwLock::new(shared),
        };
        SegmentReader {
            inner: Arc::new(inner),
        }
    }

    /// The record that begins at `position`.
    ///
    /// # Errors
    /// `Pruned` if its segment was dropped, `Damaged` if no intact record begins there.
    pub fn read(&self, position: Position) -> Result<Frame> {
        let (first, end) = {
            let shared = self.inner.shared.read();
            (shared.first_segment, shared.end)
        };
        if position.segment < first {
            return Err(StorageError::Pruned {
                what: self.name(position),
            });
        }
        if position >= end {
            let what = format!("{} lies behind the log's end, {end}", self.name(position));
            return Err(StorageError::damaged(what));
        }
        match self.frame(position)? {
            Outcome::Intact(frame) => Ok(frame),
            Outcome::EndOfSegment => {
                let what = format!("{} is behind the end of its file", self.name(position));
                Err(StorageError::damaged(what))
            }
            Outcome::Bad(why) => Err(StorageError::damaged(format!(
                "{}: {why}",
                self.name(position)
            ))),
        }
    }

    /// All records from `from` on (which must be the beginning of one, or of the log), oldest first.
    pub fn frames(&self, from: Position) -> Frames {
        Frames {
            reader: self.clone(),
            next: Some(from),
            at: from,
        }
    }

    /// Where the next record will be put.
    pub fn end(&self) -> Position {
        self.inner.shared.read().end
    }

    /// Beginning of the oldest record that is kept.
    pub fn start(&self) -> Position {
        let segment = self.inner.shared.read().first_segment;
        Position {
            segment,
            offset: SEGMENT_HEAD_BYTES,
        }
    }

    /// A record's name for messages.
    pub fn name(&self, position: Position) -> String {
        let path = self.path(position.segment);
        format!(
            "{} record at offset {} of {}",
            self.inner.log,
            position.offset,
            path.display()
        )
    }

    pub(super) fn log(&self) -> &'static str {
        self.inner.log
    }

    pub(super) fn directory(&self) -> &Path {
        &self.inner.directory
    }

    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.inner.disk
    }

    pub(super) fn path(&self, segment: u32) -> PathBuf {
        self.inner.directory.join(format!("{segment:08}.seg"))
    }

    pub(super) fn set_end(&self, end: Position) {
        self.inner.shared.write().end = end;
    }

    pub(super) fn set_first(&self, first: u32) {
        let mut shared = self.inner.shared.write();
        shared.first_segment = first;
        shared.handles.retain(|number, _| *number >= first);
    }

    pub(super) fn keep_handle(&self, segment: u32, file: Arc<dyn DiskFile>) {
        let mut shared = self.inner.shared.write();
        if shared.handles.len() >= HANDLES_MAX {
            shared.handles.pop_first();
        }
        shared.handles.insert(segment, file);
    }

    pub(super) fn file(&self, segment: u32) -> Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.inner.shared.read().handles.get(&segment) {
            return Ok(file.clone());
        }
        let path = self.path(segment);
        let file = self.inner.disk.open(&path).at("open", &path)?;
        self.keep_handle(segment, file.clone());
        Ok(file)
    }

    /// What begins at `position`, with no regard to the log's end.
    pub(super) fn frame(&self, position: Position) -> Result<Outcome> {
        let path = self.path(position.segment);
        let file = self.file(position.segment)?;
        let at = u64::from(position.offset);
        let mut head = [0; FRAME_HEAD_BYTES as usize];
        if let Err(error) = file.read_at(at, &mut head) {
            if error.kind() != io::ErrorKind::UnexpectedEof {
                return Err(error).at("read", &path);
            }
            let len = file.len().at("measure", &path)?;
            let ended = len <= at;
            return Ok(if ended {
                Outcome::EndOfSegment
            } else {
                Outcome::Bad("its head is cut")
            });
        }
        let Some(head) = FrameHead::from_bytes(&head) else {
            return Ok(Outcome::Bad("it has no frame head"));
        };
        let len = file.len().at("measure", &path)?;
        let end = at + u64::from(FRAME_HEAD_BYTES) + u64::from(head.length);
        if end > len {
            return Ok(Outcome::Bad("its payload is cut"));
        }
        let mut payload = vec![0; head.length as usize];
        file.read_at(at + u64::from(FRAME_HEAD_BYTES), &mut payload)
            .at("read", &path)?;
        if !head.matches(self.inner.log, position, &payload) {
            return Ok(Outcome::Bad("its digest does not match its bytes"));
        }
        Ok(Outcome::Intact(Frame {
            position,
            kind: head.kind,
            durable: head.durable,
            payload,
        }))
    }
}

/// Iterator over the records of a log, in the order they were written.
#[derive(Debug)]
pub struct Frames {
    reader: SegmentReader,
    next: Option<Position>,
    at: Position,
}

impl Frames {
    /// Where the record of the last answer, or of the error, begins.
    pub fn position(&self) -> Position {
        self.at
    }

    fn step(&mut self, position: Position) -> Result<Option<Frame>> {
        let mut at = position;
        loop {
            let end = self.reader.end();
            if at >= end {
                return Ok(None);
            }
            if at.offset < SEGMENT_HEAD_BYTES {
                at.offset = SEGMENT_HEAD_BYTES;
            }
            self.at = at;
            match self.reader.frame(at)? {
                Outcome::Intact(frame) => {
                    self.next = Some(frame.end());
                    return Ok(Some(frame));
                }
                Outcome::EndOfSegment if at.segment < end.segment => {
                    at = Position {
                        segment: at.segment + 1,
                        offset: SEGMENT_HEAD_BYTES,
                    };
                }
                Outcome::EndOfSegment => return Ok(None),
                Outcome::Bad(why) => {
                    let what = format!("{}: {why}", self.reader.name(at));
                    return Err(StorageError::damaged(what));
                }
            }
        }
    }
}

impl Iterator for Frames {
    type Item = Result<Frame>;

    fn next(&mut self) -> Option<Self::Item> {
        let position = self.next.take()?;
        self.step(position).transpose()
    }
}
