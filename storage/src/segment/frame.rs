//! One record of a segment: its place, its bytes on disk and its digest.
//!
//! ```text
//! frame:   0 4 magic "crnf" | 4 4 payload length u32 LE | 8 1 kind | 9 7 zero | 16 8 durable u64 LE
//!          24 16 digest | 40 payload
//! segment: 0 8 magic "cairnseg" | 8 4 version u32 LE | 12 4 number u32 LE | 16 16 log name, zero padded
//!          32 16 digest | 48 frames
//! ```
//! digest = first 16 bytes of keyed BLAKE3 over log name, position, head without digest, payload. The
//! position is inside, so that a frame found at a place where it was not written does not pass.

use crate::error::{Result, StorageError};
use std::fmt;
use std::sync::LazyLock;

/// Bytes before a frame's payload.
pub const FRAME_HEAD_BYTES: u32 = 40;
/// Bytes before a segment's first frame.
pub(super) const SEGMENT_HEAD_BYTES: u32 = 48;
/// Largest payload: 64 MiB, sixteen times the largest block that a chain specification may allow, so
/// that no limit of storage ever acts as a rule of consensus.
pub const PAYLOAD_BYTES_MAX: u32 = 64 << 20;

const FRAME_MAGIC: [u8; 4] = *b"crnf";
const SEGMENT_MAGIC: [u8; 8] = *b"cairnseg";
const SEGMENT_VERSION: u32 = 1;

static DIGEST_KEY: LazyLock<[u8; 32]> =
    LazyLock::new(|| blake3::derive_key("cairn v1 segment frame", b""));

/// Where a record begins: segment number and byte offset in that file. Ordered as written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Number of the segment.
    pub segment: u32,
    /// Byte offset in the segment's file.
    pub offset: u32,
}

impl Position {
    /// As one number that sorts alike.
    pub fn to_u64(self) -> u64 {
        u64::from(self.segment) << 32 | u64::from(self.offset)
    }

    /// From [`Position::to_u64`].
    pub fn from_u64(value: u64) -> Self {
        Position {
            segment: (value >> 32) as u32,
            offset: value as u32,
        }
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} offset {}", self.segment, self.offset)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// An intact record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where it begins.
    pub position: Position,
    /// The writer's tag for the kind of record.
    pub kind: u8,
    /// Everything before this position was synced when the frame was written.
    pub durable: Position,
    /// The record.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Where the next record begins if it is in the same segment.
    pub fn end(&self) -> Position {
        let length = FRAME_HEAD_BYTES + self.payload.len() as u32;
        Position {
            offset: self.position.offset + length,
            ..self.position
        }
    }
}

/// The fixed part of a frame, before its payload is known to be intact.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameHead {
    pub length: u32,
    pub kind: u8,
    pub durable: Position,
    digest: [u8; 16],
}

impl FrameHead {
    /// Builds the head of a payload given in parts.
    pub fn seal(log: &str, at: Position, kind: u8, durable: Position, parts: &[&[u8]]) -> Self {
        let length = parts.iter().map(|part| part.len()).sum::<usize>() as u32;
        let mut head = FrameHead {
            length,
            kind,
            durable,
            digest: [0; 16],
        };
        head.digest = head.digest(log, at, parts);
        head
    }

