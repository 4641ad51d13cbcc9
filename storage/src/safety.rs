//! The safety file of one validator key: what it promised last, in two slots that take turns.
//!
//! ```text
//! file: slot 0 (64 KiB) | slot 1 (64 KiB)
//! slot: 0 8 magic "cairnvot" | 8 8 sequence u64 LE | 16 32 validator key | 48 4 length u32 LE
//!       52 16 digest | 68 record
//! ```
//! digest = first 16 bytes of keyed BLAKE3 over the bytes before it and the record. Write `n` goes
//! to slot `n % 2`, so a write that tears leaves the record before it whole.
//!
//! Invariant: [`SafetyFile::write`] returns after the sync; after a failed write the file takes no
//! other, because nobody knows what is on the medium. A slot that is neither empty nor intact is
//! told: an acknowledged record may have been there. One process has the file at a time.
//! Rules: `spec/09-bft.md#durability`.

use crate::disk::{Disk, DiskFile};
use crate::error::{Result, StorageError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

/// Bytes of a slot: the longest record (a certificate of 512 validators and under 1 KB) fits.
const SLOT_BYTES: usize = 64 * 1024;
/// Bytes before the record.
const HEAD_BYTES: usize = 68;
/// Bytes that the digest covers before the record.
const COVERED_BYTES: usize = 52;
/// The longest record.
pub const SAFETY_RECORD_BYTES_MAX: usize = SLOT_BYTES - HEAD_BYTES;

const MAGIC: [u8; 8] = *b"cairnvot";

static DIGEST_KEY: LazyLock<[u8; 32]> =
    LazyLock::new(|| blake3::derive_key("cairn v1 safety file", b""));

/// What a safety file held when it was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LastPromise {
    /// The file was made just now.
    New,
    /// The last record, intact.
    Record(Vec<u8>),
    /// A slot is damaged: a torn write, or a record that rotted. `older` is what the other slot
    /// says; the damaged one may have promised more.
    Damaged {
        /// The intact record, if any.
        older: Option<Vec<u8>>,
    },
}

/// The file.
#[derive(Debug)]
pub struct SafetyFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    key: [u8; 32],
    next: u64,
    failed: bool,
}

enum Slot {
    Empty,
    Intact { sequence: u64, record: Vec<u8> },
    Damaged,
}

impl SafetyFile {
    /// Opens the safety file of `key`, or makes it.
    ///
    /// Errors: another process has it, it belongs to another key, the disk fails.
    pub fn open(disk: &dyn Disk, path: &Path, key: [u8; 32]) -> Result<(SafetyFile, LastPromise)> {
        let io = io_at(path, "open");
        let file = disk.create(path).map_err(&io)?;
        if !file.try_lock().map_err(&io)? {
            return Err(StorageError::SafetyFile {
                path: path.to_owned(),
                reason: "another process votes with this key; stop it first".to_owned(),
            });
        }
        let (mut next, mut last) = (1, LastPromise::New);
        if file.len().map_err(&io)? == 0 {
            file.set_len(2 * SLOT_BYTES as u64).map_err(&io)?;
            file.sync().map_err(&io)?;
            if let Some(directory) = path.parent() {
                disk.sync_directory(directory).map_err(&io)?;
            }
        } else {
            let slots = [
                read_slot(&*file, path, 0, &key)?,
                read_slot(&*file, path, 1, &key)?,
            ];
            (next, last) = judge(slots);
        }
        let mut file = SafetyFile {
            file,
            path: path.to_owned(),
            key,
            next,
            failed: false,
        };
        if let LastPromise::Record(record) = &last {
            // It may be in the page cache only: a write that never was synced, or whose sync failed.
            file.write(record)?;
        }
        Ok((file, last))
    }

