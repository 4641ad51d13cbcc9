//! Canonical bytes: postcard, and nothing that does not encode back to itself.
//!
//! Invariant: `decode(b) == Ok(x)` implies `encode(x) == b`; no allocation before bytes are there.
//! Rules: `spec/02-encoding.md` (ENC-01 … ENC-03).

use postcard::ser_flavors::Flavor;
use serde::de::{self, DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// Elements that a sequence may reserve before any of them was read. A larger vector grows with
/// the data received, so a lying length costs its sender and not us.
const ELEMENTS_RESERVED_MAX: usize = 64;

/// Why bytes were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than this kind of object may have.
    #[error("{len} bytes exceed the {max} that this object may have (ENC-01)")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Truncated, out of range, an unknown tag, or a length above its limit.
    #[error("undecodable bytes: {0} (ENC-02)")]
    Malformed(String),
    /// Decodes, but its canonical encoding has other bytes.
    #[error("not the canonical encoding (ENC-03)")]
    NotCanonical,
}

impl DecodeError {
    /// The rule's id, as in `spec/rules.toml`.
    pub fn id(&self) -> &'static str {
        match self {
            DecodeError::TooLong { .. } => "ENC-01",
            DecodeError::Malformed(_) => "ENC-02",
            DecodeError::NotCanonical => "ENC-03",
        }
    }
}

/// Id and variant name of every rule of encodings.
pub const ENCODING_RULES: &[(&str, &str)] = &[
    ("ENC-01", "TooLong"),
    ("ENC-02", "Malformed"),
    ("ENC-03", "NotCanonical"),
];

/// The canonical bytes of `value`.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("encoding into memory of a type without failing parts")
}

/// Appends the canonical bytes of `value` to `out`.
pub fn encode_into<T: Serialize + ?Sized>(value: &T, out: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(value, out).expect("encoding into memory of a type without failing parts")
}

/// Reads one canonical value that takes all of `bytes`.
///
/// Errors: more than `bytes_max` bytes, undecodable or not canonical bytes.
pub fn decode<T: DeserializeOwned + Serialize>(
    bytes: &[u8],
    bytes_max: usize,
) -> Result<T, DecodeError> {
    if bytes.len() > bytes_max {
        return Err(DecodeError::TooLong {
            len: bytes.len(),
            max: bytes_max,
        });
    }
    let (value, rest) = postcard::take_from_bytes::<T>(bytes)
        .map_err(|error| DecodeError::Malformed(error.to_string()))?;
    if !rest.is_empty() || !is_canonical(&value, bytes) {
        return Err(DecodeError::NotCanonical);
    }
    Ok(value)
}

/// Whether `value` encodes to exactly `bytes`; compares as it goes and allocates nothing.
fn is_canonical<T: Serialize>(value: &T, bytes: &[u8]) -> bool {
    struct Compare<'a>(&'a [u8]);
    impl Flavor for Compare<'_> {
        type Output = bool;
        fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
            self.try_extend(&[byte])
        }
        fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
            self.0 = self
                .0
                .strip_prefix(data)
                .ok_or(postcard::Error::SerializeBufferFull)?;
            Ok(())
        }
        fn finalize(self) -> postcard::Result<bool> {
            Ok(self.0.is_empty())
        }
    }
    postcard::serialize_with_flavor(value, Compare(bytes)).unwrap_or(false)
}

/// Bytes of the varint that postcard writes for `value`.
pub fn varint_len(value: u64) -> usize {
    let bits = 64 - value.leading_zeros().min(63);
    (bits as usize).div_ceil(7)
}

/// `deserialize_with` of a vector of at most `MAX` elements.
pub fn bounded<'de, T, D, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Bounded<T, const MAX: usize>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Bounded<T, MAX> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX} elements")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let hint = seq.size_hint().unwrap_or(0);
            if hint > MAX {
                return Err(de::Error::invalid_length(hint, &self));
            }
            let mut elements = Vec::with_capacity(hint.min(ELEMENTS_RESERVED_MAX));
            while let Some(element) = seq.next_element()? {
                if elements.len() == MAX {
                    return Err(de::Error::invalid_length(MAX + 1, &self));
                }
                elements.push(element);
            }
            Ok(elements)
        }
    }
    deserializer.deserialize_seq(Bounded::<T, MAX>(PhantomData))
}

/// At most `MAX` opaque bytes: a varint length and the bytes; hexadecimal in texts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BoundedBytes<const MAX: usize>(Vec<u8>);