    fn digest(&self, log: &str, at: Position, parts: &[&[u8]]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&DIGEST_KEY);
        hasher.update(&log_name(log));
        hasher.update(&at.to_u64().to_le_bytes());
        hasher.update(&self.to_bytes()[..24]);
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize().as_bytes()[..16]
            .try_into()
            .expect("a digest has 32 bytes")
    }

    pub fn to_bytes(self) -> [u8; FRAME_HEAD_BYTES as usize] {
        let mut bytes = [0; FRAME_HEAD_BYTES as usize];
        bytes[..4].copy_from_slice(&FRAME_MAGIC);
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8] = self.kind;
        bytes[16..24].copy_from_slice(&self.durable.to_u64().to_le_bytes());
        bytes[24..].copy_from_slice(&self.digest);
        bytes
    }

    /// None if this cannot be the head of a frame.
    pub fn from_bytes(bytes: &[u8; FRAME_HEAD_BYTES as usize]) -> Option<Self> {
        let length = u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes"));
        let durable = u64::from_le_bytes(bytes[16..24].try_into().expect("eight bytes"));
        let fits = bytes[..4] == FRAME_MAGIC && length <= PAYLOAD_BYTES_MAX;
        (fits && bytes[9..16] == [0; 7]).then(|| FrameHead {
            length,
            kind: bytes[8],
            durable: Position::from_u64(durable),
            digest: bytes[24..].try_into().expect("sixteen bytes"),
        })
    }

    /// True if the payload is the one this head was sealed with, at this place.
    pub fn matches(&self, log: &str, at: Position, payload: &[u8]) -> bool {
        payload.len() == self.length as usize && self.digest(log, at, &[payload]) == self.digest
    }
}

pub(super) fn find_magic(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == FRAME_MAGIC)
}

fn log_name(log: &str) -> [u8; 16] {
    let mut name = [0; 16];
    let bytes = log.as_bytes();
    assert!(
        bytes.len() <= name.len(),
        "log name {log:?} is longer than 16 bytes"
    );
    name[..bytes.len()].copy_from_slice(bytes);
    name
}

/// First bytes of a segment file.
pub(super) fn segment_head(log: &str, number: u32) -> [u8; SEGMENT_HEAD_BYTES as usize] {
    let mut bytes = [0; SEGMENT_HEAD_BYTES as usize];
    bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
    bytes[8..12].copy_from_slice(&SEGMENT_VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&number.to_le_bytes());
    bytes[16..32].copy_from_slice(&log_name(log));
    let digest = blake3::keyed_hash(&DIGEST_KEY, &bytes[..32]);
    bytes[32..].copy_from_slice(&digest.as_bytes()[..16]);
    bytes
}

/// Refuses a payload that no frame can hold.
pub(super) fn check_payload_length(length: u64) -> Result<()> {
    if length > u64::from(PAYLOAD_BYTES_MAX) {
        return Err(StorageError::TooLarge {
            what: "record of a segment",
            found: length,
            bound: u64::from(PAYLOAD_BYTES_MAX),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_passes_only_at_its_place_with_its_bytes() {
        let at = Position {
            segment: 3,
            offset: 48,
        };
        let head = FrameHead::seal("blocks", at, 1, Position::default(), &[b"ab", b"c"]);
        let again = FrameHead::from_bytes(&head.to_bytes()).unwrap();
        assert!(again.matches("blocks", at, b"abc"));
        assert!(!again.matches("blocks", at, b"abd"));
        assert!(!again.matches("blocks", at, b"abcd"));
        assert!(!again.matches("undo", at, b"abc"));
        assert!(!again.matches(
            "blocks",
            Position {
                segment: 3,
                offset: 49
            },
            b"abc"
        ));
    }

    #[test]
    fn every_flipped_bit_of_a_head_is_noticed() {
        let at = Position {
            segment: 0,
            offset: 48,
        };
        let good = FrameHead::seal("blocks", at, 7, at, &[b"payload"]).to_bytes();
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            let passes = FrameHead::from_bytes(&bad)
                .is_some_and(|head| head.matches("blocks", at, b"payload"));
            assert!(!passes, "bit {bit} flipped and not noticed");
        }
    }

    #[test]
    fn positions_sort_as_numbers() {
        let low = Position {
            segment: 1,
            offset: u32::MAX,
        };
        let high = Position {
            segment: 2,
            offset: 0,
        };
        assert!(low < high && low.to_u64() < high.to_u64());
        assert_eq!(Position::from_u64(low.to_u64()), low);
    }
}
