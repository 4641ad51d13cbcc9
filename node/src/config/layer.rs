//! One source of settings, and the search through several of them.
//!
//! Invariant: the strongest layer that has a key decides; weaker ones are not looked at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::key::{KEYS, Key, Kind, key, variable};
use super::value::Raw;
use super::{ADDRESSES_MAX, CONFIG_FILE_BYTES_MAX};

/// Where a value was found; errors name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag of the command line.
    CommandLine,
    /// A `CAIRN_…` variable.
    Environment,
    /// A key of this TOML file.
    File(PathBuf),
}

/// The values of one source by setting name.
#[derive(Clone, Debug)]
pub struct Layer {
    source: Source,
    values: BTreeMap<String, Raw>,
}

impl Layer {
    /// An empty layer, to be filled with [`Layer::set`].
    pub fn new(source: Source) -> Self {
        Self {
            source,
            values: BTreeMap::new(),
        }
    }

    /// Gives a setting its value in this layer. An empty list counts as not given.
    ///
    /// # Panics
    /// When no setting has this name: the callers are in this crate and their names are literals.
    pub fn set(&mut self, key: &str, value: impl Into<Option<Raw>>) {
        assert!(
            KEYS.iter().any(|known| known.name == key),
            "{key} is no setting"
        );
        match value.into() {
            None => {}
            Some(Raw::List(items)) if items.is_empty() => {}
            Some(value) => {
                self.values.insert(key.into(), value);
            }
        }
    }

    /// The layer of `CAIRN_…` variables, read through `variable_of` so that tests bring their own.
    pub fn from_environment(variable_of: impl Fn(&str) -> Option<String>) -> Self {
        let mut layer = Self::new(Source::Environment);
        for key in KEYS {
            if let Some(text) = variable_of(&variable(key.name)) {
                layer.set(key.name, Raw::Text(text));
            }
        }
        layer
    }

    /// The layer of a TOML file.
    ///
    /// # Errors
    /// When the file cannot be read or parsed, or has a key that is no setting.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |e: std::io::Error| ConfigError::Unreadable {
            path: path.into(),
            cause: e.to_string(),
        };
        let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
        if bytes > CONFIG_FILE_BYTES_MAX {
            return Err(ConfigError::TooLarge {
                path: path.into(),
                bytes,
            });
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::from_toml(path, &text)
    }

    /// The layer of a TOML text that came from `path`.
    ///
    /// # Errors
    /// When the text is not TOML or has a key that is no setting.
    pub fn from_toml(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let table: toml::Table =
            text.parse()
                .map_err(|e: toml::de::Error| ConfigError::Syntax {
                    path: path.into(),
                    cause: e.to_string().trim_end().into(),
                })?;
        let mut layer = Self::new(Source::File(path.into()));
        for (written, value) in table {
            let name = written.replace('-', "_");
            if !KEYS.iter().any(|key| key.name == name) {
                return Err(ConfigError::UnknownKey {
                    path: path.into(),
                    key: written,
                });
            }
            if layer.values.contains_key(&name) {
                return Err(ConfigError::DuplicateKey {
                    path: path.into(),
                    key: name,
                });
            }
            layer.values.insert(name, value.into());
        }
        Ok(layer)
    }
}

/// Layers from the strongest to the weakest.
pub(super) struct Settings<'a> {
    pub layers: &'a [Layer],
}

impl Settings<'_> {
    fn find(&self, name: &'static str) -> Option<(&Layer, &Raw, &'static Key)> {
        let key = key(name);
        self.layers
            .iter()
            .find_map(|layer| layer.values.get(name).map(|raw| (layer, raw, key)))
    }

    pub fn parsed<T>(
        &self,
        name: &'static str,
        kind: Kind,
        parse: impl Fn(&Raw) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((layer, raw, key)) = self.find(name) else {
            return Ok(None);
        };
        debug_assert_eq!(
            key.kind, kind,
            "{name} is read as another kind than KEYS says"
        );
        match parse(raw) {
            Some(value) => Ok(Some(value)),
            None => Err(ConfigError::Invalid {
                name: written(&layer.source, name),
                value: raw.to_string(),
                expected: key.expected,
            }),
        }
    }

    pub fn text<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        self.parsed(name, Kind::Text, |raw| match raw {
            Raw::Text(text) if !text.is_empty() => parse(text),
            _ => None,
        })
    }

    pub fn list<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>, ConfigError> {
        self.parsed(name, Kind::List, |raw| {
            let items: Vec<&str> = match raw {
                Raw::Text(text) => text.split(',').map(str::trim).collect(),
                Raw::List(items) => items.iter().flat_map(|item| item.split(',')).collect(),
                _ => return None,
            };
            let items: Vec<&str> = items.into_iter().filter(|item| !item.is_empty()).collect();
            if items.len() > ADDRESSES_MAX {
                return None;
            }
            items.into_iter().map(&parse).collect()
        })
    }

    pub fn flag(&self, name: &'static str) -> Result<bool, ConfigError> {
        let flag = self.parsed(name, Kind::Flag, |raw| match raw {
            Raw::Flag(flag) => Some(*flag),
            Raw::Text(text) => match text.as_str() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        })?;
        Ok(flag.unwrap_or(false))
    }
}

/// A setting as its source writes it.
fn written(source: &Source, name: &str) -> String {
    match source {
        Source::CommandLine => format!("--{}", name.replace('_', "-")),
        Source::Environment => variable(name),
        Source::File(path) => format!("`{name}` in {}", path.display()),
    }
}
