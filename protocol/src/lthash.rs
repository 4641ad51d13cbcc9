//! LtHash16 with 1,024 lanes: a commitment to a set that grows and shrinks one element at a time.
//!
//! Invariant: the value depends on the set alone, not on the order of additions and removals.
//! Rules: `spec/05-blocks-and-state.md#lthash` (Bellare and Micciancio; Lewi et al., "Securing
//! update propagation with homomorphic hashing", 2019).

use crate::hash::Domain;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Bytes of the state.
pub const LTHASH_BYTES: usize = 2_048;

const LANES: usize = LTHASH_BYTES / 2;

/// The commitment's state: 1,024 lanes of 16 bits.
#[derive(Clone, PartialEq, Eq)]
pub struct LtHash(Box<[u16; LANES]>);

impl Default for LtHash {
    fn default() -> LtHash {
        LtHash(Box::new([0; LANES]))
    }
}

impl fmt::Debug for LtHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LtHash({})", blake3::hash(&self.to_bytes()).to_hex())
    }
}

impl LtHash {
    /// Adds an element, hashed in `domain`.
    pub fn add(&mut self, domain: &Domain, element: &[u8]) {
        let expanded = expand(domain, element);
        for (lane, bytes) in self.0.iter_mut().zip(expanded.as_chunks::<2>().0) {
            *lane = lane.wrapping_add(u16::from_le_bytes(*bytes));
        }
    }

    /// Removes an element that was added before.
    pub fn remove(&mut self, domain: &Domain, element: &[u8]) {
        let expanded = expand(domain, element);
        for (lane, bytes) in self.0.iter_mut().zip(expanded.as_chunks::<2>().0) {
            *lane = lane.wrapping_sub(u16::from_le_bytes(*bytes));
        }
    }

    /// The lanes, little-endian.
    pub fn to_bytes(&self) -> [u8; LTHASH_BYTES] {
        let mut bytes = [0; LTHASH_BYTES];
        for (out, lane) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(self.0.iter()) {
            *out = lane.to_le_bytes();
        }
        bytes
    }

    /// Reads what [`LtHash::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8; LTHASH_BYTES]) -> LtHash {
        let mut hash = LtHash::default();
        for (lane, bytes) in hash.0.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *lane = u16::from_le_bytes(*bytes);
        }
        hash
    }
}

fn expand(domain: &Domain, element: &[u8]) -> [u8; LTHASH_BYTES] {
    let mut bytes = [0; LTHASH_BYTES];
    domain
        .hasher()
        .update(element)
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

impl Serialize for LtHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::codec::array::serialize(&self.to_bytes(), serializer)
    }
}

impl<'de> Deserialize<'de> for LtHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LtHash, D::Error> {
        crate::codec::array::deserialize(deserializer).map(|bytes| LtHash::from_bytes(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::COIN;

    #[test]
    fn order_does_not_matter_and_removal_undoes() {
        let mut forward = LtHash::default();
        let mut backward = LtHash::default();
        for i in 0..50u8 {
            forward.add(&COIN, &[i]);
            backward.add(&COIN, &[49 - i]);
        }
        assert_eq!(forward, backward);
        assert_eq!(LtHash::from_bytes(&forward.to_bytes()), forward);
        for i in 0..50u8 {
            forward.remove(&COIN, &[i]);
        }
        assert_eq!(forward, LtHash::default());
    }
}
