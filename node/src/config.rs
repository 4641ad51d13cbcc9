//! The settings of `cairn node`: command line over environment over TOML file.
//!
//! Invariant: one table (`KEYS`) names every setting; the flag `--data-dir`, the variable
//! `CAIRN_DATA_DIR` and the file's key `data_dir` are the same row, parsed by the same code, so the
//! three sources cannot drift apart. A file's unknown key is refused by its name.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A configuration file larger than this is refused before it is parsed: all settings together fit
/// a few hundred bytes, and a thousand bootnodes fit 128 KiB.
pub const CONFIG_FILE_BYTES_MAX: u64 = 256 * 1024;
/// Most search threads a miner may be given; above any machine this was run on.
pub const THREADS_MAX: usize = 1024;
/// Most `p2p` or `bootnode` addresses; a longer list is a mistake, not a network.
pub const ADDRESSES_MAX: usize = 256;
/// The least `max_memory`: below it the caches cannot hold one block of the largest kind.
pub const MEMORY_BYTES_MIN: u64 = 32 * 1024 * 1024;

const DEFAULT_P2P: &str = "/ip4/127.0.0.1/tcp/7000";
const DEFAULT_API: &str = "127.0.0.1:8080";

/// Which chain a node follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainChoice {
    /// The built-in specification of a private network.
    Devnet,
    /// The built-in public test network.
    Testnet,
    /// A chain specification file.
    File(PathBuf),
}

/// A part of the node that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Blocks, transactions, mempool, mining.
    Ledger,
    /// SQL over the ledger and over the node's own data.
    Sql,
}

/// The form of the log on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Everything `cairn node` needs to know, from whichever source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// The chain to follow.
    pub chain: ChainChoice,
    /// The directory of this node's data; one node at a time.
    pub data_dir: PathBuf,
    /// Multiaddresses to listen on.
    pub p2p: Vec<String>,
    /// Multiaddresses of peers to start from.
    pub bootnodes: Vec<String>,
    /// Whether to look for peers by multicast DNS (never on loopback listeners).
    pub mdns: bool,
    /// Where the HTTP API listens.
    pub api: SocketAddr,
    /// The file with the token that writes need on a listener that is not loopback.
    pub api_token_file: Option<PathBuf>,
    /// Where the PostgreSQL wire listens.
    pub sql: Option<SocketAddr>,
    /// Where Stratum listens.
    pub stratum: Option<SocketAddr>,
    /// Whether to mine.
    pub mine: bool,
    /// Search threads; none given means the miner's own choice.
    pub threads: Option<usize>,
    /// The address that mining rewards go to.
    pub mine_to: Option<String>,
    /// The key this node votes with.
    pub validator_key: Option<PathBuf>,
    /// The parts that run.
    pub roles: Vec<Role>,
    /// The form of the log.
    pub log: LogFormat,
    /// A bound for the caches together, in bytes; none given means the built-in defaults.
    pub max_memory_bytes: Option<u64>,
}

/// How a setting's value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    List,
    Flag,
    Count,
    Size,
}

/// One setting: its name in the file and what its values look like.
struct Key {
    name: &'static str,
    kind: Kind,
    expected: &'static str,
}

