//! What the supervisor prints: lines that stay, and on a terminal one line that lives.
//!
//! Invariant: a reader that has gone never stops the devnet.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::manifest::Manifest;
use super::node::Node;

/// Without a terminal a status line is printed this often.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);
/// Return to the first column and erase the line.
const ERASE: &str = "\r\x1b[2K";

/// Standard output.
pub struct Report {
    is_terminal: bool,
    has_live_line: bool,
    last_plain: Option<Instant>,
}

impl Report {
    /// For this process's standard output.
    pub fn new() -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        Self {
            is_terminal,
            has_live_line: false,
            last_plain: None,
        }
    }

    /// Prints lines that stay.
    pub fn say(&mut self, text: &str) {
        let erase = if std::mem::take(&mut self.has_live_line) {
            ERASE
        } else {
            ""
        };
        print(&format!("{erase}{text}\n"));
    }

    /// Renews the status line, or prints it now and then where there is no terminal.
    pub fn status(&mut self, text: &str) {
        if self.is_terminal {
            self.has_live_line = true;
            return print(&format!("{ERASE}{text}"));
        }
        if self
            .last_plain
            .is_none_or(|last| last.elapsed() >= PLAIN_INTERVAL)
        {
            self.last_plain = Some(Instant::now());
            print(&format!("{text}\n"));
        }
    }
}

fn print(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What a user wants to know when all nodes are up.
pub fn welcome(manifest: &Manifest, root: &Path, words: &str, balance: &str) -> String {
    let mut lines = vec![format!("devnet in {}", root.display())];
    for node in &manifest.nodes {
        let (name, api, p2p) = (&node.name, &node.api, &node.p2p);
        let sql = node
            .sql
            .as_ref()
            .map_or("off: --roles has no sql".to_owned(), |sql| {
                format!("postgresql://cairn@{sql}/cairn")
            });
        lines.push(format!("{name}  explorer  http://{api}/"));
        let indent = " ".repeat(name.len());
        lines.push(format!("{indent}  api       http://{api}/v1/status"));
        lines.push(format!("{indent}  metrics   http://{api}/metrics"));
        lines.push(format!("{indent}  sql       {sql}"));
        lines.push(format!("{indent}  p2p       {p2p}"));
    }
    let faucet = &manifest.faucet;
    lines.push(format!("faucet  {}  {balance} CRN", faucet.address));
    lines.push(format!("words   {words}"));
    lines.push(format!(
        "wallet  {} (opens without a password)",
        faucet.wallet_dir.display()
    ));
    let api = manifest.nodes.first().map_or("", |node| &node.api);
    lines.push(format!(
        "try     cairn wallet send ADDRESS 1.5 --data-dir '{}' --api http://{api}",
        faucet.wallet_dir.display()
    ));
    lines.join("\n")
}

/// The nodes in one line.
pub fn status_line(nodes: &[Node]) -> String {
    let up: Vec<_> = nodes
        .iter()
        .filter_map(|node| node.status.as_ref())
        .collect();
    let Some(best) = up.iter().max_by_key(|status| status.height) else {
        return format!("0/{} up", nodes.len());
    };
    let same = up.iter().filter(|status| status.tip == best.tip).count();
    let pending = up
        .iter()
        .map(|status| status.mempool_transactions)
        .max()
        .unwrap_or(0);
    let hashes: u64 = up.iter().map(|status| status.hashes_per_second).sum();
    format!(
        "height {}  tip {}  {}/{} up  {same} on the tip  mempool {pending}  {hashes} H/s",
        best.height,
        &best.tip.to_string()[..8],
        up.len(),
        nodes.len(),
    )
}
