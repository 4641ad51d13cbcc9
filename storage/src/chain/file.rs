//! A chain in one file: what `chain export` writes and `chain import` reads.
//!
//! ```text
//! head:  0 8 magic "cairnchn" | 8 4 version u32 LE | 12 32 genesis id | 44 8 first height u64 LE
//!        52 8 count u64 LE | 60 16 digest
//! block: 0 4 length u32 LE | 4 16 digest | 20 block
//! ```
//! A digest is the first 16 bytes of keyed BLAKE3 over the genesis id, the height (u64 LE, of the head
//! u64::MAX) and the bytes. Blocks stand in height order. Invariant: a reader gives out only intact
//! blocks in order, and says where a file is cut or damaged.

use super::snapshot::ChainSnapshot;
use crate::error::{Result, StorageError};
use cairn_protocol::block::Block;
use cairn_protocol::hash::BlockId;
use cairn_protocol::limits::BLOCK_BYTES_MAX;
use cairn_protocol::units::Height;
use std::io::{self, Read, Write};
use std::sync::LazyLock;

const MAGIC: &[u8; 8] = b"cairnchn";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 76;
const BLOCK_HEAD_BYTES: usize = 20;

static DIGEST_KEY: LazyLock<[u8; 32]> =
    LazyLock::new(|| blake3::derive_key("cairn v1 chain file", b""));

fn digest(chain_id: &BlockId, height: u64, bytes: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_keyed(&DIGEST_KEY);
    hasher
        .update(chain_id.as_bytes())
        .update(&height.to_le_bytes())
        .update(bytes);
    hasher.finalize().as_bytes()[..16]
        .try_into()
        .expect("a digest has 32 bytes")
}

/// How far long work has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Blocks done.
    pub blocks: u64,
    /// Blocks in all.
    pub blocks_total: u64,
    /// Bytes of blocks done.
    pub bytes: u64,
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> StorageError {
    move |source| StorageError::Io {
        doing,
        path: "chain file".into(),
        source,
    }
}

/// Writes a chain file.
#[derive(Debug)]
pub struct ChainFileWriter<W: Write> {
    out: W,
    chain_id: BlockId,
    height: Height,
    end: Height,
}

impl<W: Write> ChainFileWriter<W> {
    /// Begins a file of `count` blocks from height `first` on.
    pub fn new(mut out: W, chain_id: BlockId, first: Height, count: u64) -> Result<Self> {
        let mut head = [0; HEAD_BYTES];
        head[..8].copy_from_slice(MAGIC);
        head[8..12].copy_from_slice(&VERSION.to_le_bytes());
        head[12..44].copy_from_slice(chain_id.as_bytes());
        head[44..52].copy_from_slice(&first.to_le_bytes());
        head[52..60].copy_from_slice(&count.to_le_bytes());
        let sum = digest(&chain_id, u64::MAX, &head[..60]);
        head[60..].copy_from_slice(&sum);
        out.write_all(&head).map_err(failed("write"))?;
        Ok(ChainFileWriter {
            out,
            chain_id,
            height: first,
            end: first + count,
        })
    }

    /// Appends the block of the next height.
    pub fn append(&mut self, block: &[u8]) -> Result<()> {
        if self.height >= self.end {
            let text = format!("the chain file ends before height {}", self.height);
            return Err(StorageError::Misuse(text));
        }
        let length = u32::try_from(block.len()).expect("a block is below 4 GiB");
        self.out
            .write_all(&length.to_le_bytes())
            .map_err(failed("write"))?;
        let sum = digest(&self.chain_id, self.height, block);
        self.out.write_all(&sum).map_err(failed("write"))?;
        self.out.write_all(block).map_err(failed("write"))?;
        self.height += 1;
        Ok(())
    }

    /// Flushes and gives the output back; the caller syncs it if it is a file.
    pub fn finish(mut self) -> Result<W> {
        if self.height != self.end {
            let text = format!(
                "the chain file misses heights {}..{}",
                self.height, self.end
            );
            return Err(StorageError::Misuse(text));
        }
        self.out.flush().map_err(failed("write"))?;
        Ok(self.out)
    }
}