/// Every setting, in the order of the command's help.
const KEYS: &[Key] = &[
    Key {
        name: "chain",
        kind: Kind::Text,
        expected: "devnet, testnet or a specification file",
    },
    Key {
        name: "data_dir",
        kind: Kind::Text,
        expected: "a directory",
    },
    Key {
        name: "p2p",
        kind: Kind::List,
        expected: "multiaddresses such as /ip4/127.0.0.1/tcp/7000",
    },
    Key {
        name: "bootnode",
        kind: Kind::List,
        expected: "multiaddresses such as /ip4/192.0.2.1/tcp/7000/p2p/12D3Koo…",
    },
    Key {
        name: "mdns",
        kind: Kind::Flag,
        expected: "true or false",
    },
    Key {
        name: "api",
        kind: Kind::Text,
        expected: "ADDR:PORT such as 127.0.0.1:8080",
    },
    Key {
        name: "api_token_file",
        kind: Kind::Text,
        expected: "a file with mode 0600",
    },
    Key {
        name: "sql",
        kind: Kind::Text,
        expected: "ADDR:PORT such as 127.0.0.1:5432",
    },
    Key {
        name: "stratum",
        kind: Kind::Text,
        expected: "ADDR:PORT such as 127.0.0.1:3333",
    },
    Key {
        name: "mine",
        kind: Kind::Flag,
        expected: "true or false",
    },
    Key {
        name: "threads",
        kind: Kind::Count,
        expected: "a number from 1 to 1024",
    },
    Key {
        name: "mine_to",
        kind: Kind::Text,
        expected: "an address of this chain",
    },
    Key {
        name: "validator_key",
        kind: Kind::Text,
        expected: "a file with mode 0600",
    },
    Key {
        name: "roles",
        kind: Kind::List,
        expected: "a list of ledger, sql",
    },
    Key {
        name: "log",
        kind: Kind::Text,
        expected: "text or json",
    },
    Key {
        name: "max_memory",
        kind: Kind::Size,
        expected: "a size of at least 32MiB, such as 1GiB",
    },
];

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

/// Why the settings cannot be used. Always the user's to mend: exit code 2.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The file is larger than any configuration is.
    #[error("the configuration file {path} has {bytes} bytes, more than {CONFIG_FILE_BYTES_MAX}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The file is not TOML.
    #[error("the configuration file {path} is not TOML: {cause}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and column.
        cause: String,
    },
    /// The file has a key that no setting bears.
    #[error("unknown key `{key}` in {path}")]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key as written.
        key: String,
    },
    /// The file gives one setting twice, once with `-` and once with `_`.
    #[error("key `{key}` stands twice in {path}, with `-` and with `_`")]
    DuplicateKey {
        /// The file.
        path: PathBuf,
        /// The setting.
        key: String,
    },
    /// A value is not of its setting's form.
    #[error("{name} is {value}")]
    Invalid {
        /// The flag, variable or key, as its source writes it.
        name: String,
        /// The value as given.
        value: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// A setting without default was given nowhere.
    #[error("no {key} given")]
    Missing {
        /// The setting.
        key: &'static str,
        /// What would have been right.
        expected: &'static str,
    },
}

impl ConfigError {
    /// What would have been right, for the error's second line.
    pub fn expected(&self) -> String {
        match self {
            Self::Unreadable { .. } => "a readable TOML file".into(),
            Self::TooLarge { .. } => format!("at most {CONFIG_FILE_BYTES_MAX} bytes"),
            Self::Syntax { .. } => "lines such as `api = \"127.0.0.1:8080\"`".into(),
            Self::UnknownKey { .. } | Self::DuplicateKey { .. } => {
                let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
                format!("one each of {}", names.join(", "))
            }
            Self::Invalid { expected, .. } => (*expected).into(),
            Self::Missing { key, expected } => format!(
                "--{} or {} or the file's key `{key}`: {expected}",
                key.replace('_', "-"),
                variable(key)
            ),
        }
    }
}

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
            layer.values.insert(name, raw(value));
        }
        Ok(layer)
    }
}

fn raw(value: toml::Value) -> Raw {
    match value {
        toml::Value::String(text) => Raw::Text(text),
        toml::Value::Integer(number) => Raw::Text(number.to_string()),
        toml::Value::Boolean(flag) => Raw::Flag(flag),
        toml::Value::Array(items) if items.iter().all(toml::Value::is_str) => Raw::List(
            items
                .iter()
                .filter_map(|item| item.as_str().map(String::from))
                .collect(),
        ),
        other => Raw::Other(other.to_string()),
    }
}

/// The environment variable of a setting.
fn variable(key: &str) -> String {
    format!("CAIRN_{}", key.to_uppercase())
}

/// Layers from the strongest to the weakest.
struct Settings<'a> {
    layers: &'a [Layer],
}

