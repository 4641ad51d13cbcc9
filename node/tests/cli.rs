//! The built program's command line: exit codes, where answers go, what errors say.

use std::path::Path;
use std::process::{Command, Output};

/// Runs the program with an environment of its own, so that the caller's settings do not leak in.
fn cairn(dir: &Path, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    command
        .current_dir(dir)
        .args(args)
        .env_clear()
        .envs(variables.iter().copied());
    command.output().expect("the test builds this program")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_and_version_are_answers() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["--help"][..],
        &["--version"],
        &["node", "--help"],
        &["help", "node"],
    ] {
        let output = cairn(dir.path(), args, &[]);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(
            !output.stdout.is_empty() && output.stderr.is_empty(),
            "{args:?}"
        );
    }
}

#[test]
fn wrong_usage_exits_2_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["nod"], "node"),
        (&["node", "--colour", "red"], "--colour"),
        (&["node"], "no chain given"),
        (&["node", "--chain", "devnet"], "no data_dir given"),
        (
            &[
                "node",
                "--chain",
                "devnet",
                "--data-dir",
                "d",
                "--api",
                "here",
            ],
            "--api is `here`",
        ),
        (&["node", "--config", "absent.toml"], "absent.toml"),
        (&["completions", "tcsh"], "tcsh"),
        (&["block", "tip"], "not a block"),
        (&["tx", "abc"], "not a transaction id"),
        (&["status", "--api", "https://127.0.0.1"], "not plain http"),
        (&["chain", "spec", "check", "absent.toml"], "absent.toml"),
        (&["miner", "bench", "--algo", "md5"], "md5"),
        (&["miner", "bench", "--kernel", "quantum"], "quantum"),
        (&["miner", "bench", "--threads", "0"], "threads"),
        (&["miner", "bench", "--seconds", "0"], "duration"),
        (&["miner", "bench", "--seconds", "NaN"], "duration"),
        (&["devnet", "--consensus", "pos"], "pos"),
    ];
    for (args, expected) in cases {
        let output = cairn(dir.path(), args, &[]);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(expected),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn parts_that_are_not_built_exit_2_and_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["db", "status"], "SQL database"),
        (&["db", "backup", "--to", "x"], "SQL database"),
        (&["validator", "bond", "100"], "proof of stake"),
        (&["conformance", "run", "--driver", "x"], "conformance"),
    ];
    for (args, part) in cases {
        let output = cairn(dir.path(), args, &[]);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let text = stderr(&output);
        assert!(
            text.contains(part) && text.contains("not part of this version"),
            "{text}"
        );
        assert!(text.contains(&args.join(" ")), "{text}");
    }
}

#[test]
fn a_variable_and_an_unknown_key_of_the_file_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let output = cairn(
        dir.path(),
        &["node"],
        &[("CAIRN_THREADS", "many"), ("CAIRN_CHAIN", "devnet")],
    );
    assert_eq!(output.status.code(), Some(2));
    let output_2 = cairn(
        dir.path(),
        &["node", "--data-dir", "d"],
        &[("CAIRN_THREADS", "many"), ("CAIRN_CHAIN", "devnet")],
    );
    assert!(
        stderr(&output_2).contains("CAIRN_THREADS is `many`"),
        "{}",
        stderr(&output_2)
    );
    std::fs::write(dir.path().join("node.toml"), "minner = true\n").unwrap();
    let output = cairn(dir.path(), &["node", "--config", "node.toml"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("unknown key `minner`"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn completions_and_manual_pages_cover_every_command() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = cairn(dir.path(), &["completions", shell], &[]);
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains("max-memory"), "{shell}");
    }
    let output = cairn(dir.path(), &["man", "pages", "--json"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let listed: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let mut names: Vec<String> = listed["pages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_str().unwrap().into())
        .collect();
    let mut written: Vec<String> = std::fs::read_dir(dir.path().join("pages"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    written.sort();
    assert_eq!(names, written);
    assert!(names.contains(&"cairn-node.1".to_owned()));
    let blocked = cairn(dir.path(), &["man", "/dev/null/pages"], &[]);
    assert_eq!(blocked.status.code(), Some(1));
    assert!(stderr(&blocked).contains("next:"));
}

#[test]
fn a_question_to_nobody_fails_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    // A port that was free a moment ago and that nobody else was given since.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let questions: [&[&str]; 6] = [
        &["status"],
        &["block", "1"],
        &["mempool"],
        &["peers"],
        &["miner", "status"],
        &["miner", "pause"],
    ];
    for question in questions {
        let output = cairn(dir.path(), &[question, &["--api", &api]].concat(), &[]);
        assert_eq!(output.status.code(), Some(1), "{question:?}");
        let text = stderr(&output);
        assert!(
            text.contains("cannot reach the node") && text.contains(&api),
            "{text}"
        );
        assert!(text.contains("next:"), "{text}");
    }
}

#[test]
fn a_bench_names_what_it_searched() {
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "miner",
        "bench",
        "--kernel",
        "all",
        "--threads",
        "1",
        "--seconds",
        "0.01",
        "--json",
    ];
    let output = cairn(dir.path(), &args, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let rows = report["results"].as_array().unwrap();
    for algo in ["sha256d", "blake3"] {
        let has = |row: &serde_json::Value| row["algo"] == algo && row["kernel"] == "naive";
        assert!(rows.iter().any(has), "{algo} has no naive row");
    }
    for row in rows {
        for number in [
            "threads",
            "hashes",
            "hashes_per_second",
            "hashes_per_cpu_second",
        ] {
            assert!(row[number].as_f64().unwrap() > 0.0, "{number} of {row}");
        }
        assert_eq!(row["header"].as_str().unwrap().len(), 160);
        assert_eq!(
            row["target"].as_str().unwrap(),
            format!("00000{}", "f".repeat(59))
        );
        assert!(row["start"].is_u64() && row["hits"].is_array());
    }
}

#[test]
fn the_doctor_looks_at_everything() {
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "doctor",
        "--listen",
        "127.0.0.1:0",
        "--api",
        "http://127.0.0.1:1",
        "--json",
    ];
    let output = cairn(dir.path(), &args, &[]);
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let names: Vec<&str> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    for name in [
        "data directory",
        "directory lock",
        "disk space",
        "disk sync",
        "clock",
        "open files",
        "memory",
        "processor",
        "kernel",
        "port",
        "running node",
    ] {
        assert!(names.contains(&name), "{name} is not looked at: {names:?}");
    }
    assert_eq!(output.status.success(), report["ok"].as_bool().unwrap());
    std::fs::write(dir.path().join("file"), "").unwrap();
    let output = cairn(dir.path(), &["doctor", "--data-dir", "file"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("FAIL") && stderr(&output).contains("not a directory"));
}
