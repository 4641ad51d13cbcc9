//! Precedence, defaults, and a clear word for each wrong value.

use std::path::{Path, PathBuf};

use super::node::{DEFAULT_P2P, DEFAULT_SQL};
use super::{
    CONFIG_FILE_BYTES_MAX, ChainChoice, ConfigError, Layer, LogFormat, NodeConfig, Raw, Role,
    Source,
};

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
        external-address = ["/dns/cairn.example/tcp/3"]
        mdns = true
        api = "127.0.0.1:4"
        api_token_file = "t"
        sql = "127.0.0.1:5"
        sql_password_file = "p"
        sql_tls_certificate = "c"
        sql-tls-key = "q"
        stratum = "127.0.0.1:6"
        mine = true
        threads = 7
        miner_priority = "normal"
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
        ("CAIRN_EXTERNAL_ADDRESS", "/dns/cairn.example/tcp/3"),
        ("CAIRN_MDNS", "true"),
        ("CAIRN_API", "127.0.0.1:4"),
        ("CAIRN_API_TOKEN_FILE", "t"),
        ("CAIRN_SQL", "127.0.0.1:5"),
        ("CAIRN_SQL_PASSWORD_FILE", "p"),
        ("CAIRN_SQL_TLS_CERTIFICATE", "c"),
        ("CAIRN_SQL_TLS_KEY", "q"),
        ("CAIRN_STRATUM", "127.0.0.1:6"),
        ("CAIRN_MINE", "1"),
        ("CAIRN_THREADS", "7"),
        ("CAIRN_MINER_PRIORITY", "normal"),
        ("CAIRN_MINE_TO", "dcrn1x"),
        ("CAIRN_VALIDATOR_KEY", "k"),
        ("CAIRN_ROLES", "ledger,sql"),
        ("CAIRN_LOG", "json"),
        ("CAIRN_MAX_MEMORY", "1GiB"),
    ]);
    assert_eq!(from_file, NodeConfig::resolve(&[env]).unwrap());
    assert_eq!(from_file.p2p.len(), 2);
    assert_eq!(from_file.bootnodes, vec!["/ip4/127.0.0.1/tcp/3"]);
    assert_eq!(
        from_file.external_addresses,
        vec!["/dns/cairn.example/tcp/3"]
    );
    assert_eq!(from_file.threads, Some(7));
    assert_eq!(
        from_file.miner_priority,
        Some(cairn_miner::Priority::Normal)
    );
    assert_eq!(from_file.roles, vec![Role::Ledger, Role::Sql]);
    assert_eq!(from_file.max_memory_bytes, Some(1 << 30));
    assert_eq!(from_file.ignored(), Vec::<&str>::new());
}

#[test]
fn sql_runs_where_it_has_a_role_or_a_place() {
    let of = |text: &str| {
        let base = "chain='devnet'\ndata_dir='d'\n";
        NodeConfig::resolve(&[file(&format!("{base}{text}"))]).unwrap()
    };
    let role = of("roles = 'ledger,sql'");
    assert_eq!(role.sql, Some(DEFAULT_SQL.parse().unwrap()));
    let place = of("sql = '127.0.0.1:5'");
    assert_eq!(place.roles, vec![Role::Ledger, Role::Sql]);
    assert_eq!(place.ignored(), Vec::<&str>::new());
    let apart = of("sql = '127.0.0.1:5'\nroles = 'ledger'");
    assert_eq!(apart.ignored().len(), 1);
    assert_eq!(of("").sql, None);
}

#[test]
fn defaults_listen_on_loopback_only() {
    let config = NodeConfig::resolve(&[file("chain='devnet'\ndata_dir='d'")]).unwrap();
    assert!(config.api.ip().is_loopback());
    assert_eq!(config.p2p, vec![DEFAULT_P2P]);
    assert_eq!(config.roles, vec![Role::Ledger]);
    assert_eq!(config.miner_priority, None);
    assert!(!config.mdns && !config.mine && config.ignored().is_empty());
}

#[test]
fn an_unknown_key_is_refused_by_its_name() {
    let error = Layer::from_toml(Path::new("n.toml"), "chain='devnet'\nminner=true").unwrap_err();
    assert_eq!(error.to_string(), "unknown key `minner` in n.toml");
    assert!(error.expected().contains("mine_to"));
    let error = Layer::from_toml(Path::new("n.toml"), "data-dir='a'\ndata_dir='b'").unwrap_err();
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
            "miner_priority = 'high'",
            "`miner_priority` in node.toml is `high`",
        ),
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
