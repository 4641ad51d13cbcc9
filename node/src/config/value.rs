//! A setting's value before its meaning is known.
//!
//! Invariant: what a source says is kept as written, so that an error can show it.

use std::fmt;

/// A value before its meaning is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// One word or number, as text.
    Text(String),
    /// A list of words.
    List(Vec<String>),
    /// A truth value.
    Flag(bool),
    /// Something that no setting takes (a TOML table, a date), as text.
    Other(String),
}

impl From<toml::Value> for Raw {
    fn from(value: toml::Value) -> Self {
        match value {
            toml::Value::String(text) => Self::Text(text),
            toml::Value::Integer(number) => Self::Text(number.to_string()),
            toml::Value::Boolean(flag) => Self::Flag(flag),
            toml::Value::Array(items) if items.iter().all(toml::Value::is_str) => Self::List(
                items
                    .iter()
                    .filter_map(|item| item.as_str().map(String::from))
                    .collect(),
            ),
            other => Self::Other(other.to_string()),
        }
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Other(text) => write!(f, "`{text}`"),
            Self::List(items) => write!(f, "`{}`", items.join(",")),
            Self::Flag(flag) => write!(f, "`{flag}`"),
        }
    }
}