/// Writes the active chain above genesis up to the snapshot's tip, and returns the output.
///
/// # Errors
/// `Pruned` or `Damaged`, naming the block that cannot be read.
pub fn export_chain<W: Write>(
    snapshot: &ChainSnapshot,
    out: W,
    progress: &mut dyn FnMut(Progress),
) -> Result<W> {
    let (tip, _) = snapshot.tip();
    let mut writer = ChainFileWriter::new(out, snapshot.chain_id(), 1, tip)?;
    let mut done = Progress {
        blocks_total: tip,
        ..Progress::default()
    };
    for height in 1..=tip {
        let missing = || StorageError::Missing {
            what: format!("block of height {height}"),
        };
        let id = snapshot.block_id_at(height)?.ok_or_else(missing)?;
        let bytes = snapshot.block_bytes(&id)?.ok_or_else(missing)?;
        writer.append(&bytes)?;
        done.blocks += 1;
        done.bytes += bytes.len() as u64;
        progress(done);
    }
    writer.finish()
}

/// Reads a chain file, block by block.
#[derive(Debug)]
pub struct ChainFileReader<R: Read> {
    input: R,
    chain_id: BlockId,
    height: Height,
    end: Height,
    done: Progress,
}

impl<R: Read> ChainFileReader<R> {
    /// Reads the head and checks that the file is of this chain.
    pub fn new(mut input: R, chain_id: BlockId) -> Result<Self> {
        let mut head = [0; HEAD_BYTES];
        let short = "the file is shorter than a chain file's head; is it one?";
        read_all(&mut input, &mut head, || short.to_owned())?;
        if &head[..8] != MAGIC {
            return Err(not_usable("it does not begin as a chain file"));
        }
        let version = u32::from_le_bytes(head[8..12].try_into().expect("four bytes"));
        if version != VERSION {
            let text = format!("it has version {version}, this program reads {VERSION}");
            return Err(not_usable(&text));
        }
        let found = BlockId(head[12..44].try_into().expect("32 bytes"));
        if digest(&found, u64::MAX, &head[..60]) != head[60..] {
            return Err(not_usable("its head is damaged"));
        }
        if found != chain_id {
            let text = format!("it holds the chain of genesis {found}, expected {chain_id}");
            return Err(not_usable(&text));
        }
        let number =
            |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let (first, count) = (number(44), number(52));
        let end = first
            .checked_add(count)
            .ok_or_else(|| not_usable("its heights overflow"))?;
        let done = Progress {
            blocks_total: count,
            ..Progress::default()
        };
        Ok(ChainFileReader {
            input,
            chain_id,
            height: first,
            end,
            done,
        })
    }

    /// Height of the next block, and the one after the last.
    pub fn heights(&self) -> (Height, Height) {
        (self.height, self.end)
    }

    /// How far reading has come.
    pub fn progress(&self) -> Progress {
        self.done
    }

    /// The next block; none at the end.
    pub fn next_block(&mut self) -> Result<Option<Block>> {
        if self.height >= self.end {
            return Ok(None);
        }
        let height = self.height;
        let cut = || format!("it is cut at the block of height {height}");
        let mut head = [0; BLOCK_HEAD_BYTES];
        read_all(&mut self.input, &mut head, cut)?;
        let length = u32::from_le_bytes(head[..4].try_into().expect("four bytes")) as usize;
        let damaged = |why: &str| not_usable(&format!("its block of height {height} {why}"));
        if length > BLOCK_BYTES_MAX {
            return Err(damaged(&format!(
                "has {length} bytes, at most {BLOCK_BYTES_MAX} may be"
            )));
        }
        let mut bytes = vec![0; length];
        read_all(&mut self.input, &mut bytes, cut)?;
        if digest(&self.chain_id, height, &bytes) != head[4..] {
            return Err(damaged("does not match its digest"));
        }
        let block = Block::from_bytes(&bytes).map_err(|error| damaged(&error.to_string()))?;
        self.height += 1;
        self.done.blocks += 1;
        self.done.bytes += length as u64;
        Ok(Some(block))
    }
}

impl<R: Read> Iterator for ChainFileReader<R> {
    type Item = Result<Block>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_block();
        if next.is_err() {
            self.height = self.end;
        }
        next.transpose()
    }
}

fn read_all(input: &mut impl Read, out: &mut [u8], cut: impl Fn() -> String) -> Result<()> {
    input.read_exact(out).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => not_usable(&cut()),
        _ => failed("read")(error),
    })
}

fn not_usable(why: &str) -> StorageError {
    StorageError::Damaged {
        what: format!("chain file: {why}"),
        advice: "export it again; what stands before the damage has been read",
    }
}
