//! One nonce at a time, on any processor: the crates' compression functions with the first block
//! of the header hashed once.

use super::{Candidate, Work};
use sha2::block_api::compress256;

/// SHA-256's initial state (FIPS 180-4, 5.3.3).
const SHA256_INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The state after the header's first 64 bytes, and its padded second block.
#[derive(Clone, Debug)]
pub(super) struct Sha256d {
    midstate: [u32; 8],
    second: [u8; 64],
}

impl Sha256d {
    pub(super) fn new(header: &[u8; 80]) -> Self {
        let mut midstate = SHA256_INITIAL;
        let (first, rest) = header
            .split_first_chunk::<64>()
            .expect("a header has 80 bytes");
        compress256(&mut midstate, &[*first]);
        Self {
            midstate,
            second: padded(rest),
        }
    }
}

/// A last block: the message's rest, a bit, zeros and the length of the whole message, which is
/// 80 bytes when 16 are left and 32 bytes when 32 are.
fn padded(rest: &[u8]) -> [u8; 64] {
    let mut block = [0; 64];
    block[..rest.len()].copy_from_slice(rest);
    block[rest.len()] = 0x80;
    let message_bits: u16 = if rest.len() == 16 { 640 } else { 256 };
    block[62..].copy_from_slice(&message_bits.to_be_bytes());
    block
}

/// Reports candidates of double SHA-256.
pub(super) fn scan_sha256d(work: &Work, start: u32, count: u32, candidate: Candidate<'_>) {
    let Sha256d {
        midstate,
        mut second,
    } = work.sha256d().clone();
    let mut outer = padded(&[0; 32]);
    for offset in 0..count {
        second[12..16].copy_from_slice(&start.wrapping_add(offset).to_le_bytes());
        let mut inner = midstate;
        compress256(&mut inner, &[second]);
        for (bytes, word) in outer.chunks_exact_mut(4).zip(inner) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        let mut digest = SHA256_INITIAL;
        compress256(&mut digest, &[outer]);
        if digest[7].swap_bytes() <= work.top && candidate(offset) {
            return;
        }
    }
}

/// BLAKE3 needs nothing beside the header here.
#[derive(Clone, Debug)]
pub(super) struct Blake3;

impl Blake3 {
    pub(super) fn new(_: &[u8; 80]) -> Self {
        Self
    }
}

/// Reports candidates of BLAKE3.
pub(super) fn scan_blake3(work: &Work, start: u32, count: u32, candidate: Candidate<'_>) {
    let Blake3 = work.blake3();
    super::naive::scan(work, start, count, candidate);
}
