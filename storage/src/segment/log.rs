//! The writing end of a segmented log.
//!
//! Invariant: `durable <= end`; after a failed write or sync the log takes nothing more (the disk may
//! then hold less than a later successful sync would suggest).

use super::frame::{
    FRAME_HEAD_BYTES, FrameHead, Position, SEGMENT_HEAD_BYTES, check_payload_length, segment_head,
};
use super::reader::SegmentReader;
use super::recovery::{self, Recovery};
use crate::disk::{Disk, DiskFile};
use crate::error::{IoContext, Result, StorageError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a log is laid out.
#[derive(Debug, Clone, Copy)]
pub struct SegmentOptions {
    /// Size in bytes at which the next segment is begun. A record larger than this gets a segment of
    /// its own.
    pub segment_bytes: u32,
}

impl Default for SegmentOptions {
    /// 128 MiB: small enough that pruning gives space back in useful steps, large enough that a
    /// chain of 100 GB has fewer than a thousand files.
    fn default() -> Self {
        SegmentOptions {
            segment_bytes: 128 << 20,
        }
    }
}

/// Most sync times that are kept for who asks: a metric samples them every few seconds.
const SYNC_TIMES_MAX: usize = 1024;

/// An append-only log with one writer. Readers come from [`SegmentLog::reader`].
#[derive(Debug)]
pub struct SegmentLog {
    reader: SegmentReader,
    options: SegmentOptions,
    tail: Arc<dyn DiskFile>,
    end: Position,
    durable: Position,
    sync_times: Vec<Duration>,
    stopped: Option<String>,
}

impl SegmentLog {
    /// Opens or creates the log `name` in `directory`, checking every record from `floor` on.
    ///
    /// `floor` is a position that the caller knows to have been durable: what is missing or bad
    /// before it is damage. [`Position::default`] says that nothing is known.
    ///
    /// # Errors
    /// `Damaged` if a durable record is not intact; a torn tail is cut off and told in [`Recovery`].
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        name: &'static str,
        options: SegmentOptions,
        floor: Position,
    ) -> Result<(Self, Recovery)> {
        disk.create_directory(&directory)
            .at("create directory", &directory)?;
        let reader = SegmentReader::new(disk, directory, name);
        let recovery = recovery::recover(&reader, floor)?;
        let tail = match recovery.end {
            Some(end) => reader.file(end.segment)?,
            None => begin_segment(&reader, 0)?,
        };
        let start = Position {
            segment: 0,
            offset: SEGMENT_HEAD_BYTES,
        };
        let end = recovery.end.unwrap_or(start);
        reader.set_first(recovery.first_segment);
        reader.set_end(end);
        let log = SegmentLog {
            reader,
            options,
            tail,
            end,
            durable: end,
            sync_times: Vec::new(),
            stopped: None,
        };
        Ok((log, recovery))
    }

    /// Appends one record, given in parts that are written one after the other, and returns its
    /// place. It is durable only after [`SegmentLog::sync`].
    pub fn append(&mut self, kind: u8, parts: &[&[u8]]) -> Result<Position> {
        self.check_running()?;
        let payload_bytes = parts.iter().map(|part| part.len() as u64).sum();
        check_payload_length(payload_bytes)?;
        let result = self.try_append(kind, parts, payload_bytes as u32);
        self.stop_on_failure(result)
    }

    /// Makes everything appended so far durable.
    pub fn sync(&mut self) -> Result<()> {
        self.check_running()?;
        if self.durable == self.end {
            return Ok(());
        }
        let path = self.reader.path(self.end.segment);
        let start = Instant::now();
        let result = self.tail.sync().at("sync", &path);
        self.stop_on_failure(result)?;
        if self.sync_times.len() < SYNC_TIMES_MAX {
            self.sync_times.push(start.elapsed());
        }
        self.durable = self.end;
        Ok(())
    }

    /// Drops all segments before `segment` (never the one being written) and returns how many.
    pub fn prune_before(&mut self, segment: u32) -> Result<u32> {
        self.check_running()?;
        let first = self.reader.start().segment;
        let keep = segment.min(self.end.segment);
        self.reader.set_first(first.max(keep));
        for number in first..keep {
            let path = self.reader.path(number);
            self.reader.disk().remove(&path).at("remove", &path)?;
        }
        if keep > first {
            let directory = self.reader.directory();
            self.reader
                .disk()
                .sync_directory(directory)
                .at("sync directory", directory)?;
        }
        Ok(keep.saturating_sub(first))
    }

    /// A reader that may go to other threads.
    pub fn reader(&self) -> SegmentReader {
        self.reader.clone()
    }

    /// Takes the times of the syncs since the last call, at most some 1,000 of them.
    pub fn take_sync_times(&mut self) -> Vec<Duration> {
        std::mem::take(&mut self.sync_times)
    }

    /// Where the next record will be put.
    pub fn end(&self) -> Position {
        self.end
    }

    /// Everything before this place survives a power cut.
    pub fn durable(&self) -> Position {
        self.durable
    }

    /// Bytes on disk of all kept segments.
    pub fn bytes(&self) -> Result<u64> {
        let mut total = 0;
        for number in self.reader.start().segment..=self.end.segment {
            let path = self.reader.path(number);
            total += self.reader.file(number)?.len().at("measure", &path)?;
        }
        Ok(total)
    }

    fn try_append(&mut self, kind: u8, parts: &[&[u8]], payload: u32) -> Result<Position> {
        let length = FRAME_HEAD_BYTES + payload;
        let full = self.end.offset.saturating_add(length) > self.options.segment_bytes;
        if full && self.end.offset > SEGMENT_HEAD_BYTES {
            self.roll()?;
        }
        let at = self.end;
        let head = FrameHead::seal(self.reader.log(), at, kind, self.durable, parts);
        let mut bytes = Vec::with_capacity(length as usize);
        bytes.extend_from_slice(&head.to_bytes());
        for part in parts {
            bytes.extend_from_slice(part);
        }
        let path = self.reader.path(at.segment);
        self.tail
            .write_at(u64::from(at.offset), &bytes)
            .at("write", &path)?;
        self.end.offset += length;
        self.reader.set_end(self.end);
        Ok(at)
    }

    fn roll(&mut self) -> Result<()> {
        let path = self.reader.path(self.end.segment);
        self.tail.sync().at("sync", &path)?;
        let segment = self.end.segment + 1;
        self.tail = begin_segment(&self.reader, segment)?;
        self.end = Position {
            segment,
            offset: SEGMENT_HEAD_BYTES,
        };
        self.durable = self.end;
        self.reader.set_end(self.end);
        Ok(())
    }

    fn check_running(&self) -> Result<()> {
        match &self.stopped {
            Some(first) => Err(StorageError::Stopped {
                first: first.clone(),
            }),
            None => Ok(()),
        }
    }

    fn stop_on_failure<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.stopped = Some(error.to_string());
        }
        result
    }
}

fn begin_segment(reader: &SegmentReader, number: u32) -> Result<Arc<dyn DiskFile>> {
    let path = reader.path(number);
    let file = reader.disk().create(&path).at("create", &path)?;
    file.set_len(0).at("cut", &path)?;
    file.write_at(0, &segment_head(reader.log(), number))
        .at("write", &path)?;
    file.sync().at("sync", &path)?;
    let directory = reader.directory();
    reader
        .disk()
        .sync_directory(directory)
        .at("sync directory", directory)?;
    reader.keep_handle(number, file.clone());
    Ok(file)
}
