//! What `cairn node` does, settled from every source.
//!
//! Invariant: a [`NodeConfig`] holds values of the right form only; whether files exist and ports are
//! free is found out by the parts that use them.

use cairn_miner::Priority;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::error::ConfigError;
use super::key::Kind;
use super::layer::{Layer, Settings};
use super::size::parse_size;
use super::value::Raw;
use super::{MEMORY_BYTES_MIN, THREADS_MAX};

pub(super) const DEFAULT_P2P: &str = "/ip4/127.0.0.1/tcp/7000";
const DEFAULT_API: &str = "127.0.0.1:8080";
pub(super) const DEFAULT_SQL: &str = "127.0.0.1:5432";

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
    /// Multiaddresses under which others reach this node; with one it serves the routing table.
    pub external_addresses: Vec<String>,
    /// Whether to look for peers by multicast DNS (never on loopback listeners).
    pub mdns: bool,
    /// Where the HTTP API listens.
    pub api: SocketAddr,
    /// The file with the token that writes need on a listener that is not loopback.
    pub api_token_file: Option<PathBuf>,
    /// Where the PostgreSQL wire listens.
    pub sql: Option<SocketAddr>,
    /// The file with the password that SQL clients need; required on a listener that is not loopback.
    pub sql_password_file: Option<PathBuf>,
    /// The certificate chain with which SQL clients may encrypt.
    pub sql_tls_certificate: Option<PathBuf>,
    /// Its private key.
    pub sql_tls_key: Option<PathBuf>,
    /// Where Stratum listens.
    pub stratum: Option<SocketAddr>,
    /// Whether to mine.
    pub mine: bool,
    /// Search threads; none given means the miner's own choice.
    pub threads: Option<usize>,
    /// How hard search threads compete for processors; none given means what suits the chain.
    pub miner_priority: Option<Priority>,
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
        let sql = settings.text("sql", socket)?;
        let roles = roles(settings.list("roles", role)?, sql.is_some());
        // A role without a place has the usual one.
        let sql = match roles.contains(&Role::Sql) {
            true => sql.or_else(|| DEFAULT_SQL.parse().ok()),
            false => sql,
        };
        Ok(Self {
            chain: chain.ok_or_else(|| ConfigError::missing("chain"))?,
            data_dir: settings
                .text("data_dir", path)?
                .ok_or_else(|| ConfigError::missing("data_dir"))?,
            p2p: settings
                .list("p2p", multiaddress)?
                .unwrap_or(vec![DEFAULT_P2P.into()]),
            bootnodes: settings.list("bootnode", multiaddress)?.unwrap_or_default(),
            external_addresses: settings
                .list("external_address", multiaddress)?
                .unwrap_or_default(),
            mdns: settings.flag("mdns")?,
            api: settings
                .text("api", socket)?
                .unwrap_or_else(|| DEFAULT_API.parse().expect("a literal socket address")),
            api_token_file: settings.text("api_token_file", path)?,
            sql,
            sql_password_file: settings.text("sql_password_file", path)?,
            sql_tls_certificate: settings.text("sql_tls_certificate", path)?,
            sql_tls_key: settings.text("sql_tls_key", path)?,
            stratum: settings.text("stratum", socket)?,
            mine: settings.flag("mine")?,
            threads: settings.parsed("threads", Kind::Count, |raw| match raw {
                Raw::Text(text) => text.parse().ok().filter(|n| (1..=THREADS_MAX).contains(n)),
                _ => None,
            })?,
            miner_priority: settings.text("miner_priority", priority)?,
            mine_to: settings.text("mine_to", |text| Some(text.to_owned()))?,
            validator_key: settings.text("validator_key", path)?,
            roles,
            log: settings.text("log", log_format)?.unwrap_or_default(),
            max_memory_bytes: settings.parsed("max_memory", Kind::Size, |raw| match raw {
                Raw::Text(text) => parse_size(text).filter(|bytes| *bytes >= MEMORY_BYTES_MIN),
                _ => None,
            })?,
        })
    }

    /// Settings of this configuration that have no effect; the node accepts them and says so.
    pub fn ignored(&self) -> Vec<&'static str> {
        let mut parts = Vec::new();
        if self.sql.is_some() && !self.roles.contains(&Role::Sql) {
            parts.push("`sql` is ignored: the role sql is not among `roles`");
        }
        parts
    }
}

fn role(text: &str) -> Option<Role> {
    match text {
        "ledger" => Some(Role::Ledger),
        "sql" => Some(Role::Sql),
        _ => None,
    }
}

/// Without roles the ledger runs, and SQL where it has a place.
fn roles(given: Option<Vec<Role>>, has_sql: bool) -> Vec<Role> {
    let mut roles = given
        .filter(|roles| !roles.is_empty())
        .unwrap_or(match has_sql {
            true => vec![Role::Ledger, Role::Sql],
            false => vec![Role::Ledger],
        });
    roles.sort();
    roles.dedup();
    roles
}

fn priority(text: &str) -> Option<Priority> {
    match text {
        "idle" => Some(Priority::Idle),
        "normal" => Some(Priority::Normal),
        _ => None,
    }
}

fn log_format(text: &str) -> Option<LogFormat> {
    match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}
