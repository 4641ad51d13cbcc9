//! The metrics page over HTTP, judged by Prometheus' own checker where it is installed.

use std::io::Write;
use std::process::{Command, Stdio};

use cairn_node::api::limits::Limits;

use crate::client::get;
use crate::memory::*;

const LIBP2P_PAGE: &str = "\
# HELP libp2p_swarm_connections_incoming Number of incoming connections per address stack.
# TYPE libp2p_swarm_connections_incoming counter
libp2p_swarm_connections_incoming_total{protocols=\"/ip4/tcp/noise\"} 3
# HELP libp2p_bandwidth_bytes Bandwidth usage by direction and transport protocols.
# TYPE libp2p_bandwidth_bytes counter
# UNIT libp2p_bandwidth_bytes bytes
libp2p_bandwidth_bytes_total{protocols=\"/ip4/tcp\",direction=\"Inbound\"} 1234
# HELP libp2p_ping_rtt_seconds Round-trip time sending a 'ping' and receiving a 'pong'.
# TYPE libp2p_ping_rtt_seconds histogram
# UNIT libp2p_ping_rtt_seconds seconds
libp2p_ping_rtt_seconds_sum 0.5
libp2p_ping_rtt_seconds_count 1
libp2p_ping_rtt_seconds_bucket{le=\"0.001\"} 0
libp2p_ping_rtt_seconds_bucket{le=\"+Inf\"} 1
# HELP libp2p_identify_remote_protocols Number of connected nodes, with \"unrecognized\" for others.
# TYPE libp2p_identify_remote_protocols gauge
libp2p_identify_remote_protocols{protocol=\"/ipfs/ping/1.0.0\"} 2
# EOF
";

#[tokio::test]
async fn the_page_has_ours_and_libp2ps_numbers() {
    let node = MemoryNode::new(42);
    *node.libp2p_page.lock().unwrap() = LIBP2P_PAGE.into();
    let served = serve(&node, Limits::default()).await;
    let page = get(served.at, "/metrics").await;
    assert_eq!(
        page.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = page.text();
    for line in [
        "cairn_chain_height 42",
        "cairn_peers{direction=\"outbound\"} 0",
        "# TYPE libp2p_bandwidth_bytes_total counter",
        "libp2p_bandwidth_bytes_total{protocols=\"/ip4/tcp\",direction=\"Inbound\"} 1234",
    ] {
        assert!(
            text.lines().any(|l| l == line),
            "{line} is missing:\n{text}"
        );
    }
    assert!(!text.contains("# UNIT") && !text.contains("# EOF"));
    lint(&text);
    // Also by Prometheus' own checker.
    assert_eq!(promtool(&text), "", "{text}");
}

/// The rules that dashboards stumble over: every family in one piece, with HELP and TYPE before its
/// samples, counters named `_total` and nothing else, no series twice.
fn lint(page: &str) {
    let mut families = std::collections::BTreeSet::new();
    let mut series = std::collections::BTreeSet::new();
    let (mut family, mut kind) = ("", "");
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap();
            assert!(families.insert(name), "{name} stands twice");
            assert!(!text.is_empty(), "{name} has no help");
            (family, kind) = (name, "");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, word) = rest.split_once(' ').unwrap();
            assert_eq!(name, family, "TYPE follows HELP");
            kind = word;
            assert_eq!(
                name.ends_with("_total"),
                kind == "counter",
                "{name} is a {kind}"
            );
        } else {
            let (id, value) = line.rsplit_once(' ').unwrap();
            let name = id.split('{').next().unwrap();
            let suffixes: &[&str] = if kind == "histogram" {
                &["_bucket", "_sum", "_count"]
            } else {
                &[""]
            };
            let suffix = name
                .strip_prefix(family)
                .unwrap_or_else(|| panic!("{line} in {family}"));
            assert!(suffixes.contains(&suffix), "{line} in {family}");
            assert!(series.insert(id), "{id} stands twice");
            value.parse::<f64>().unwrap();
        }
    }
}

/// What `promtool check metrics` says.
fn promtool(page: &str) -> String {
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
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}
