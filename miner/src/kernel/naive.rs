//! The yardstick: each header hashed from its first byte by the plain crate.

use super::{Candidate, Work};
use crate::template::with_nonce;

/// Reports candidates of any function.
pub(super) fn scan(work: &Work, start: u32, count: u32, candidate: Candidate<'_>) {
    for offset in 0..count {
        let header = with_nonce(work.header, start.wrapping_add(offset));
        let digest = work.function.digest(&header);
        let top = u32::from_le_bytes([digest[28], digest[29], digest[30], digest[31]]);
        if top <= work.top && candidate(offset) {
            return;
        }
    }
}
