//! A sorted run of writes in a temporary file, with an index of its blocks in memory.
//!
//! ```text
//! block  = record*            about 16 KiB; the index has each block's first place and offset
//! record = place length u32, place, u8 (1 if there is a row, + 2 * kind), row length u32, row
//! ```
//! The file has no name: it is gone when the process is.

use super::layer::{Write, WriteKind};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

const BLOCK_BYTES: usize = 16 << 10;

type Block = Vec<(Vec<u8>, Write)>;

#[derive(Debug)]
enum Source {
    Memory(BTreeMap<Vec<u8>, Write>),
    File {
        file: File,
        /// First place, offset and length of each block.
        blocks: Vec<(Vec<u8>, u64, usize)>,
        /// The block read last: scans ask for its neighbours.
        last: parking_lot::Mutex<Option<(usize, Arc<Block>)>>,
    },
}

/// A run.
#[derive(Debug)]
pub(super) struct Run(Source);

impl Run {
    pub(super) fn in_memory(writes: BTreeMap<Vec<u8>, Write>) -> Self {
        Run(Source::Memory(writes))
    }

    pub(super) fn write(directory: &Path, writes: &BTreeMap<Vec<u8>, Write>) -> io::Result<Self> {
        let file = unnamed_file(directory)?;
        let mut blocks = Vec::new();
        let mut out = BufWriter::new(file);
        let mut block = Vec::with_capacity(BLOCK_BYTES * 2);
        let mut first: Option<&Vec<u8>> = None;
        let mut offset = 0u64;
        for (place, write) in writes {
            first.get_or_insert(place);
            append(&mut block, place, write);
            if block.len() >= BLOCK_BYTES {
                out.write_all(&block)?;
                blocks.push((
                    first.take().cloned().unwrap_or_default(),
                    offset,
                    block.len(),
                ));
                offset += block.len() as u64;
                block.clear();
            }
        }
        if let Some(first) = first {
            out.write_all(&block)?;
            blocks.push((first.clone(), offset, block.len()));
        }
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Run(Source::File {
            file,
            blocks,
            last: parking_lot::Mutex::default(),
        }))
    }

    fn block(&self, index: usize) -> io::Result<Arc<Block>> {
        let Source::File { file, blocks, last } = &self.0 else {
            return Ok(Arc::default());
        };
        if let Some((known, block)) = &*last.lock()
            && *known == index
        {
            return Ok(block.clone());
        }
        let (_, offset, length) = &blocks[index];
        let mut bytes = vec![0; *length];
        file.read_exact_at(&mut bytes, *offset)?;
        let block = Arc::new(parse(&bytes)?);
        *last.lock() = Some((index, block.clone()));
        Ok(block)
    }

    pub(super) fn get(&self, place: &[u8]) -> io::Result<Option<Write>> {
        let blocks = match &self.0 {
            Source::Memory(writes) => return Ok(writes.get(place).cloned()),
            Source::File { blocks, .. } => blocks,
        };
        let after = blocks.partition_point(|(first, ..)| first.as_slice() <= place);
        let Some(index) = after.checked_sub(1) else {
            return Ok(None);
        };
        let block = self.block(index)?;
        let found = block.binary_search_by(|(known, _)| known.as_slice().cmp(place));
        Ok(found.ok().map(|at| block[at].1.clone()))
    }

    /// The first write between the bounds, or the last one.
    pub(super) fn next(
        &self,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        reverse: bool,
    ) -> io::Result<Option<(Vec<u8>, Write)>> {
        let blocks = match &self.0 {
            Source::Memory(writes) => {
                let mut range = writes.range::<[u8], _>(bounds);
                let found = if reverse {
                    range.next_back()
                } else {
                    range.next()
                };
                return Ok(found.map(|(place, write)| (place.clone(), write.clone())));
            }
            Source::File { blocks, .. } => blocks,
        };
        let (from, to) = bounds;
        let is_after = |place: &[u8]| match from {
            Bound::Unbounded => true,
            Bound::Included(from) => place >= from,
            Bound::Excluded(from) => place > from,
        };
        let is_before = |place: &[u8]| match to {
            Bound::Unbounded => true,
            Bound::Included(to) => place <= to,
            Bound::Excluded(to) => place < to,
        };
        if reverse {
            let count = blocks.partition_point(|(first, ..)| is_before(first));
            for index in (0..count).rev() {
                let block = self.block(index)?;
                let end = block.partition_point(|(place, _)| is_before(place));
                if let Some(found) = end.checked_sub(1).map(|at| &block[at]) {
                    return Ok(is_after(&found.0).then(|| found.clone()));
                }
            }
            return Ok(None);
        }
        let after = blocks.partition_point(|(first, ..)| !is_after(first));
        for index in after.saturating_sub(1)..blocks.len() {
            let block = self.block(index)?;
            let start = block.partition_point(|(place, _)| !is_after(place));
            if let Some(found) = block.get(start) {
                return Ok(is_before(&found.0).then(|| found.clone()));
            }
        }
        Ok(None)
    }
}

fn append(block: &mut Vec<u8>, place: &[u8], write: &Write) {
    block.extend_from_slice(&(place.len() as u32).to_le_bytes());
    block.extend_from_slice(place);
    let row = write.row.as_deref().unwrap_or_default();
    block.push(u8::from(write.row.is_some()) + 2 * write.kind as u8);
    block.extend_from_slice(&(row.len() as u32).to_le_bytes());
    block.extend_from_slice(row);
}

fn parse(mut bytes: &[u8]) -> io::Result<Block> {
    let mut block = Vec::new();
    while !bytes.is_empty() {
        let place = take_text(&mut bytes)?.to_vec();
        let kind = *bytes.split_off_first().ok_or_else(cut)?;
        let row = take_text(&mut bytes)?;
        let write = Write {
            row: (kind & 1 != 0).then(|| row.into()),
            kind: match kind >> 1 {
                0 => WriteKind::Row,
                1 => WriteKind::Index,
                _ => WriteKind::Derived,
            },
        };
        block.push((place, write));
    }
    Ok(block)
}

fn take_text<'a>(bytes: &mut &'a [u8]) -> io::Result<&'a [u8]> {
    let length = bytes.split_off(..4).ok_or_else(cut)?;
    let length = u32::from_le_bytes(length.try_into().map_err(|_| cut())?);
    bytes.split_off(..length as usize).ok_or_else(cut)
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a temporary file was changed")
}

fn unnamed_file(directory: &Path) -> io::Result<File> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = directory.join(format!("spill-{}-{number}", std::process::id()));
    let mut options = File::options();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
