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
        (&["validator", "key", "--help-me"], "validator"),
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
