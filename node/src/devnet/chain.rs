//! The devnet's chain: the built-in template or a given specification, with a seed and a faucet.
//!
//! Invariants: what genesis commits to is written once and never changed; the miners' rate, to which
//! genesis does not commit, is set anew at each start so that all nodes together find a block per
//! block time.

use std::fs;
use std::path::{Path, PathBuf};

use cairn_protocol::hash::Hash;
use cairn_protocol::pow::{Work, work_of};
use cairn_protocol::spec::{ChainParams, Engine, EntryFile, Funded, SpecFile, builtin};
use cairn_protocol::units::Amount;

use super::error::DevnetError;
use super::layout::Layout;
use crate::keystore::replace_private_file;

/// Coins of the faucet at genesis. Many, so that many payments can be made before the first block.
const FAUCET_COINS: usize = 100;
/// Value of each: together 1,000,000 CRN.
const FAUCET_COIN: Amount = Amount::from_crn(10_000);

/// What validators of a BFT devnet create together: about what its miners would.
const SUBSIDY_PER_SECOND: Amount = Amount::from_crn(5);

/// What the command line asks of the chain.
#[derive(Debug, Clone, Default)]
pub struct ChainOrder {
    /// `--spec`.
    pub spec: Option<PathBuf>,
    /// `--block-time`, in milliseconds.
    pub block_time_ms: Option<u64>,
    /// `--consensus`.
    pub engine: Option<&'static str>,
}

/// Writes a new chain's specification, funding `faucet`, for `nodes` miners.
pub fn create(
    layout: &Layout,
    order: &ChainOrder,
    faucet: &str,
    nodes: usize,
) -> Result<ChainParams, DevnetError> {
    let mut file = match &order.spec {
        Some(path) => {
            let text = fs::read_to_string(path).map_err(DevnetError::io("read", path))?;
            let file = parse(path, &text)?;
            replace_private_file(&layout.given_spec_file(), text.as_bytes())?;
            file
        }
        None => builtin::devnet_file(),
    };
    if order.engine == Some("pbft") {
        let validators = u32::try_from(nodes).expect("a devnet has at most 64 nodes");
        file.schedule = vec![EntryFile::devnet_pbft(validators, SUBSIDY_PER_SECOND)];
    }
    if let Some(block_time_ms) = order.block_time_ms {
        file.timing.block_time_ms = block_time_ms;
    }
    if file.seed == Hash::ZERO {
        file.seed = Hash(rand::random());
    }
    let coin = Funded {
        address: faucet.to_owned(),
        amount: FAUCET_COIN,
    };
    file.funded.extend(std::iter::repeat_n(coin, FAUCET_COINS));
    write(layout, file, nodes)
}

/// Reads the chain of an earlier start and sets its miners' rate for `nodes` miners.
pub fn load(layout: &Layout, order: &ChainOrder, nodes: usize) -> Result<ChainParams, DevnetError> {
    let path = layout.chain_file();
    let text = fs::read_to_string(&path).map_err(DevnetError::io("read", &path))?;
    let file = parse(&path, &text)?;
    let other = |name, existing: String, asked: String| DevnetError::OtherChain {
        path: layout.root().to_path_buf(),
        name,
        existing,
        asked,
    };
    let block_time_ms = file.timing.block_time_ms;
    if let Some(asked) = order.block_time_ms.filter(|&asked| asked != block_time_ms) {
        let texts = (format!("{block_time_ms} ms"), format!("{asked} ms"));
        return Err(other("block time", texts.0, texts.1));
    }
    let engine = file
        .schedule
        .first()
        .map_or("", |entry| entry.engine.as_str());
    if let Some(asked) = order.engine.filter(|&asked| asked != engine) {
        let (existing, asked) = (engine.to_owned(), asked.to_owned());
        return Err(other("consensus", existing, asked));
    }
    if let Some(spec) = &order.spec {
        let asked = fs::read(spec).map_err(DevnetError::io("read", spec))?;
        let given = fs::read(layout.given_spec_file()).unwrap_or_default();
        if asked != given {
            let existing = if given.is_empty() {
                "built in".to_owned()
            } else {
                file.name.clone()
            };
            return Err(other("specification", existing, spec.display().to_string()));
        }
    }
    write(layout, file, nodes)
}

fn parse(path: &Path, text: &str) -> Result<SpecFile, DevnetError> {
    let file = SpecFile::parse(text).map_err(|source| DevnetError::Spec {
        path: path.into(),
        source,
    })?;
    if !file.devnet {
        return Err(DevnetError::NotADevnet(path.into()));
    }
    Ok(file)
}

fn write(layout: &Layout, mut file: SpecFile, nodes: usize) -> Result<ChainParams, DevnetError> {
    let given = fs::read_to_string(layout.given_spec_file()).ok();
    let given = given.and_then(|text| SpecFile::parse(&text).ok());
    let path = layout.chain_file();
    let check = |file: &SpecFile| {
        ChainParams::new(file.clone()).map_err(|source| DevnetError::Spec {
            path: path.clone(),
            source,
        })
    };
    let is_mined = file.schedule.iter().any(|entry| entry.engine == "pow");
    file.mining.hashes_per_second = match given.map(|given| given.mining.hashes_per_second) {
        Some(rate) if rate > 0 => rate,
        // Nobody mines a chain of validators alone.
        _ if !is_mined => 0,
        _ => hashes_per_second(&check(&file)?, nodes),
    };
    let params = check(&file)?;
    replace_private_file(&path, file.to_toml().as_bytes())?;
    Ok(params)
}

