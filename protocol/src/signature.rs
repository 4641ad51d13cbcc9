//! Ed25519 signatures by ZIP-215's rules, one by one or in batches, and a cache of what was checked.
//!
//! Invariant: single, batch and cached checks give one verdict for every input.
//! Rules: `spec/03-crypto.md#signatures`.

use crate::codec::array;
use crate::hash::{self, Wtxid};
use ed25519_zebra::{VerificationKey, VerificationKeyBytes, batch};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use std::collections::HashSet;
use std::fmt;
use std::hash::BuildHasher;

/// An Ed25519 public key, as bytes that need not be a point.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicKey(#[serde(with = "array")] pub [u8; 32]);

/// An Ed25519 signature, as bytes that need not be valid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signature(#[serde(with = "array")] pub [u8; 64]);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", hex::encode(self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", hex::encode(self.0))
    }
}

/// One signature to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureJob {
    /// Who signed.
    pub key: PublicKey,
    /// The signature.
    pub signature: Signature,
    /// The 32-byte message: a sighash.
    pub message: [u8; 32],
}

/// Checks signatures: Ed25519 in a node, a keyed hash in the simulator.
pub trait SignatureScheme {
    /// Whether every job is valid; otherwise the index of the first one that is not.
    fn verify(&self, jobs: &[SignatureJob]) -> Result<(), usize>;
}

/// What `connect_block` asks about signatures.
pub trait SignatureCheck {
    /// Whether all witnesses of this transaction were found valid before.
    fn is_known(&self, wtxid: &Wtxid) -> bool;
    /// Whether every job is valid; otherwise the index of the first one that is not.
    fn verify(&mut self, jobs: &[SignatureJob]) -> Result<(), usize>;
    /// All witnesses of this transaction are valid.
    fn remember(&mut self, wtxid: Wtxid);
}

/// Ed25519 by ZIP-215.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ed25519;

/// Jobs of one batch: beyond this the cost per signature no longer falls.
const BATCH_JOBS_MAX: usize = 256;

impl SignatureScheme for Ed25519 {
    fn verify(&self, jobs: &[SignatureJob]) -> Result<(), usize> {
        for (i, chunk) in jobs.chunks(BATCH_JOBS_MAX).enumerate() {
            if !verify_batch(chunk) {
                let bad = chunk.iter().position(|job| !verify_single(job));
                // Batch and single verification accept the same set under ZIP-215. Should a batch
                // fail without a culprit (2^-128), the single verdicts decide.
                if let Some(bad) = bad {
                    return Err(i * BATCH_JOBS_MAX + bad);
                }
            }
        }
        Ok(())
    }
}

/// Verifies one signature.
pub fn verify_single(job: &SignatureJob) -> bool {
    VerificationKey::try_from(job.key.0).is_ok_and(|key| {
        key.verify(
            &ed25519_zebra::Signature::from(job.signature.0),
            &job.message,
        )
        .is_ok()
    })
}

fn verify_batch(jobs: &[SignatureJob]) -> bool {
    if let [job] = jobs {
        return verify_single(job);
    }
    let mut verifier = batch::Verifier::new();
    for job in jobs {
        let key = VerificationKeyBytes::from(job.key.0);
        let signature = ed25519_zebra::Signature::from(job.signature.0);
        verifier.queue((key, signature, &job.message));
    }
    verifier.verify(Randomisers::of(jobs)).is_ok()
}

/// Batch randomisers drawn from all that is checked: an attacker who changes any byte to steer one
/// of them changes all, so they need no random source.
struct Randomisers(blake3::OutputReader);

impl Randomisers {
    fn of(jobs: &[SignatureJob]) -> Randomisers {
        let mut hasher = hash::BATCH.hasher();
        for job in jobs {
            hasher
                .update(&job.key.0)
                .update(&job.signature.0)
                .update(&job.message);
        }
        Randomisers(hasher.finalize_xof())
    }
}

