//! The running devnet: starts nodes, listens to them and to the user, stops them.
//!
//! Invariants: a node that ends by itself is reported and stays down until asked for (or, with
//! `--restart`, comes back after a pause that grows); `devnet.json` always names the processes that
//! run; whatever ends the supervisor, no node is left behind.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use cairn_protocol::spec::ChainParams;
use cairn_protocol::units::{Amount, Height};
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

use super::chain::{self, ChainOrder};
use super::child::{Child, described, tail};
use super::control::{self, Call, Reply, Request};
use super::error::DevnetError;
use super::layout::{DevnetLock, Layout, node_name, node_number};
use super::manifest::{Faucet, Manifest};
use super::node::{Node, NodePlan};
use super::ports::Ports;
use super::report::{Report, status_line, welcome};
use super::start::{Order, Prepared, mining_address, node_address, prepare, validator_key};
use super::watch::{CALM, Pace, Seen, Watch};

/// How long a start may take: a node may have to replay much of its log before it answers.
const START_TIMEOUT: Duration = Duration::from_secs(180);
/// A node stops in under 5 s; twice that, then it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// A second signal that comes later than this asks to kill; `timeout` and shells send one twice.
const IMPATIENCE: Duration = Duration::from_secs(1);
/// Pause before the first restart of a node; doubled each time it ends soon again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// A node that ran this long did not end "soon".
const STEADY: Duration = Duration::from_secs(30);
/// Doublings of the pause: at most 32 s.
const RESTART_DOUBLINGS_MAX: u32 = 5;
/// Calls that wait for the supervisor.
const CALLS_MAX: usize = 16;

/// Runs a devnet of this program's nodes until it is told to stop.
pub fn run(layout: Layout, order: Order) -> Result<(), DevnetError> {
    let program = std::env::current_exe()
        .map_err(DevnetError::io("find this program from", layout.root()))?;
    run_program(layout, order, program)
}

fn run_program(layout: Layout, order: Order, program: PathBuf) -> Result<(), DevnetError> {
    let started = Instant::now();
    let prepared = prepare(&layout, &order)?;
    // One thread: every child is spawned by it, and it lives as long as the process.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DevnetError::io("start the supervisor in", layout.root()))?;
    runtime.block_on(async {
        let mut devnet = Supervisor::new(layout, order, program, prepared, started)?;
        let outcome = devnet.run().await;
        devnet.stop().await;
        outcome
    })
}

/// The signals that the supervisor listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    child: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            child: signal(SignalKind::child())?,
        })
    }
}

