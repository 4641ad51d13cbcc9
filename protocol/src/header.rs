//! The block header: exactly Bitcoin's 80 bytes.
//!
//! Invariant: `Header::from_bytes(h.to_bytes()) == h`; the id is `H2` of those bytes.
//! Rules: `spec/05-blocks-and-state.md#header`.

use crate::hash::{BlockId, Hash, h2};
use crate::limits::HEADER_BYTES;
use crate::pow::Bits;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Version bits that miners may roll (BIP-320).
pub const VERSION_ROLL_MASK: u32 = 0x1fff_e000;

/// The version with no rolled bit.
pub const HEADER_VERSION: u32 = 0x2000_0000;

/// A block header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// `HEADER_VERSION`, and any bits of `VERSION_ROLL_MASK` under proof of work.
    pub version: u32,
    /// Id of the parent; zero in genesis.
    pub parent: BlockId,
    /// Commitment to coinbase, extension and transactions.
    pub root: Hash,
    /// Seconds since 1970.
    pub time: u32,
    /// Target in compact form; zero in BFT blocks.
    pub bits: Bits,
    /// The searched number; zero in BFT blocks.
    pub nonce: u32,
}

impl Header {
    /// The 80 bytes.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&self.version.to_le_bytes());
        bytes[4..36].copy_from_slice(self.parent.as_bytes());
        bytes[36..68].copy_from_slice(self.root.as_bytes());
        bytes[68..72].copy_from_slice(&self.time.to_le_bytes());
        bytes[72..76].copy_from_slice(&self.bits.0.to_le_bytes());
        bytes[76..80].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }

    /// Reads 80 bytes; every value is a header.
    pub fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Header {
        let number = |at: usize| {
            u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes of eighty"))
        };
        Header {
            version: number(0),
            parent: BlockId(bytes[4..36].try_into().expect("32 bytes of eighty")),
            root: Hash(bytes[36..68].try_into().expect("32 bytes of eighty")),
            time: number(68),
            bits: Bits(number(72)),
            nonce: number(76),
        }
    }

    /// The block id.
    pub fn id(&self) -> BlockId {
        BlockId(h2(&self.to_bytes()))
    }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::codec::array::serialize(&self.to_bytes(), serializer)
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header, D::Error> {
        crate::codec::array::deserialize(deserializer).map(|bytes| Header::from_bytes(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bitcoin's genesis header (public knowledge) hashes to its known id.
    #[test]
    fn bitcoins_genesis_header() {
        let hex = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd\
                   7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c";
        let bytes: [u8; 80] = hex::decode(hex).unwrap().try_into().unwrap();
        let header = Header::from_bytes(&bytes);
        assert_eq!(header.to_bytes(), bytes);
        let id = "6fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000";
        assert_eq!(header.id().to_hex(), id);
        assert!(
            header.bits.to_target().unwrap() >= crate::pow::PowFunction::Sha256d.digest(&bytes)
        );
    }
}
