//! Getting ready: the directory, the wallets, the chain.
//!
//! Invariant: the chain file is written last; a start that was interrupted before it counts as none
//! and begins anew.

use cairn_protocol::address::Network;
use cairn_protocol::spec::{ChainParams, devnet_validator, devnet_validator_seed};
use std::path::PathBuf;
use zeroize::Zeroizing;

use super::chain::{self, ChainOrder};
use super::error::DevnetError;
use super::layout::{DevnetLock, Layout, node_name, node_number};
use super::manifest::Faucet;
use super::ports::PortBase;
use crate::keystore::ValidatorKey;
use crate::wallet::{Branch, KeyProtection, Wallet, WalletError, Words};

/// Nodes of a devnet unless told otherwise.
const NODES_DEFAULT: usize = 4;

/// What the command line asks for.
#[derive(Debug, Clone)]
pub struct Order {
    /// `--nodes`.
    pub nodes: Option<usize>,
    /// `--spec` and `--block-time`.
    pub chain: ChainOrder,
    /// `--fresh`.
    pub is_fresh: bool,
    /// `--restart`.
    pub restarts: bool,
    /// `--roles`, passed on.
    pub roles: String,
    /// `--p2p-port`.
    pub p2p: PortBase,
    /// `--api-port`.
    pub api: PortBase,
    /// `--sql-port`.
    pub sql: PortBase,
}

impl Order {
    /// Whether the nodes speak SQL.
    pub fn has_sql(&self) -> bool {
        self.roles.split(',').any(|role| role.trim() == "sql")
    }
}

/// A directory in which nodes can be started.
pub struct Prepared {
    /// The chain.
    pub params: ChainParams,
    /// Whether the chain began with this start.
    pub is_new: bool,
    /// How many nodes to start.
    pub nodes: usize,
    /// The funded account.
    pub faucet: Faucet,
    /// Its words.
    pub words: Zeroizing<String>,
    /// Keeps others out.
    pub lock: DevnetLock,
}

/// Locks the directory and makes what is missing in it.
pub fn prepare(layout: &Layout, order: &Order) -> Result<Prepared, DevnetError> {
    let lock = layout.lock()?;
    layout.wait_for_old_nodes()?;
    let is_new = order.is_fresh || !layout.chain_file().exists();
    if is_new {
        layout.clear()?;
    }
    // Of an earlier start: its processes and perhaps its ports are gone.
    let manifest = layout.manifest_file();
    match std::fs::remove_file(&manifest) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(DevnetError::io("remove", &manifest)(error));
        }
        _ => layout.create_directories()?,
    }
    let before = layout
        .node_names()?
        .iter()
        .filter_map(|name| node_number(name))
        .max();
    let nodes = order
        .nodes
        .unwrap_or(before.map_or(NODES_DEFAULT, |last| last + 1));
    let faucet = wallet(layout, "faucet")?;
    let words = faucet.words(never)?.phrase();
    let address = faucet.state().current_address().address.clone();
    let params = if is_new {
        chain::create(layout, &order.chain, &address, nodes)?
    } else {
        chain::load(layout, &order.chain, nodes)?
    };
    if !params
        .file()
        .funded
        .iter()
        .any(|funded| funded.address == address)
    {
        let root = layout.root().display();
        let text = format!("the faucet wallet in {root} is not the one that genesis funds");
        return Err(DevnetError::Refused(
            text + "; add --fresh to begin a new chain",
        ));
    }
    let faucet = Faucet {
        address,
        wallet_dir: layout.wallet_directory("faucet"),
    };
    Ok(Prepared {
        params,
        is_new,
        nodes,
        faucet,
        words,
        lock,
    })
}

/// The receive address of a node's wallet, which is made if it is missing.
pub fn node_address(layout: &Layout, number: usize) -> Result<String, DevnetError> {
    let wallet = wallet(layout, &node_name(number))?;
    Ok(wallet.state().receive[0].address.clone())
}

/// The address that node `number`'s rewards go to, in a wallet apart from all others.
pub fn mining_address(layout: &Layout, number: usize) -> Result<String, DevnetError> {
    let mut wallet = wallet(layout, "miner")?;
    let keys = wallet.keys(never)?;
    wallet.extend(&keys, Branch::Receive, number + 1)?;
    Ok(wallet.state().receive[number].address.clone())
}