    /// Writes and syncs a record. When it returns, the promise may leave.
    ///
    /// Errors: the disk fails, now or at an earlier write; the record is too long.
    pub fn write(&mut self, record: &[u8]) -> Result<()> {
        let refuse = |reason: String| StorageError::SafetyFile {
            path: self.path.clone(),
            reason,
        };
        if self.failed {
            return Err(refuse("an earlier write failed".to_owned()));
        }
        if record.len() > SAFETY_RECORD_BYTES_MAX {
            let bytes = record.len();
            let reason = format!("record of {bytes} bytes exceeds {SAFETY_RECORD_BYTES_MAX}");
            return Err(refuse(reason));
        }
        let mut slot = Vec::with_capacity(HEAD_BYTES + record.len());
        slot.extend_from_slice(&MAGIC);
        slot.extend_from_slice(&self.next.to_le_bytes());
        slot.extend_from_slice(&self.key);
        slot.extend_from_slice(&(record.len() as u32).to_le_bytes());
        let digest = digest(&slot, record);
        slot.extend_from_slice(&digest);
        slot.extend_from_slice(record);
        let offset = self.next % 2 * SLOT_BYTES as u64;
        let written = self.file.write_at(offset, &slot);
        let synced = written.and_then(|()| self.file.sync());
        self.failed = synced.is_err();
        self.next += 1;
        synced.map_err(io_at(&self.path, "write"))
    }
}

fn io_at(path: &Path, doing: &'static str) -> impl Fn(std::io::Error) -> StorageError {
    let path = path.to_owned();
    move |source| StorageError::Io {
        doing,
        path: path.clone(),
        source,
    }
}

fn digest(head: &[u8], record: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_keyed(&DIGEST_KEY);
    hasher.update(head).update(record);
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    digest
}

fn read_slot(file: &dyn DiskFile, path: &Path, number: u64, key: &[u8; 32]) -> Result<Slot> {
    let io = io_at(path, "read");
    let offset = number * SLOT_BYTES as u64;
    // A file that was cut has lost a record: what is missing reads as damage.
    let available = file.len().map_err(&io)?.saturating_sub(offset);
    if available < HEAD_BYTES as u64 {
        return Ok(Slot::Damaged);
    }
    let mut slot = vec![0; available.min(SLOT_BYTES as u64) as usize];
    file.read_at(offset, &mut slot).map_err(&io)?;
    if slot.iter().all(|byte| *byte == 0) && slot.len() == SLOT_BYTES {
        return Ok(Slot::Empty);
    }
    let number_at = |at: usize| u32::from_le_bytes(slot[at..at + 4].try_into().expect("4 bytes"));
    let length = number_at(48) as usize;
    let Some(record) = slot.get(HEAD_BYTES..).and_then(|rest| rest.get(..length)) else {
        return Ok(Slot::Damaged);
    };
    let is_intact = slot[..8] == MAGIC
        && slot[COVERED_BYTES..HEAD_BYTES] == digest(&slot[..COVERED_BYTES], record);
    if !is_intact {
        return Ok(Slot::Damaged);
    }
    if slot[16..48] != *key {
        return Err(StorageError::SafetyFile {
            path: path.to_owned(),
            reason: format!(
                "it belongs to validator key {}, not to {}",
                hex(&slot[16..48]),
                hex(key)
            ),
        });
    }
    Ok(Slot::Intact {
        sequence: u64::from_le_bytes(slot[8..16].try_into().expect("8 bytes")),
        record: record.to_vec(),
    })
}

/// The next sequence and what the slots say together.
fn judge([zero, one]: [Slot; 2]) -> (u64, LastPromise) {
    use Slot::{Damaged, Empty, Intact};
    match (zero, one) {
        (Empty, Empty) => (1, LastPromise::New),
        (Intact { sequence, record }, Empty) | (Empty, Intact { sequence, record }) => {
            (sequence + 1, LastPromise::Record(record))
        }
        (Intact { sequence, record }, Damaged) | (Damaged, Intact { sequence, record }) => {
            // The damaged slot had the sequence after or before; a write over it counts on.
            let older = Some(record);
            (sequence + 1, LastPromise::Damaged { older })
        }
        (
            Intact { sequence, record },
            Intact {
                sequence: other,
                record: others,
            },
        ) => {
            let (sequence, record) = if sequence > other {
                (sequence, record)
            } else {
                (other, others)
            };
            (sequence + 1, LastPromise::Record(record))
        }
        (Damaged, Damaged | Empty) | (Empty, Damaged) => (1, LastPromise::Damaged { older: None }),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
