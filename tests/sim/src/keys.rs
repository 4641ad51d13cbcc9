//! Keys and signatures of a simulated world: Ed25519, or a keyed hash that is a hundred times
//! cheaper.
//!
//! Invariant: under the keyed hash a signature can only be made with the world's oracle key, which
//! lives in the scheme and in the honest signers; nothing hands it to the adversary.

use cairn_protocol::address::key_hash;
use cairn_protocol::lock::Lock;
use cairn_protocol::signature::{Ed25519, PublicKey, Signature, SignatureJob, SignatureScheme};

/// How signatures of one world are checked.
#[derive(Clone, Copy, Debug)]
pub enum Scheme {
    /// BLAKE3 of key and message under the oracle key.
    KeyedHash([u8; 32]),
    /// The real one.
    Ed25519,
}

/// Someone who can sign.
#[derive(Clone, Debug)]
pub struct Signer {
    scheme: Scheme,
    secret: [u8; 32],
    public: PublicKey,
}

fn keyed_signature(oracle: &[u8; 32], key: &PublicKey, message: &[u8]) -> Signature {
    let mut hasher = blake3::Hasher::new_keyed(oracle);
    hasher.update(&key.0).update(message);
    let mut bytes = [0; 64];
    hasher.finalize_xof().fill(&mut bytes);
    Signature(bytes)
}

impl SignatureScheme for Scheme {
    fn verify(&self, jobs: &[SignatureJob]) -> Result<(), usize> {
        let Scheme::KeyedHash(oracle) = self else {
            return Ed25519.verify(jobs);
        };
        let bad =
            |job: &SignatureJob| keyed_signature(oracle, &job.key, &job.message) != job.signature;
        jobs.iter().position(bad).map_or(Ok(()), Err)
    }
}

impl Signer {
    /// The signer of a secret in a world of this scheme.
    #[must_use]
    pub fn new(scheme: Scheme, secret: [u8; 32]) -> Signer {
        let public = match scheme {
            Scheme::KeyedHash(_) => blake3::derive_key("cairn simulator public key", &secret),
            Scheme::Ed25519 => {
                let key = ed25519_zebra::SigningKey::from(secret);
                ed25519_zebra::VerificationKeyBytes::from(&key).into()
            }
        };
        Signer {
            scheme,
            secret,
            public: PublicKey(public),
        }
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The lock that pays to this key.
    #[must_use]
    pub fn lock(&self) -> Lock {
        Lock::Key(key_hash(&self.public))
    }

    /// Signs 32 bytes.
    #[must_use]
    pub fn sign(&self, message: &[u8; 32]) -> Signature {
        match &self.scheme {
            Scheme::KeyedHash(oracle) => keyed_signature(oracle, &self.public, message),
            Scheme::Ed25519 => Signature(
                ed25519_zebra::SigningKey::from(self.secret)
                    .sign(message)
                    .into(),
            ),
        }
    }
}
