//! What blocks are made of: decoded, judged by the rules that need no chain, and encoded again.
//!
//! Invariant: what decodes encodes to the same bytes. Source: `spec/02-encoding.md`.

use std::sync::LazyLock;

use cairn_consensus::asert::{Anchor, Pace, next_target};
use cairn_protocol::block::{Block, HeaderRecord};
use cairn_protocol::codec::{decode, encode};
use cairn_protocol::coinbase::Coinbase;
use cairn_protocol::hash::{TxId, Wtxid};
use cairn_protocol::ledger::{CheckedBlock, check_transaction};
use cairn_protocol::limits::{BLOCK_BYTES_MAX, TRANSACTION_BYTES_MAX};
use cairn_protocol::merkle::{TxProof, root_of_proof};
use cairn_protocol::pow::{Bits, work_from_bytes, work_of, work_to_bytes};
use cairn_protocol::signature::{
    Ed25519, PublicKey, Signature, SignatureJob, SignatureScheme, verify_single,
};
use cairn_protocol::spec::{ChainParams, builtin};
use cairn_protocol::transaction::Transaction;
use ruint::aliases::U256;

/// A devnet's rules.
pub static PARAMS: LazyLock<ChainParams> =
    LazyLock::new(|| builtin::by_name("devnet").expect("built in"));

/// Decode, ids, weight, context-free rules.
pub fn transaction(data: &[u8]) {
    let Ok(transaction) = decode::<Transaction>(data, TRANSACTION_BYTES_MAX) else {
        return;
    };
    assert_eq!(encode(&transaction), data, "one encoding");
    let ids = transaction.ids();
    assert_eq!(
        (ids.txid, ids.wtxid),
        (transaction.txid(), transaction.wtxid())
    );
    let _ = transaction.weight();
    let _ = check_transaction(&transaction, PARAMS.limits());
}

/// Decode, context-free rules, and the record that a good block gives.
pub fn block(data: &[u8]) {
    let Ok(block) = Block::from_bytes(data) else {
        return;
    };
    assert_eq!(encode(&block), data, "one encoding");
    let id = block.id();
    if let Ok(checked) = CheckedBlock::new(block, PARAMS.limits()) {
        assert_eq!(checked.id(), id);
        assert_eq!(checked.record().header, checked.block().header);
    }
}

/// Decode and encode.
pub fn header_record(data: &[u8]) {
    if let Ok(record) = decode::<HeaderRecord>(data, BLOCK_BYTES_MAX) {
        assert_eq!(encode(&record), data, "one encoding");
        let _ = record.extension.hash();
    }
}

/// Decode and encode: Bitcoin's form, which foreign miners build.
pub fn coinbase(data: &[u8]) {
    if let Ok(coinbase) = Coinbase::from_bytes(data) {
        assert_eq!(coinbase.to_bytes(), data, "one encoding");
        let _ = coinbase.id();
    }
}

/// A light client's proof with made-up ids.
pub fn proof(data: &[u8]) {
    let Some((ids, rest)) = data.split_first_chunk::<64>() else {
        return;
    };
    let Ok(proof) = decode::<TxProof>(rest, 4_096) else {
        return;
    };
    let txid = TxId(ids[..32].try_into().expect("half of 64"));
    let wtxid = Wtxid(ids[32..].try_into().expect("half of 64"));
    let root = root_of_proof(&proof, &txid, &wtxid);
    if let Some(root) = root {
        let mut other = ids.to_owned();
        other[0] ^= 1;
        let other = TxId(other[..32].try_into().expect("half of 64"));
        assert_ne!(root_of_proof(&proof, &other, &wtxid), Some(root));
    }
}

/// A batch and its single signatures have one verdict, whatever the points.
pub fn signatures(data: &[u8]) {
    let jobs: Vec<SignatureJob> = data
        .chunks_exact(128)
        .take(8)
        .map(|bytes| SignatureJob {
            key: PublicKey(bytes[..32].try_into().expect("32 bytes")),
            message: bytes[32..64].try_into().expect("32 bytes"),
            signature: Signature(bytes[64..].try_into().expect("64 bytes")),
        })
        .collect();
    let first_bad = jobs.iter().position(|job| !verify_single(job));
    assert_eq!(Ed25519.verify(&jobs).err(), first_bad);
}

/// Compact bits, targets and work.
pub fn bits(data: &[u8]) {
    let Some((bits, rest)) = data.split_first_chunk::<4>() else {
        return;
    };
    if let Ok(target) = Bits(u32::from_le_bytes(*bits)).to_target() {
        let again = Bits::from_target(target);
        assert_eq!(again.to_target().expect("made of a target"), target);
        let work = work_of(target);
        assert_eq!(work_from_bytes(&work_to_bytes(work)), work);
    }
    if let Some((target, _)) = rest.split_first_chunk::<32>() {
        let target = U256::from_be_bytes(*target);
        if target != U256::ZERO {
            let rounded = Bits::from_target(target).to_target().expect("of a target");
            assert!(rounded <= target, "rounding never eases");
        }
    }
}

/// The retarget stays within its limit for every clock.
pub fn retarget(data: &[u8]) {
    let Some((bytes, _)) = data.split_first_chunk::<92>() else {
        return;
    };
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"));
    let u256_at = |at: usize| U256::from_le_bytes::<32>(bytes[at..at + 32].try_into().expect("32"));
    let limit = u256_at(0).max(U256::from(1u64));
    let anchor = Anchor {
        height: u64_at(64),
        parent_time: u32_at(72),
        target: u256_at(32).clamp(U256::from(1u64), limit),
    };
    let pace = Pace {
        spacing_s: u32_at(76),
        half_life_s: u32_at(80).max(1),
        limit,
    };
    let height = anchor.height.saturating_add(u64::from(u32_at(84)));
    let target = next_target(&anchor, &pace, height, u32_at(88));
    assert!(target >= U256::from(1u64) && target <= limit, "{target}");
}
