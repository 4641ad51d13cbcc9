//! Addresses: bech32m texts that name a key hash on one network.
//!
//! Invariant: an address of one network never reads as an address of another.
//! Rules: `spec/10-addresses.md`.

use crate::hash::{self, KeyHash};
use crate::lock::Lock;
use crate::signature::PublicKey;
use bech32::{Bech32m, Hrp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The only address version so far: a key hash.
pub const VERSION_KEY_HASH: u8 = 0;

/// Which kind of chain an address, a specification or a wallet belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Money of value: prefix `crn`.
    Mainnet,
    /// A public test chain: prefix `tcrn`.
    Testnet,
    /// A private development chain: prefix `dcrn`.
    Devnet,
}

impl Network {
    /// The human-readable prefix of this network's addresses.
    pub fn prefix(self) -> &'static str {
        match self {
            Network::Mainnet => "crn",
            Network::Testnet => "tcrn",
            Network::Devnet => "dcrn",
        }
    }

    fn of_prefix(prefix: &str) -> Option<Network> {
        [Network::Mainnet, Network::Testnet, Network::Devnet]
            .into_iter()
            .find(|network| network.prefix() == prefix)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Network::Mainnet => "mainnet",
            Network::Testnet => "testnet",
            Network::Devnet => "devnet",
        })
    }
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not bech32m: a typing error in most cases.
    #[error("`{text}` is no address: {reason} (ADR-01)")]
    Malformed {
        /// The text.
        text: String,
        /// What the decoder said.
        reason: String,
    },
    /// A prefix that no Cairn network has.
    #[error("address prefix `{0}` is of no Cairn network: expected crn, tcrn or dcrn (ADR-02)")]
    UnknownPrefix(String),
    /// A version that this program does not know.
    #[error("address version {0} is unknown: this program knows version 0 (ADR-03)")]
    UnknownVersion(u8),
    /// A body of another length than 32 bytes.
    #[error("address body has {0} bytes: expected 32 (ADR-04)")]
    WrongLength(usize),
    /// An address of another network.
    #[error("`{text}` is an address of {found}: expected one of {expected} (ADR-05)")]
    WrongNetwork {
        /// The text.
        text: String,
        /// Whose address it is.
        found: Network,
        /// Whose was asked for.
        expected: Network,
    },
}

impl AddressError {
    /// The rule's id, as in `spec/rules.toml`.
    pub fn id(&self) -> &'static str {
        match self {
            AddressError::Malformed { .. } => "ADR-01",
            AddressError::UnknownPrefix(_) => "ADR-02",
            AddressError::UnknownVersion(_) => "ADR-03",
            AddressError::WrongLength(_) => "ADR-04",
            AddressError::WrongNetwork { .. } => "ADR-05",
        }
    }
}

/// Id and variant name of every rule of addresses.
pub const ADDRESS_RULES: &[(&str, &str)] = &[
    ("ADR-01", "Malformed"),
    ("ADR-02", "UnknownPrefix"),
    ("ADR-03", "UnknownVersion"),
    ("ADR-04", "WrongLength"),
    ("ADR-05", "WrongNetwork"),
];

/// A key hash on a network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Address {
    /// The network.
    pub network: Network,
    /// Hash of the public key.
    pub key_hash: KeyHash,
}

impl Address {
    /// The address of `key` on `network`.
    pub fn of_key(network: Network, key: &PublicKey) -> Address {
        Address {
            network,
            key_hash: key_hash(key),
        }
    }

    /// The lock that pays to this address.
    pub fn lock(&self) -> Lock {
        Lock::Key(self.key_hash)
    }

