//! What people and files say: addresses, specifications, settings, keystores.
//!
//! Invariant: a text is refused with an error or means one thing; written again it means the same.

use std::path::Path;

use cairn_protocol::address::{Address, Network};
use cairn_protocol::spec::{ChainParams, SpecFile};

use crate::config::{Layer, NodeConfig, parse_size};
use crate::keystore::KeystoreFile;

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// An address of any network.
pub fn address(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(address) = Address::parse_any(text) else {
        return;
    };
    assert_eq!(Address::parse_any(&address.to_string()).ok(), Some(address));
    let networks = [Network::Mainnet, Network::Testnet, Network::Devnet];
    let of = networks
        .iter()
        .filter(|network| Address::parse(text, **network).is_ok());
    assert_eq!(of.count(), 1, "an address is of one network");
}

/// A chain specification, and the genesis that it makes.
pub fn chain_spec(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(file) = SpecFile::parse(text) else {
        return;
    };
    assert_eq!(SpecFile::parse(&file.to_toml()).ok().as_ref(), Some(&file));
    if let Ok(params) = ChainParams::new(file) {
        assert_eq!(params.chain_id(), params.genesis().id());
    }
}

/// A node's settings file, and the same values from the environment.
pub fn node_config(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(file) = Layer::from_toml(Path::new("fuzz.toml"), text) {
        let _ = NodeConfig::resolve(&[file]).map_err(|error| (error.to_string(), error.expected()));
    }
    let environment = Layer::from_environment(|_| Some(text.to_owned()));
    let _ = NodeConfig::resolve(&[environment]).map_err(|error| error.to_string());
}

/// A keystore before its password: nothing is hashed, nothing is opened but what lies open.
pub fn keystore_file(data: &[u8]) {
    let Ok(keystore) = KeystoreFile::parse(data) else {
        return;
    };
    let _ = keystore.network();
    if keystore.is_open() {
        assert!(keystore.unseal(None).is_ok(), "an open one opens");
    }
}

/// A size as people write it.
pub fn size(data: &[u8]) {
    if let Some(bytes) = text(data).and_then(parse_size) {
        assert_eq!(parse_size(&bytes.to_string()), Some(bytes));
    }
}
