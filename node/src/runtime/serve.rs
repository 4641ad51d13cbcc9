//! Answers to the requests of peers, from published snapshots.
//!
//! Invariants: an answer is a prefix in order of what was asked; it stops after the object that
//! passes the soft limit of bytes; empty means "have none".
//! Rules: `spec/08-sync.md#messages`.

use super::ledger::LedgerHandle;
use cairn_protocol::block::{Block, HeaderRecord};
use cairn_protocol::codec;
use cairn_protocol::hash::{BlockId, TxId, Wtxid};
use cairn_protocol::limits::{BLOCKS_REQUEST_MAX, HEADERS_MAX, SYNC_RESPONSE_BYTES_SOFT};
use cairn_protocol::merkle;
use cairn_protocol::transaction::Transaction;
use cairn_protocol::wire::{BareHeader, ErrorCode, ProofResponse, SyncRequest, SyncResponse};
use cairn_storage::StorageError;
use cairn_storage::chain::ChainSnapshot;

/// Answers one request; runs on a blocking thread because it reads the disk.
pub fn answer(ledger: &LedgerHandle, request: SyncRequest) -> SyncResponse {
    let snapshot = ledger.snapshot();
    let outcome = match request {
        SyncRequest::GetHeaders { locator, stop, max } => {
            headers_after(&snapshot, &locator, Some(stop), max)
                .map(|records| SyncResponse::Headers(sealed_by_children(records)))
        }
        SyncRequest::GetBareHeaders { locator, max } => {
            headers_after(&snapshot, &locator, None, max).map(|records| {
                let bare = |r: &HeaderRecord| BareHeader(r.header.to_bytes());
                SyncResponse::BareHeaders(records.iter().map(bare).collect())
            })
        }
        SyncRequest::HeadersByRange { start, count } => {
            let limit = (count as usize).min(HEADERS_MAX);
            snapshot
                .records(start, limit)
                .map(|records| SyncResponse::Headers(sealed_by_children(within(records))))
        }
        SyncRequest::BlocksById(ids) => blocks(&snapshot, ids.into_iter().map(Ok)),
        SyncRequest::BlocksByRange { start, count } => {
            let last = start.saturating_add(u64::from(count).min(BLOCKS_REQUEST_MAX as u64));
            let ids = (start..last).map_while(|height| snapshot.block_id_at(height).transpose());
            blocks(&snapshot, ids)
        }
        SyncRequest::TransactionsById(ids) => Ok(pool_transactions(ledger, &ids)),
        SyncRequest::BlockTransactions { block, indexes } => {
            block_transactions(&snapshot, &block, &indexes)
        }
        SyncRequest::Proof { txid } => proof(&snapshot, &txid),
    };
    outcome.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot answer a peer");
        SyncResponse::Error(ErrorCode::ServerError)
    })
}

/// Records after the first id of `locator` that is on our chain.
fn headers_after(
    snapshot: &ChainSnapshot,
    locator: &[BlockId],
    stop: Option<BlockId>,
    max: u32,
) -> Result<Vec<HeaderRecord>, StorageError> {
    let mut first = 1;
    for id in locator {
        if snapshot.is_active(id)? {
            first = snapshot.header(id)?.map_or(1, |meta| meta.height + 1);
            break;
        }
    }
    let mut records = within(snapshot.records(first, (max as usize).min(HEADERS_MAX))?);
    if let Some(end) = stop.and_then(|stop| records.iter().position(|r| r.header.id() == stop)) {
        records.truncate(end + 1);
    }
    Ok(records)
}

/// Each record's seal is in the next one: only the last needs its own.
fn sealed_by_children(mut records: Vec<HeaderRecord>) -> Vec<HeaderRecord> {
    let children = records.len().saturating_sub(1);
    for record in &mut records[..children] {
        record.seal = None;
    }
    records
}

/// The objects up to the one that passes the soft limit.
fn within<T: serde::Serialize>(objects: Vec<T>) -> Vec<T> {
    let mut bytes = 0;
    let fits = |object: &T| {
        let before = bytes;
        bytes += codec::encode(object).len();
        before < SYNC_RESPONSE_BYTES_SOFT
    };
    objects.into_iter().take_while(fits).collect()
}

fn blocks(
    snapshot: &ChainSnapshot,
    ids: impl Iterator<Item = Result<BlockId, StorageError>>,
) -> Result<SyncResponse, StorageError> {
    let (mut found, mut bytes): (Vec<Block>, usize) = (Vec::new(), 0);
    for id in ids.take(BLOCKS_REQUEST_MAX) {
        let id = id?;
        // What was found invalid is nothing we have: nobody is to blame us for it.
        if snapshot
            .header(&id)?
            .is_none_or(|meta| meta.invalid.is_some())
        {
            break;
        }
        let Some(raw) = snapshot.block_bytes(&id)? else {
            break;
        };
        bytes += raw.len();
        // Stored bytes were checked when they were written and carry a digest.
        let Ok(block) = Block::from_bytes(&raw) else {
            return Ok(SyncResponse::Error(ErrorCode::ServerError));
        };
        found.push(block);
        if bytes >= SYNC_RESPONSE_BYTES_SOFT {
            break;
        }
    }
    Ok(SyncResponse::Blocks(found))
}

fn pool_transactions(ledger: &LedgerHandle, ids: &[Wtxid]) -> SyncResponse {
    let pool = ledger.mempool().read();
    let found: Vec<Transaction> = ids
        .iter()
        .filter_map(|id| pool.get_by_wtxid(id))
        .map(|entry| Transaction::clone(&entry.transaction))
        .collect();
    drop(pool);
    SyncResponse::Transactions(within(found))
}

fn block_transactions(
    snapshot: &ChainSnapshot,
    block: &BlockId,
    indexes: &[u32],
) -> Result<SyncResponse, StorageError> {
    if !indexes.windows(2).all(|pair| pair[0] < pair[1]) {
        return Ok(SyncResponse::Error(ErrorCode::InvalidRequest));
    }
    let Some(block) = snapshot.block(block)? else {
        return Ok(SyncResponse::Error(ErrorCode::Unavailable));
    };
    let at = |index: &u32| block.transactions.get(*index as usize).cloned();
    Ok(match indexes.iter().map(at).collect::<Option<Vec<_>>>() {
        Some(transactions) => SyncResponse::Transactions(transactions),
        None => SyncResponse::Error(ErrorCode::InvalidRequest),
    })
}

fn proof(snapshot: &ChainSnapshot, txid: &TxId) -> Result<SyncResponse, StorageError> {
    let unavailable = SyncResponse::Error(ErrorCode::Unavailable);
    let Some(place) = snapshot.transaction_place(txid)? else {
        return Ok(unavailable);
    };
    let Some(id) = snapshot.block_id_at(place.height)? else {
        return Ok(unavailable);
    };
    let Some(block) = snapshot.block(&id)? else {
        return Ok(unavailable);
    };
    let ids: Vec<_> = block.transactions.iter().map(Transaction::ids).collect();
    let pairs: Vec<_> = ids.iter().map(|ids| (ids.txid, ids.wtxid)).collect();
    let Some(index) = ids.iter().position(|ids| ids.txid == *txid) else {
        return Ok(unavailable);
    };
    let proof = merkle::prove(&pairs, index).expect("the index is within the block");
    let transaction = block.transactions[index].clone();
    let record = block.record();
    Ok(SyncResponse::Proof(Box::new(ProofResponse {
        record,
        proof,
        transaction,
    })))
}
