//! The supervisor against processes that are real and nodes that are not: the children sleep, and
//! the test itself answers on their HTTP ports.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal as Kill, kill_process, test_kill_process};

use super::super::chain::ChainOrder;
use super::super::ports::PortBase;
use super::*;

/// Long enough for any machine; nothing waits this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// A devnet of `nodes` children that run `script`.
struct Devnet {
    root: tempfile::TempDir,
    layout: Layout,
    height: Arc<AtomicU64>,
    thread: JoinHandle<Result<(), DevnetError>>,
}

impl Devnet {
    fn start(nodes: usize, script: &str, restarts: bool) -> Self {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(&root.path().join("devnet")).unwrap();
        let program = root.path().join("cairn");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let first = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let base = |what| PortBase {
            what,
            flag: "--port",
            first,
            is_given: false,
        };
        let order = Order {
            nodes: Some(nodes),
            chain: ChainOrder::default(),
            is_fresh: false,
            restarts,
            roles: "ledger".to_owned(),
            p2p: base("p2p"),
            api: base("api"),
            sql: base("sql"),
        };
        let inner = layout.clone();
        let thread = std::thread::spawn(move || run_program(inner, order, program));
        Self {
            root,
            layout,
            height: Arc::default(),
            thread,
        }
    }

    /// Asks until the devnet answers and the answer is as wanted.
    fn status(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            match control::call(&self.layout, &Request::Status) {
                Ok(status) if wanted(&status) => return status,
                last => assert!(started.elapsed() < PATIENCE, "not as wanted: {last:?}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Answers on the HTTP port of node `index` from now on.
    fn serve(&self, index: usize) {
        let status = self.status(|status| status["nodes"][index]["api"].is_string());
        let listener = TcpListener::bind(status["nodes"][index]["api"].as_str().unwrap()).unwrap();
        let height = Arc::clone(&self.height);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let (height, zero) = (height.load(Ordering::SeqCst), "0".repeat(64));
                let body = json!({
                    "chain": "devnet", "genesis": zero, "peer_id": format!("peer-{index}"),
                    "consensus": "pow", "height": height, "tip": zero, "peers": 1,
                    "mempool_transactions": 0,
                })
                .to_string();
                let length = body.len();
                let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length:";
                let _ = stream.write_all(format!("{head} {length}\r\n\r\n{body}").as_bytes());
            }
        });
    }