/// The key file of node `number`, if the specification makes it a validator. Everybody knows the
/// keys of development chains.
pub fn validator_key(
    layout: &Layout,
    params: &ChainParams,
    number: usize,
) -> Result<Option<PathBuf>, DevnetError> {
    let index = u32::try_from(number).expect("a devnet has at most 64 nodes");
    let key = devnet_validator(index);
    let mut validators = params
        .schedule()
        .iter()
        .flat_map(|entry| entry.engine.validators());
    if !validators.any(|validator| validator.key == key) {
        return Ok(None);
    }
    let path = layout.validator_key(&node_name(number));
    if !path.exists() {
        ValidatorKey::create(&path, &Zeroizing::new(devnet_validator_seed(index)))?;
    }
    Ok(Some(path))
}

/// A wallet of the devnet itself, without a password.
fn wallet(layout: &Layout, name: &str) -> Result<Wallet, WalletError> {
    let path = layout.wallet_directory(name);
    if Wallet::exists(&path) {
        return Wallet::open(&path);
    }
    Wallet::create(
        &path,
        Network::Devnet,
        &Words::generate(),
        &KeyProtection::Open,
    )
}

/// The devnet's own wallets are open; one that is not was put there by somebody else.
fn never() -> Result<crate::keystore::Secret, crate::keystore::PasswordError> {
    Err(crate::keystore::PasswordError::Missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(nodes: Option<usize>) -> Order {
        let base = |what, flag, first| PortBase {
            what,
            flag,
            first,
            is_given: false,
        };
        Order {
            nodes,
            chain: ChainOrder::default(),
            is_fresh: false,
            restarts: false,
            roles: "ledger".to_owned(),
            p2p: base("p2p", "--p2p-port", 7000),
            api: base("api", "--api-port", 8080),
            sql: base("sql", "--sql-port", 5432),
        }
    }

    fn layout(root: &tempfile::TempDir) -> Layout {
        Layout::new(&root.path().join("devnet")).unwrap()
    }

    #[test]
    fn a_second_start_continues_the_chain_and_the_faucet() {
        let root = tempfile::tempdir().unwrap();
        let layout = layout(&root);
        let first = prepare(&layout, &order(None)).unwrap();
        assert!(first.is_new && first.nodes == 4);
        assert_eq!(first.words.split(' ').count(), 24);
        for number in 0..5 {
            std::fs::create_dir(layout.node_directory(&node_name(number))).unwrap();
        }
        std::fs::write(layout.manifest_file(), "stale").unwrap();
        let (genesis, faucet) = (first.params.chain_id(), first.faucet.clone());
        drop(first);
        let second = prepare(&layout, &order(None)).unwrap();
        assert!(!second.is_new && second.nodes == 5, "as many as there were");
        assert_eq!(
            (second.params.chain_id(), &second.faucet),
            (genesis, &faucet)
        );
        assert!(!layout.manifest_file().exists());
        drop(second);
        assert_eq!(prepare(&layout, &order(Some(2))).unwrap().nodes, 2);
    }

    #[test]
    fn fresh_begins_anew() {
        let root = tempfile::tempdir().unwrap();
        let layout = layout(&root);
        let first = prepare(&layout, &order(None)).unwrap();
        let (genesis, faucet) = (first.params.chain_id(), first.faucet.address.clone());
        std::fs::create_dir(layout.node_directory("node-0")).unwrap();
        drop(first);
        let fresh = prepare(
            &layout,
            &Order {
                is_fresh: true,
                ..order(None)
            },
        )
        .unwrap();
        assert_ne!(fresh.params.chain_id(), genesis);
        assert_ne!(fresh.faucet.address, faucet);
        assert!(!layout.node_directory("node-0").exists());
    }

    #[test]
    fn an_interrupted_start_counts_as_none() {
        let root = tempfile::tempdir().unwrap();
        let layout = layout(&root);
        let faucet = prepare(&layout, &order(None)).unwrap().faucet;
        std::fs::remove_file(layout.chain_file()).unwrap();
        let again = prepare(&layout, &order(None)).unwrap();
        assert!(again.is_new);
        assert_ne!(again.faucet, faucet);
    }

    #[test]
    fn rewards_and_receive_addresses_are_apart() {
        let root = tempfile::tempdir().unwrap();
        let layout = layout(&root);
        let prepared = prepare(&layout, &order(None)).unwrap();
        let mut all = vec![prepared.faucet.address.clone()];
        for number in 0..3 {
            all.push(node_address(&layout, number).unwrap());
            all.push(mining_address(&layout, number).unwrap());
            assert_eq!(node_address(&layout, number).unwrap(), all[2 * number + 1]);
        }
        let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), 7);
    }

    #[test]
    fn a_foreign_faucet_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let layout = layout(&root);
        drop(prepare(&layout, &order(None)).unwrap());
        std::fs::remove_dir_all(layout.wallet_directory("faucet")).unwrap();
        let error = prepare(&layout, &order(None)).err().unwrap();
        assert!(error.to_string().contains("--fresh"), "{error}");
    }
}
