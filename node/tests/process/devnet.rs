//! `cairn devnet`, as a user runs it: four processes, a payment, a killed node, a newcomer, frozen
//! neighbours, a clean end.

use crate::http::Api;
use crate::node::{Node, START_MAX, cairn, json, lines_of, signal, text};
use crate::wait::{equal, until};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Time for something that takes a block or two, on a busy machine.
const BLOCKS_MAX: Duration = Duration::from_secs(90);
/// Pebbles in one CRN.
const CRN: u64 = 100_000_000;

/// One devnet at a time: two that start together could choose one free port.
pub static ONE_DEVNET: Mutex<()> = Mutex::new(());

/// A running devnet, ended when dropped.
pub struct Devnet {
    supervisor: Child,
    /// Its directory.
    pub folder: PathBuf,
    manifest: Value,
}

impl Devnet {
    fn start(folder: &Path) -> Devnet {
        Devnet::start_with(folder, &[])
    }

    /// Starts one with more arguments.
    pub fn start_with(folder: &Path, more: &[&str]) -> Devnet {
        let mut supervisor = cairn()
            .args(["devnet", "--data-dir"])
            .arg(folder)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the program starts");
        let lines = lines_of(&mut supervisor);
        std::thread::spawn(move || while lines.recv().is_ok() {});
        let mut devnet = Devnet {
            supervisor,
            folder: folder.to_owned(),
            manifest: Value::Null,
        };
        until("devnet.json", START_MAX, || {
            let ended = devnet.supervisor.try_wait().expect("ours");
            assert!(ended.is_none(), "the devnet ended: {ended:?}");
            devnet.read_manifest()
        });
        devnet
    }

    fn read_manifest(&mut self) -> Option<()> {
        let text = std::fs::read(self.folder.join("devnet.json")).ok()?;
        self.manifest = serde_json::from_slice(&text).ok()?;
        Some(())
    }

    /// What the manifest says of a node.
    pub fn node(&self, index: usize) -> &Value {
        &self.manifest["nodes"][index]
    }

    /// A node's HTTP interface.
    pub fn api(&self, index: usize) -> Api {
        Api::at(self.node(index)["api"].as_str().expect("host:port"))
    }

    /// A node's process.
    pub fn pid(&self, index: usize) -> u32 {
        let pid = self.node(index)["pid"].as_u64().expect("a running node");
        u32::try_from(pid).expect("a process id")
    }

    /// All four.
    pub fn apis(&self) -> Vec<Api> {
        (0..4).map(|index| self.api(index)).collect()
    }

    /// Pays from the faucet; answers with id and fee.
    pub fn pay(&self, to: &str, amount: &str, through: &Api) -> (String, u64) {
        let wallet = self.manifest["faucet"]["wallet_dir"]
            .as_str()
            .expect("a folder");
        let sent = json(
            cairn()
                .args(["wallet", "send", to, amount, "--json"])
                .args(["--data-dir", wallet, "--api", through.url()]),
        );
        let fee = sent["fee"]
            .as_str()
            .expect("pebbles")
            .parse()
            .expect("pebbles");
        (sent["txid"].as_str().expect("an id").to_owned(), fee)
    }

