//! The records of the chain's log: everything that ever happened to the chain, in order.
//!
//! | kind | payload |
//! |---|---|
//! | 1 header | height u64 LE, header record |
//! | 2 block | block |
//! | 3 connect | block id, undo data |
//! | 4 disconnect | block id |
//! | 5 invalid | block id, text of the broken rule |
//! | 6 floor | block id |
//!
//! Invariant: a header's record stands before its block's, a block's before its connection's; so what
//! survives a power cut is a prefix in which every reference is satisfied.

use crate::error::{Result, StorageError};
use crate::segment::{Frame, SegmentLog, SegmentReader};
use cairn_protocol::block::{Block, HeaderRecord};
use cairn_protocol::codec;
use cairn_protocol::hash::BlockId;
use cairn_protocol::ledger::BlockUndo;
use cairn_protocol::units::Height;

const HEADER: u8 = 1;
const BLOCK: u8 = 2;
const CONNECT: u8 = 3;
const DISCONNECT: u8 = 4;
const INVALID: u8 = 5;
const FLOOR: u8 = 6;

/// Bytes of a record's largest typed part (a block or its undo data).
const PART_BYTES_MAX: usize = crate::segment::PAYLOAD_BYTES_MAX as usize;

/// A decoded record.
#[derive(Debug)]
pub(super) enum Record {
    Header(Height, Box<HeaderRecord>),
    Block(Box<Block>),
    Connect(BlockId, Box<BlockUndo>),
    Disconnect(BlockId),
    Invalid(BlockId, String),
    Floor(BlockId),
}

impl Record {
    /// Decodes a frame of the log.
    pub fn read(log: &SegmentReader, frame: &Frame) -> Result<Record> {
        let bad = |why: &str| StorageError::damaged(format!("{}: {why}", log.name(frame.position)));
        let payload = frame.payload.as_slice();
        let id = || {
            let (id, rest) = payload
                .split_first_chunk::<32>()
                .ok_or_else(|| bad("no block id"))?;
            Ok((BlockId(*id), rest))
        };
        let malformed = |error: codec::DecodeError| bad(&error.to_string());
        Ok(match frame.kind {
            HEADER => {
                let (height, record) = payload
                    .split_first_chunk::<8>()
                    .ok_or_else(|| bad("no height"))?;
                let record = codec::decode(record, PART_BYTES_MAX).map_err(malformed)?;
                Record::Header(u64::from_le_bytes(*height), Box::new(record))
            }
            BLOCK => Record::Block(Box::new(Block::from_bytes(payload).map_err(malformed)?)),
            CONNECT => {
                let (id, undo) = id()?;
                let undo = codec::decode(undo, PART_BYTES_MAX).map_err(malformed)?;
                Record::Connect(id, Box::new(undo))
            }
            DISCONNECT => Record::Disconnect(id()?.0),
            INVALID => {
                let (id, text) = id()?;
                Record::Invalid(id, String::from_utf8_lossy(text).into_owned())
            }
            FLOOR => Record::Floor(id()?.0),
            other => return Err(bad(&format!("kind {other} is unknown"))),
        })
    }
}

/// Where a record was put, and how many bytes its typed part has.
pub(super) type Put = Result<crate::segment::Position>;

pub(super) fn put_header(log: &mut SegmentLog, height: Height, record: &HeaderRecord) -> Put {
    log.append(HEADER, &[&height.to_le_bytes(), &codec::encode(record)])
}

pub(super) fn put_block(log: &mut SegmentLog, bytes: &[u8]) -> Put {
    log.append(BLOCK, &[bytes])
}

pub(super) fn put_connect(log: &mut SegmentLog, id: &BlockId, undo: &BlockUndo) -> Put {
    log.append(CONNECT, &[id.as_bytes(), &codec::encode(undo)])
}

pub(super) fn put_disconnect(log: &mut SegmentLog, id: &BlockId) -> Put {
    log.append(DISCONNECT, &[id.as_bytes()])
}

pub(super) fn put_invalid(log: &mut SegmentLog, id: &BlockId, text: &str) -> Put {
    log.append(INVALID, &[id.as_bytes(), text.as_bytes()])
}

pub(super) fn put_floor(log: &mut SegmentLog, id: &BlockId) -> Put {
    log.append(FLOOR, &[id.as_bytes()])
}
