//! `cairn node`: settles the settings, starts the log, hands over to the runtime.

use std::path::PathBuf;

use clap::Args;

use super::error::{CliError, CliResult};
use crate::config::{Layer, NodeConfig, Raw, Source};
use crate::runtime::{self, NodeError};

/// The flags of `cairn node`. Every one is also a `CAIRN_…` variable and a key of the file; their
/// values are parsed in [`crate::config`], by one code for all three.
#[derive(Args, Debug, Default)]
pub struct NodeArgs {
    /// The chain to follow: devnet, testnet or a specification file [env: CAIRN_CHAIN]
    #[arg(long, value_name = "devnet|testnet|FILE")]
    pub chain: Option<String>,
    /// Where this node keeps its data; one node at a time [env: CAIRN_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// A TOML file with these flags as keys [env: CAIRN_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Listen here for peers; repeatable [env: CAIRN_P2P] [default: /ip4/127.0.0.1/tcp/7000]
    #[arg(long, value_name = "MULTIADDR")]
    pub p2p: Vec<String>,
    /// Start from this peer; repeatable [env: CAIRN_BOOTNODE]
    #[arg(long, value_name = "MULTIADDR")]
    pub bootnode: Vec<String>,
    /// Others reach this node here: it serves discovery; repeatable [env: CAIRN_EXTERNAL_ADDRESS]
    #[arg(long, value_name = "MULTIADDR")]
    pub external_address: Vec<String>,
    /// Look for peers by multicast DNS, on listeners that are not loopback [env: CAIRN_MDNS]
    #[arg(long)]
    pub mdns: bool,
    /// Serve HTTP here [env: CAIRN_API] [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT")]
    pub api: Option<String>,
    /// The token that writes need when --api is not loopback; mode 0600 [env: CAIRN_API_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    pub api_token_file: Option<String>,
    /// Serve SQL here [env: CAIRN_SQL] [default with the role sql: 127.0.0.1:5432]
    #[arg(long, value_name = "ADDR:PORT")]
    pub sql: Option<String>,
    /// The password of SQL clients; needed when --sql is not loopback; mode 0600
    /// [env: CAIRN_SQL_PASSWORD_FILE]
    #[arg(long, value_name = "FILE")]
    pub sql_password_file: Option<String>,
    /// The certificate chain with which SQL clients may encrypt [env: CAIRN_SQL_TLS_CERTIFICATE]
    #[arg(long, value_name = "FILE", requires = "sql_tls_key")]
    pub sql_tls_certificate: Option<String>,
    /// The certificate's private key [env: CAIRN_SQL_TLS_KEY]
    #[arg(long, value_name = "FILE", requires = "sql_tls_certificate")]
    pub sql_tls_key: Option<String>,
    /// Serve Stratum here [env: CAIRN_STRATUM]
    #[arg(long, value_name = "ADDR:PORT")]
    pub stratum: Option<String>,
    /// Mine [env: CAIRN_MINE]
    #[arg(long)]
    pub mine: bool,
    /// Search with this many threads [env: CAIRN_THREADS]
    #[arg(long, value_name = "N")]
    pub threads: Option<String>,
    /// How hard search threads compete for processors; without it idle, but normal on a chain that
    /// bounds the rate itself [env: CAIRN_MINER_PRIORITY]
    #[arg(long, value_name = "idle|normal")]
    pub miner_priority: Option<String>,
    /// Pay mining rewards to this address [env: CAIRN_MINE_TO]
    #[arg(long, value_name = "ADDRESS")]
    pub mine_to: Option<String>,
    /// Vote with this key [env: CAIRN_VALIDATOR_KEY]
    #[arg(long, value_name = "FILE")]
    pub validator_key: Option<String>,
    /// The parts that run [env: CAIRN_ROLES] [default: ledger, and sql with --sql]
    #[arg(long, value_name = "ledger,sql")]
    pub roles: Option<String>,
    /// The form of the log on standard error [env: CAIRN_LOG] [default: text]
    #[arg(long, value_name = "text|json")]
    pub log: Option<String>,
    /// A bound for the caches together, such as 1GiB [env: CAIRN_MAX_MEMORY]
    #[arg(long, value_name = "SIZE")]
    pub max_memory: Option<String>,
}