impl Settings<'_> {
    fn find(&self, name: &'static str) -> Option<(&Layer, &Raw, &'static Key)> {
        let key = KEYS
            .iter()
            .find(|key| key.name == name)
            .expect("callers name settings");
        self.layers
            .iter()
            .find_map(|layer| layer.values.get(name).map(|raw| (layer, raw, key)))
    }

    fn parsed<T>(
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

    fn text<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        self.parsed(name, Kind::Text, |raw| match raw {
            Raw::Text(text) if !text.is_empty() => parse(text),
            _ => None,
        })
    }

    fn list<T>(
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

    fn flag(&self, name: &'static str) -> Result<bool, ConfigError> {
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

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Other(text) => write!(f, "`{text}`"),
            Self::List(items) => write!(f, "`{}`", items.join(",")),
            Self::Flag(flag) => write!(f, "`{flag}`"),
        }
    }
}

impl NodeConfig {
    /// Settles every setting from layers given strongest first.
    ///
    /// # Errors
    /// Names the first value that is not of its form, or the setting that is missing.
    pub fn resolve(layers: &[Layer]) -> Result<Self, ConfigError> {
        let settings = Settings { layers };
        let path = |text: &str| Some(PathBuf::from(text));
        let socket = |text: &str| text.parse::<SocketAddr>().ok();
        let multiaddress = |text: &str| text.starts_with('/').then(|| text.to_owned());
        let chain = settings.text("chain", |text| {
            Some(match text {
                "devnet" => ChainChoice::Devnet,
                "testnet" => ChainChoice::Testnet,
                file => ChainChoice::File(file.into()),
            })
        })?;
        Ok(Self {
            chain: chain.ok_or_else(|| missing("chain"))?,
            data_dir: settings
                .text("data_dir", path)?
                .ok_or_else(|| missing("data_dir"))?,
            p2p: settings
                .list("p2p", multiaddress)?
                .unwrap_or(vec![DEFAULT_P2P.into()]),
            bootnodes: settings.list("bootnode", multiaddress)?.unwrap_or_default(),
            mdns: settings.flag("mdns")?,
            api: settings
                .text("api", socket)?
                .unwrap_or_else(|| DEFAULT_API.parse().expect("a literal socket address")),
            api_token_file: settings.text("api_token_file", path)?,
            sql: settings.text("sql", socket)?,
            stratum: settings.text("stratum", socket)?,
            mine: settings.flag("mine")?,
            threads: settings.parsed("threads", Kind::Count, |raw| match raw {
                Raw::Text(text) => text.parse().ok().filter(|n| (1..=THREADS_MAX).contains(n)),
                _ => None,
            })?,
            mine_to: settings.text("mine_to", |text| Some(text.to_owned()))?,
            validator_key: settings.text("validator_key", path)?,
            roles: roles(settings.list("roles", role)?),
            log: settings.text("log", log_format)?.unwrap_or_default(),
            max_memory_bytes: settings.parsed("max_memory", Kind::Size, |raw| match raw {
                Raw::Text(text) => parse_size(text).filter(|bytes| *bytes >= MEMORY_BYTES_MIN),
                _ => None,
            })?,
        })
    }

    /// Settings of this configuration that belong to parts which are not in this program yet; the
    /// node accepts and ignores them, and says so.
    pub fn ignored(&self) -> Vec<&'static str> {
        let mut parts = Vec::new();
        if self.sql.is_some() || self.roles.contains(&Role::Sql) {
            parts.push("the SQL server is not part of this version: `sql` is accepted and ignored");
        }
        if self.stratum.is_some() {
            parts.push("Stratum is not part of this version: `stratum` is accepted and ignored");
        }
        if self.validator_key.is_some() {
            parts.push(
                "validators are not part of this version: `validator_key` is accepted and ignored",
            );
        }
        parts
    }
}

fn missing(name: &'static str) -> ConfigError {
    let key = KEYS
        .iter()
        .find(|key| key.name == name)
        .expect("callers name settings");
    ConfigError::Missing {
        key: key.name,
        expected: key.expected,
    }
}

fn role(text: &str) -> Option<Role> {
    match text {
        "ledger" => Some(Role::Ledger),
        "sql" => Some(Role::Sql),
        _ => None,
    }
}

fn roles(given: Option<Vec<Role>>) -> Vec<Role> {
    let mut roles = given
        .filter(|roles| !roles.is_empty())
        .unwrap_or(vec![Role::Ledger]);
    roles.sort();
    roles.dedup();
    roles
}