impl<const MAX: usize> BoundedBytes<MAX> {
    /// Wraps `bytes`, or gives them back if there are more than `MAX`.
    pub fn new(bytes: Vec<u8>) -> Result<Self, Vec<u8>> {
        if bytes.len() > MAX {
            Err(bytes)
        } else {
            Ok(BoundedBytes(bytes))
        }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, owned.
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<const MAX: usize> fmt::Debug for BoundedBytes<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl<const MAX: usize> Serialize for BoundedBytes<MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&hex::encode(&self.0))
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for BoundedBytes<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Raw<const MAX: usize>;
        impl<const MAX: usize> Visitor<'_> for Raw<MAX> {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX} bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                if bytes.len() > MAX {
                    return Err(E::invalid_length(bytes.len(), &self));
                }
                Ok(bytes.to_vec())
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
                let bytes = hex::decode(text).map_err(E::custom)?;
                self.visit_bytes(&bytes)
            }
        }
        let bytes = if deserializer.is_human_readable() {
            deserializer.deserialize_str(Raw::<MAX>)?
        } else {
            deserializer.deserialize_bytes(Raw::<MAX>)?
        };
        Ok(BoundedBytes(bytes))
    }
}

/// `with` module of `[u8; N]` arrays that serde does not know: N raw bytes; hexadecimal in texts.
pub mod array {
    use super::*;

    /// Writes the bytes.
    pub fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        if serializer.is_human_readable() {
            return serializer.serialize_str(&hex::encode(bytes));
        }
        let mut tuple = serializer.serialize_tuple(N)?;
        for byte in bytes {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }

    /// Reads the bytes.
    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        struct Raw<const N: usize>;
        impl<'de, const N: usize> Visitor<'de> for Raw<N> {
            type Value = [u8; N];
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{N} bytes")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<[u8; N], A::Error> {
                let mut bytes = [0; N];
                for (i, byte) in bytes.iter_mut().enumerate() {
                    *byte = seq
                        .next_element()?
                        .ok_or_else(|| de::Error::invalid_length(i, &self))?;
                }
                Ok(bytes)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<[u8; N], E> {
                let mut bytes = [0; N];
                hex::decode_to_slice(text, &mut bytes).map_err(E::custom)?;
                Ok(bytes)
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Raw::<N>)
        } else {
            deserializer.deserialize_tuple(N, Raw::<N>)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        number: u64,
        flag: bool,
        #[serde(deserialize_with = "bounded::<_, _, 3>")]
        list: Vec<u16>,
        bytes: BoundedBytes<4>,
        #[serde(with = "array")]
        raw: [u8; 40],
        option: Option<u8>,
    }

    fn sample() -> Sample {
        Sample {
            number: 300,
            flag: true,
            list: vec![1, 2, 300],
            bytes: BoundedBytes::new(vec![9, 9]).unwrap(),
            raw: [7; 40],
            option: Some(3),
        }
    }

    #[test]
    fn values_survive_the_round_trip() {
        let bytes = encode(&sample());
        assert_eq!(decode::<Sample>(&bytes, 100), Ok(sample()));
        let text = serde_json::to_string(&sample()).unwrap();
        assert_eq!(serde_json::from_str::<Sample>(&text).unwrap(), sample());
    }

    /// Attack catalogue V15: another spelling of the same value is refused.
    #[test]
    fn other_spellings_are_refused() {
        assert_eq!(
            decode::<u64>(&[0x80, 0x00], 9),
            Err(DecodeError::NotCanonical)
        );
        assert_eq!(decode::<u64>(&[1, 0], 9), Err(DecodeError::NotCanonical));
        assert!(matches!(
            decode::<bool>(&[2], 9),
            Err(DecodeError::Malformed(_))
        ));
        assert!(matches!(
            decode::<Option<u8>>(&[3, 0], 9),
            Err(DecodeError::Malformed(_))
        ));
        assert!(matches!(
            decode::<u64>(&[1; 10], 9),
            Err(DecodeError::TooLong { .. })
        ));
    }

    /// Attack catalogue V16: a lying length allocates nothing.
    #[test]
    fn lying_lengths_are_refused() {
        let lie = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert!(decode::<BoundedBytes<100>>(&lie, 100).is_err());
        #[derive(Debug, Serialize, Deserialize)]
        struct List(#[serde(deserialize_with = "bounded::<_, _, 1000>")] Vec<u64>);
        assert!(decode::<List>(&lie, 100).is_err());
        assert!(decode::<List>(&[0xe8, 0x07, 1, 2], 100).is_err());
    }

    #[test]
    fn varint_lengths_match_the_encoding() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1] {
                assert_eq!(varint_len(value), encode(&value).len(), "{value}");
            }
        }
        assert_eq!(varint_len(u64::MAX), 10);
    }
}
