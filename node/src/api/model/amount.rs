//! Amounts in pebbles (1 CRN = 100,000,000 pebbles, `spec/01-conventions`).

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// An amount of pebbles; in JSON a decimal string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pebbles(pub u64);

/// A difference of amounts in pebbles; in JSON a decimal string, with `-` when negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PebblesDelta(pub i128);

macro_rules! decimal_string {
    ($name:ident, $number:ty, $pattern:literal, $description:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<str>::deserialize(deserializer)?;
                let number: $number = text.parse().map_err(|_| {
                    de::Error::custom(format!("`{text}` is not a number of pebbles"))
                })?;
                Ok(Self(number))
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .pattern(Some($pattern))
                    .description(Some($description))
                    .examples(["150000000"])
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

decimal_string!(
    Pebbles,
    u64,
    "^[0-9]{1,20}$",
    "An amount in pebbles, 1 CRN = 100000000 pebbles."
);
decimal_string!(
    PebblesDelta,
    i128,
    "^-?[0-9]{1,20}$",
    "A signed difference of amounts in pebbles."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_strings_both_ways() {
        assert_eq!(
            serde_json::to_string(&Pebbles(u64::MAX)).unwrap(),
            "\"18446744073709551615\""
        );
        assert_eq!(serde_json::to_string(&PebblesDelta(-5)).unwrap(), "\"-5\"");
        assert_eq!(
            serde_json::from_str::<Pebbles>("\"12\"").unwrap(),
            Pebbles(12)
        );
        for bad in [
            "12",
            "\"-1\"",
            "\"1.5\"",
            "\"18446744073709551616\"",
            "\"\"",
        ] {
            assert!(serde_json::from_str::<Pebbles>(bad).is_err(), "{bad}");
        }
    }
}
