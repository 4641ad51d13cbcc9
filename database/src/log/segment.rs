//! The segment files of a log: their names, their heads, and reading a frame.
//!
//! Invariant: a file has a segment's name only after its head was synced; the numbers have no gap.

use super::error::{IoContext, LogError, Result};
use super::frame::{Digest, FRAME_HEAD_BYTES, FrameHead, SEGMENT_HEAD_BYTES, SegmentHead, digest};
use cairn_storage::disk::{Disk, DiskFile};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Name of the file that becomes the next segment.
const NEXT: &str = "next";
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub segment: u64,
    pub offset: u64,
}

/// An intact frame.
#[derive(Debug)]
pub(super) struct Frame {
    pub head: FrameHead,
    pub digest: Digest,
    pub payload: Vec<u8>,
}

/// The kept segments.
#[derive(Debug)]
pub(super) struct Segments {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    open: BTreeMap<u64, Segment>,
}

#[derive(Debug)]
struct Segment {
    head: SegmentHead,
    file: Arc<dyn DiskFile>,
}

impl Segments {
    /// Opens all segments of a directory; reads nothing but their heads.
    pub fn open(disk: Arc<dyn Disk>, directory: PathBuf) -> Result<Self> {
        let names = disk.list(&directory).at("list", &directory)?;
        let mut segments = Segments {
            disk,
            directory,
            open: BTreeMap::new(),
        };
        for name in names {
            let number = name
                .strip_suffix(".log")
                .and_then(|number| u64::from_str_radix(number, 16).ok());
            if let Some(number) = number {
                let segment = segments.open_one(number)?;
                segments.open.insert(number, segment);
            }
        }
        segments.check_row()?;
        Ok(segments)
    }

    fn open_one(&self, number: u64) -> Result<Segment> {
        let path = self.path(number);
        let file = self.disk.open(&path).at("open", &path)?;
        let mut bytes = [0; SEGMENT_HEAD_BYTES];
        let long_enough = file.len().at("measure", &path)? >= SEGMENT_HEAD_BYTES as u64;
        if long_enough {
            file.read_at(0, &mut bytes).at("read", &path)?;
        }
        match SegmentHead::from_bytes(&bytes) {
            Some(head) if head.number == number => Ok(Segment { head, file }),
            _ => Err(LogError::Damaged(format!(
                "{} does not begin with the head of segment {number}",
                path.display()
            ))),
        }
    }

    fn check_row(&self) -> Result<()> {
        let pairs = self.open.values().zip(self.open.values().skip(1));
        for (segment, next) in pairs {
            let number = segment.head.number + 1;
            if next.head.number != number {
                let path = self.path(number);
                return Err(LogError::Damaged(format!("{} is missing", path.display())));
            }
            if next.head.log != segment.head.log {
                return Err(LogError::Damaged(format!(
                    "segment {number} is of another log than the one before"
                )));
            }
        }
        Ok(())
    }

    /// Heads of the segments, in order.
    pub fn heads(&self) -> impl DoubleEndedIterator<Item = &SegmentHead> {
        self.open.values().map(|segment| &segment.head)
    }

    pub fn last(&self) -> Option<&SegmentHead> {
        self.heads().next_back()
    }

    pub fn file(&self, number: u64) -> Arc<dyn DiskFile> {
        self.open[&number].file.clone()
    }

