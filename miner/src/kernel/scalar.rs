//! Double SHA-256, one nonce at a time, on any processor: the crate's compression function with
//! the header's first block hashed once.

use sha2::block_api::compress256;

use super::sha256d::{INITIAL, OUTER_PADDING};
use super::{Candidate, Work};

/// Reports candidates.
pub(super) fn scan(work: &Work, start: u32, count: u32, candidate: Candidate<'_>) {
    let prepared = work.sha256d();
    let (mut second, mut outer) = (to_bytes(&prepared.block), to_bytes(&OUTER_PADDING));
    for offset in 0..count {
        second[12..16].copy_from_slice(&start.wrapping_add(offset).to_le_bytes());
        let mut inner = prepared.midstate;
        compress256(&mut inner, &[second]);
        for (bytes, word) in outer.chunks_exact_mut(4).zip(inner) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        let mut digest = INITIAL;
        compress256(&mut digest, &[outer]);
        if digest[7].swap_bytes() <= work.top && candidate(offset) {
            return;
        }
    }
}

fn to_bytes(block: &[u32; 16]) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(block) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}
