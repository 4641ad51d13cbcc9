//! The writing end of the log's files: one frame, one sync.
//!
//! Invariant: batch n + 1 is not written before the sync of n returned; after a failed write or sync
//! nothing more is written, because the disk may then hold less than a later successful sync would
//! suggest.

use super::error::{IoContext, LogError, Result};
use super::frame::{Digest, FrameHead, FrameKind, SegmentHead};
use super::group::Groups;
use super::recovery::{Scan, scan};
use super::segment::{Place, Segments};
use crate::limits::{FRAME_BYTES_MAX, SEGMENT_BYTES};
use cairn_storage::disk::{Disk, DiskFile};
use parking_lot::RwLock;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// How the files are laid out.
#[derive(Debug, Clone, Copy)]
pub struct LogOptions {
    /// Size of a segment file.
    pub segment_bytes: u32,
    /// Frames begin at multiples of it: a power of two, 512 or more.
    pub block_bytes: u32,
    /// Fill the next segment's file in a thread of its own, or when it is needed.
    pub prepare_ahead: bool,
}

impl Default for LogOptions {
    /// Blocks of 4 KiB: the physical sector of today's disks, so that a write that a power cut breaks
    /// cannot take bytes with it that were acknowledged.
    fn default() -> Self {
        LogOptions {
            segment_bytes: SEGMENT_BYTES,
            block_bytes: 4096,
            prepare_ahead: true,
        }
    }
}

/// What an open found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Intact frames.
    pub frames: u64,
    /// A frame at the end was incomplete and has been dropped whole.
    pub torn: bool,
    /// The generation of this run.
    pub generation: u64,
}

#[derive(Debug)]
pub(super) struct Writer {
    segments: Arc<RwLock<Segments>>,
    options: LogOptions,
    preparing: Option<JoinHandle<Result<()>>>,
    tail: Arc<dyn DiskFile>,
    path: PathBuf,
    head: SegmentHead,
    end: u64,
    next_batch: u64,
    previous: Digest,
    generation: u64,
    stopped: Option<String>,
}