    pub fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:016x}.log"))
    }

    pub fn describe(&self, place: Place) -> String {
        let path = self.path(place.segment);
        format!("{} offset {}", path.display(), place.offset)
    }

    /// The frame at a place; none if what is there is not an intact frame.
    pub fn frame(&self, place: Place) -> Result<Option<Frame>> {
        let Some(segment) = self.open.get(&place.segment) else {
            return Ok(None);
        };
        let path = self.path(place.segment);
        let length = segment.file.len().at("measure", &path)?;
        let mut start = [0; FRAME_HEAD_BYTES];
        if place.offset + FRAME_HEAD_BYTES as u64 > length {
            return Ok(None);
        }
        let read = |offset, out: &mut [u8]| segment.file.read_at(offset, out).at("read", &path);
        read(place.offset, &mut start)?;
        let Some(head) = FrameHead::from_bytes(&start, &segment.head) else {
            return Ok(None);
        };
        let from = place.offset + FRAME_HEAD_BYTES as u64;
        if from + u64::from(head.length) > length {
            return Ok(None);
        }
        let mut payload = vec![0; head.length as usize];
        read(from, &mut payload)?;
        let digest = digest(&segment.head, place.offset, &start[..64], &payload);
        Ok((digest[..] == start[64..]).then_some(Frame {
            head,
            digest,
            payload,
        }))
    }

    /// True if a frame of this segment was begun at a place.
    pub fn is_begun(&self, place: Place) -> Result<bool> {
        let segment = &self.open[&place.segment];
        let path = self.path(place.segment);
        let mut start = [0; 24];
        if place.offset + 24 > segment.file.len().at("measure", &path)? {
            return Ok(false);
        }
        segment
            .file
            .read_at(place.offset, &mut start)
            .at("read", &path)?;
        Ok(start[8..] == segment.head.salt)
    }

    /// Looks for an intact frame behind a place.
    pub fn intact_behind(&self, place: Place) -> Result<Option<Place>> {
        let segment = &self.open[&place.segment];
        let path = self.path(place.segment);
        let length = segment.file.len().at("measure", &path)?;
        let block = u64::from(segment.head.block);
        let mut offset = place.offset + block;
        while offset < length {
            let candidate = Place { offset, ..place };
            if self.frame(candidate)?.is_some() {
                return Ok(Some(candidate));
            }
            offset += block;
        }
        Ok(None)
    }

    /// A frame's bytes as they were written.
    pub fn bytes_of(&self, place: Place, frame: &Frame) -> (Vec<u8>, Digest) {
        let head = &self.open[&place.segment].head;
        frame.head.seal(head, place.offset, &frame.payload)
    }

    /// The file that becomes the next segment.
    pub fn next_file(&self) -> NextFile {
        NextFile {
            disk: self.disk.clone(),
            path: self.directory.join(NEXT),
        }
    }

    /// Gives the prepared file its head and its name, both synced.
    pub fn begin(&mut self, head: SegmentHead) -> Result<()> {
        let next = self.directory.join(NEXT);
        let path = self.path(head.number);
        let file = self.disk.open(&next).at("open", &next)?;
        file.write_at(0, &head.to_bytes()).at("write", &next)?;
        file.sync().at("sync", &next)?;
        self.disk.rename(&next, &path).at("rename to", &path)?;
        self.sync_directory()?;
        self.open.insert(head.number, Segment { head, file });
        Ok(())
    }

    /// Drops all segments before `number`. One of them is kept as the next file.
    pub fn remove_before(&mut self, number: u64) -> Result<()> {
        let kept = self.open.split_off(&number);
        let gone = std::mem::replace(&mut self.open, kept);
        if gone.is_empty() {
            return Ok(());
        }
        for (place, old) in gone.keys().enumerate() {
            let path = self.path(*old);
            if place == 0 {
                let next = self.directory.join(NEXT);
                self.disk.rename(&path, &next).at("rename", &path)?;
            } else {
                self.disk.remove(&path).at("remove", &path)?;
            }
        }
        // Before the file is written again, the old name must be gone for good.
        self.sync_directory()
    }

    /// Puts the names on the disk.
    pub fn sync_directory(&self) -> Result<()> {
        self.disk
            .sync_directory(&self.directory)
            .at("sync directory", &self.directory)
    }
}

/// The file that becomes the next segment, to be filled by whoever has time. It must not be filled
/// while it gets its name.
#[derive(Debug)]
pub(super) struct NextFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl NextFile {
    /// Makes it ready: its bytes are allocated, whatever they are.
    pub fn fill(&self, bytes: u32) -> Result<()> {
        let path = &self.path;
        let file = self.disk.create(path).at("create", path)?;
        if file.len().at("measure", path)? >= u64::from(bytes) {
            return Ok(());
        }
        let mut at = 0;
        while at < u64::from(bytes) {
            let count = (u64::from(bytes) - at).min(ZEROS.len() as u64);
            file.write_at(at, &ZEROS[..count as usize])
                .at("write", path)?;
            at += count;
        }
        file.sync().at("sync", path)
    }
}
