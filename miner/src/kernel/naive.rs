//! The yardstick: each header hashed from its first byte by the plain crate.

use super::{Candidate, Work, top_of};
use crate::template::with_nonce;

/// Reports candidates of any function.
pub(super) fn scan(work: &Work, start: u32, count: u32, candidate: Candidate<'_>) {
    for offset in 0..count {
        let header = with_nonce(work.header, start.wrapping_add(offset));
        if top_of(work.function.digest(&header)) <= work.top && candidate(offset) {
            return;
        }
    }
}