impl NodeArgs {
    /// The command line as the strongest layer of settings.
    pub fn layer(&self) -> Layer {
        let mut layer = Layer::new(Source::CommandLine);
        let texts = [
            ("chain", &self.chain),
            ("data_dir", &self.data_dir),
            ("api", &self.api),
            ("api_token_file", &self.api_token_file),
            ("sql", &self.sql),
            ("sql_password_file", &self.sql_password_file),
            ("sql_tls_certificate", &self.sql_tls_certificate),
            ("sql_tls_key", &self.sql_tls_key),
            ("stratum", &self.stratum),
            ("threads", &self.threads),
            ("miner_priority", &self.miner_priority),
            ("mine_to", &self.mine_to),
            ("validator_key", &self.validator_key),
            ("roles", &self.roles),
            ("log", &self.log),
            ("max_memory", &self.max_memory),
        ];
        for (key, value) in texts {
            layer.set(
                key,
                value.clone().map(|text| {
                    if key == "roles" {
                        Raw::List(vec![text])
                    } else {
                        Raw::Text(text)
                    }
                }),
            );
        }
        layer.set("p2p", Raw::List(self.p2p.clone()));
        layer.set("bootnode", Raw::List(self.bootnode.clone()));
        layer.set("external_address", Raw::List(self.external_address.clone()));
        layer.set("mdns", self.mdns.then_some(Raw::Flag(true)));
        layer.set("mine", self.mine.then_some(Raw::Flag(true)));
        layer
    }

    /// The settings from the command line, the environment and the file, in this order.
    ///
    /// # Errors
    /// Names the first setting that is wrong or missing.
    pub fn resolve(
        &self,
        variable_of: impl Fn(&str) -> Option<String>,
    ) -> Result<NodeConfig, crate::config::ConfigError> {
        let file = self
            .config
            .clone()
            .or_else(|| variable_of("CAIRN_CONFIG").map(PathBuf::from));
        let mut layers = vec![self.layer(), Layer::from_environment(&variable_of)];
        if let Some(path) = file {
            layers.push(Layer::from_file(&path)?);
        }
        NodeConfig::resolve(&layers)
    }
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// When a setting is wrong (exit 2) or the node cannot start or go on (exit 1).
pub fn run(args: &NodeArgs) -> CliResult {
    let config = args.resolve(|name| std::env::var(name).ok())?;
    super::logging::init(config.log)?;
    for ignored in config.ignored() {
        tracing::warn!("{ignored}");
    }
    let node_error = |error: NodeError| {
        if error.is_usage() {
            CliError::usage(error)
        } else {
            CliError::failed(error)
        }
    };
    // Commands that read this directory later find there which chain it holds.
    let params = runtime::chain_params(&config.chain).map_err(node_error)?;
    super::chain::remember_specification(&config.data_dir, &params)?;
    runtime::run(&config).map_err(node_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogFormat;

    #[test]
    fn flags_beat_variables_and_the_file_is_found_through_either() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.toml");
        std::fs::write(
            &path,
            "chain='devnet'\ndata_dir='from file'\nlog='json'\nmine=true",
        )
        .unwrap();
        let variables = |name: &str| match name {
            "CAIRN_CONFIG" => Some(path.to_str().unwrap().to_owned()),
            "CAIRN_MINE" => Some("false".to_owned()),
            _ => None,
        };
        let args = NodeArgs {
            log: Some("text".into()),
            ..NodeArgs::default()
        };
        let config = args.resolve(variables).unwrap();
        assert_eq!(config.data_dir, PathBuf::from("from file"));
        assert_eq!(config.log, LogFormat::Text);
        assert!(!config.mine, "the variable beats the file");
        let args = NodeArgs {
            mine: true,
            ..NodeArgs::default()
        };
        assert!(
            args.resolve(variables).unwrap().mine,
            "the flag beats the variable"
        );
    }
}
