//! Hashes, ids and byte strings in hex.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Thirty-two bytes: a block id, a transaction id, a root; in JSON 64 lower-case hex digits in wire
/// order (no reversed display).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash32(pub [u8; 32]);

/// Any bytes; in JSON lower-case hex.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HexBytes(pub Vec<u8>);

/// A text that is not 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not 64 hex digits")]
pub struct NotAHash(pub String);

impl fmt::Display for Hash32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Hash32 {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        let mut bytes = [0; 32];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Ok(Self(bytes)),
            // Whatever a stranger sent is shown cut short.
            Err(_) => Err(NotAHash(text.chars().take(80).collect())),
        }
    }
}

impl Serialize for Hash32 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl Serialize for HexBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        hex::decode(text.as_ref())
            .map(Self)
            .map_err(|e| de::Error::custom(format!("not a hex string: {e}")))
    }
}

macro_rules! hex_schema {
    ($name:ident, $pattern:literal, $description:literal) => {
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .pattern(Some($pattern))
                    .description(Some($description))
                    .into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    };
}

hex_schema!(
    Hash32,
    "^[0-9a-f]{64}$",
    "Thirty-two bytes as lower-case hex in wire order."
);
hex_schema!(HexBytes, "^([0-9a-f]{2})*$", "Bytes as lower-case hex.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_lower_case_hex_in_wire_order() {
        let mut bytes = [0; 32];
        bytes[0] = 0xAB;
        let text = format!("\"ab{}\"", "00".repeat(31));
        assert_eq!(serde_json::to_string(&Hash32(bytes)).unwrap(), text);
        assert_eq!(
            serde_json::from_str::<Hash32>(&text).unwrap(),
            Hash32(bytes)
        );
        for bad in ["", "ab", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64)] {
            assert!(bad.parse::<Hash32>().is_err(), "{bad}");
        }
        let long = "x".repeat(1_000_000).parse::<Hash32>().unwrap_err();
        assert!(long.to_string().len() < 200);
    }
}