fn log_format(text: &str) -> Option<LogFormat> {
    match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

/// Reads a size: a whole number of bytes, or with one of the units k, M, G (powers of 1000, also
/// kB, MB, GB) or KiB, MiB, GiB (powers of 1024).
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "k" | "K" | "kB" | "KB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(values: &[(&str, Raw)]) -> Layer {
        let mut layer = Layer::new(Source::CommandLine);
        for (key, value) in values {
            layer.set(key, value.clone());
        }
        layer
    }

    fn text(value: &str) -> Raw {
        Raw::Text(value.into())
    }

    fn environment(values: &'static [(&'static str, &'static str)]) -> Layer {
        Layer::from_environment(|name| {
            values
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).into())
        })
    }

    fn file(toml: &str) -> Layer {
        Layer::from_toml(Path::new("node.toml"), toml).unwrap()
    }

    #[test]
    fn a_flag_beats_the_environment_and_the_environment_beats_the_file() {
        let file = file("chain='testnet'\ndata_dir='f'\napi='127.0.0.1:1'\nlog='json'");
        let env = environment(&[("CAIRN_DATA_DIR", "e"), ("CAIRN_API", "127.0.0.1:2")]);
        let flags = flags(&[("api", text("127.0.0.1:3"))]);
        let config = NodeConfig::resolve(&[flags, env, file]).unwrap();
        assert_eq!(config.chain, ChainChoice::Testnet);
        assert_eq!(config.data_dir, PathBuf::from("e"));
        assert_eq!(config.api, "127.0.0.1:3".parse().unwrap());
        assert_eq!(config.log, LogFormat::Json);
    }

    #[test]
    fn every_setting_can_come_from_a_file_and_from_the_environment() {
        let toml = r#"
            chain = "devnet"
            data-dir = "d"
            p2p = ["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2"]
            bootnode = "/ip4/127.0.0.1/tcp/3"
            mdns = true
            api = "127.0.0.1:4"
            api_token_file = "t"
            sql = "127.0.0.1:5"
            stratum = "127.0.0.1:6"
            mine = true
            threads = 7
            mine_to = "dcrn1x"
            validator_key = "k"
            roles = ["sql", "ledger", "sql"]
            log = "json"
            max_memory = "1GiB"
        "#;
        let from_file = NodeConfig::resolve(&[file(toml)]).unwrap();
        let env = environment(&[
            ("CAIRN_CHAIN", "devnet"),
            ("CAIRN_DATA_DIR", "d"),
            ("CAIRN_P2P", "/ip4/127.0.0.1/tcp/1,/ip4/127.0.0.1/tcp/2"),
            ("CAIRN_BOOTNODE", "/ip4/127.0.0.1/tcp/3"),
            ("CAIRN_MDNS", "true"),
            ("CAIRN_API", "127.0.0.1:4"),
            ("CAIRN_API_TOKEN_FILE", "t"),
            ("CAIRN_SQL", "127.0.0.1:5"),
            ("CAIRN_STRATUM", "127.0.0.1:6"),
            ("CAIRN_MINE", "1"),
            ("CAIRN_THREADS", "7"),
            ("CAIRN_MINE_TO", "dcrn1x"),
            ("CAIRN_VALIDATOR_KEY", "k"),
            ("CAIRN_ROLES", "ledger,sql"),
            ("CAIRN_LOG", "json"),
            ("CAIRN_MAX_MEMORY", "1GiB"),
        ]);
        assert_eq!(from_file, NodeConfig::resolve(&[env]).unwrap());
        assert_eq!(from_file.p2p.len(), 2);
        assert_eq!(from_file.bootnodes, vec!["/ip4/127.0.0.1/tcp/3"]);
        assert_eq!(from_file.threads, Some(7));
        assert_eq!(from_file.roles, vec![Role::Ledger, Role::Sql]);
        assert_eq!(from_file.max_memory_bytes, Some(1 << 30));
        assert_eq!(from_file.ignored().len(), 3);
    }

    #[test]
    fn defaults_listen_on_loopback_only() {
        let config = NodeConfig::resolve(&[file("chain='devnet'\ndata_dir='d'")]).unwrap();
        assert!(config.api.ip().is_loopback());
        assert_eq!(config.p2p, vec![DEFAULT_P2P]);
        assert_eq!(config.roles, vec![Role::Ledger]);
        assert!(!config.mdns && !config.mine && config.ignored().is_empty());
    }

    #[test]
    fn an_unknown_key_is_refused_by_its_name() {
        let error =
            Layer::from_toml(Path::new("n.toml"), "chain='devnet'\nminner=true").unwrap_err();
        assert_eq!(error.to_string(), "unknown key `minner` in n.toml");
        assert!(error.expected().contains("mine_to"));
        let error =
            Layer::from_toml(Path::new("n.toml"), "data-dir='a'\ndata_dir='b'").unwrap_err();
        assert!(matches!(error, ConfigError::DuplicateKey { .. }), "{error}");
    }

    #[test]
    fn a_wrong_value_is_named_with_its_source() {
        let base = "chain='devnet'\ndata_dir='d'\n";
        let cases = [
            ("api = 'localhost'", "`api` in node.toml is `localhost`"),
            ("api = 8080", "`api` in node.toml is `8080`"),
            ("threads = 0", "`threads` in node.toml is `0`"),
            ("threads = 1025", "`threads` in node.toml is `1025`"),
            ("mine = 'maybe'", "`mine` in node.toml is `maybe`"),
            (
                "roles = ['ledger', 'poet']",
                "`roles` in node.toml is `ledger,poet`",
            ),
            (
                "p2p = '127.0.0.1:7000'",
                "`p2p` in node.toml is `127.0.0.1:7000`",
            ),
            ("log = 'xml'", "`log` in node.toml is `xml`"),
            ("max_memory = '1MiB'", "`max_memory` in node.toml is `1MiB`"),
            (
                "max_memory = '99999999999999GiB'",
                "`max_memory` in node.toml is `99999999999999GiB`",
            ),
            ("mine_to = ''", "`mine_to` in node.toml is ``"),
        ];
        for (line, expected) in cases {
            let error = NodeConfig::resolve(&[file(&format!("{base}{line}"))]).unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert!(!error.expected().is_empty());
        }
        let env = environment(&[("CAIRN_THREADS", "many")]);
        let error = NodeConfig::resolve(&[env, file(base)]).unwrap_err();
        assert_eq!(error.to_string(), "CAIRN_THREADS is `many`");
        let error = NodeConfig::resolve(&[flags(&[("log", text("x"))]), file(base)]).unwrap_err();
        assert_eq!(error.to_string(), "--log is `x`");
    }

    #[test]
    fn a_missing_setting_says_all_three_ways_to_give_it() {
        let error = NodeConfig::resolve(&[file("chain='devnet'")]).unwrap_err();
        assert_eq!(error.to_string(), "no data_dir given");
        for way in ["--data-dir", "CAIRN_DATA_DIR", "`data_dir`"] {
            assert!(error.expected().contains(way), "{}", error.expected());
        }
    }

    #[test]
    fn files_that_are_missing_huge_or_broken_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        assert!(matches!(
            Layer::from_file(&path),
            Err(ConfigError::Unreadable { .. })
        ));
        std::fs::write(&path, "chain = ").unwrap();
        assert!(matches!(
            Layer::from_file(&path),
            Err(ConfigError::Syntax { .. })
        ));
        std::fs::write(&path, vec![b'\n'; CONFIG_FILE_BYTES_MAX as usize + 1]).unwrap();
        assert!(matches!(
            Layer::from_file(&path),
            Err(ConfigError::TooLarge { .. })
        ));
        std::fs::write(&path, vec![b'\n'; CONFIG_FILE_BYTES_MAX as usize]).unwrap();
        assert!(Layer::from_file(&path).is_ok());
    }

    #[test]
    fn sizes() {
        let cases = [
            ("0", Some(0)),
            ("12", Some(12)),
            ("2k", Some(2_000)),
            ("3MiB", Some(3 << 20)),
            ("1 GB", Some(1_000_000_000)),
            ("", None),
            ("MiB", None),
            ("-1", None),
            ("1.5G", None),
            ("1TiB", None),
            ("18446744073709551615G", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }
}