impl Writer {
    /// Opens or creates the log in a directory, reads all of it, and begins a new generation.
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: &Path,
        options: LogOptions,
        check: impl FnOnce(&Groups) -> Result<()>,
    ) -> Result<(Self, Groups, Recovery)> {
        disk.create_directory(directory)
            .at("create directory", directory)?;
        let mut segments = Segments::open(disk, directory.to_owned())?;
        let mut groups = Groups::default();
        let found = scan(&segments, |place, frame| groups.fold(place, &frame.payload))?;
        groups.check_complete()?;
        check(&groups)?;
        let found = match found {
            Some(found) => found,
            None => create(&mut segments, options)?,
        };
        let head = *segments.last().expect("a scan or a creation leaves one");
        let mut writer = Writer {
            tail: segments.file(head.number),
            path: segments.path(head.number),
            segments: Arc::new(RwLock::new(segments)),
            options,
            preparing: None,
            head,
            end: found.end.offset,
            next_batch: found.next_batch,
            previous: found.last_digest,
            generation: found.generation + 1,
            stopped: None,
        };
        writer.settle(&found)?;
        let mut state = Vec::new();
        groups.put_state(&mut state);
        let (place, payload) = writer.append(FrameKind::Opening, &groups, &state)?;
        groups.fold(place, &payload)?;
        let recovery = Recovery {
            frames: found.frames,
            torn: found.torn,
            generation: writer.generation,
        };
        Ok((writer, groups, recovery))
    }

    /// Makes sure of what the run before may have left on its way: the name of the last segment, and
    /// the last frame. If a sync failed, the system may show bytes that the disk does not have and that
    /// no further sync would write. Written again, they are.
    fn settle(&mut self, found: &Scan) -> Result<()> {
        let segments = self.segments.read();
        segments.sync_directory()?;
        let Some(place) = found.last else {
            return Ok(());
        };
        let Some(frame) = segments.frame(place)? else {
            return Err(LogError::Damaged(format!(
                "{}: a frame that was just read is not intact",
                segments.describe(place)
            )));
        };
        let (bytes, _) = segments.bytes_of(place, &frame);
        let file = segments.file(place.segment);
        let path = segments.path(place.segment);
        file.write_at(place.offset, &bytes).at("write", &path)?;
        file.sync().at("sync", &path)
    }

    /// Writes one frame and syncs it. If it opens a segment, the groups' state goes before the records.
    pub fn append(
        &mut self,
        kind: FrameKind,
        groups: &Groups,
        records: &[u8],
    ) -> Result<(Place, Vec<u8>)> {
        if let Some(first) = &self.stopped {
            return Err(LogError::stopped(first));
        }
        let outcome = self.try_append(kind, groups, records);
        if let Err(error) = &outcome {
            self.stopped = Some(error.to_string());
        }
        outcome
    }

    fn try_append(
        &mut self,
        kind: FrameKind,
        groups: &Groups,
        records: &[u8],
    ) -> Result<(Place, Vec<u8>)> {
        let mut payload = Vec::new();
        let room = self.head.room(records.len());
        let is_full = self.end + room > u64::from(self.options.segment_bytes);
        if is_full && self.end > self.head.first_frame() {
            self.roll()?;
        }
        if self.end == self.head.first_frame() && kind != FrameKind::Opening {
            groups.put_state(&mut payload);
        }
        payload.extend_from_slice(records);
        if payload.len() > FRAME_BYTES_MAX {
            return Err(LogError::TooLarge {
                what: "frame of the log",
                found: payload.len(),
                bound: FRAME_BYTES_MAX,
            });
        }
        let head = FrameHead {
            length: payload.len() as u32,
            generation: self.generation,
            batch: self.next_batch,
            kind,
            previous: self.previous,
        };
        let (bytes, digest) = head.seal(&self.head, self.end, &payload);
        self.tail
            .write_at(self.end, &bytes)
            .at("write", &self.path)?;
        self.tail.sync().at("sync", &self.path)?;
        let place = Place {
            segment: self.head.number,
            offset: self.end,
        };
        self.end += bytes.len() as u64;
        self.next_batch += 1;
        self.previous = digest;
        self.prepare_ahead();
        Ok((place, payload))
    }

    fn roll(&mut self) -> Result<()> {
        self.finish_preparing()?;
        let mut segments = self.segments.write();
        segments.next_file().fill(self.options.segment_bytes)?;
        let head = SegmentHead {
            number: self.head.number + 1,
            salt: rand::random(),
            first_batch: self.next_batch,
            previous: self.previous,
            block: self.options.block_bytes,
            log: self.head.log,
        };
        segments.begin(head)?;
        self.tail = segments.file(head.number);
        self.path = segments.path(head.number);
        self.head = head;
        self.end = head.first_frame();
        Ok(())
    }

    /// Fills the next segment's file once this one is half full.
    fn prepare_ahead(&mut self) {
        let is_half = self.end > u64::from(self.options.segment_bytes) / 2;
        if !self.options.prepare_ahead || !is_half {
            return;
        }
        if self.preparing.is_none() {
            let bytes = self.options.segment_bytes;
            let next = self.segments.read().next_file();
            let thread = std::thread::Builder::new().name("log segment".to_owned());
            // Without a thread the file is filled when it is needed.
            self.preparing = thread.spawn(move || next.fill(bytes)).ok();
        }
    }

    fn finish_preparing(&mut self) -> Result<()> {
        match self.preparing.take() {
            Some(thread) => thread
                .join()
                .map_err(|_| LogError::Misuse("filling a segment panicked".to_owned()))?,
            None => Ok(()),
        }
    }

    /// Drops the segments that no group needs.
    pub fn drop_unneeded(&mut self, groups: &Groups) -> Result<()> {
        let first = groups.first_needed(self.head.number);
        let kept = self.segments.read().heads().next().map(|head| head.number);
        if kept.is_none_or(|kept| kept >= first) {
            return Ok(());
        }
        let outcome = self.finish_preparing().and_then(|()| {
            let mut segments = self.segments.write();
            segments.remove_before(first)
        });
        if let Err(error) = &outcome {
            self.stopped.get_or_insert(error.to_string());
        }
        outcome
    }

    /// The files, for readers.
    pub fn segments(&self) -> Arc<RwLock<Segments>> {
        self.segments.clone()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A directory that is opened again must not be written by a thread of this run.
        let _ = self.finish_preparing();
    }
}

/// The first segment of a log.
fn create(segments: &mut Segments, options: LogOptions) -> Result<Scan> {
    segments.next_file().fill(options.segment_bytes)?;
    let head = SegmentHead {
        block: options.block_bytes,
        number: 0,
        salt: rand::random(),
        log: rand::random(),
        first_batch: 0,
        previous: [0; 16],
    };
    segments.begin(head)?;
    Ok(Scan {
        last: None,
        last_kind: None,
        end: Place {
            segment: 0,
            offset: head.first_frame(),
        },
        next_batch: 0,
        last_digest: [0; 16],
        generation: 0,
        frames: 0,
        torn: false,
    })
}
