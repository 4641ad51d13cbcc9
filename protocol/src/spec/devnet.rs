//! Validators of development chains, whose private keys everybody knows.
//!
//! Invariant: a chain that is not marked `devnet` names none of them.
//! Rules: `spec/01-conventions.md#chain-specification`.

use crate::hash;
use crate::limits::VALIDATORS_MAX;
use crate::signature::PublicKey;
use ed25519_zebra::{SigningKey, VerificationKeyBytes};

/// Private key of devnet validator `number`, as the 32-byte seed of RFC 8032.
pub fn devnet_validator_seed(number: u32) -> [u8; 32] {
    hash::DEVNET_VALIDATOR.hash(&[&number.to_le_bytes()])
}

/// Public key of devnet validator `number`.
pub fn devnet_validator(number: u32) -> PublicKey {
    let key = SigningKey::from(devnet_validator_seed(number));
    PublicKey(VerificationKeyBytes::from(&key).into())
}

/// The number of a devnet validator's key, among as many as a set can have.
pub(super) fn number_of(key: &PublicKey) -> Option<u32> {
    (0..VALIDATORS_MAX as u32).find(|number| devnet_validator(*number) == *key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bft::check_key;

    #[test]
    fn numbers_and_keys_are_one_to_one() {
        for number in 0..40 {
            assert_eq!(check_key(&devnet_validator(number)), Ok(()));
            assert_eq!(number_of(&devnet_validator(number)), Some(number));
        }
        assert_eq!(number_of(&devnet_validator(VALIDATORS_MAX as u32)), None);
    }
}
