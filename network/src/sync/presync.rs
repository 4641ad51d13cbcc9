//! Presync: a chain shows its work before its headers are kept.
//!
//! First pass: bare headers flow by; only their number, the last id, the work so far and one secret
//! bit of every [`COMMITMENT_EVERY`]th header are kept. When the work reaches the specification's
//! minimum, a second pass asks for the same headers again and lets them through only while their
//! bits agree.
//!
//! Invariant: [`BITS_BYTES_MAX`] bytes per peer, however long the chain. A peer that shows other
//! headers in the second pass gets some 2 x [`COMMITMENT_EVERY`] of them stored before a bit
//! disagrees, and each of those carries its proof of work. Source: `spec/08-sync.md#presync`.

use cairn_protocol::{
    hash::{BlockId, sha256},
    pow::Work,
};

use super::Tip;

/// One header in this many leaves a bit.
pub const COMMITMENT_EVERY: u64 = 16;
/// Memory of the bits: enough for eight million headers.
pub const BITS_BYTES_MAX: usize = 64 * 1024;

/// What presync knows of a header whose proof of work the node has checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderFacts {
    /// Its id.
    pub id: BlockId,
    /// The id of its parent.
    pub parent: BlockId,
    /// Its own work.
    pub work: Work,
}

/// Why a chain is not followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PresyncError {
    /// A header does not build on the one before it.
    #[error("header {index} of the answer does not build on the one before")]
    Unlinked {
        /// Its place in the answer.
        index: usize,
    },
    /// The chain ended below the minimum work, or is longer than the bits allow.
    #[error("chain of {count} headers shows less than the minimum work")]
    LowWork {
        /// Headers seen.
        count: u64,
    },
    /// The second pass shows another chain than the first.
    #[error("header {index} of the second pass is another than in the first")]
    Changed {
        /// Its place after the anchor.
        index: u64,
    },
}

/// The two passes over one peer's headers.
#[derive(Clone, Debug)]
pub struct Presync {
    secret: [u8; 16],
    anchor: Tip,
    last: BlockId,
    work: Work,
    work_min: Work,
    /// Headers of the first pass.
    count: u64,
    bits: Vec<u8>,
    /// Headers of the second pass, once the work is shown.
    passed: Option<u64>,
}

impl Presync {
    /// Begins after `anchor`. `secret` must not be known to the peer.
    pub fn new(secret: [u8; 16], anchor: Tip, work_min: Work) -> Self {
        Self {
            secret,
            anchor,
            last: anchor.id,
            work: anchor.work,
            work_min,
            count: 0,
            bits: Vec::new(),
            passed: (anchor.work >= work_min).then_some(0),
        }
    }

    /// The block on which the chain builds.
    pub fn anchor(&self) -> Tip {
        self.anchor
    }

    /// The last header seen in the first pass.
    pub fn last(&self) -> BlockId {
        self.last
    }

    /// Whether the work is shown and the second pass has begun.
    pub fn is_shown(&self) -> bool {
        self.passed.is_some()
    }

    /// Whether the second pass has seen everything that the first committed to.
    pub fn is_done(&self) -> bool {
        self.passed.is_some_and(|passed| passed >= self.count)
    }

    /// Memory of the commitments.
    pub fn bytes(&self) -> usize {
        self.bits.len()
    }

    /// First pass: an answer whose headers all carry their proof of work. `is_last`: the peer has
    /// no more. Headers after the minimum work is reached are not looked at.
    pub fn show(&mut self, facts: &[HeaderFacts], is_last: bool) -> Result<(), PresyncError> {
        for (index, header) in facts.iter().enumerate() {
            if self.is_shown() {
                return Ok(());
            }
            if header.parent != self.last {
                return Err(PresyncError::Unlinked { index });
            }
            if self.count.is_multiple_of(COMMITMENT_EVERY) && !self.push_bit(&header.id) {
                return Err(PresyncError::LowWork { count: self.count });
            }
            self.count += 1;
            self.last = header.id;
            self.work = self.work.saturating_add(header.work);
            if self.work >= self.work_min {
                self.passed = Some(0);
            }
        }
        if is_last && !self.is_shown() {
            return Err(PresyncError::LowWork { count: self.count });
        }
        Ok(())
    }

