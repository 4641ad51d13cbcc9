//! The first frame of a validator's stream: proof that the peer who opened it holds a validator key.
//!
//! Invariant: it names both ends, and the connection proves who they are, so it is worth nothing to
//! anybody else: no other peer can show it, and it cannot be shown to another peer.
//! Rules: `spec/09-bft.md#greeting`.

use crate::codec::{self, DecodeError};
use crate::hash::{self, BlockId};
use crate::limits::GREETING_BYTES_MAX;
use crate::signature::{PublicKey, Signature, SignatureJob, SignatureScheme};
use serde::{Deserialize, Serialize};

/// A key and its word that this peer acts for it. The encoding is its fields in this order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Greeting {
    /// The validator key.
    pub key: PublicKey,
    /// Its signature of both ends.
    pub signature: Signature,
}

impl Greeting {
    /// The 32 bytes to sign: the peer `opener` opens a stream to the peer `other`, both as the bytes
    /// of their peer ids.
    pub fn message(chain_id: BlockId, opener: &[u8], other: &[u8]) -> [u8; 32] {
        hash::GREETING.hash(&[&codec::encode(&(chain_id, opener, other))])
    }

    /// Whether its key signed for these two ends.
    pub fn is_valid(
        &self,
        chain_id: BlockId,
        (opener, other): (&[u8], &[u8]),
        scheme: &impl SignatureScheme,
    ) -> bool {
        let job = SignatureJob {
            key: self.key,
            signature: self.signature,
            message: Greeting::message(chain_id, opener, other),
        };
        scheme.verify(&[job]).is_ok()
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads canonical bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Greeting, DecodeError> {
        codec::decode(bytes, GREETING_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::Ed25519;
    use ed25519_zebra::{SigningKey, VerificationKey};

    #[test]
    fn it_is_worth_nothing_to_others() {
        let secret = SigningKey::from([7; 32]);
        let chain = BlockId([1; 32]);
        let message = Greeting::message(chain, b"opener", b"other");
        let greeting = Greeting {
            key: PublicKey(VerificationKey::from(&secret).into()),
            signature: Signature(secret.sign(&message).into()),
        };
        assert_eq!(Greeting::from_bytes(&greeting.to_bytes()), Ok(greeting));
        let valid = |chain, opener: &[u8], other: &[u8]| {
            greeting.is_valid(chain, (opener, other), &Ed25519)
        };
        assert!(valid(chain, b"opener", b"other"));
        assert!(!valid(chain, b"other", b"opener"));
        assert!(!valid(chain, b"opener", b"another"));
        assert!(!valid(chain, b"openero", b"ther"), "lengths are covered");
        assert!(!valid(BlockId([2; 32]), b"opener", b"other"));
    }
}