/// The rate at which `nodes` miners together find one block per block time.
fn hashes_per_second(params: &ChainParams, nodes: usize) -> u64 {
    let eras = params.schedule().iter();
    let mut bits = eras.filter_map(|entry| match &entry.engine {
        Engine::Pow(rules) => Some(rules.initial_bits),
        Engine::Pbft(_) | Engine::Pos(_) | Engine::Dpos(_) => None,
    });
    let target = bits
        .next()
        .expect("it has an era of proof of work")
        .to_target();
    let work = work_of(target.expect("parameters are checked when they are made"));
    let per_second = work.saturating_mul(Work::from(1000u64))
        / Work::from(params.timing().block_time_ms)
        / Work::from(nodes.max(1));
    u64::try_from(per_second).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use cairn_protocol::address::{Address, Network};

    use super::*;

    fn layout() -> (tempfile::TempDir, Layout) {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(&root.path().join("devnet")).unwrap();
        drop(layout.lock().unwrap());
        (root, layout)
    }

    fn faucet() -> String {
        Address {
            network: Network::Devnet,
            key_hash: Default::default(),
        }
        .to_string()
    }

    #[test]
    fn four_miners_together_keep_the_block_time() {
        let (_root, layout) = layout();
        let params = create(&layout, &ChainOrder::default(), &faucet(), 4).unwrap();
        // The template's target takes 65,536 hashes; 4 x 8,192 a second find it in 2 s.
        assert_eq!(params.timing().block_time_ms, 2000);
        assert_eq!(params.mining().hashes_per_second, 8192);
        let genesis = params.chain_id();
        let params = load(&layout, &ChainOrder::default(), 8).unwrap();
        assert_eq!(params.mining().hashes_per_second, 4096);
        assert_eq!(params.chain_id(), genesis, "the rate is no part of genesis");
    }

    #[test]
    fn two_devnets_never_merge() {
        let ((_a, a), (_b, b)) = (layout(), layout());
        let a = create(&a, &ChainOrder::default(), &faucet(), 4).unwrap();
        let b = create(&b, &ChainOrder::default(), &faucet(), 4).unwrap();
        assert_ne!(a.chain_id(), b.chain_id());
    }

    #[test]
    fn the_faucet_has_a_million_in_coins() {
        let (_root, layout) = layout();
        let params = create(&layout, &ChainOrder::default(), &faucet(), 4).unwrap();
        let coins = params.genesis_coins();
        let sum: u64 = coins.iter().map(|(_, coin)| coin.output.value.0).sum();
        assert_eq!(
            (coins.len(), Amount(sum)),
            (100, Amount::from_crn(1_000_000))
        );
    }

    #[test]
    fn another_block_time_needs_a_new_chain() {
        let (_root, layout) = layout();
        let order = |block_time_ms| ChainOrder {
            spec: None,
            block_time_ms,
            engine: None,
        };
        let params = create(&layout, &order(Some(500)), &faucet(), 4).unwrap();
        assert_eq!(params.timing().block_time_ms, 500);
        assert!(load(&layout, &order(Some(500)), 4).is_ok());
        assert!(load(&layout, &order(None), 4).is_ok());
        let error = load(&layout, &order(Some(2000)), 4)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("500 ms") && error.contains("2000 ms"),
            "{error}"
        );
    }

    #[test]
    fn a_given_specification_is_kept_and_its_rate_respected() {
        let (root, layout) = layout();
        let mut file = builtin::devnet_file();
        file.name = "fast".into();
        file.mining.hashes_per_second = 77;
        let spec = root.path().join("fast.toml");
        fs::write(&spec, file.to_toml()).unwrap();
        let order = ChainOrder {
            spec: Some(spec.clone()),
            block_time_ms: None,
            engine: None,
        };
        let params = create(&layout, &order, &faucet(), 4).unwrap();
        assert_eq!(
            (params.name(), params.mining().hashes_per_second),
            ("fast", 77)
        );
        assert_eq!(
            load(&layout, &order, 9).unwrap().mining().hashes_per_second,
            77
        );
        fs::write(&spec, file.to_toml() + "\n# changed").unwrap();
        assert!(matches!(
            load(&layout, &order, 4),
            Err(DevnetError::OtherChain { .. })
        ));
    }

    #[test]
    fn a_public_chain_is_no_devnet() {
        let (root, layout) = layout();
        let spec = root.path().join("testnet.toml");
        fs::write(&spec, builtin::TESTNET).unwrap();
        let order = ChainOrder {
            spec: Some(spec),
            block_time_ms: None,
            engine: None,
        };
        let error = create(&layout, &order, &faucet(), 4).unwrap_err();
        assert!(matches!(error, DevnetError::NotADevnet(_)), "{error}");
        assert!(!layout.chain_file().exists());
    }
}