    /// Second pass: the next headers, of which all may be stored, or none.
    pub fn check(&mut self, ids: &[BlockId]) -> Result<(), PresyncError> {
        let Some(first) = self.passed else {
            return Err(PresyncError::LowWork { count: self.count });
        };
        for (offset, id) in ids.iter().enumerate() {
            let index = first + offset as u64;
            let is_committed = index < self.count && index.is_multiple_of(COMMITMENT_EVERY);
            if is_committed && self.bit(index / COMMITMENT_EVERY) != self.secret_bit(id) {
                return Err(PresyncError::Changed { index });
            }
        }
        self.passed = Some(first + ids.len() as u64);
        Ok(())
    }

    fn push_bit(&mut self, id: &BlockId) -> bool {
        let place = self.count / COMMITMENT_EVERY;
        if place.is_multiple_of(8) {
            if self.bits.len() == BITS_BYTES_MAX {
                return false;
            }
            self.bits.push(0);
        }
        if self.secret_bit(id) {
            self.bits[(place / 8) as usize] |= 1 << (place % 8);
        }
        true
    }

    fn bit(&self, place: u64) -> bool {
        self.bits[(place / 8) as usize] & (1 << (place % 8)) != 0
    }

    fn secret_bit(&self, id: &BlockId) -> bool {
        let mut bytes = [0; 48];
        bytes[..16].copy_from_slice(&self.secret);
        bytes[16..].copy_from_slice(id.as_bytes());
        sha256(&bytes)[0] & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(chain: u8, height: u64) -> BlockId {
        let mut bytes = [chain; 32];
        bytes[..8].copy_from_slice(&height.to_le_bytes());
        BlockId(bytes)
    }

    fn chain(name: u8, from: u64, to: u64) -> Vec<HeaderFacts> {
        let at = |height| {
            if height == 0 {
                id(0, 0)
            } else {
                id(name, height)
            }
        };
        (from..=to)
            .map(|height| HeaderFacts {
                id: at(height),
                parent: at(height - 1),
                work: Work::from(10u64),
            })
            .collect()
    }

    fn presync(work_min: u64) -> Presync {
        let anchor = Tip {
            height: 0,
            id: id(0, 0),
            work: Work::from(10u64),
        };
        Presync::new([7; 16], anchor, Work::from(work_min))
    }

    fn ids(facts: &[HeaderFacts]) -> Vec<BlockId> {
        facts.iter().map(|facts| facts.id).collect()
    }

    #[test]
    fn a_chain_with_enough_work_passes_twice() {
        let mut presync = presync(5_000);
        presync.show(&chain(1, 1, 300), false).unwrap();
        assert!(!presync.is_shown());
        presync.show(&chain(1, 301, 600), false).unwrap();
        assert!(presync.is_shown());
        presync.check(&ids(&chain(1, 1, 250))).unwrap();
        assert!(!presync.is_done());
        presync.check(&ids(&chain(1, 251, 600))).unwrap();
        assert!(presync.is_done());
    }

    #[test]
    fn a_chain_without_enough_work_is_refused_at_its_end() {
        let mut presync = presync(5_000);
        presync.show(&chain(1, 1, 100), false).unwrap();
        let error = presync.show(&chain(1, 101, 120), true).unwrap_err();
        assert_eq!(error, PresyncError::LowWork { count: 120 });
    }

    #[test]
    fn headers_must_build_on_each_other() {
        let mut presync = presync(5_000);
        let mut facts = chain(1, 1, 10);
        facts.remove(4);
        assert_eq!(
            presync.show(&facts, false),
            Err(PresyncError::Unlinked { index: 4 })
        );
    }

    #[test]
    fn another_chain_in_the_second_pass_is_noticed() {
        let mut noticed = 0;
        for secret in 0..64 {
            let mut presync = presync(5_000);
            presync.secret = [secret; 16];
            presync.show(&chain(1, 1, 600), true).unwrap();
            let error = presync.check(&ids(&chain(2, 1, 4 * COMMITMENT_EVERY)));
            noticed += u32::from(error.is_err());
        }
        // Four bits agree by chance for one secret in sixteen.
        assert!(noticed > 48, "{noticed} of 64");
    }

    #[test]
    fn memory_is_bounded_for_an_endless_chain() {
        let mut presync = presync(u64::MAX);
        let headers = 8 * BITS_BYTES_MAX as u64 * COMMITMENT_EVERY;
        presync.count = headers - 1;
        presync.bits = vec![0; BITS_BYTES_MAX];
        presync.last = id(1, 4);
        presync.show(&chain(1, 5, 5), false).unwrap();
        let error = presync.show(&chain(1, 6, 6), false).unwrap_err();
        assert_eq!(error, PresyncError::LowWork { count: headers });
        assert_eq!(presync.bytes(), BITS_BYTES_MAX);
    }
}
