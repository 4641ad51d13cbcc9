//! One node of the devnet as the supervisor sees it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::sync::oneshot;

use super::child::Child;
use super::control::Reply;
use super::layout::{Layout, node_name};
use super::manifest::ManifestNode;
use super::watch::Watch;
use crate::wallet::NodeStatus;

/// What stays the same over a node's restarts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// Its number.
    pub number: usize,
    /// The port peers connect to.
    pub p2p_port: u16,
    /// The port of its HTTP interface.
    pub api_port: u16,
    /// The port of its SQL interface, if its roles give it one.
    pub sql_port: Option<u16>,
    /// Its wallet's receive address.
    pub address: String,
    /// Where its mining rewards go.
    pub mine_to: String,
    /// The key it votes with, if it is a validator.
    pub validator_key: Option<PathBuf>,
}

impl NodePlan {
    /// Its name.
    pub fn name(&self) -> String {
        node_name(self.number)
    }

    /// `host:port` of its HTTP interface.
    pub fn api(&self) -> String {
        format!("127.0.0.1:{}", self.api_port)
    }

    /// `host:port` of its SQL interface.
    pub fn sql(&self) -> Option<String> {
        self.sql_port.map(|port| format!("127.0.0.1:{port}"))
    }

    /// The URL of its HTTP interface.
    pub fn url(&self) -> String {
        format!("http://{}", self.api())
    }

    /// The multiaddress it listens on, with its id once that is known.
    pub fn multiaddress(&self, peer_id: Option<&str>) -> String {
        let address = format!("/ip4/127.0.0.1/tcp/{}", self.p2p_port);
        match peer_id {
            Some(peer_id) => format!("{address}/p2p/{peer_id}"),
            None => address,
        }
    }

    /// The command line after the program's name.
    pub fn arguments(&self, layout: &Layout, bootnodes: &[String], roles: &str) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |name: &str, value: &Path| {
            arguments.extend([OsString::from(name), value.as_os_str().to_owned()]);
        };
        add("--chain", &layout.chain_file());
        add("--data-dir", &layout.node_directory(&self.name()));
        add("--p2p", Path::new(&self.multiaddress(None)));
        add("--api", Path::new(&self.api()));
        if let Some(sql) = self.sql() {
            add("--sql", Path::new(&sql));
        }
        for bootnode in bootnodes {
            add("--bootnode", Path::new(bootnode));
        }
        add("--roles", Path::new(roles));
        add("--mine-to", Path::new(&self.mine_to));
        // The rate is bounded by the specification: more threads would only wake more often.
        add("--threads", Path::new("1"));
        if let Some(key) = &self.validator_key {
            add("--validator-key", key);
        }
        arguments.push("--mine".into());
        arguments.insert(0, "node".into());
        arguments
    }
}

/// A node and its process.
pub struct Node {
    /// What stays the same.
    pub plan: NodePlan,
    /// Its process, while it runs.
    pub child: Option<Child>,
    /// The watcher of its HTTP interface, while it runs.
    pub watch: Option<Watch>,
    /// When its process was spawned last.
    pub spawned: Instant,
    /// When it ended by itself, while it is down.
    pub ended: Option<Instant>,
    /// Its id on the swarm, once it was told.
    pub peer_id: Option<String>,
    /// Whether the running process has answered yet.
    pub has_answered: bool,
    /// What it told last.
    pub status: Option<NodeStatus>,
    /// Starts in a row that ended soon, for `--restart`.
    pub failures: u32,
    /// Those who wait for it to answer.
    pub waiting: Vec<oneshot::Sender<Reply>>,
}

impl Node {
    /// A node that does not run yet.
    pub fn new(plan: NodePlan) -> Self {
        Self {
            plan,
            child: None,
            watch: None,
            spawned: Instant::now(),
            ended: None,
            peer_id: None,
            has_answered: false,
            status: None,
            failures: 0,
            waiting: Vec::new(),
        }
    }

    /// Its entry in `devnet.json`.
    pub fn manifest(&self, layout: &Layout) -> ManifestNode {
        ManifestNode {
            name: self.plan.name(),
            pid: self.child.as_ref().map(Child::pid),
            peer_id: self.peer_id.clone().unwrap_or_default(),
            p2p: self.plan.multiaddress(self.peer_id.as_deref()),
            api: self.plan.api(),
            sql: self.plan.sql(),
            data_dir: layout.node_directory(&self.plan.name()),
            address: self.plan.address.clone(),
        }
    }

    /// "starting", "up" or "down".
    pub fn state(&self) -> &'static str {
        match (&self.child, self.has_answered) {
            (None, _) => "down",
            (Some(_), false) => "starting",
            (Some(_), true) => "up",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> NodePlan {
        NodePlan {
            number: 1,
            p2p_port: 7001,
            api_port: 8081,
            sql_port: Some(5433),
            address: "dcrn1node".into(),
            mine_to: "dcrn1miner".into(),
            validator_key: None,
        }
    }

    #[test]
    fn the_command_line_is_the_one_of_the_interface() {
        let layout = Layout::new(Path::new("/d")).unwrap();
        let bootnodes = ["/ip4/127.0.0.1/tcp/7000".to_owned()];
        let arguments = plan().arguments(&layout, &bootnodes, "ledger,sql");
        let line = arguments.join(OsString::from(" ").as_os_str());
        assert_eq!(
            line.to_str().unwrap(),
            "node --chain /d/chain.toml --data-dir /d/node-1 --p2p /ip4/127.0.0.1/tcp/7001 \
             --api 127.0.0.1:8081 --sql 127.0.0.1:5433 --bootnode /ip4/127.0.0.1/tcp/7000 \
             --roles ledger,sql \
             --mine-to dcrn1miner --threads 1 --mine"
        );
    }

    #[test]
    fn the_multiaddress_names_the_peer_once_it_is_known() {
        let mut node = Node::new(plan());
        assert_eq!(node.plan.multiaddress(None), "/ip4/127.0.0.1/tcp/7001");
        node.peer_id = Some("12D3".into());
        let layout = Layout::new(Path::new("/d")).unwrap();
        assert_eq!(
            node.manifest(&layout).p2p,
            "/ip4/127.0.0.1/tcp/7001/p2p/12D3"
        );
        assert_eq!(node.state(), "down");
    }
}
