//! Bytes that must not be seen: wiped when dropped, without `Debug`, `Clone`, `Display` or serde.
//!
//! The only way to the bytes is [`Secret::expose`], so that every place that touches a secret can be
//! found by searching for that word.

use rand::TryRng;
use zeroize::Zeroizing;

/// A secret byte string.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes ownership of the bytes; the caller keeps no copy.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// `bytes_count` fresh bytes of the operating system's random source.
    ///
    /// # Panics
    /// When the operating system has no random source: no key may be made then.
    pub fn random(bytes_count: usize) -> Self {
        let mut bytes = Zeroizing::new(vec![0u8; bytes_count]);
        fill_random(&mut bytes);
        Self(bytes)
    }

    /// The bytes, for the moment of their use.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is no byte at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Fills a buffer from the operating system's random source.
///
/// # Panics
/// When the operating system has none.
pub(crate) fn fill_random(buffer: &mut [u8]) {
    rand::rngs::SysRng
        .try_fill_bytes(buffer)
        .expect("the operating system has a random source; without one no key may be made");
}
