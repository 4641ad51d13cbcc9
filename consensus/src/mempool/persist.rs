//! The bytes in which the pool survives a restart. The caller writes and reads the file; every
//! transaction read is prepared, verified and inserted like a new one.
//!
//! ```text
//! "cairn mempool 1\n" | for each transaction { time_added u64 LE, bytes u32 LE, transaction } | SHA-256 of all before
//! ```
//!
//! Invariant: whatever the bytes are, decoding allocates no more than their length and never gives a
//! transaction whose canonical encoding has other bytes.

use cairn_protocol::codec;
use cairn_protocol::hash::sha256;
use cairn_protocol::limits::TRANSACTION_BYTES_MAX;
use cairn_protocol::transaction::Transaction;
use std::sync::Arc;

const MAGIC: &[u8] = b"cairn mempool 1\n";

/// Why a dump could not be read. The node starts with an empty pool then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DumpError {
    /// The file is of another kind or version.
    #[error("not a mempool dump of version 1")]
    Magic,
    /// The checksum does not match.
    #[error("mempool dump is damaged: checksum does not match")]
    Checksum,
    /// A record does not end, or is longer than any transaction.
    #[error("mempool dump is damaged at byte {at}")]
    Record {
        /// Where the record starts.
        at: usize,
    },
    /// A transaction does not decode.
    #[error("mempool dump: {0}")]
    Transaction(#[from] codec::DecodeError),
}

/// The bytes of a dump.
pub fn encode_dump(residents: &[(Arc<Transaction>, u64)]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for (transaction, time_added_s) in residents {
        let body = codec::encode(transaction.as_ref());
        let len = u32::try_from(body.len()).expect("transactions are far below 4 GiB");
        bytes.extend(time_added_s.to_le_bytes());
        bytes.extend(len.to_le_bytes());
        bytes.extend(body);
    }
    let checksum = sha256(&bytes);
    bytes.extend(checksum);
    bytes
}

/// Reads what [`encode_dump`] wrote: transactions with the times they were added.
pub fn decode_dump(bytes: &[u8]) -> Result<Vec<(Transaction, u64)>, DumpError> {
    let (content, checksum) = bytes.split_last_chunk::<32>().ok_or(DumpError::Magic)?;
    let mut rest = content.strip_prefix(MAGIC).ok_or(DumpError::Magic)?;
    if sha256(content) != *checksum {
        return Err(DumpError::Checksum);
    }
    let mut residents = Vec::new();
    while !rest.is_empty() {
        let damaged = || DumpError::Record {
            at: content.len() - rest.len(),
        };
        let (time, tail) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let (len, tail) = tail.split_first_chunk::<4>().ok_or_else(damaged)?;
        let len = u32::from_le_bytes(*len) as usize;
        let (body, tail) = tail.split_at_checked(len).ok_or_else(damaged)?;
        let transaction = codec::decode(body, TRANSACTION_BYTES_MAX)?;
        residents.push((transaction, u64::from_le_bytes(*time)));
        rest = tail;
    }
    Ok(residents)
}