/// Ends when the user asks to stop.
async fn asked_to_stop(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

struct Supervisor {
    layout: Layout,
    order: Order,
    program: PathBuf,
    params: ChainParams,
    faucet: Faucet,
    words: Zeroizing<String>,
    ports: Ports,
    nodes: Vec<Node>,
    report: Report,
    started: Instant,
    /// Whether all nodes have answered once and the user was told.
    is_announced: bool,
    /// The height that the chain had before this start.
    baseline: Option<Height>,
    /// When the first block after it was seen.
    first_block: Option<Duration>,
    pace: Pace,
    seen_sender: mpsc::UnboundedSender<Seen>,
    seen: mpsc::UnboundedReceiver<Seen>,
    signals: Signals,
    stopping: Option<oneshot::Sender<Reply>>,
    _lock: DevnetLock,
}

impl Supervisor {
    fn new(
        layout: Layout,
        order: Order,
        program: PathBuf,
        prepared: Prepared,
        started: Instant,
    ) -> Result<Self, DevnetError> {
        let Prepared {
            params,
            is_new,
            nodes,
            faucet,
            words,
            lock,
        } = prepared;
        let signals = Signals::new().map_err(DevnetError::io("watch over", layout.root()))?;
        let (seen_sender, seen) = mpsc::unbounded_channel();
        let mut devnet = Self {
            layout,
            order,
            program,
            params,
            faucet,
            words,
            ports: Ports::default(),
            nodes: Vec::new(),
            report: Report::new(),
            started,
            is_announced: false,
            baseline: is_new.then_some(0),
            first_block: None,
            pace: Pace::new(),
            seen_sender,
            seen,
            signals,
            stopping: None,
            _lock: lock,
        };
        for number in 0..nodes {
            devnet.plan(number)?;
        }
        Ok(devnet)
    }

    /// Adds a node that does not run yet.
    fn plan(&mut self, number: usize) -> Result<(), DevnetError> {
        let p2p = self.ports.pick(self.order.p2p, number)?;
        let api = self.ports.pick(self.order.api, number)?;
        let sql = match self.order.has_sql() {
            true => Some(self.ports.pick(self.order.sql, number)?),
            false => None,
        };
        let (sql_port, sql_note) = sql.map_or((None, None), |sql| (Some(sql.port), sql.note));
        for note in [p2p.note, api.note, sql_note].into_iter().flatten() {
            self.report.say(&note);
        }
        let address = node_address(&self.layout, number)?;
        let mine_to = mining_address(&self.layout, number)?;
        let (p2p_port, api_port) = (p2p.port, api.port);
        self.nodes.push(Node::new(NodePlan {
            number,
            p2p_port,
            api_port,
            sql_port,
            address,
            mine_to,
            validator_key: validator_key(&self.layout, &self.params, number)?,
        }));
        Ok(())
    }

    async fn run(&mut self) -> Result<(), DevnetError> {
        let (sender, mut calls) = mpsc::channel(CALLS_MAX);
        control::listen(&self.layout, sender)?;
        self.ports.release();
        for index in 0..self.nodes.len() {
            self.spawn(index)?;
        }
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        while self.stopping.is_none() {
            let Signals {
                terminate,
                interrupt,
                child,
            } = &mut self.signals;
            tokio::select! {
                biased;
                () = asked_to_stop(terminate, interrupt) => break,
                _ = child.recv() => self.reap()?,
                Some(call) = calls.recv() => self.answer(call),
                Some(seen) = self.seen.recv() => self.notice(seen)?,
                _ = tick.tick() => self.tick()?,
            }
        }
        Ok(())
    }

    /// Starts the process of a node.
    fn spawn(&mut self, index: usize) -> Result<(), DevnetError> {
        let plan = self.nodes[index].plan.clone();
        let others = self
            .nodes
            .iter()
            .filter(|node| node.plan.number != plan.number);
        let bootnodes: Vec<String> = others
            .map(|node| node.plan.multiaddress(node.peer_id.as_deref()))
            .collect();
        let arguments = plan.arguments(&self.layout, &bootnodes, &self.order.roles);
        let log = self.layout.log_file(&plan.name());
        let child = Child::spawn(&self.program, &arguments, &log)?;
        let (url, pid) = (plan.url(), child.pid());
        let watch = Watch::start(
            &url,
            plan.number,
            pid,
            self.pace.clone(),
            self.seen_sender.clone(),
        );
        let node = &mut self.nodes[index];
        node.child = Some(child);
        node.watch = Some(watch);
        node.spawned = Instant::now();
        node.ended = None;
        node.has_answered = false;
        node.status = None;
        Ok(())
    }

    /// Takes in what a watcher saw.
    fn notice(&mut self, seen: Seen) -> Result<(), DevnetError> {
        let current = |node: &Node| {
            node.plan.number == seen.number
                && node
                    .child
                    .as_ref()
                    .is_some_and(|child| child.pid() == seen.pid)
        };
        let Some(index) = self.nodes.iter().position(current) else {
            return Ok(());
        };
        let node = &mut self.nodes[index];
        let is_first = seen.status.is_some() && !node.has_answered;
        if let Some(status) = &seen.status {
            node.peer_id = Some(status.peer_id.clone());
            node.has_answered = true;
        }
        node.status = seen.status;
        let height = node.status.as_ref().map(|status| status.height);
        if is_first {
            self.answered(index)?;
        }
        if let Some(height) = height {
            self.notice_height(height);
        }
        Ok(())
    }

    /// A process has answered for the first time.
    fn answered(&mut self, index: usize) -> Result<(), DevnetError> {
        if !self.is_announced {
            if self.nodes.iter().all(|node| node.has_answered) {
                self.announce()?;
            }
            return Ok(());
        }
        self.write_manifest()?;
        let node = &mut self.nodes[index];
        let entry = node.manifest(&self.layout);
        for waiting in node.waiting.drain(..) {
            let _ = waiting.send(Ok(json!(entry)));
        }
        let (name, url) = (node.plan.name(), node.plan.url());
        self.report.say(&format!("{name} is up: {url}/"));
        Ok(())
    }

    fn announce(&mut self) -> Result<(), DevnetError> {
        self.write_manifest()?;
        self.is_announced = true;
        let funded = self.params.file().funded.iter();
        let own = funded.filter(|funded| funded.address == self.faucet.address);
        let balance = Amount(own.map(|funded| funded.amount.0).sum()).to_crn();
        let text = welcome(&self.manifest(), self.layout.root(), &self.words, &balance);
        self.report.say(&text);
        let elapsed = self.started.elapsed().as_millis();
        self.report
            .say(&format!("all nodes answer after {elapsed} ms"));
        if let Some(first_block) = self.first_block {
            self.say_first_block(first_block);
        }
        Ok(())
    }

    fn notice_height(&mut self, height: Height) {
        let baseline = *self.baseline.get_or_insert(height);
        if self.first_block.is_some() || height <= baseline {
            return;
        }
        let elapsed = self.started.elapsed();
        self.first_block = Some(elapsed);
        self.pace.set(CALM);
        if self.is_announced {
            self.say_first_block(elapsed);
        }
    }

    fn say_first_block(&mut self, elapsed: Duration) {
        self.report
            .say(&format!("first block after {} ms", elapsed.as_millis()));
    }

    fn manifest(&self) -> Manifest {
        let engine = self
            .params
            .schedule()
            .first()
            .map_or("pow", |entry| entry.engine.name());
        Manifest {
            chain: self.params.name().to_owned(),
            consensus: engine.to_owned(),
            nodes: self
                .nodes
                .iter()
                .map(|node| node.manifest(&self.layout))
                .collect(),
            faucet: self.faucet.clone(),
        }
    }

    fn write_manifest(&self) -> Result<(), DevnetError> {
        self.manifest().write(&self.layout.manifest_file())
    }

    /// Collects children that have ended.
    fn reap(&mut self) -> Result<(), DevnetError> {
        for index in 0..self.nodes.len() {
            let ended = self.nodes[index].child.as_mut().and_then(Child::ended);
            if let Some(status) = ended {
                self.ended(index, status)?;
            }
        }
        Ok(())
    }

    fn ended(&mut self, index: usize, status: ExitStatus) -> Result<(), DevnetError> {
        let is_announced = self.is_announced;
        let node = &mut self.nodes[index];
        let name = node.plan.name();
        let (child, watch) = (node.child.take(), node.watch.take());
        drop((child, watch));
        node.status = None;
        node.ended = Some(Instant::now());
        node.failures = if node.spawned.elapsed() < STEADY {
            node.failures + 1
        } else {
            0
        };
        let log = self.layout.log_file(&name);
        let error = DevnetError::NodeEnded {
            node: name.clone(),
            status: described(status),
            tail: tail(&log),
            log,
        };
        if !is_announced {
            return Err(error);
        }
        for waiting in node.waiting.drain(..) {
            let _ = waiting.send(Err(error.to_string()));
        }
        self.write_manifest()?;
        let root = self.layout.root().display();
        let next = if self.order.restarts {
            "it will be restarted".to_owned()
        } else {
            format!("it stays down; cairn devnet start-node {name} --data-dir '{root}'")
        };
        self.report
            .say(&format!("{name} ended ({}): {next}", described(status)));
        Ok(())
    }

    fn tick(&mut self) -> Result<(), DevnetError> {
        if !self.is_announced {
            return self.check_start();
        }
        if self.order.restarts {
            self.restart_ended()?;
        }
        self.report.status(&status_line(&self.nodes));
        Ok(())
    }

    fn check_start(&self) -> Result<(), DevnetError> {
        let silent = self.nodes.iter().find(|node| !node.has_answered);
        match silent.filter(|_| self.started.elapsed() > START_TIMEOUT) {
            None => Ok(()),
            Some(node) => {
                let log = self.layout.log_file(&node.plan.name());
                Err(DevnetError::NodeSilent {
                    node: node.plan.name(),
                    seconds: START_TIMEOUT.as_secs(),
                    tail: tail(&log),
                    log,
                })
            }
        }
    }

    fn restart_ended(&mut self) -> Result<(), DevnetError> {
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            let doublings = node.failures.saturating_sub(1).min(RESTART_DOUBLINGS_MAX);
            let pause = RESTART_PAUSE * 2u32.pow(doublings);
            if node.ended.is_some_and(|ended| ended.elapsed() >= pause) {
                self.spawn(index)?;
            }
        }
        Ok(())
    }

    /// Answers a call of `cairn devnet …`, now or when a node is up.
    fn answer(&mut self, call: Call) {
        let Call { request, reply } = call;
        let (index, name) = match request {
            Request::Stop => {
                self.stopping = Some(reply);
                return;
            }
            Request::Status => {
                let _ = reply.send(Ok(self.status()));
                return;
            }
            Request::AddNode => (self.add_node(), String::new()),
            Request::StartNode { name } => (self.find_down(&name), name),
        };
        let spawned = index.and_then(|index| {
            self.spawn(index).map_err(|error| error.to_string())?;
            Ok(index)
        });
        match spawned {
            Ok(index) => {
                if !name.is_empty() {
                    self.report.say(&format!("{name} is started again"));
                }
                self.nodes[index].waiting.push(reply);
            }
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
    }

    fn status(&self) -> Value {
        let node = |node: &Node| {
            let status = node.status.as_ref();
            json!({
                "name": node.plan.name(),
                "state": node.state(),
                "pid": node.child.as_ref().map(Child::pid),
                "api": node.plan.api(),
                "p2p": node.plan.multiaddress(node.peer_id.as_deref()),
                "height": status.map(|status| status.height),
                "tip": status.map(|status| status.tip),
                "peers": status.map(|status| status.peers),
            })
        };
        let chain = self.params.name();
        json!({"chain": chain, "nodes": self.nodes.iter().map(node).collect::<Vec<_>>()})
    }

    /// One more node, which mines like the others. Its rate, and theirs from their next start on, is
    /// that of so many nodes; until then the retarget takes up the difference.
    fn add_node(&mut self) -> Result<usize, String> {
        if !self.is_announced {
            return Err("the devnet is still starting; try again".to_owned());
        }
        let known = self
            .layout
            .node_names()
            .map_err(|error| error.to_string())?;
        let in_use = self.nodes.iter().map(|node| node.plan.number);
        let last = known
            .iter()
            .filter_map(|name| node_number(name))
            .chain(in_use)
            .max();
        let number = last.map_or(0, |last| last + 1);
        let nodes = self.nodes.len() + 1;
        self.params = chain::load(&self.layout, &ChainOrder::default(), nodes)
            .map_err(|error| error.to_string())?;
        self.plan(number).map_err(|error| error.to_string())?;
        self.ports.release();
        self.report.say(&format!("{} is added", node_name(number)));
        Ok(self.nodes.len() - 1)
    }

    fn find_down(&self, name: &str) -> Result<usize, String> {
        let Some(index) = self.nodes.iter().position(|node| node.plan.name() == name) else {
            let names: Vec<String> = self.nodes.iter().map(|node| node.plan.name()).collect();
            return Err(format!(
                "there is no node '{name}'; there are {}",
                names.join(", ")
            ));
        };
        match &self.nodes[index].child {
            Some(child) => Err(format!("{name} runs already as process {}", child.pid())),
            None => Ok(index),
        }
    }

    /// Stops all nodes: asks, waits, then kills.
    async fn stop(&mut self) {
        for node in &mut self.nodes {
            node.watch = None;
            if let Some(child) = &node.child {
                child.ask_to_stop();
            }
        }
        let began = Instant::now();
        let mut deadline = began + STOP_TIMEOUT;
        while let Some(name) = self.still_running() {
            let rest = deadline.saturating_duration_since(Instant::now());
            let Signals {
                terminate,
                interrupt,
                child,
            } = &mut self.signals;
            tokio::select! {
                () = asked_to_stop(terminate, interrupt) => {
                    if began.elapsed() > IMPATIENCE {
                        deadline = Instant::now();
                    }
                }
                // A signal can come between the look and the wait: hence the short sleep.
                _ = child.recv() => {}
                () = tokio::time::sleep(rest.min(Duration::from_millis(50))) => {}
            }
            if Instant::now() >= deadline {
                self.report.say(&format!("{name} does not stop; killed"));
                self.nodes
                    .iter()
                    .filter_map(|node| node.child.as_ref())
                    .for_each(Child::kill);
                deadline = Instant::now() + STOP_TIMEOUT;
            }
        }
        let _ = std::fs::remove_file(self.layout.control_socket());
        self.report.say("all nodes stopped");
        if let Some(reply) = self.stopping.take() {
            let _ = reply.send(Ok(json!({"stopped": self.nodes.len()})));
            // Lets the answer leave before the runtime ends.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn still_running(&mut self) -> Option<String> {
        for node in &mut self.nodes {
            if node
                .child
                .as_mut()
                .is_some_and(|child| child.ended().is_some())
            {
                node.child = None;
            }
        }
        self.nodes
            .iter()
            .find(|node| node.child.is_some())
            .map(|node| node.plan.name())
    }
}

#[cfg(test)]
#[path = "supervisor_tests.rs"]
mod tests;
