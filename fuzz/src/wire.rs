//! What peers send: frames and messages.
//!
//! Invariant: a message has one encoding within its cap; a frame costs memory only as its bytes
//! come. Source: `spec/07-p2p.md`, `spec/08-sync.md`.

use cairn_protocol::codec::{decode, encode};
use cairn_protocol::ledger::CheckedBlock;
use cairn_protocol::limits::{
    COMPACT_BLOCK_BYTES_MAX, GOODBYE_BYTES_MAX, STATUS_BYTES_MAX, SYNC_REQUEST_BYTES_MAX,
    SYNC_RESPONSE_BYTES_MAX, TX_BATCH_BYTES_MAX,
};
use cairn_protocol::wire::{CompactBlock, Goodbye, GoodbyeReason, Status};
use cairn_protocol::wire::{SyncRequest, SyncResponse, TxBatch};
use futures::executor::block_on;
use futures::io::Cursor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::frame::{read_frame, write_frame};
use crate::ledger::PARAMS;

fn canonical<T: DeserializeOwned + Serialize>(data: &[u8], bytes_max: usize) -> Option<T> {
    let value = decode::<T>(data, bytes_max).ok()?;
    assert_eq!(encode(&value), data, "one encoding");
    Some(value)
}

/// The handshake.
pub fn status(data: &[u8]) {
    canonical::<Status>(data, STATUS_BYTES_MAX);
}

/// The farewell; every number is some reason.
pub fn goodbye(data: &[u8]) {
    if let Some(goodbye) = canonical::<Goodbye>(data, GOODBYE_BYTES_MAX) {
        assert_eq!(GoodbyeReason::from_code(goodbye.code).code(), goodbye.code);
    }
}

/// What a peer asks.
pub fn sync_request(data: &[u8]) {
    canonical::<SyncRequest>(data, SYNC_REQUEST_BYTES_MAX);
}

/// What a peer answers.
pub fn sync_response(data: &[u8]) {
    canonical::<SyncResponse>(data, SYNC_RESPONSE_BYTES_MAX);
}

/// Gossiped transactions.
pub fn tx_batch(data: &[u8]) {
    canonical::<TxBatch>(data, TX_BATCH_BYTES_MAX);
}

/// A gossiped block and its rebuilding, from a pool that knows every second short id.
///
/// Input: a batch of transactions behind its length as u16, then the compact block.
pub fn compact_block(data: &[u8]) {
    let Some((length, rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (pool, compact) = rest.split_at(length);
    let pool = decode::<TxBatch>(pool, TX_BATCH_BYTES_MAX).map_or(Vec::new(), |batch| batch.0);
    let Some(compact) = canonical::<CompactBlock>(compact, COMPACT_BLOCK_BYTES_MAX) else {
        return;
    };
    let (id, is_bound, count) = (compact.id(), compact.is_bound(), compact.short_ids.len());
    let record = compact.record();
    let mut found = 0;
    let mut rebuilt = compact.reconstruct(|short| {
        found += 1;
        let odd = short.0[0] % 2 == 1;
        odd.then(|| pool.get(found % pool.len().max(1)).cloned())?
    });
    let missing = rebuilt.missing();
    assert!(missing.windows(2).all(|pair| pair[0] < pair[1]) && missing.len() <= count);
    let fill = missing
        .iter()
        .map_while(|index| pool.get(*index as usize % pool.len().max(1)));
    let fill: Vec<_> = fill.cloned().collect();
    let fits = fill.len() == missing.len();
    assert_eq!(rebuilt.fill(fill), fits);
    if let Some(block) = rebuilt.block() {
        assert_eq!(block.id(), id);
        // A wrong guess shows as a root that does not fit, never as another block of this id.
        if let Ok(checked) = CheckedBlock::new(block, PARAMS.limits()) {
            assert!(is_bound);
            assert_eq!(checked.record().header, record.header);
        }
    }
}

/// One frame. Input: the cap in KiB as one byte, then the stream.
pub fn frame(data: &[u8]) {
    let Some((cap, stream)) = data.split_first() else {
        return;
    };
    let cap = usize::from(*cap) * 1024;
    let mut input = Cursor::new(stream);
    if let Ok(payload) = block_on(read_frame(&mut input, cap)) {
        assert!(payload.len() <= cap);
        let used = usize::try_from(input.position()).expect("within the input");
        let mut written = Vec::new();
        block_on(write_frame(&mut written, &payload)).expect("memory takes it");
        assert_eq!(written, stream[..used], "one framing");
    }
}
