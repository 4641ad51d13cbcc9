//! The coinbase: what a block creates and to whom it pays the fees.
//!
//! Invariant: the extra-nonce stands at offset 12, where a Stratum miner rolls it.
//! Rules: `spec/05-blocks-and-state.md#coinbase`.

use crate::codec::{self, BoundedBytes, DecodeError, bounded};
use crate::hash::{TxId, h2};
use crate::limits::{BLOCK_BYTES_MAX, OUTPUTS_MAX};
use crate::transaction::Output;
use crate::units::Height;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The only coinbase version so far.
pub const COINBASE_VERSION: u32 = 1;

/// Offset of the extra-nonce in the coinbase's bytes.
pub const EXTRA_NONCE_OFFSET: usize = 12;

/// Bytes of the extra-nonce.
pub const EXTRA_NONCE_BYTES: usize = 16;

/// Bytes before the outputs.
const FIXED_BYTES: usize = EXTRA_NONCE_OFFSET + EXTRA_NONCE_BYTES;

/// The outputs as they are read: as many as a transaction may have. The bound on bytes is a rule of
/// blocks (BLK-06) and not of the decoder.
#[derive(Serialize, Deserialize)]
struct Outputs(#[serde(deserialize_with = "bounded::<_, _, OUTPUTS_MAX>")] Vec<Output>);

/// A coinbase. It has no inputs and no witness.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Coinbase {
    /// `COINBASE_VERSION`.
    pub version: u32,
    /// The block's height: two coinbases never have one id.
    pub height: Height,
    /// Free for miners; zero in BFT blocks.
    pub extra_nonce: [u8; EXTRA_NONCE_BYTES],
    /// What it creates: `Key`, `Threshold` or `Data`.
    pub outputs: Vec<Output>,
}

impl Coinbase {
    /// The bytes: version and height little-endian, the extra-nonce, then the outputs in postcard.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED_BYTES + 64);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&self.height.to_le_bytes());
        bytes.extend_from_slice(&self.extra_nonce);
        codec::encode_into(&self.outputs, bytes)
    }

    /// Reads what [`Coinbase::to_bytes`] wrote; canonical as all else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Coinbase, DecodeError> {
        let (fixed, outputs) = bytes
            .split_first_chunk::<FIXED_BYTES>()
            .ok_or_else(|| DecodeError::Malformed("coinbase is shorter than 28 bytes".into()))?;
        let Outputs(outputs) = codec::decode(outputs, BLOCK_BYTES_MAX)?;
        Ok(Coinbase {
            version: u32::from_le_bytes(fixed[..4].try_into().expect("4 bytes")),
            height: u64::from_le_bytes(fixed[4..12].try_into().expect("8 bytes")),
            extra_nonce: fixed[12..].try_into().expect("16 bytes"),
            outputs,
        })
    }

    /// The id by which its outputs are spent: `H2` of the bytes.
    pub fn id(&self) -> TxId {
        TxId(h2(&self.to_bytes()))
    }
}

impl Serialize for Coinbase {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.to_bytes();
        if serializer.is_human_readable() {
            serializer.serialize_str(&hex::encode(bytes))
        } else {
            serializer.serialize_bytes(&bytes)
        }
    }
}

impl<'de> Deserialize<'de> for Coinbase {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Coinbase, D::Error> {
        let bytes = BoundedBytes::<BLOCK_BYTES_MAX>::deserialize(deserializer)?;
        Coinbase::from_bytes(bytes.as_slice()).map_err(de::Error::custom)
    }
}