impl rand_core::TryRng for Randomisers {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(out);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Randomisers {}

/// Transactions whose witnesses are known to be valid, in two generations of bounded size.
///
/// A wtxid commits to the outpoints and the witnesses, an outpoint's id commits to value and lock,
/// and one cache serves one chain: so a known wtxid is valid wherever it appears.
#[derive(Clone, Debug)]
pub struct SignatureCache {
    young: HashSet<Wtxid, KeyedHash>,
    old: HashSet<Wtxid, KeyedHash>,
    generation_max: usize,
}

/// SipHash with a secret key: peers cannot aim at one bucket. The map's order is never used.
#[derive(Clone, Copy, Debug)]
struct KeyedHash(u64, u64);

impl BuildHasher for KeyedHash {
    type Hasher = SipHasher13;
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

impl SignatureCache {
    /// An empty cache of at most `entries_max` entries under a secret `key`.
    pub fn new(entries_max: usize, key: (u64, u64)) -> SignatureCache {
        let hash = KeyedHash(key.0, key.1);
        let (young, old) = (HashSet::with_hasher(hash), HashSet::with_hasher(hash));
        SignatureCache {
            young,
            old,
            generation_max: (entries_max / 2).max(1),
        }
    }

    /// Whether `wtxid` is in the cache.
    pub fn contains(&self, wtxid: &Wtxid) -> bool {
        self.young.contains(wtxid) || self.old.contains(wtxid)
    }

    /// Adds `wtxid`; the older half goes when the younger is full.
    pub fn insert(&mut self, wtxid: Wtxid) {
        if self.young.len() >= self.generation_max {
            self.old = std::mem::replace(&mut self.young, HashSet::with_hasher(*self.old.hasher()));
        }
        self.young.insert(wtxid);
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }
}

/// A scheme behind a cache: what a node passes to `connect_block`.
#[derive(Clone, Debug)]
pub struct CachedCheck<S> {
    scheme: S,
    cache: SignatureCache,
}

impl<S: SignatureScheme> CachedCheck<S> {
    /// Puts `cache` before `scheme`.
    pub fn new(scheme: S, cache: SignatureCache) -> CachedCheck<S> {
        CachedCheck { scheme, cache }
    }

    /// The cache.
    pub fn cache(&self) -> &SignatureCache {
        &self.cache
    }
}

impl<S: SignatureScheme> SignatureCheck for CachedCheck<S> {
    fn is_known(&self, wtxid: &Wtxid) -> bool {
        self.cache.contains(wtxid)
    }
    fn verify(&mut self, jobs: &[SignatureJob]) -> Result<(), usize> {
        self.scheme.verify(jobs)
    }
    fn remember(&mut self, wtxid: Wtxid) {
        self.cache.insert(wtxid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_zebra::SigningKey;

    fn job(seed: u8) -> SignatureJob {
        let key = SigningKey::from([seed; 32]);
        let message = [seed ^ 0x55; 32];
        let signature = Signature(key.sign(&message).into());
        SignatureJob {
            key: PublicKey(VerificationKey::from(&key).into()),
            signature,
            message,
        }
    }

    #[test]
    fn the_first_bad_signature_is_named() {
        let mut jobs: Vec<_> = (0..=255).chain(0..=99).map(job).collect();
        assert_eq!(Ed25519.verify(&jobs), Ok(()));
        jobs[300].message[0] ^= 1;
        jobs[310].message[0] ^= 1;
        assert_eq!(Ed25519.verify(&jobs), Err(300));
    }

    /// Attack catalogue V12: for keys and R of small order, single and batch agree (ZIP-215).
    #[test]
    fn small_order_points_have_one_verdict() {
        // The eight torsion points and their non-canonical encodings, from ZIP-215's test vectors.
        let points = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0100000000000000000000000000000000000000000000000000000000000080",
        ];
        let mut accepted = 0;
        for key in points {
            for r in points {
                let mut signature = [0; 64];
                hex::decode_to_slice(r, &mut signature[..32]).unwrap();
                let mut bytes = [0; 32];
                hex::decode_to_slice(key, &mut bytes).unwrap();
                let (key, signature) = (PublicKey(bytes), Signature(signature));
                let bad = SignatureJob {
                    key,
                    signature,
                    message: [3; 32],
                };
                let batch = Ed25519.verify(&[job(1), bad, job(2)]);
                assert_eq!(verify_single(&bad), batch.is_ok(), "{bad:?}");
                accepted += usize::from(verify_single(&bad));
            }
        }
        assert_eq!(
            accepted,
            points.len() * points.len(),
            "ZIP-215 accepts them all"
        );
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = SignatureCache::new(100, (1, 2));
        for i in 0..1000u32 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&i.to_le_bytes());
            cache.insert(Wtxid(id));
            assert!(cache.contains(&Wtxid(id)));
            assert!(cache.len() <= 100);
        }
    }
}
