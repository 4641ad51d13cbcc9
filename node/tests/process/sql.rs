//! SQL of a real node with the real `psql`: the ledger's tables and the user's own, before and after
//! a `kill -9`.

use crate::devnet::{Devnet, ONE_DEVNET};
use crate::node::{START_MAX, cairn, signal, text};
use crate::wait::until;
use std::process::{Command, Output};
use std::sync::PoisonError;

/// Runs one command string of psql, unaligned and without headings.
fn psql(address: &str, sql: &str) -> Output {
    let url = format!("postgresql://cairn@{address}/cairn");
    Command::new("psql")
        .args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql, &url])
        .env("PGCONNECT_TIMEOUT", "10")
        .output()
        .expect("psql is missing: scripts/install-test-tools installs it")
}

fn answer(address: &str, sql: &str) -> String {
    let output = psql(address, sql);
    assert!(output.status.success(), "{sql}: {}", text(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn psql_reads_the_ledger_and_keeps_its_own_rows() {
    let _one = ONE_DEVNET.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("devnet");
    let devnet = Devnet::start_with(&folder, &["--nodes", "1", "--roles", "ledger,sql"]);
    let address = devnet.node(0)["sql"]
        .as_str()
        .expect("host:port")
        .to_owned();

    answer(
        &address,
        "CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL, v numeric(10,2) DEFAULT 1.5)",
    );
    let rows = "INSERT INTO t VALUES (1, 'a'), (2, 'b') RETURNING id, v";
    assert_eq!(answer(&address, rows), "1|1.50\n2|1.50\nINSERT 0 2");
    assert_eq!(answer(&address, "SELECT name FROM t WHERE id = 2"), "b");
    let doubled = psql(&address, "INSERT INTO t VALUES (1, 'again')");
    assert!(!doubled.status.success());
    assert!(text(&doubled).contains("duplicate key value violates unique constraint \"t_pkey\""));
    // A text of several statements is one transaction.
    assert!(
        !psql(&address, "INSERT INTO t VALUES (3, 'c'); SELECT 1 / 0")
            .status
            .success()
    );
    assert_eq!(answer(&address, "SELECT count(*) FROM t"), "2");
    assert!(answer(&address, "\\d t").contains("name|text||not null|"));
    assert_eq!(answer(&address, "\\dt"), "public|t|table|cairn");

    let genesis = devnet.api(0).status("genesis").expect("a status");
    until("the first block in chain.blocks", START_MAX, || {
        let found = answer(&address, "SELECT parent FROM chain.blocks WHERE height = 1");
        (!found.is_empty()).then(|| assert_eq!(Some(found.as_str()), genesis.as_str()))
    });
    let refused = psql(&address, "DELETE FROM chain.blocks");
    assert!(!refused.status.success(), "the ledger is read-only");

    signal(devnet.pid(0), "KILL");
    until("the killed node's name is free", START_MAX, || {
        let mut command = cairn();
        command
            .args(["devnet", "start-node", "node-0", "--json", "--data-dir"])
            .arg(&folder);
        let output = command.output().expect("the program starts");
        output.status.success().then_some(())
    });
    until("the rows after the kill", START_MAX, || {
        let output = psql(&address, "SELECT id, name FROM t ORDER BY id DESC");
        let rows = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output
            .status
            .success()
            .then(|| assert_eq!(rows, "2|b\n1|a"))
    });
}
