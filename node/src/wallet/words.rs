//! The words that are the wallet: 12 or 24 of BIP-39's English list.
//!
//! Invariant: words with a wrong checksum are refused, so a typing error never opens an empty
//! wallet. Source: BIP-39 (word list, checksum, PBKDF2-HMAC-SHA512 with 2,048 rounds to a seed).

use bip39::{Language, Mnemonic};
use zeroize::Zeroizing;

use crate::keystore::Secret;

/// Entropy of a new wallet: 256 bits, 24 words.
const ENTROPY_BYTES: usize = 32;

/// Why a text is not a wallet's words.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WordsError {
    /// Another number of words.
    #[error("{0} words were given, a wallet has 12 or 24")]
    Count(usize),
    /// A word that is not in the list. The word itself is secret; its place is not.
    #[error("word {0} is not in the English word list of BIP-39")]
    Unknown(usize),
    /// All words exist, together they are not a wallet.
    #[error("the checksum of the words is wrong: a word is mistaken or out of place")]
    Checksum,
}

/// The words of one wallet. No `Debug`: they are the money.
pub struct Words(Mnemonic);

impl Words {
    /// 24 fresh words from the operating system's random source.
    pub fn generate() -> Self {
        let entropy = Secret::random(ENTROPY_BYTES);
        Self::from_entropy(&entropy).expect("32 bytes are a valid amount of entropy")
    }

    /// Reads words separated by white space, in any case.
    pub fn parse(text: &str) -> Result<Self, WordsError> {
        let normal = Zeroizing::new(text.to_lowercase());
        let words: Vec<&str> = normal.split_whitespace().collect();
        if !matches!(words.len(), 12 | 24) {
            return Err(WordsError::Count(words.len()));
        }
        let joined = Zeroizing::new(words.join(" "));
        Mnemonic::parse_in_normalized(Language::English, &joined)
            .map(Self)
            .map_err(|error| match error {
                bip39::Error::UnknownWord(index) => WordsError::Unknown(index + 1),
                _ => WordsError::Checksum,
            })
    }

    /// The words of stored entropy.
    pub fn from_entropy(entropy: &Secret) -> Result<Self, WordsError> {
        match entropy.expose().len() {
            16 | 32 => Mnemonic::from_entropy_in(Language::English, entropy.expose())
                .map(Self)
                .map_err(|_| WordsError::Checksum),
            bytes => Err(WordsError::Count(bytes * 3 / 4)),
        }
    }

    /// What is stored: the entropy without checksum.
    pub fn entropy(&self) -> Secret {
        Secret::new(self.0.to_entropy())
    }

    /// The words in one line, for the moment they are shown.
    pub fn phrase(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.to_string())
    }

    /// BIP-39's seed with an empty passphrase.
    pub fn seed(&self) -> Zeroizing<[u8; 64]> {
        Zeroizing::new(self.0.to_seed_normalized(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BIP-39's reference vectors with the passphrase "TREZOR": entropy, words, seed.
    const VECTORS: [(&str, &str, &str); 4] = [
        (
            "00000000000000000000000000000000",
            "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about",
            "c55257c360c07c72029aebc1b53c05ed0362ada38ead3e3e9efa3708e53495531f09a6987599d18264c1e1c92f2cf141630c7a3c4ab7c81b2f001698e7463b04",
        ),
        (
            "7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f",
            "legal winner thank year wave sausage worth useful legal winner thank yellow",
            "2e8905819b8723fe2c1d161860e5ee1830318dbf49a83bd451cfb8440c28bd6fa457fe1296106559a3c80937a1c1069be3a3a5bd381ee6260e8d9739fce1f607",
        ),
        (
            "ffffffffffffffffffffffffffffffff",
            "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong",
            "ac27495480225222079d7be181583751e86f571027b0497b5b5d11218e0a8a13332572917f0f8e5a589620c6f15b11c61dee327651a14c34e18231052e48c069",
        ),
        (
            "0000000000000000000000000000000000000000000000000000000000000000",
            "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art",
            "bda85446c68413707090a52022edd26a1c9462295029f2e60cd7c4f2bbd3097170af7a4d73245cafa9c3cca8d561a7c3de6f5d4a10be8ed2a5e608d68f92fcc8",
        ),
    ];

    #[test]
    fn reference_vectors_of_bip_39() {
        for (entropy, phrase, seed) in VECTORS {
            let words = Words::parse(phrase).ok().unwrap();
            assert_eq!(hex::encode(words.entropy().expose()), entropy);
            assert_eq!(hex::encode(words.0.to_seed_normalized("TREZOR")), seed);
            let stored = Secret::new(hex::decode(entropy).unwrap());
            assert_eq!(*Words::from_entropy(&stored).ok().unwrap().phrase(), phrase);
        }
    }

    #[test]
    fn new_words_are_24_and_read_back() {
        let words = Words::generate();
        let phrase = words.phrase();
        assert_eq!(phrase.split(' ').count(), 24);
        let again = Words::parse(&format!("  {}\n", phrase.to_uppercase()))
            .ok()
            .unwrap();
        assert_eq!(again.entropy().expose(), words.entropy().expose());
        assert_ne!(
            Words::generate().entropy().expose(),
            words.entropy().expose()
        );
    }

    #[test]
    fn mistakes_are_told_apart() {
        let zoo = ["zoo"; 12].join(" ");
        let unknown = ["zoo"; 11].join(" ") + " cairn";
        for (text, expected) in [
            ("zoo zoo", WordsError::Count(2)),
            ("", WordsError::Count(0)),
            (&["zoo"; 15].join(" "), WordsError::Count(15)),
            (&zoo, WordsError::Checksum),
            (&unknown, WordsError::Unknown(12)),
        ] {
            assert_eq!(Words::parse(text).err(), Some(expected), "{text}");
        }
    }
}