    /// Stops it politely.
    pub fn stop(mut self) {
        signal(self.supervisor.id(), "TERM");
        let status = until("the devnet stops", Duration::from_secs(60), || {
            self.supervisor.try_wait().expect("ours")
        });
        assert!(status.success(), "{status}");
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        // The children die with their supervisor.
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

/// Height of the block that has a transaction.
pub fn confirmed(api: &Api, txid: &str) -> Option<u64> {
    let transaction = api.get(&format!("/v1/transactions/{txid}"))?;
    transaction["block"]["height"].as_u64()
}

/// Confirmed balance of an address.
pub fn balance(api: &Api, address: &str) -> Option<u64> {
    api.get(&format!("/v1/addresses/{address}"))?["balance"]
        .as_str()?
        .parse()
        .ok()
}

fn state_root_after(api: &Api, height: u64) -> Option<String> {
    // A block commits to the state after its parent.
    let next = api.get(&format!("/v1/blocks/{}", height + 1))?;
    Some(next["state_root"].as_str()?.to_owned())
}

#[test]
fn four_nodes_pay_die_return_and_agree() {
    let _alone = ONE_DEVNET.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder");
    let mut devnet = Devnet::start(&folder.path().join("devnet"));
    let apis = devnet.apis();
    for api in &apis {
        until("the first blocks", BLOCKS_MAX, || {
            api.height().filter(|height| *height >= 2)
        });
        until("all peers", BLOCKS_MAX, || {
            api.status("peers")?.as_u64().filter(|n| *n >= 3)
        });
    }

    // A payment through one node is seen and confirmed by another; amounts are exact.
    let to = devnet.node(1)["address"]
        .as_str()
        .expect("an address")
        .to_owned();
    let (txid, fee) = devnet.pay(&to, "1.5", &apis[0]);
    assert!(fee > 0);
    until("the payment confirms elsewhere", BLOCKS_MAX, || {
        confirmed(&apis[3], &txid)
    });
    until("the balance elsewhere", BLOCKS_MAX, || {
        balance(&apis[2], &to).filter(|pebbles| *pebbles == 3 * CRN / 2)
    });
    pause_and_agree(&apis);
    supply_is_exact(&apis);
    for api in &apis {
        api.pause(false);
    }

    // One node dies under load, returns and catches up.
    let before = apis[0].height().expect("it answers");
    signal(devnet.pid(2), "KILL");
    let (txid, _) = devnet.pay(&to, "2", &apis[1]);
    until("blocks without it", BLOCKS_MAX, || {
        apis[0].height().filter(|h| *h > before + 2)
    });
    let output = cairn()
        .args(["devnet", "start-node", "node-2", "--data-dir"])
        .arg(&devnet.folder)
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{}", text(&output));
    until("the node returns", START_MAX, || {
        devnet.read_manifest()?;
        devnet.api(2).height()
    });
    until("it has the payment", BLOCKS_MAX, || {
        confirmed(&devnet.api(2), &txid)
    });

    // A newcomer with an empty directory and one bootnode reaches the same tip and state.
    let chain = devnet.folder.join("chain.toml");
    let bootnode = devnet.node(0)["p2p"]
        .as_str()
        .expect("a multiaddress")
        .to_owned();
    let newcomer = Node::start(
        &folder.path().join("newcomer"),
        chain.to_str().expect("a text"),
        &["--bootnode", &bootnode],
    );
    let mut all = devnet.apis();
    all.push(newcomer.api.clone());
    until("the newcomer catches up", BLOCKS_MAX, || {
        let (ours, theirs) = (newcomer.api.height()?, apis[0].height()?);
        (theirs > 0 && ours + 1 >= theirs).then_some(())
    });
    for api in devnet.apis() {
        api.pause(true);
    }
    let (height, _) = equal("five tips", Duration::from_secs(30), || {
        all.iter().map(Api::tip).collect()
    });
    let roots: Vec<_> = all
        .iter()
        .map(|api| state_root_after(api, height - 1))
        .collect();
    assert!(
        roots[0].is_some() && roots.iter().all(|root| *root == roots[0]),
        "{roots:?}"
    );
    drop(newcomer);

    // With three nodes frozen the fourth answers from its own store.
    for index in 0..3 {
        signal(devnet.pid(index), "STOP");
    }
    let alone = devnet.api(3);
    assert_eq!(alone.height(), Some(height));
    assert!(confirmed(&alone, &txid).is_some());
    for index in 0..3 {
        signal(devnet.pid(index), "CONT");
    }
    devnet.stop();
}

/// Stops all miners: within five seconds all tips are equal.
fn pause_and_agree(apis: &[Api]) {
    for api in apis {
        api.pause(true);
    }
    equal("tips after a pause", Duration::from_secs(5), || {
        apis.iter().map(Api::tip).collect()
    });
}

/// Every pebble is accounted for: funded, subsidies, nothing burned.
fn supply_is_exact(apis: &[Api]) {
    let supply = apis[0].get("/v1/supply").expect("it answers");
    let pebbles = |field: &str| {
        supply[field]
            .as_str()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let height = supply["height"].as_u64().expect("a height");
    let schedule = apis[0].get("/v1/schedule").expect("it answers");
    let step = &schedule["entries"][0]["parameters"]["subsidy"][0]["subsidy"];
    let subsidy: u64 = step.as_str().expect("pebbles").parse().expect("pebbles");
    assert_eq!(pebbles("issued"), Some(1_000_000 * CRN + height * subsidy));
    assert_eq!(pebbles("burned"), Some(0));
    assert_eq!(pebbles("supply"), pebbles("issued"));
}

#[test]
fn the_metrics_page_is_clean_and_moves() {
    let _alone = ONE_DEVNET.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder");
    let devnet = Devnet::start(&folder.path().join("devnet"));
    let api = devnet.api(0);
    let height = until("three blocks", BLOCKS_MAX, || {
        api.height().filter(|h| *h >= 3)
    });
    assert!(api.metric("cairn_chain_height").expect("it exists") >= height as f64);
    assert!(
        api.metric("cairn_chain_blocks_connected_total")
            .expect("it exists")
            >= 3.0
    );
    assert!(
        api.metric("cairn_block_connect_seconds_count")
            .expect("it exists")
            >= 3.0
    );
    assert!(
        api.metric("cairn_storage_sync_seconds_count")
            .expect("it exists")
            >= 1.0
    );
    assert!(
        api.metric("cairn_storage_bytes{store=\"blocks\"}")
            .expect("it exists")
            > 0.0
    );
    let hashed = |page: &str| {
        let lines = page
            .lines()
            .filter(|line| line.starts_with("cairn_miner_hashes_total{"));
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>()
    };
    until("hashes are counted", BLOCKS_MAX, || {
        Some(hashed(&api.text("/metrics")?)).filter(|n| *n > 0.0)
    });
    let page = api.text("/metrics").expect("it answers");
    assert!(
        page.contains("\nlibp2p_"),
        "libp2p's metrics are on the page"
    );
    let complaints = promtool(&page);
    assert!(
        complaints.is_empty(),
        "promtool check metrics: {complaints}"
    );
    devnet.stop();
}

/// A node added while the devnet runs mines like the others, at the rate that so many need.
#[test]
fn an_added_node_mines_at_once() {
    let _alone = ONE_DEVNET.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder");
    let mut devnet = Devnet::start(&folder.path().join("devnet"));
    let rate = || {
        let chain = std::fs::read_to_string(folder.path().join("devnet/chain.toml"));
        let chain: toml::Table = chain.expect("a chain file").parse().expect("TOML");
        chain["mining"]["hashes_per_second"]
            .as_integer()
            .expect("a rate")
    };
    let rate_of_four = rate();
    let added = until("a node is added", BLOCKS_MAX, || {
        // It refuses as long as not all nodes have answered.
        let output = cairn()
            .args(["devnet", "add-node", "--json", "--data-dir"])
            .arg(&devnet.folder)
            .output()
            .expect("the program starts");
        let answer: Value = serde_json::from_slice(&output.stdout).ok()?;
        output.status.success().then_some(answer)
    });
    assert_eq!(added["name"], "node-4", "{added}");
    assert!((rate() - rate_of_four * 4 / 5).abs() <= 1, "{}", rate());
    devnet.read_manifest().expect("devnet.json");
    let api = devnet.api(4);
    let hashes = until("it mines", BLOCKS_MAX, || {
        let miner = api.get("/v1/miner")?;
        assert_eq!(miner["enabled"], true, "{miner}");
        miner["hashes"].as_u64().filter(|hashes| *hashes > 0)
    });
    println!("{hashes} hashes by the added node");
    devnet.stop();
}

/// What `promtool check metrics` has to say about a page.
fn promtool(page: &str) -> String {
    use std::io::Write;
    use std::process::Command;
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is missing: run scripts/install-test-tools");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(page.as_bytes())
        .expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let complaints = text(&output);
    assert!(
        output.status.success() || !complaints.is_empty(),
        "{}",
        output.status
    );
    complaints
}
