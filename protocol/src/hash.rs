//! Hashes and the names they carry.
//!
//! Invariant: two uses of BLAKE3 never share a domain; a hash is shown in wire order everywhere.
//! Rules: `spec/03-crypto.md#hashes`.

use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// A BLAKE3 derive-key domain: `B3(context, x)` of the specification.
pub struct Domain {
    context: &'static str,
    key: OnceLock<ContextKey>,
}

impl Domain {
    const fn new(context: &'static str) -> Domain {
        Domain {
            context,
            key: OnceLock::new(),
        }
    }

    /// The context text, as the specification writes it.
    pub fn context(&self) -> &'static str {
        self.context
    }

    /// A hasher of this domain.
    pub fn hasher(&self) -> blake3::Hasher {
        let key = self
            .key
            .get_or_init(|| hash_derive_key_context(self.context));
        blake3::Hasher::new_from_context_key(key)
    }

    /// `B3(context, parts joined)`.
    pub fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = self.hasher();
        for part in parts {
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

macro_rules! domains {
    ($($(#[$doc:meta])* $name:ident = $context:literal;)*) => {
        $($(#[$doc])* pub static $name: Domain = Domain::new($context);)*
        /// Every domain; a test holds them distinct and the specification lists them.
        pub static DOMAINS: &[&Domain] = &[$(&$name),*];
    };
}

domains! {
    /// Transaction id: the transaction without its witnesses.
    TXID = "cairn v1 txid";
    /// Witness transaction id.
    WTXID = "cairn v1 wtxid";
    /// What an input's signature signs.
    SIGHASH = "cairn v1 sighash";
    /// The outputs that a transaction spends, hashed once for all its inputs.
    SPENT_OUTPUTS = "cairn v1 spent outputs";
    /// Hash of a public key, the body of an address.
    KEY_HASH = "cairn v1 key hash";
    /// Leaf of a block's transaction tree.
    TX_LEAF = "cairn v1 tx leaf";
    /// Inner node of a block's transaction tree.
    TX_NODE = "cairn v1 tx node";
    /// Root of a block's transaction tree, with the count.
    TX_ROOT = "cairn v1 tx root";
    /// Extension hash.
    EXTENSION = "cairn v1 extension";
    /// Hash of a block's attachments.
    ATTACHMENTS = "cairn v1 attachments";
    /// Element of the coin set's LtHash.
    COIN = "cairn v1 coin";
    /// Hash of the engine state.
    ENGINE_STATE = "cairn v1 engine state";
    /// State commitment.
    STATE = "cairn v1 state";
    /// Hash of the immutable part of a chain specification.
    SPEC = "cairn v1 spec";
    /// Hash of the schedule entries announced so far.
    SCHEDULE = "cairn v1 schedule";
    /// Id of one schedule entry's rules on one chain.
    RULESET = "cairn v1 ruleset";
    /// Randomisers of the signature batch.
    BATCH = "cairn v1 signature batch";
    /// What a validator signs.
    VOTE = "cairn v1 vote";
    /// A NEW-VIEW with its justification.
    NEW_VIEW = "cairn v1 new view";
    /// A validator set.
    VALIDATOR_SET = "cairn v1 validator set";
    /// What a validator signs to open a stream.
    GREETING = "cairn v1 greeting";
    /// The draw of a round's leader.
    LEADER = "cairn v1 leader";
    /// Private key of a devnet validator.
    DEVNET_VALIDATOR = "cairn v1 devnet validator";
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// `H2`: SHA-256 of SHA-256.
pub fn h2(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}

/// A text that is no 32-byte hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no hash: expected 64 hexadecimal digits")]
pub struct HashError(pub String);

/// Reads 64 hexadecimal digits.
pub fn parse_hash(text: &str) -> Result<[u8; 32], HashError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| HashError(text.to_owned()))?;
    Ok(bytes)
}

macro_rules! hash_type {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// 32 zero bytes: "none" where the specification allows it.
            pub const ZERO: $name = $name([0; 32]);

            /// The bytes in wire order.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Lower-case hexadecimal in wire order.
            pub fn to_hex(&self) -> String {
                hex::encode(self.0)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.to_hex())
            }
        }

        impl FromStr for $name {
            type Err = HashError;
            fn from_str(text: &str) -> Result<$name, HashError> {
                parse_hash(text).map($name)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(&self.to_hex())
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(de::Error::custom)
                } else {
                    <[u8; 32]>::deserialize(deserializer).map($name)
                }
            }
        }
    )*};
}

hash_type! {
    /// Any other 32-byte hash.
    Hash;
    /// Id of a block: `H2` of its 80-byte header.
    BlockId;
    /// Id of a transaction without its witnesses, or of a coinbase.
    TxId;
    /// Id of a transaction with its witnesses.
    Wtxid;
    /// Hash of a public key.
    KeyHash;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn domains_are_distinct_and_equal_to_plain_derive_key() {
        let contexts: BTreeSet<_> = DOMAINS.iter().map(|d| d.context()).collect();
        assert_eq!(contexts.len(), DOMAINS.len());
        for domain in DOMAINS {
            assert!(domain.context().starts_with("cairn v1 "));
            let plain = blake3::derive_key(domain.context(), b"ab");
            assert_eq!(domain.hash(&[b"a", b"b"]), plain);
        }
    }

    #[test]
    fn h2_is_the_known_double_hash() {
        // SHA-256d of "hello", a value printed in many texts about Bitcoin.
        let known = "9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50";
        assert_eq!(hex::encode(h2(b"hello")), known);
    }
}