    fn manifest(&self) -> Manifest {
        let bytes = std::fs::read(self.layout.manifest_file()).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    fn stop(self) {
        control::call(&self.layout, &Request::Stop).unwrap();
        self.thread.join().unwrap().unwrap();
        drop(self.root);
    }
}

fn pid_of(node: &Value) -> Pid {
    Pid::from_raw(i32::try_from(node["pid"].as_u64().unwrap()).unwrap()).unwrap()
}

fn all(state: &'static str) -> impl Fn(&Value) -> bool {
    move |status| {
        let nodes = status["nodes"].as_array().unwrap();
        nodes.iter().all(|node| node["state"] == state)
    }
}

#[test]
fn nodes_are_started_watched_killed_restarted_added_and_stopped() {
    let devnet = Devnet::start(2, "exec sleep 1000", false);
    devnet.serve(0);
    assert!(
        !devnet.layout.manifest_file().exists(),
        "one node has not answered yet"
    );
    devnet.serve(1);
    let status = devnet.status(all("up"));
    let manifest = devnet.manifest();
    assert_eq!(manifest.nodes.len(), 2);
    for (index, node) in manifest.nodes.iter().enumerate() {
        assert_eq!(node.peer_id, format!("peer-{index}"));
        assert_eq!(
            node.pid.map(u64::from),
            status["nodes"][index]["pid"].as_u64()
        );
        assert!(node.p2p.ends_with(&format!("/p2p/peer-{index}")));
    }

    // A killed child is noticed, stays down, and is started again by its name.
    let killed = pid_of(&status["nodes"][1]);
    kill_process(killed, Kill::KILL).unwrap();
    let status = devnet.status(|status| status["nodes"][1]["state"] == "down");
    assert_eq!(status["nodes"][0]["state"], "up");
    assert_eq!(devnet.manifest().nodes[1].pid, None);
    let start =
        |name: &str| control::call(&devnet.layout, &Request::StartNode { name: name.into() });
    let entry = start("node-1").unwrap();
    assert_ne!(pid_of(&entry), killed);
    assert!(
        start("node-1")
            .unwrap_err()
            .to_string()
            .contains("runs already")
    );
    assert!(
        start("node-7")
            .unwrap_err()
            .to_string()
            .contains("there are node-0, node-1")
    );

    // A node is added while the devnet runs.
    let layout = devnet.layout.clone();
    let adding = std::thread::spawn(move || control::call(&layout, &Request::AddNode));
    devnet.status(|status| status["nodes"][2]["api"].is_string());
    devnet.serve(2);
    assert_eq!(adding.join().unwrap().unwrap()["name"], "node-2");
    let status = devnet.status(all("up"));
    assert_eq!(devnet.manifest().nodes.len(), 3);

    let pids: Vec<Pid> = status["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(pid_of)
        .collect();
    let layout = devnet.layout.clone();
    devnet.stop();
    for pid in pids {
        assert!(test_kill_process(pid).is_err(), "{pid:?} is left behind");
    }
    assert!(matches!(
        control::call(&layout, &Request::Stop),
        Err(DevnetError::NotRunning(_))
    ));
}

#[test]
fn an_ended_node_comes_back_when_asked_for_beforehand() {
    let devnet = Devnet::start(1, "exec sleep 1000", true);
    devnet.serve(0);
    let killed = pid_of(&devnet.status(all("up"))["nodes"][0]);
    kill_process(killed, Kill::KILL).unwrap();
    devnet.status(|status| {
        all("up")(status)
            && status["nodes"][0]["pid"].is_u64()
            && pid_of(&status["nodes"][0]) != killed
    });
    devnet.stop();
}

#[test]
fn a_node_that_ends_at_once_fails_the_start_with_its_last_words() {
    let devnet = Devnet::start(2, "echo \"no such flag\" >&2; exit 2", false);
    let error = devnet.thread.join().unwrap().unwrap_err().to_string();
    assert!(
        error.contains("exit code 2") && error.contains("no such flag"),
        "{error}"
    );
    assert!(!devnet.layout.manifest_file().exists());
}

#[test]
fn a_node_that_ignores_the_request_is_killed() {
    let script = "trap '' TERM; while :; do sleep 1; done";
    let devnet = Devnet::start(1, script, false);
    devnet.serve(0);
    let pid = pid_of(&devnet.status(all("up"))["nodes"][0]);
    devnet.stop();
    assert!(test_kill_process(pid).is_err());
}

#[test]
fn a_second_supervisor_is_refused_and_the_first_goes_on() {
    let devnet = Devnet::start(1, "exec sleep 1000", false);
    devnet.serve(0);
    devnet.status(all("up"));
    let error = devnet.layout.lock().err().unwrap();
    assert!(matches!(error, DevnetError::Running { .. }), "{error}");
    devnet.status(all("up"));
    devnet.stop();
}

#[test]
fn the_first_block_is_the_one_after_the_baseline() {
    let prepared_in = |root: &Path| Layout::new(root).unwrap();
    let root = tempfile::tempdir().unwrap();
    let layout = prepared_in(&root.path().join("devnet"));
    let base = |what| PortBase {
        what,
        flag: "--port",
        first: 20_000,
        is_given: false,
    };
    let order = Order {
        nodes: Some(1),
        chain: ChainOrder::default(),
        is_fresh: false,
        restarts: false,
        roles: "ledger".to_owned(),
        p2p: base("p2p"),
        api: base("api"),
        sql: base("sql"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    for (is_restart, heights, expected) in [
        (false, vec![0, 0], false),
        (false, vec![1], true),
        (true, vec![7, 7], false),
        (true, vec![7, 8], true),
    ] {
        let prepared = prepare(&layout, &order).unwrap();
        assert_eq!(prepared.is_new, !layout.node_directory("node-0").exists());
        let program = "/bin/false".into();
        let started = Instant::now();
        let mut devnet =
            Supervisor::new(layout.clone(), order.clone(), program, prepared, started).unwrap();
        devnet.baseline = (!is_restart).then_some(0);
        heights
            .iter()
            .for_each(|&height| devnet.notice_height(height));
        assert_eq!(devnet.first_block.is_some(), expected, "{heights:?}");
        drop(devnet);
        layout.clear().unwrap();
    }
}