    /// Reads an address of any network.
    pub fn parse_any(text: &str) -> Result<Address, AddressError> {
        let malformed = |reason: String| AddressError::Malformed {
            text: text.to_owned(),
            reason,
        };
        // The checksum must be bech32m's: `decode` of the library would take bech32's too.
        let checked = bech32::primitives::decode::CheckedHrpstring::new::<Bech32m>(text)
            .map_err(|error| malformed(error.to_string()))?;
        let prefix = checked.hrp().to_lowercase();
        let network =
            Network::of_prefix(&prefix).ok_or(AddressError::UnknownPrefix(prefix.clone()))?;
        let data: Vec<u8> = checked.byte_iter().collect();
        // The padding of the last character must be zero: one key hash, one text.
        let hrp = Hrp::parse_unchecked(&prefix);
        let again = bech32::encode::<Bech32m>(hrp, &data).map_err(|e| malformed(e.to_string()))?;
        if again != text.to_lowercase() {
            return Err(malformed("padding is not zero".to_owned()));
        }
        let (version, body) = data
            .split_first()
            .ok_or_else(|| malformed("empty".to_owned()))?;
        if *version != VERSION_KEY_HASH {
            return Err(AddressError::UnknownVersion(*version));
        }
        let body: [u8; 32] = body
            .try_into()
            .map_err(|_| AddressError::WrongLength(body.len()))?;
        Ok(Address {
            network,
            key_hash: KeyHash(body),
        })
    }

    /// Reads an address of `expected`.
    pub fn parse(text: &str, expected: Network) -> Result<Address, AddressError> {
        let address = Address::parse_any(text)?;
        if address.network != expected {
            let (text, found) = (text.to_owned(), address.network);
            return Err(AddressError::WrongNetwork {
                text,
                found,
                expected,
            });
        }
        Ok(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut data = vec![VERSION_KEY_HASH];
        data.extend_from_slice(self.key_hash.as_bytes());
        let hrp = Hrp::parse(self.network.prefix()).expect("our prefixes are valid");
        f.write_str(&bech32::encode::<Bech32m>(hrp, &data).expect("33 bytes fit an address"))
    }
}

/// The hash of a public key that locks and addresses name.
pub fn key_hash(key: &PublicKey) -> KeyHash {
    KeyHash(hash::KEY_HASH.hash(&[&key.0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip_and_keep_their_network() {
        for network in [Network::Mainnet, Network::Testnet, Network::Devnet] {
            let address = Address {
                network,
                key_hash: KeyHash([7; 32]),
            };
            let text = address.to_string();
            assert!(text.starts_with(&format!("{}1", network.prefix())));
            assert_eq!(Address::parse(&text, network), Ok(address));
            assert_eq!(Address::parse_any(&text.to_uppercase()), Ok(address));
        }
        let other = Address {
            network: Network::Testnet,
            key_hash: KeyHash([7; 32]),
        }
        .to_string();
        let error = Address::parse(&other, Network::Devnet).unwrap_err();
        assert!(
            matches!(error, AddressError::WrongNetwork { .. }),
            "{error}"
        );
    }

    #[test]
    fn damaged_texts_are_refused() {
        let text = Address {
            network: Network::Devnet,
            key_hash: KeyHash([1; 32]),
        }
        .to_string();
        for i in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[i] = if bytes[i] == b'q' { b'p' } else { b'q' };
            let damaged = String::from_utf8(bytes).unwrap();
            assert!(Address::parse_any(&damaged).is_err(), "{damaged}");
        }
        let hrp = Hrp::parse("dcrn").unwrap();
        let bech32_only = bech32::encode::<bech32::Bech32>(hrp, &[0; 33]).unwrap();
        assert!(Address::parse_any(&bech32_only).is_err());
        let version_1 = bech32::encode::<Bech32m>(hrp, &[1; 33]).unwrap();
        assert_eq!(
            Address::parse_any(&version_1),
            Err(AddressError::UnknownVersion(1))
        );
        let short = bech32::encode::<Bech32m>(hrp, &[0; 32]).unwrap();
        assert_eq!(
            Address::parse_any(&short),
            Err(AddressError::WrongLength(31))
        );
    }
}
