//! The table of settings: their names and what their values look like.
//!
//! Invariant: a setting that is not a row here can come from no source.

/// How a setting's value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    List,
    Flag,
    Count,
    Size,
}

/// One setting: its name in the file and what its values look like.
pub(super) struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub expected: &'static str,
}

/// Every setting, in the order of the command's help.
pub(super) const KEYS: &[Key] = &[
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
        name: "external_address",
        kind: Kind::List,
        expected: "multiaddresses such as /ip4/192.0.2.1/tcp/7000",
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
        name: "sql_password_file",
        kind: Kind::Text,
        expected: "a file with mode 0600",
    },
    Key {
        name: "sql_tls_certificate",
        kind: Kind::Text,
        expected: "a PEM file with a certificate chain",
    },
    Key {
        name: "sql_tls_key",
        kind: Kind::Text,
        expected: "a PEM file with a private key",
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
        name: "miner_priority",
        kind: Kind::Text,
        expected: "idle or normal",
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

/// The row of a setting that is known to be one.
pub(super) fn key(name: &'static str) -> &'static Key {
    KEYS.iter()
        .find(|key| key.name == name)
        .expect("callers name settings")
}

/// The environment variable of a setting.
pub(super) fn variable(key: &str) -> String {
    format!("CAIRN_{}", key.to_uppercase())
}
