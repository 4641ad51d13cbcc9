//! `devnet.json`: what scripts, tests and dashboards read to find the nodes.
//!
//! Invariant: the file is replaced whole; it exists only while every node named in it has answered
//! at least once since the devnet started.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::DevnetError;
use crate::keystore::replace_private_file;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The chain's name.
    pub chain: String,
    /// The engine in force at the start.
    pub consensus: String,
    /// The nodes, `node-0` first.
    pub nodes: Vec<ManifestNode>,
    /// The account that genesis funded.
    pub faucet: Faucet,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestNode {
    /// `node-0`, `node-1`, ….
    pub name: String,
    /// Its process; none while it is down.
    pub pid: Option<u32>,
    /// Its id on the swarm.
    pub peer_id: String,
    /// The multiaddress it listens on, peer id included.
    pub p2p: String,
    /// `host:port` of its HTTP interface.
    pub api: String,
    /// `host:port` of its SQL interface; none without the role sql.
    pub sql: Option<String>,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Its wallet's receive address; mining rewards go elsewhere.
    pub address: String,
}

/// The funded account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faucet {
    /// Its address.
    pub address: String,
    /// Its wallet, which opens without a password.
    pub wallet_dir: PathBuf,
}

impl Manifest {
    /// Writes the file in one step.
    pub fn write(&self, path: &Path) -> Result<(), DevnetError> {
        let mut bytes =
            serde_json::to_vec_pretty(self).expect("strings and numbers serialise into memory");
        bytes.push(b'\n');
        Ok(replace_private_file(path, &bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_those_of_the_interface() {
        let manifest = Manifest {
            chain: "devnet".into(),
            consensus: "pow".into(),
            nodes: vec![ManifestNode {
                name: "node-0".into(),
                pid: Some(7),
                peer_id: "12D3".into(),
                p2p: "/ip4/127.0.0.1/tcp/7000/p2p/12D3".into(),
                api: "127.0.0.1:8080".into(),
                sql: None,
                data_dir: "/d/node-0".into(),
                address: "dcrn1n".into(),
            }],
            faucet: Faucet {
                address: "dcrn1f".into(),
                wallet_dir: "/d/wallets/faucet".into(),
            },
        };
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("devnet.json");
        manifest.write(&path).unwrap();
        let value: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let expected = serde_json::json!({
            "chain": "devnet", "consensus": "pow",
            "nodes": [{
                "name": "node-0", "pid": 7, "peer_id": "12D3",
                "p2p": "/ip4/127.0.0.1/tcp/7000/p2p/12D3", "api": "127.0.0.1:8080", "sql": null,
                "data_dir": "/d/node-0", "address": "dcrn1n",
            }],
            "faucet": {"address": "dcrn1f", "wallet_dir": "/d/wallets/faucet"},
        });
        assert_eq!(value, expected);
    }
}
