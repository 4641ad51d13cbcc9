//! Bytes of a segment's head and of a frame.
//!
//! ```text
//! head:   0  8 magic "cairnlog" | 8 4 version u32 = 1 | 12 4 block u32 | 16 8 number u64 | 24 16 salt
//!        40 16 log id | 56 8 first batch u64 | 64 16 digest of the frame before | 80 16 digest
//! frame:  0  4 magic "crlf" | 4 4 payload length u32 | 8 16 salt | 24 8 generation u64 | 32 8 batch u64
//!        40  1 kind | 41 7 zero | 48 16 digest of the frame before | 64 16 digest | 80 payload
//! ```
//! digest = first 16 bytes of BLAKE3 keyed for its use, over log id, segment number u64 and offset u64
//! (frames only), the bytes before the digest, and the payload. Numbers are little-endian. Each frame
//! begins at a multiple of the block, so that no write touches a block that was acknowledged before.
//!
//! Invariant: a frame passes only at the place where it was written, in the life of the file in which
//! it was written: files are used again, their salts are not. Nobody who writes rows knows the salt, so
//! no row can look like a frame.

use crate::limits::FRAME_BYTES_MAX;
use std::sync::LazyLock;

pub(super) const FRAME_HEAD_BYTES: usize = 80;
pub(super) const SEGMENT_HEAD_BYTES: usize = 96;
const FRAME_MAGIC: [u8; 4] = *b"crlf";
const SEGMENT_MAGIC: [u8; 8] = *b"cairnlog";
const VERSION: u32 = 1;

/// A digest of a frame.
pub(super) type Digest = [u8; 16];

static FRAME_KEY: LazyLock<[u8; 32]> =
    LazyLock::new(|| blake3::derive_key("cairn v1 log frame", b""));
static SEGMENT_KEY: LazyLock<[u8; 32]> =
    LazyLock::new(|| blake3::derive_key("cairn v1 log segment", b""));

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// Records of one sync.
    Batch,
    /// Nothing: it shows that the frame before was synced.
    Seal,
    /// The first frame of a run: the state of all groups, in the next generation.
    Opening,
}

impl FrameKind {
    fn tag(self) -> u8 {
        match self {
            FrameKind::Batch => 0,
            FrameKind::Seal => 1,
            FrameKind::Opening => 2,
        }
    }

    fn from_tag(tag: u8) -> Option<Self> {
        [FrameKind::Batch, FrameKind::Seal, FrameKind::Opening]
            .into_iter()
            .find(|kind| kind.tag() == tag)
    }
}

/// The head of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHead {
    /// Frames begin at multiples of it.
    pub block: u32,
    pub number: u64,
    pub salt: [u8; 16],
    /// The same in all segments of a log.
    pub log: [u8; 16],
    pub first_batch: u64,
    pub previous: Digest,
}

impl SegmentHead {
    pub fn to_bytes(self) -> [u8; SEGMENT_HEAD_BYTES] {
        let mut bytes = [0; SEGMENT_HEAD_BYTES];
        bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.block.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.salt);
        bytes[40..56].copy_from_slice(&self.log);
        bytes[56..64].copy_from_slice(&self.first_batch.to_le_bytes());
        bytes[64..80].copy_from_slice(&self.previous);
        let digest = blake3::keyed_hash(&SEGMENT_KEY, &bytes[..80]);
        bytes[80..].copy_from_slice(&digest.as_bytes()[..16]);
        bytes
    }

    /// None if these are not the bytes of a head.
    pub fn from_bytes(bytes: &[u8; SEGMENT_HEAD_BYTES]) -> Option<Self> {
        let head = SegmentHead {
            block: u32_at(bytes, 12),
            number: u64_at(bytes, 16),
            salt: array_at(bytes, 24),
            log: array_at(bytes, 40),
            first_batch: u64_at(bytes, 56),
            previous: array_at(bytes, 64),
        };
        (head.block.is_power_of_two() && head.block >= 512 && head.to_bytes() == *bytes)
            .then_some(head)
    }

    /// Where the first frame begins.
    pub fn first_frame(&self) -> u64 {
        u64::from(self.block)
    }

    /// Bytes that a frame takes.
    pub fn room(&self, payload: usize) -> u64 {
        ((FRAME_HEAD_BYTES + payload) as u64).next_multiple_of(u64::from(self.block))
    }
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub length: u32,
    pub generation: u64,
    pub batch: u64,
    pub kind: FrameKind,
    pub previous: Digest,
}

impl FrameHead {
    /// A frame's bytes, padded to the block, and its digest.
    pub fn seal(&self, segment: &SegmentHead, offset: u64, payload: &[u8]) -> (Vec<u8>, Digest) {
        let mut bytes = Vec::with_capacity(segment.room(payload.len()) as usize);
        bytes.extend_from_slice(&self.start(segment));
        let digest = digest(segment, offset, &bytes, payload);
        bytes.extend_from_slice(&digest);
        bytes.extend_from_slice(payload);
        bytes.resize(segment.room(payload.len()) as usize, 0);
        (bytes, digest)
    }

    fn start(&self, segment: &SegmentHead) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..4].copy_from_slice(&FRAME_MAGIC);
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..24].copy_from_slice(&segment.salt);
        bytes[24..32].copy_from_slice(&self.generation.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.batch.to_le_bytes());
        bytes[40] = self.kind.tag();
        bytes[48..64].copy_from_slice(&self.previous);
        bytes
    }

    /// None if this cannot be the head of a frame of this segment.
    pub fn from_bytes(bytes: &[u8; FRAME_HEAD_BYTES], segment: &SegmentHead) -> Option<Self> {
        let head = FrameHead {
            length: u32_at(bytes, 4),
            generation: u64_at(bytes, 24),
            batch: u64_at(bytes, 32),
            kind: FrameKind::from_tag(bytes[40])?,
            previous: array_at(bytes, 48),
        };
        let fits = head.length as usize <= FRAME_BYTES_MAX;
        (fits && bytes[..64] == head.start(segment)).then_some(head)
    }
}

/// The digest that a frame at this place must have.
pub(super) fn digest(segment: &SegmentHead, offset: u64, start: &[u8], payload: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new_keyed(&FRAME_KEY);
    hasher.update(&segment.log);
    hasher.update(&segment.number.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(start);
    hasher.update(payload);
    array_at(hasher.finalize().as_bytes(), 0)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the range has N bytes")
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}
